"""Only verdicts whose inputs changed are computed again, and every such change is noticed."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from datetime import UTC, date, datetime
from typing import Any

import pytest
from sqlalchemy import Engine, event, text

from springest.verdicts import pending
from tests.component.conftest import Deliver, Show
from tests.factories import DAY, MOMENT, SITE, list_certification
from tests.verdicts import publish, require_no_stale_verdict

LAST_DAY = date(2999, 12, 31)
"""So far off that nothing expires by itself."""


def run(warehouse: Engine, *statements: str) -> None:
    with warehouse.begin() as connection:
        for statement in statements:
            connection.execute(text(statement))


def verdicts(warehouse: Engine) -> list[Any]:
    with warehouse.connect() as connection:
        return list(
            connection.execute(text("SELECT * FROM springest.certificate_reconciliation ORDER BY 1, 2"))
        )


@contextmanager
def judged(warehouse: Engine) -> Iterator[list[int]]:
    """Note how many deliveries are judged, each time."""
    numbers: list[int] = []

    def note(_conn: Any, cursor: Any, statement: str, *_: Any) -> None:
        if "CREATE TEMPORARY TABLE stale" in statement and cursor.rowcount:
            numbers.append(cursor.rowcount)

    event.listen(warehouse, "after_cursor_execute", note)
    yield numbers
    event.remove(warehouse, "after_cursor_execute", note)


@pytest.fixture
def grounds(warehouse: Engine, deliver: Deliver, show: Show) -> None:
    """One delivery for each way in which a verdict comes about, and their verdicts published."""
    dates = {"valid_from": DAY, "valid_until": LAST_DAY}
    now = datetime.now(UTC)
    list_certification(warehouse, since=now, last=now, name="Project Control")
    deliver("accepted", "by id", **dates)
    show(7, **dates)
    deliver("accepted", "not shown", springest_certificate_id=8, valid_until=date(2026, 11, 3))
    deliver("unknown", "listed without a match", learner_ref="b" * 64)
    deliver("accepted", "confirmed", springest_certificate_id=9, match_method="person", **dates)
    show(9, **dates)
    deliver("held", "in the queue", learner_ref="c" * 64)
    run(warehouse, CONFIRMED)
    publish(warehouse, site=SITE, run_id="first")


CONFIRMED = (
    "INSERT INTO springest.delivery_decision (delivery_id, decided_by, decision, reason,"
    " springest_certificate_id, version, from_state, to_state, evidence)"
    " SELECT delivery_id, 'anna', 'confirm', 'seen', 9, 1, 'unknown', 'accepted', '{}'"
    " FROM springest.delivery WHERE training_id = 'confirmed'"
)
_SHOWN = "UPDATE springest.remote_certificate SET {} WHERE springest_certificate_id = 7"
_LISTED = (
    "INSERT INTO springest.remote_certificate (site, springest_certificate_id, certification_id, valid_from,"
    " first_snapshot_id, first_seen_at, recorded_at)"
    " SELECT 'default', {}, 102, '2026-11-02', min(snapshot_id), now(), now()"
    " FROM springest.snapshot"
)
CHANGES = {
    "a delivery": "UPDATE springest.delivery SET reason_detail = 'more' WHERE training_id = 'in the queue'",
    "a state": "UPDATE springest.delivery SET state = 'invalid' WHERE training_id = 'in the queue'",
    "a status": _SHOWN.format("springest_status = 'on hold'"),
    "another certification": _SHOWN.format("certification_id = 103"),
    "a certification whose halves fold to the same": _SHOWN.format(f"certification_id = {(1 << 32) + 103}"),
    "another first day": _SHOWN.format("valid_from = '2026-11-03'"),
    "another last day": _SHOWN.format("valid_until = '2030-01-01'"),
    "an owner": _SHOWN.format(f"learner_ref = '{'e' * 64}'"),
    "seen earlier": _SHOWN.format(f"first_seen_at = timestamptz '{MOMENT}' - interval '1 day'"),
    "seen earlier by what folds to the same": _SHOWN.format(
        "first_seen_at = first_seen_at - make_interval(secs => 4294.967297)"
    ),
    "seen first in another snapshot": _SHOWN.format("first_snapshot_id = 4711"),
    "a name": "UPDATE springest.certification SET name = 'Project Controlling'",
    "shown at last": _LISTED.format(8),
    "listed without a match": _LISTED.format(77),
    "one id twice": "UPDATE springest.delivery SET springest_certificate_id = 9, state = 'accepted'"
    " WHERE training_id = 'in the queue'",
    "another word of a person": "UPDATE springest.delivery_decision"
    " SET decided_at = decided_at - interval '1 s'",
    "a second word of a person": CONFIRMED.replace("'seen'", "'seen again'"),
    "what is published": "UPDATE springest.verdict SET verification_status = 'verified'"
    " WHERE training_id = 'in the queue'",
    "a verdict is lost": "DELETE FROM springest.verdict WHERE training_id = 'in the queue'",
    "all verdicts are lost": "TRUNCATE springest.verdict",
}


@pytest.mark.usefixtures("grounds")
@pytest.mark.parametrize("change", CHANGES)
def test_a_change_of_each_input_of_a_verdict_is_noticed(warehouse: Engine, change: str) -> None:
    """A change of anything that a verdict is computed from leads to a new verdict."""
    require_no_stale_verdict(warehouse, SITE)
    run(warehouse, CHANGES[change])
    assert publish(warehouse, site=SITE, run_id="second").written
    require_no_stale_verdict(warehouse, SITE)


@pytest.mark.usefixtures("grounds")
def test_an_inference_that_no_longer_holds_is_withdrawn(warehouse: Engine) -> None:
    """A verdict from an inference is computed again once the inference is gone."""
    run(warehouse, CHANGES["listed without a match"])
    publish(warehouse, site=SITE, run_id="second")
    run(warehouse, "DELETE FROM springest.remote_certificate WHERE springest_certificate_id = 77")
    assert publish(warehouse, site=SITE, run_id="third").written == 1
    require_no_stale_verdict(warehouse, SITE)


@pytest.mark.usefixtures("grounds")
@pytest.mark.parametrize("day", [date(2026, 11, 5), date(3000, 1, 1)])
def test_a_day_that_passes_is_noticed(warehouse: Engine, monkeypatch: pytest.MonkeyPatch, day: date) -> None:
    """What is shown expires by the date that is shown; the clock may be set back, too."""
    monkeypatch.setattr(pending, "_NOW", text(f"SELECT TIMESTAMPTZ '{day} 12:00Z'"))
    written = publish(warehouse, site=SITE, run_id="second").written
    assert written == (1 if day > LAST_DAY else 0)
    require_no_stale_verdict(warehouse, SITE)


@pytest.mark.usefixtures("grounds")
def test_a_change_of_verified_statuses_is_noticed(warehouse: Engine) -> None:
    """A change of `verified_statuses` leads to new verdicts."""
    strict = replace(SITE, verified_statuses=("approved",))
    assert publish(warehouse, site=strict, run_id="second").written == 2
    require_no_stale_verdict(warehouse, strict)


@pytest.mark.usefixtures("grounds")
def test_a_night_without_changes_judges_nothing(warehouse: Engine) -> None:
    """This also holds if every certificate was seen again."""
    run(warehouse, "UPDATE springest.remote_certificate SET recorded_at = now()")
    run(warehouse, "UPDATE springest.certification SET last_seen_at = now()")
    with judged(warehouse) as numbers:
        publish(warehouse, site=SITE, run_id="second")
    assert numbers == []


@pytest.mark.usefixtures("grounds")
def test_only_changed_deliveries_are_judged(warehouse: Engine) -> None:
    """A verdict is computed again only for deliveries that changed."""
    run(warehouse, CHANGES["a status"])
    with judged(warehouse) as numbers:
        publish(warehouse, site=SITE, run_id="second")
    assert numbers == [1]


@pytest.mark.usefixtures("grounds")
def test_new_rules_judge_everything_once(warehouse: Engine, monkeypatch: pytest.MonkeyPatch) -> None:
    """As after an upgrade; what stays the same is published no second time."""
    before = verdicts(warehouse)
    monkeypatch.setattr(pending, "_rules_hash", lambda _: 4711)
    with judged(warehouse) as numbers:
        assert publish(warehouse, site=SITE, run_id="second").written == 0
        assert publish(warehouse, site=SITE, run_id="third").written == 0
    assert numbers == [5]
    assert [row[:-3] for row in verdicts(warehouse)] == [row[:-3] for row in before]


@pytest.mark.usefixtures("grounds")
def test_an_unpublished_verdict_is_judged_again(warehouse: Engine) -> None:
    """The run may die in between, or be superseded."""
    run(warehouse, CHANGES["a state"])
    with warehouse.begin() as connection:
        pending.lock_publishing(connection, SITE.name)
        assert pending.compute_verdicts(connection, SITE, run_id="dies", snapshot_id=None) == 1
    assert publish(warehouse, site=SITE, run_id="third").written == 1
    require_no_stale_verdict(warehouse, SITE)
