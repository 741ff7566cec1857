"""The runbook has an entry for every word that the code uses for a problem."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from springest.states import State

ROOT = Path(__file__).parents[3]
RUNBOOK = (ROOT / "docs" / "runbook.md").read_text(encoding="utf-8")
PACKAGES = (ROOT / "include" / "springest", ROOT / "plugins" / "springest_provider")
NOT_FOR_PEOPLE = {"SpringestError", "Problem", "Unsure", "Missing"}
"""The base of all, and what the doctor's own lines are made of."""
SEVERAL = re.compile(r"_(missing|unreadable)$")
"""Reasons that begin with a column."""
WORD = re.compile(
    r"[a-z]+(?:_[a-z]+)+|absent|duplicate|missing|rejected|released|reopened|throttled|tie|vanished"
)
MAKES_REASON = {"Defect", "CheckResult", "Rule", "DocumentError"}
SET_IN_SQL = re.compile(r"reason (?:=|:=) '([a-z_]+)'|'([a-z_]+)\(")


def _entries() -> dict[str, list[str]]:
    """The cells of each table row, by the words in its first one."""
    entries: dict[str, list[str]] = {}
    for line in RUNBOOK.splitlines():
        cells = [cell.strip() for cell in line.strip().strip("|").split(" | ")]
        if line.startswith("| `"):
            entries.update(dict.fromkeys(re.findall(r"`([^`]+)`", cells[0]), cells))
    return entries


ENTRIES = _entries()


def _trees() -> Iterator[ast.Module]:
    for package in PACKAGES:
        for path in sorted(package.rglob("*.py")):
            yield ast.parse(path.read_text(encoding="utf-8"))


def _errors() -> set[str]:
    """Every class below SpringestError, also of modules that nothing imports here."""
    bases = {
        node.name: {getattr(base, "id", getattr(base, "attr", "")) for base in node.bases}
        for tree in _trees()
        for node in ast.walk(tree)
        if isinstance(node, ast.ClassDef)
    }
    found = {"SpringestError"}
    while more := {name for name, above in bases.items() if above & found} - found:
        found |= more
    return found - NOT_FOR_PEOPLE


def _words(node: ast.Call) -> Iterator[str]:
    name = node.func.id if isinstance(node.func, ast.Name) else ""
    values = [*node.args] if name in MAKES_REASON else []
    values += [keyword.value for keyword in node.keywords if keyword.arg == "reason"]
    for value in values:
        if isinstance(value, ast.Constant) and isinstance(value.value, str) and WORD.fullmatch(value.value):
            yield value.value


def _reasons() -> set[str]:
    """Reasons in the code, in its SQL, and in docs/states.md."""
    in_code = {
        word
        for tree in _trees()
        for node in ast.walk(tree)
        if isinstance(node, ast.Call)
        for word in _words(node)
    }
    in_sql = {
        word
        for path in sorted(PACKAGES[0].rglob("*.sql"))
        for found in SET_IN_SQL.findall(path.read_text(encoding="utf-8"))
        for word in found
        if word and WORD.fullmatch(word)
    }
    states = (ROOT / "docs" / "states.md").read_text(encoding="utf-8")
    [documented] = re.findall(r"^## Reasons$(.*?)^# ", states, re.MULTILINE | re.DOTALL)
    named = set(re.findall(r"`([a-z]+_[a-z_]+)`", documented))
    return (in_code | in_sql | named) - {"read_row"}


def _review_reasons() -> set[str]:
    """Those for which the view of what needs a person has advice."""
    view = (PACKAGES[0] / "db" / "views" / "delivery_review.sql").read_text(encoding="utf-8")
    advised = set(
        re.findall(r"^\s*(?:SELECT \w+\.\w+ FROM \(VALUES\s*)?\('([a-z_]+)', '", view, re.MULTILINE)
    )
    return advised | set(re.findall(r"review_reason LIKE '([a-z_]+)%'", view))


def test_every_error_has_an_entry():
    """A failed task names its class, and the runbook is searched for it."""
    assert len(_errors()) > 30
    assert _errors() - ENTRIES.keys() == set()


def test_every_state_has_an_entry():
    """All thirteen."""
    assert {state.value for state in State} - ENTRIES.keys() == set()


def test_every_reason_has_an_entry():
    """Of rows, documents and attempts, wherever it is written down."""
    reasons = _reasons()
    assert len(reasons) > 50
    assert {reason for reason in reasons if not SEVERAL.search(reason)} - ENTRIES.keys() == set()


def test_every_review_reason_has_an_entry():
    """The page and the view show the same words."""
    assert len(_review_reasons()) > 14
    assert _review_reasons() - ENTRIES.keys() == set()


def test_no_entry_is_about_a_word_that_is_gone():
    """An entry for a removed reason would mislead its reader."""
    code = "\n".join(
        path.read_text(encoding="utf-8")
        for package in PACKAGES
        for path in sorted(package.rglob("*"))
        if path.suffix in {".py", ".sql"}
    )
    words = {word for word in ENTRIES if re.fullmatch(r"\w+", word)} - {"DeadlineMissed"}
    made = {word for word in words if word.startswith("document_") or SEVERAL.search(word)}
    assert {word for word in words - made if not re.search(rf"\b{word}\b", code)} == set()


@pytest.mark.parametrize("word", sorted(ENTRIES))
def test_an_entry_says_what_to_look_at_and_what_to_do(word):
    """Four cells, none of them empty."""
    assert len(ENTRIES[word]) == 4
    assert all(ENTRIES[word])


def test_what_a_summary_calls_overdue_has_an_entry():
    """By the words that it begins with."""
    source = (PACKAGES[0] / "review" / "night.py").read_text(encoding="utf-8")
    warnings = re.findall(r'"((?:no|nothing|the) [a-z]+(?: [a-z]+)+)', source)
    assert len(warnings) >= 4
    assert [text for text in warnings if not any(text.startswith(entry) for entry in ENTRIES)] == []


def test_every_alert_is_named_as_in_its_message():
    """So that the runbook is found by the words of the mail."""
    [section] = re.findall(r"^## Alerts$(.*?)^## ", RUNBOOK, re.MULTILINE | re.DOTALL)
    alerts = set(re.findall(r"^\| `([^`]+)`", section, re.MULTILINE)) - {"a note on a green run"}
    sources = (PACKAGES[0] / "review" / "night.py", *(PACKAGES[1] / "notifications").glob("*.py"))
    texts = " ".join(
        value.value
        for path in sources
        for value in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        if isinstance(value, ast.Constant) and isinstance(value.value, str)
    )
    assert len(alerts) > 5
    assert {alert for alert in alerts if alert not in texts} == set()
