"""``make matrix``: which versions of Python and Airflow install the wheel, import it and parse the DAGs.

Each pair gets its own virtual environment with the newest packages that fit it. Pythons are those on the
PATH; Airflow's versions are the newest of each minor version in ``AIRFLOWS``. The wheel's own bound on
Airflow is ignored, so that the table shows whether the bound is right. Exit code 1: a pair within the bounds
does not work.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
import tomllib
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, Final

from packaging.requirements import Requirement
from packaging.specifiers import SpecifierSet

from demo.airflow_home import PROJECT

PYTHONS: Final = ("3.11", "3.12", "3.13", "3.14")
AIRFLOWS: Final = ("3.1", "3.2", "3.3")
_UV: Final = (sys.executable, "-m", "uv")
_LOOK: Final = """
import importlib, json, os, pathlib, pkgutil
import springest, springest_provider
dags = pathlib.Path(springest_provider.__file__).parent / "project" / "dags"
os.environ["AIRFLOW__CORE__DAGS_FOLDER"] = str(dags)
errors, names, count = {}, [], 0
for package in (springest, springest_provider):
    names += [found.name for found in pkgutil.walk_packages(package.__path__, package.__name__ + ".")]
for name in names:
    if "migrations" not in name:
        try:
            importlib.import_module(name)
        except Exception as error:
            errors.setdefault(f"{type(error).__name__}: {error}".partition(" (/")[0], name)
if not errors:
    from airflow.dag_processing.dagbag import DagBag
    bag = DagBag(str(dags))
    errors, count = bag.import_errors, len(bag.dags)
print(json.dumps({"errors": errors, "dags": count}))
"""


def pairs(bound: SpecifierSet) -> Iterator[tuple[str, str, str, bool]]:
    """Yield the interpreter (empty: there is none), both versions, and whether the bounds allow the pair."""
    project: dict[str, Any] = tomllib.loads((PROJECT / "pyproject.toml").read_text("utf-8"))["project"]
    for python in PYTHONS:
        found = _run(*_UV, "python", "find", "--offline", "--no-project", python)
        interpreter = found.stdout.strip() if found.returncode == 0 else ""
        for airflow in AIRFLOWS:
            allowed = f"{python}.0" in SpecifierSet(project["requires-python"]) and f"{airflow}.0" in bound
            yield interpreter, python, airflow, allowed


def try_pair(folder: Path, wheel: Path, interpreter: str, airflow: str, needs: Sequence[str]) -> str:
    """Return ``works``, or the first thing that went wrong."""
    python = folder / "bin" / "python"
    wanted = (f"apache-airflow=={airflow}.*", *needs)
    steps = (
        (*_UV, "venv", "--quiet", "--no-project", "--python", interpreter, str(folder)),
        (*_UV, "pip", "install", "--quiet", "--python", str(python), *wanted),
        (*_UV, "pip", "install", "--quiet", "--no-deps", "--python", str(python), str(wheel)),
        (str(python), "-P", "-c", _LOOK),
    )
    env = {"AIRFLOW_HOME": str(folder / "home"), "AIRFLOW__CORE__LOAD_EXAMPLES": "False"}
    for step in steps:
        done = _run(*step, env=env)
        if done.returncode:
            return (done.stderr.strip().splitlines() or ["it ended without a word"])[-1]
    shown = json.loads(done.stdout.strip().splitlines()[-1])
    return "; ".join(shown["errors"]) or f"works, {shown['dags']} DAGs"


def _run(*command: str, env: dict[str, str] | None = None) -> subprocess.CompletedProcess[str]:
    full = {
        **{name: value for name, value in os.environ.items() if not name.startswith("PYTHON")},
        **(env or {}),
    }
    return subprocess.run(command, env=full, capture_output=True, text=True, check=False)


def main() -> int:
    """Try every pair and print a line for each."""
    project = tomllib.loads((PROJECT / "pyproject.toml").read_text("utf-8"))["project"]
    [airflow_bound] = [
        need for need in map(Requirement, project["dependencies"]) if need.name == "apache-airflow"
    ]
    needs = [need for need in project["dependencies"] if Requirement(need).name != "apache-airflow"]
    broken = 0
    with tempfile.TemporaryDirectory(dir=PROJECT / ".springest") as folder:
        subprocess.run((*_UV, "build", "--quiet", "--wheel", "--out-dir", folder, str(PROJECT)), check=True)
        [wheel] = Path(folder).glob("*.whl")
        for interpreter, python, airflow, allowed in pairs(airflow_bound.specifier):
            result = "not tried: no such Python on the PATH"
            if interpreter:
                venv = Path(folder) / f"{python}-{airflow}"
                result = try_pair(venv, wheel, interpreter, airflow, needs)
                broken += allowed and not result.startswith("works")
            bounds = "supported" if allowed else "refused"
            print(f"Python {python}  Airflow {airflow}  {bounds:<9}  {result}", flush=True)
    return 1 if broken else 0


if __name__ == "__main__":
    raise SystemExit(main())
