"""The Makefile's promises that can be checked without setting everything up again."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest
from packaging.requirements import Requirement

from demo.airflow_home import environment

ROOT = Path(__file__).parents[3]


def test_make_alone_lists_the_commands():
    """The Makefile can be used without reading it."""
    output = subprocess.run(["make"], cwd=ROOT, capture_output=True, text=True, check=True).stdout
    for command in ("demo", "test", "chaos", "ui", "check", "audit", "sandbox", "migrate", "clean", "help"):
        assert f"make {command}" in output


def test_nothing_the_commands_make_is_seen_by_git():
    """Everything lies under one ignored folder."""
    status = ["git", "status", "--porcelain", "--ignored", "--untracked-files=normal"]
    output = subprocess.run(status, cwd=ROOT, capture_output=True, text=True, check=True).stdout
    ignored = {line[3:] for line in output.splitlines() if line.startswith("!!")}
    # A person's: the wheel (see docs/operations.md), and the two of .env.example.
    personal = {".springest/", "dist/", ".env", "certificates/"}
    assert {name for name in ignored if "__pycache__" not in name} <= personal


@pytest.mark.parametrize(
    ("path", "is_ignored"),
    [
        (".env", True),
        (".env.production", True),
        ("certificates/a/learner.pdf", True),
        ("keys/client.pem", True),
        ("client.key", True),
        (".env.example", False),
        ("include/demo/documents.py", False),
    ],
)
def test_secrets_and_documents_stay_out_of_git(path, is_ignored):
    """`git add -A` commits neither the keys of .env nor the documents of learners."""
    done = subprocess.run(["git", "check-ignore", "--quiet", "--no-index", path], cwd=ROOT, check=False)
    assert done.returncode == (0 if is_ignored else 1)


def test_files_that_git_ignores_stay_out_of_the_image():
    """The build context contains neither keys nor documents."""
    kept_out = set((ROOT / ".dockerignore").read_text(encoding="utf-8").split())
    ignored = (ROOT / ".gitignore").read_text(encoding="utf-8").splitlines()
    for pattern in ignored:
        if pattern.strip() and pattern[0] not in "#!":
            anywhere = f"**/{pattern.strip('/')}"
            assert {anywhere, pattern.strip("/")} & kept_out, pattern


def test_the_pinned_tree_is_hashed_and_complete():
    """Every line of requirements.in is pinned in requirements.txt, with hashes."""
    asked = [
        line.partition("#")[0].strip().partition("[")[0].partition("==")[0]
        for line in (ROOT / "requirements.in").read_text(encoding="utf-8").splitlines()
    ]
    pinned = (ROOT / "requirements.txt").read_text(encoding="utf-8")
    for name in filter(None, asked):
        assert f"\n{name}==" in pinned or f"\n{name}[" in pinned, name
    assert pinned.count("==") <= pinned.count("--hash=sha256:")


def test_every_direct_dependency_has_a_floor_that_is_kept():
    """The pinned tree keeps the floors, and an installation beside other packages gets no version with known
    faults.
    """
    pinned = dict(
        re.findall(r"^([a-z0-9-]+)==(\S+)", (ROOT / "requirements.txt").read_text("utf-8"), re.MULTILINE)
    )
    project = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]
    for need in map(Requirement, project["dependencies"]):
        assert any(part.operator == ">=" for part in need.specifier), need
        assert pinned[need.name] in need.specifier, need


@pytest.fixture
def poisoned(tmp_path: Path) -> Path:
    """A folder whose modules must never be imported."""
    for name in ("argparse", "json", "logging", "include", "springest_provider"):
        (tmp_path / f"{name}.py").write_text("raise SystemExit('POISON')", encoding="utf-8")
    return tmp_path


def _run_in(folder: Path, *command: str, **env: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        command, cwd=folder, env={**os.environ, **env}, capture_output=True, text=True, check=False
    )


CHECKOUT = str(ROOT / "bin" / "springest")
INSTALLED = str(Path(sys.executable).parent / "springest")


@pytest.mark.parametrize(
    ("command", "path"),
    [(INSTALLED, ""), *((CHECKOUT, path) for path in ("", ":", ".", f".:{ROOT}:"))],
)
def test_the_command_imports_nothing_from_the_working_folder(poisoned, command, path):
    """Started in somebody's download folder, with every secret at hand."""
    done = _run_in(poisoned, command, "status", "--help", PYTHONPATH=path)
    assert (done.returncode, done.stderr) == (0, "")
    assert "usage: springest status" in done.stdout


def test_recipes_import_nothing_from_the_working_folder(poisoned):
    """What every recipe of the Makefile runs in, whichever module it starts."""
    recipe = f"poison: ; @{sys.executable} -m argparse && {sys.executable} -c 'import json, include'"
    done = _run_in(
        poisoned, "make", "--no-print-directory", "-f", str(ROOT / "Makefile"), f"--eval={recipe}", "poison",
        PYTHONPATH=".",
    )  # fmt: skip
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")


def test_the_demo_imports_nothing_from_the_working_folder(poisoned, tmp_path):
    """The processes of the demo's Airflow inherit one environment, in which the project is importable all the
    same.
    """
    env = environment(tmp_path / "home", metadata_url="", api_port=1, connections={}, variables={})
    script = "import argparse, json, springest, springest_provider.get_provider_info"
    done = subprocess.run(
        [sys.executable, "-c", script], cwd=poisoned, env=env, capture_output=True, text=True, check=False
    )
    assert (done.returncode, done.stderr) == (0, "")


def test_the_image_imports_nothing_from_the_working_folder():
    """Its own folder is on the path by name, whichever folder a process is started in."""
    assert "PYTHONSAFEPATH=1" in (ROOT / "Dockerfile").read_text(encoding="utf-8")


def test_a_command_imports_only_what_it_needs():
    """`status` neither migrates nor sends, so it imports no library for that: each costs it time."""
    code = (
        "import sys, springest_provider.cli.errors, springest_provider.cli.status;"
        "print({'alembic', 'aiohttp', 'lxml'} & sys.modules.keys())"
    )
    shown = subprocess.run([sys.executable, "-P", "-c", code], capture_output=True, text=True, check=True)
    assert shown.stdout.splitlines()[-1] == "set()"
