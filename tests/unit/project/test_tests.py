"""Tests can be read: a short name for the behaviour, and a sentence that says what is proven."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

TESTS = Path(__file__).parents[2]
LONGEST_NAME = 60
UNTELLING = {"told", "TOLD", "one", "other", "said", "who", "what", "parts", "same", "mine", "theirs"}
MODULES = sorted(TESTS.rglob("test_*.py"))


def _tests(path: Path) -> Iterator[ast.FunctionDef | ast.AsyncFunctionDef]:
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef) and node.name.startswith("test_"):
            yield node


@pytest.mark.parametrize("path", MODULES, ids=lambda path: str(path.relative_to(TESTS)))
def test_a_test_has_a_short_name_and_a_docstring(path):
    """A name has at most 60 characters; the full sentence is in the docstring."""
    long = [test.name for test in _tests(path) if len(test.name) > LONGEST_NAME]
    assert long == [], "shorten the name and put the sentence into the docstring"
    assert [test.name for test in _tests(path) if not ast.get_docstring(test)] == []


@pytest.mark.parametrize("path", sorted(TESTS.rglob("*.py")), ids=lambda path: str(path.relative_to(TESTS)))
def test_a_variable_is_named_after_what_it_holds(path):
    """Words that fit everything name nothing: the worst of them are refused."""
    assert set(_named(path)) & UNTELLING == set()


def _named(path: Path) -> Iterator[str]:
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store):
            yield node.id
        elif isinstance(node, ast.arg):
            yield node.arg
        elif isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
            yield node.name
