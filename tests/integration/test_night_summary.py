"""The summary of a night, after real nights."""

from __future__ import annotations

from datetime import timedelta

import pytest

from sandbox.faults import Fault, Kind
from springest.review.night import LastDay, look_at_night
from springest_provider.notifications.notifiers import summary_of


def _night(world):
    return look_at_night(world.warehouse, world.site)


@pytest.fixture
def night(world):
    """One certificate of each fate: shown, not verified, unknown, and set aside; and one that waits."""
    world.complete(world.training(), world.training(certification_id=105))
    world.night("first")
    world.complete(world.training(), world.training(certificate_uri=str(world.folder / "missing.pdf")))
    world.stage("second")
    world.sandbox.state.faults.add(Fault(Kind.CLOSE_AFTER_STORING))
    world.deliver("second")
    world.complete(world.training())
    world.stage("third")
    return world


def test_the_last_day_is_counted_over_all_runs(night):
    """The summary covers every run of the last day."""
    found = _night(night)
    assert found.last_day == LastDay(
        entered=4,
        set_aside=1,
        sent=3,
        accepted=2,
        refused=0,
        unknown=1,
        became_visible=1,
        oldest_unknown=found.waiting[0].sent_at,
    )
    assert [(row.state, row.training_id) for row in found.waiting] == [("unknown", "T0003")]
    assert found.status.ready == 1
    assert found.is_queue_growing


def test_a_summary_holds_no_address(night):
    """Of five learners."""
    message = summary_of(_night(night))
    for form in (message.text, message.html, message.slack):
        assert "@" not in form
        assert "zo" not in form


def test_the_next_quiet_day_is_one_line(world):
    """Nothing came, nothing waits; yesterday's night is over."""
    world.complete(world.training())
    world.night("first")
    world.night("second")
    _let_a_day_pass(world)
    assert summary_of(_night(world)).text == "Springest (default): nothing was sent, and nothing waits"


def test_what_waits_for_a_verification_for_a_week_is_overdue(world):
    """A person asks Springest; the certification is named once, with how many wait for it."""
    world.complete(*(world.training(certification_id=105) for _ in range(2)))
    world.night("first")
    assert _night(world).unverified == ()
    with world.warehouse.begin() as connection:
        connection.exec_driver_sql("UPDATE springest.verdict SET sent_at = sent_at - interval '8 days'")
    [late] = _night(world).unverified
    assert (late.certification_id, late.certificates) == (105, 2)
    assert _night(world).status.now - late.oldest_sent_at > timedelta(days=7)


def test_a_night_that_did_not_happen_is_overdue(world):
    """Staging stopped a day and a half ago."""
    world.complete(world.training())
    world.night("first")
    assert _night(world).overdue == ()
    with world.warehouse.begin() as connection:
        connection.exec_driver_sql(
            "UPDATE springest.stage_watermark SET watermark = watermark - interval '36 hours'"
        )
    [overdue] = _night(world).overdue
    assert "nothing was staged since" in overdue


def _let_a_day_pass(world):
    """Move what the ledger and the verdicts say back by a day; only time is replaced."""
    with world.warehouse.begin() as connection:
        for table, column in (
            ("delivery", "created_at"),
            ("delivery_attempt", "started_at"),
            ("verdict", "first_visible_at"),
        ):
            connection.exec_driver_sql(
                f"UPDATE springest.{table} SET {column} = {column} - interval '1 day'"  # noqa: S608
            )
