"""The Makefile's promises that can be checked without setting everything up again."""

from __future__ import annotations

import subprocess
from pathlib import Path

ROOT = Path(__file__).parents[3]


def test_make_alone_lists_the_commands():
    """Nobody has to read the Makefile to use it."""
    said = subprocess.run(["make"], cwd=ROOT, capture_output=True, text=True, check=True).stdout
    for command in ("demo", "test", "chaos", "ui", "check", "migrate", "clean", "help"):
        assert f"make {command}" in said


def test_nothing_the_commands_make_is_seen_by_git():
    """Everything lies under one ignored folder."""
    status = ["git", "status", "--porcelain", "--ignored", "--untracked-files=normal"]
    told = subprocess.run(status, cwd=ROOT, capture_output=True, text=True, check=True).stdout
    ignored = {line[3:] for line in told.splitlines() if line.startswith("!!")}
    assert {name for name in ignored if "__pycache__" not in name} <= {".springest/"}


def test_the_pinned_tree_is_hashed_and_holds_what_was_asked_for():
    """Every line of requirements.in is pinned in requirements.txt, with hashes."""
    asked = [
        line.partition("#")[0].strip().partition("[")[0].partition("==")[0]
        for line in (ROOT / "requirements.in").read_text(encoding="utf-8").splitlines()
    ]
    pinned = (ROOT / "requirements.txt").read_text(encoding="utf-8")
    for name in filter(None, asked):
        assert f"\n{name}==" in pinned or f"\n{name}[" in pinned, name
    assert pinned.count("==") <= pinned.count("--hash=sha256:")
