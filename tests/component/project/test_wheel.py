"""The wheel, installed beside an Airflow project that has its own ``include``."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import sysconfig
import tarfile
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[3]
CACHE = "cache"
"""Folder of the environment in which the bytecode of this one's packages is found; none is written."""
OWN_INCLUDE = "NAME = 'the package of the project'\n"
LOOK = """
import importlib, json, pkgutil, sys
from pathlib import Path

import include, springest, springest_provider
from airflow.dag_processing.dagbag import DagBag
from airflow import plugins_manager
from airflow.providers_manager import ProvidersManager
from springest.db.statements import load_sql
from springest_provider.project_files import include_folder
from springest_provider.sites import load_sites

names = [
    found.name
    for package in (springest, springest_provider)
    for found in pkgutil.walk_packages(package.__path__, f"{package.__name__}.")
    if "migrations" not in found.name
]
for name in names:
    importlib.import_module(name)
folder = Path(springest.__file__).parent
statements = [f"{file.parents[1].name}/{file.stem}" for file in folder.glob("*/sql/*.sql")]
plugins_manager.ensure_plugins_loaded()
bag = DagBag(str(Path(sys.argv[1]) / "dags"), bundle_path=Path(sys.argv[1]) / "dags")
[stage] = [task for task in bag.dags["springest_deliver"].tasks if task.task_id == "stage"]
stage.resolve_template_files()
providers = ProvidersManager()
print(json.dumps({
    "modules": names,
    "statements": len([load_sql(name) for name in statements]),
    "include": include.NAME,
    "provider": providers.providers["airflow-provider-springest"].version,
    "hook": providers.hooks["springest"].hook_class_name,
    "plugins": [one["name"] for one in plugins_manager.get_plugin_info() if one["name"] == "springest"],
    "plugin_errors": plugins_manager.get_import_errors(),
    "dags": sorted(bag.dags),
    "dag_errors": bag.import_errors,
    "sql_folder": str(load_sites().sql_folder),
    "query": stage.sql,
}))
"""


@pytest.fixture(scope="module")
def built(tmp_path_factory):
    """The wheel and the sdist; the wheel is built from the sdist."""
    folder = tmp_path_factory.mktemp("dist")
    uv = ("uv", "build", "--quiet", "--no-build-isolation", "--python", sys.executable)
    subprocess.run([sys.executable, "-m", *uv, "--out-dir", str(folder), str(ROOT)], check=True)
    return folder


@pytest.fixture(scope="module")
def wheel(built):
    """The wheel's file."""
    [found] = built.glob("*.whl")
    return found


@pytest.fixture(scope="module")
def installed(wheel, tmp_path_factory):
    """A virtual environment with this one's packages, and the wheel instead of the checkout."""
    venv = tmp_path_factory.mktemp("installed") / "venv"
    uv = (sys.executable, "-m", "uv")
    subprocess.run([*uv, "venv", "--quiet", "--python", sys.executable, str(venv)], check=True)
    packages = venv / Path(sysconfig.get_path("purelib")).relative_to(sys.prefix)
    for package in Path(sysconfig.get_path("purelib")).iterdir():
        if "springest" not in package.name and package.suffix != ".pth":
            (packages / package.name).symlink_to(package)
    install = (
        "pip",
        "install",
        "--quiet",
        "--offline",
        "--no-deps",
        "--python",
        str(venv / "bin" / "python"),
    )
    subprocess.run([*uv, *install, str(wheel)], check=True)
    if sys.pycache_prefix is not None:
        stdlib, purelib = Path(sysconfig.get_path("stdlib")), Path(sysconfig.get_path("purelib"))
        for place, kept in ((packages, purelib), (stdlib, stdlib)):
            link = venv / CACHE / place.relative_to("/")
            link.parent.mkdir(parents=True, exist_ok=True)
            link.symlink_to(Path(sys.pycache_prefix, *kept.parts[1:]))
    return venv / "bin"


@pytest.fixture(scope="module")
def project(installed, tmp_path_factory):
    """An Astro project, into which `springest init` has written its files."""
    folder = tmp_path_factory.mktemp("astro")
    (folder / "include").mkdir()
    (folder / "include" / "__init__.py").write_text(OWN_INCLUDE)
    _run(folder, installed, "springest", "init", str(folder))
    return folder


def _run(project: Path, installed: Path, program: str, *arguments: str) -> str:
    env = {
        "PATH": os.environ["PATH"],
        "AIRFLOW_HOME": str(project),
        "AIRFLOW__CORE__LOAD_EXAMPLES": "False",
        "PYTHONPATH": str(project),
        "PYTHONDONTWRITEBYTECODE": "1",
        "PYTHONPYCACHEPREFIX": str(installed.parent / CACHE),
    }
    command = [installed / program, *arguments]
    done = subprocess.run(command, cwd=project, env=env, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def test_the_wheel_installs_the_two_packages_and_nothing_else(wheel):
    """A top-level `include` would replace the project's, or be replaced by it."""
    with zipfile.ZipFile(wheel) as archive:
        names = archive.namelist()
    tops = {name.partition("/")[0] for name in names}
    assert {top for top in tops if not top.endswith(".dist-info")} == {"springest", "springest_provider"}
    assert not [name for name in names if "__pycache__" in name]


def test_the_wheel_has_every_file_that_git_has(wheel):
    """SQL, templates and static files are found at run time, not imported, so a missing one shows late."""
    places = {
        "include/springest": "springest",
        "plugins/springest_provider": "springest_provider",
        "dags": "springest_provider/project/dags",
        "include/sql": "springest_provider/project/include/sql",
    }
    listed = subprocess.run(
        ["git", "ls-files", "-co", "--exclude-standard", *places],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
    )
    tracked = {name for name in listed.stdout.splitlines() if (ROOT / name).is_file()}
    expected = {
        f"{place}{name.removeprefix(folder)}"
        for folder, place in places.items()
        for name in tracked
        if name.startswith(f"{folder}/")
    }
    with zipfile.ZipFile(wheel) as archive:
        assert {name for name in archive.namelist() if ".dist-info/" not in name} == expected


def test_the_sdist_has_no_tooling(built):
    """The sandbox, the demo and the tests are for a checkout."""
    [sdist] = built.glob("*.tar.gz")
    with tarfile.open(sdist) as archive:
        folders = {"/".join(name.split("/")[1:3]) for name in archive.getnames() if name.count("/") > 2}
    assert folders >= {"include/springest", "include/sql", "plugins/springest_provider"}
    assert not {
        folder for folder in folders if folder.partition("/")[0] not in {"include", "plugins", "dags"}
    }
    assert not folders & {"include/sandbox", "include/demo", "include/dbt"}


def test_it_works_beside_another_include(installed, project):
    """Every module is imported, every statement read; Airflow finds the provider, the page, the DAGs and the
    query, each once.
    """
    found = json.loads(_run(project, installed, "python", "-c", LOOK, str(project)).splitlines()[-1])
    assert len(found.pop("modules")) > 150
    assert found.pop("statements") >= 80
    assert found == {
        "include": "the package of the project",
        "provider": "0.1.0",
        "hook": "springest_provider.hooks.springest.SpringestHook",
        "plugins": ["springest"],
        "plugin_errors": {},
        "dags": ["springest_catalogue", "springest_deliver", "springest_reconcile", "springest_review"],
        "dag_errors": {},
        "sql_folder": str(project / "include" / "sql"),
        "query": (ROOT / "include" / "sql" / "completed_trainings.sql").read_text(encoding="utf-8"),
    }


def test_the_command_is_installed(installed, project):
    """As `bin/springest` in a checkout."""
    assert "usage: springest" in _run(project, installed, "springest", "--help")
    assert (project / "include" / "__init__.py").read_text() == OWN_INCLUDE
