"""A dry run in words: many rows of one reason stay readable."""

from __future__ import annotations

from springest.delivery.plan import Plan, PlannedRow
from springest.delivery.plan_words import SHOWN, in_words
from springest.states import State


def _lines(*set_aside: PlannedRow) -> list[str]:
    plan = Plan("default", None, len(set_aside), (), set_aside, 0, 0, (), None, 0.0, 0)
    lines = list(in_words(plan, until="06:00 UTC"))
    return lines[
        lines.index(f"Would set aside, leave for a person, or keep cancelled: {len(set_aside)}") + 1 :
    ]


def _row(number: int, reason: str, detail: str | None, state: State = State.INVALID) -> PlannedRow:
    return PlannedRow(f"T{number}", 1 + number % 2, 102, state, reason, detail)


def test_rows_of_one_reason_share_its_remedy():
    """The most frequent reason comes first, and its remedy once."""
    rows = [_row(number, "email_missing", "enter it") for number in range(SHOWN + 2)]
    lines = _lines(_row(9, "document_missing", "put it there"), *rows)
    assert lines[0] == f"  {SHOWN + 2} invalid, email_missing: enter it"
    assert lines[1:3] == [
        "    training T0, certification 102",
        "    training T1 (issue 2), certification 102",
    ]
    assert lines[SHOWN + 1 : SHOWN + 4] == [
        "    … and 2 more",
        "  1 invalid, document_missing: put it there",
        "    training T9 (issue 2), certification 102",
    ]
    assert sum("enter it" in line for line in lines) == 1


def test_remedies_that_differ_stay_with_their_rows():
    """Some name another training or a value's place; a state without a remedy refers to its description."""
    lines = _lines(
        _row(2, "duplicate", "training T0 has the same", State.REVIEW),
        _row(4, "duplicate", "training T1 has the same", State.REVIEW),
        _row(6, "cancelled_by_person", None, State.CANCELLED),
    )
    assert lines[:5] == [
        "  2 review, duplicate",
        "    training T2, certification 102: training T0 has the same",
        "    training T4, certification 102: training T1 has the same",
        "  1 cancelled, cancelled_by_person: see docs/states.md",
        "    training T6, certification 102",
    ]
