"""The first day at a site: nothing goes out before a person says so, and then exactly what was asked for."""

from __future__ import annotations

import asyncio
import os
from datetime import UTC, datetime, timedelta

import pytest
from sqlalchemy import text

from demo import source_database
from demo.pdf import make_pdf
from sandbox.faults import Fault, Kind
from springest.delivery.repository import DeliveryRepository
from springest.errors import SiteNotBegun
from springest.source.window import Window
from springest.staging.window import begin_site

from .conftest import sent


@pytest.fixture
def fresh(make_world):
    """A site that has not begun, with trainings of the last day that nobody has looked at yet."""
    world = make_world(has_begun=False)
    world.complete(*(world.training() for _ in range(5)), ago=timedelta(hours=3))
    world.catalogue()
    return world


def _window(*, hours_ago: float, until_hours_ago: float = 0) -> Window:
    now = datetime.now(UTC)
    return Window(now - timedelta(hours=hours_ago), now - timedelta(hours=until_hours_ago))


def _begin(world, *, hours_ago: float = 0) -> None:
    with world.warehouse.begin() as connection:
        moment = datetime.now(UTC) - timedelta(hours=hours_ago)
        begin_site(connection, site="default", begin_from=moment)


def test_a_scheduled_run_stages_and_sends_nothing(fresh):
    """Even if only its deliver task runs, after it was cleared."""
    with pytest.raises(SiteNotBegun):
        fresh.stage("scheduled")
    assert fresh.deliver("scheduled").accepted == 0
    assert (fresh.posts, fresh.states()) == (0, {})


def test_a_pilot_sends_only_its_own_window(fresh, expected):
    """The first pilot leaves four in the queue; the second one is around a single training."""
    fresh.stage("pilot", is_pilot=True)
    assert fresh.deliver("pilot", limit=1).left == 4
    assert fresh.posts == 1
    alone = fresh.training()
    fresh.complete(alone, ago=timedelta(hours=30))
    fresh.stage("another", asked=_window(hours_ago=31, until_hours_ago=29))
    assert fresh.deliver("another").accepted == 1
    assert expected(alone)[0] in fresh.stored
    assert fresh.deliver("scheduled").accepted == 0
    fresh.stage("a few more", is_pilot=True)
    assert fresh.deliver("a few more", limit=2).accepted == 2
    assert (fresh.posts, len(fresh.stored)) == (4, 4)


def test_a_backfill_before_the_beginning_sends_its_own_days(fresh):
    """A person made it, for days that the person named."""
    fresh.stage("pilot", is_pilot=True)
    early = fresh.training()
    fresh.complete(early, ago=timedelta(days=3))
    fresh.stage("backfill", asked=_window(hours_ago=80, until_hours_ago=70))
    fresh.deliver("backfill")
    assert fresh.stored == sent(early)


def test_the_limit_holds_for_all_tries_of_a_run(fresh):
    """A try that died, or was cleared, has used its places."""
    fresh.stage("pilot", is_pilot=True)
    for _ in range(3):
        report = fresh.deliver("pilot", limit=2)
    assert (fresh.posts, report.left, report.stopped_by) == (
        2, 3, "the run has reached its limit of 2; the rest stays in the queue"
    )  # fmt: skip


def test_the_limit_holds_for_two_tries_at_once(fresh, monkeypatch):
    """A cleared task's old process may still run, and both have asked what was sent before either sends."""

    async def nothing_yet(_):
        return 0

    monkeypatch.setattr(DeliveryRepository, "sent_by_run", nothing_yet)
    fresh.stage("pilot", is_pilot=True)
    reports = []

    async def again(_):
        reports.append(await asyncio.to_thread(fresh.deliver, "pilot", limit=2))

    reports.append(fresh.deliver("pilot", limit=2, meanwhile=again))
    reports.append(fresh.deliver("pilot", limit=2))
    assert fresh.posts == 2
    assert {report.stopped_by for report in reports} == {
        "the run has reached its limit of 2; the rest stays in the queue"
    }


def test_refused_certificates_count_for_the_limit(fresh):
    """A pilot whose certificates are refused is examined before more is sent."""
    fresh.sandbox.store.remove_certification(102)
    fresh.stage("pilot", is_pilot=True)
    assert fresh.deliver("pilot", limit=1).rejected == 1
    assert fresh.posts == 1


def test_a_certificate_surely_not_sent_frees_its_place(fresh):
    """Its body had not been sent when the connection broke."""
    for document in fresh.folder.iterdir():
        document.write_bytes(make_pdf(filling=os.urandom(5_000_000)))
    fresh.stage("pilot", is_pilot=True)
    fresh.sandbox.state.faults.add(Fault(Kind.CLOSE_BEFORE_BODY))
    report = fresh.deliver("pilot", limit=2)
    assert (report.not_stored, report.accepted, len(fresh.stored)) == (1, 2, 2)


def test_nights_start_at_the_beginning_and_finish_pilots(fresh, expected):
    """What pilots left is sent too.

    Nothing completed before the beginning is sent by schedule, not within the look-back either.
    """
    fresh.stage("pilot", asked=_window(hours_ago=4))
    fresh.deliver("pilot", limit=3)
    before, after = fresh.training(), fresh.training()
    fresh.complete(before, ago=timedelta(hours=2))
    fresh.complete(after, ago=timedelta(minutes=10))
    _begin(fresh, hours_ago=1)
    for night in ("first", "second"):
        fresh.night(night)
        assert len(fresh.stored) == 6
    assert expected(after)[0] in fresh.stored
    assert expected(before)[0] not in fresh.stored


def test_looking_for_rows_without_an_id_sends_nothing_early(fresh):
    """Nights look for such a row at the moment of its last change, even if that was before the beginning."""
    moment = datetime.now(UTC) - timedelta(days=3)
    nameless, beside = fresh.training(), fresh.training()
    for training, changed in ((nameless, moment), (beside, moment + timedelta(seconds=0.5))):
        source_database.add(fresh.source, [training], now=changed)
    with fresh.source.begin() as connection:
        connection.execute(
            text("UPDATE completed_training SET training_id = NULL WHERE training_id = :id"),
            {"id": nameless.training_id},
        )
    fresh.stage("pilot", asked=Window(moment, moment + timedelta(seconds=0.1)))
    _begin(fresh)
    fresh.night("first")
    assert (fresh.stored, [reason for _, reason in fresh.states().values()]) == ([], ["training_id_missing"])


def test_the_run_that_begins_the_site_sends_from_its_moment(fresh, expected):
    """As a person triggers it in the UI."""
    late = fresh.training()
    fresh.complete(late)
    fresh.stage("begin", begin_from=datetime.now(UTC) - timedelta(hours=1))
    fresh.deliver("begin")
    assert fresh.stored == expected(late)
