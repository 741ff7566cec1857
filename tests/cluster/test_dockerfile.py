"""The Dockerfile: linted, and its steps run in an environment with the packages of Airflow's image."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from .compose import ROOT
from .containers import VENV

DOCKERFILE = ROOT / "Dockerfile"
UV = [sys.executable, "-m", "uv"]
IMPORTED = (
    "airflow.providers.celery.executors.celery_executor",
    "airflow.providers.fab.auth_manager.fab_auth_manager",
    *("redis", "demo.compose", "sandbox.server", "springest_provider.plugin"),
)

pytestmark = [
    pytest.mark.long,
    pytest.mark.timeout(1500),
    pytest.mark.skipif(not VENV.exists(), reason="its environment is missing: `make cluster` makes it"),
]


def test_the_linter_finds_nothing():
    """Hints count too."""
    done = subprocess.run(
        [VENV / "bin" / "hadolint", "--no-color", DOCKERFILE], capture_output=True, text=True, check=False
    )
    assert (done.returncode, done.stdout) == (0, "")


def _instructions() -> Iterator[tuple[str, str]]:
    text = DOCKERFILE.read_text(encoding="utf-8").replace("\\\n", " ")
    for line in text.splitlines():
        if line and line[0] != "#":
            name, _, rest = line.partition(" ")
            yield name, rest


@pytest.fixture(scope="module")
def image(tmp_path_factory) -> Path:
    """An environment with the packages of Airflow's image, in versions that the index resolves beside ours.

    Two of its extras have drivers that are built from C with libraries of the image's system.
    """
    folder = tmp_path_factory.mktemp("image")
    asked, pinned, venv = folder / "image.in", folder / "image.txt", folder / "venv"
    extras = (ROOT / "requirements-image.in").read_text(encoding="utf-8")
    asked.write_text(extras.replace("ldap,", "").replace("mysql,", ""), encoding="utf-8")
    for command in (
        [
            "pip",
            "compile",
            "--quiet",
            "--python-version",
            "3.11",
            asked,
            "-c",
            ROOT / "requirements.txt",
            "-o",
            pinned,
        ],
        ["venv", "--quiet", "--seed", venv],
        ["pip", "sync", "--quiet", "--python", venv / "bin" / "python", pinned],
        ["pip", "install", "--quiet", "--python", venv / "bin" / "python", "pip"],
    ):
        subprocess.run([*UV, *command], env={**os.environ, "UV_LINK_MODE": "hardlink"}, check=True)
    return venv


def test_its_steps_make_a_working_image(image, tmp_path):
    """Each COPY and RUN in its order; then every package fits the others, and the commands start."""
    env = {"PATH": f"{image}/bin:/usr/bin:/bin", "HOME": str(tmp_path), "AIRFLOW_HOME": str(tmp_path)}
    env |= {name: value for name, value in os.environ.items() if name.startswith(("PIP_", "SSL_"))}
    for name, rest in _instructions():
        if name == "COPY":
            *sources, target = re.sub(r"--\S+ ", "", rest).split()
            for source in sources:
                _copy(ROOT / source, tmp_path / target)
        elif name == "RUN":
            _run(["/bin/sh", "-euc", rest], env, tmp_path)
        elif name == "ENV":
            env |= dict(
                setting.split("=", 1) for setting in rest.replace("/opt/airflow", str(tmp_path)).split()
            )
        else:
            assert name in {"FROM", "WORKDIR"}
    _run(["pip", "check"], env, tmp_path)
    _run(["airflow", "version"], env, tmp_path)
    assert "usage: springest" in _run(["bin/springest", "--help"], env, tmp_path)
    _run(["python", "-c", "import " + ", ".join(IMPORTED)], env, tmp_path)
    assert (tmp_path / "secrets" / "airflow").is_dir()


def _copy(source: Path, target: Path) -> None:
    if source.is_dir():
        shutil.copytree(source, target, ignore=shutil.ignore_patterns("__pycache__"))
    else:
        shutil.copy(source, target)


def _run(command: list[str], env: dict[str, str], folder: Path) -> str:
    done = subprocess.run(command, env=env, cwd=folder, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-3000:]
    return done.stdout
