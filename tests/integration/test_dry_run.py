"""A dry run predicts the real run, changes no row, sends nothing and blocks no other run."""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from datetime import UTC, date, datetime, timedelta
from typing import Any

import pytest
from sqlalchemy import text
from sqlalchemy.exc import SQLAlchemyError

from demo import source_database
from demo.documents import render_all
from demo.nights import CERTIFICATIONS, PENDING, nights
from sandbox.faults import Fault, Kind
from sandbox.store import Certification
from springest.db.engines import warehouse_engine
from springest.db.locks import Lock, lock_key
from springest.db.rollback import RollbackEngine, rolled_back
from springest.delivery.plan import Plan, Planner, Selection
from springest.delivery.run import DeliverySettings
from springest.errors import ConfigurationError, DryRunGaveWay, RunTooLarge, SiteNotBegun
from springest.identity import Pseudonyms
from springest.source.reader import SourceReader
from springest.source.window import Window
from tests.factories import SECRET
from tests.integration.conftest import World, wait_until

STAGING = lock_key(Lock.STAGE, "'default'")


def plan(
    world: World,
    run_id: str = "dry",
    which: Selection | None = None,
    *,
    secret: str = SECRET,
    **settings: Any,
) -> Plan:
    planner = Planner(
        world.warehouse,
        site=world.site,
        source=SourceReader(world.source, query=world.query),
        pseudonyms=Pseudonyms(secret),
        documents=world.documents,
        keeper=lambda _site: world.kept,
    )
    return planner.plan(run_id, which, settings=DeliverySettings(**settings))


def everything(world: World) -> dict[str, Sequence[Any]]:
    """Every row of every table, with the transaction that wrote it."""
    names = world.rows("SELECT tablename FROM pg_tables WHERE schemaname = 'springest'")
    return {
        name: world.rows(f'SELECT xmin::text, row::text FROM springest."{name}" AS row ORDER BY 2')  # noqa: S608
        for (name,) in names
    }


def requests(world: World) -> int:
    return len(world.sandbox.store.requests())


@pytest.fixture
def institute(make_world: Callable[..., World]) -> World:
    """The demo's institute, whose nights hold every kind of bad row."""
    world = make_world(send_unlisted=list(PENDING))
    for certification in CERTIFICATIONS:
        world.sandbox.store.remove_certification(certification.id)
        made = Certification(
            certification.id,
            certification.name,
            requires_valid_until=certification.requires_valid_until,
            verified=certification.verified,
        )
        world.sandbox.store.add_certification(made)
    world.catalogue()
    return world


def test_a_dry_run_of_the_demo_predicts_the_real_run(institute: World) -> None:
    """Over three nights it predicts which certificates are sent, and the state and reason of all others."""
    world = institute
    for number, night in enumerate(
        nights(7, first=date(2026, 11, 2), count=3, rows=30, root=str(world.folder))
    ):
        render_all(night.trainings, world.folder)
        source_database.add(world.source, night.trainings, now=datetime.now(UTC))
        before, asked = everything(world), requests(world)
        planned = plan(world, f"night {number}")
        assert everything(world) == before
        assert requests(world) == asked
        staged = world.stage(f"night {number}")
        report = world.deliver(f"night {number}")
        sent = world.rows(
            "SELECT training_id FROM springest.delivery JOIN springest.delivery_attempt USING (delivery_id)"
            " WHERE run_id = :run_id ORDER BY 1",
            run_id=f"night {number}",
        )
        assert planned.rows == staged.rows
        assert sorted(row.training_id for row in planned.to_send) == [row.training_id for row in sent]
        assert len(planned.to_send) == report.accepted > 25
        assert planned.stopped_by is None
        states = world.states()
        assert {row.training_id: (row.state, row.reason) for row in planned.set_aside} == {
            name: state for name, state in states.items() if state[0] != "accepted"
        }
        assert len(planned.set_aside) > 15
        assert all(row.detail for row in planned.set_aside)


def test_a_limit_and_certifications_choose_what_is_sent(world: World) -> None:
    """The first ones of the queue, whichever document is opened first; a bad document takes no place."""
    trainings = [world.training(certification_id=102 + 3 * (n % 2)) for n in range(14)]
    world.complete(*trainings)
    world.catalogue()
    which = Selection(certification_ids=[105])
    planned = plan(world, "night", which, limit=3)
    assert [row.certification_id for row in planned.to_send] == [105, 105, 105]
    assert "its limit of 3" in str(planned.stopped_by)
    world.stage("night")
    report = world.deliver("night", limit=3, certification_ids=[105])
    assert (report.accepted, report.left) == (3, 11)
    sent = world.rows("SELECT training_id FROM springest.delivery WHERE state = 'accepted'")
    assert {row.training_id for row in sent} == {row.training_id for row in planned.to_send}
    # The next try of the same run has sent what it may.
    assert plan(world, "night", which, limit=3).to_send == ()
    (world.folder / f"{trainings[0].training_id}.pdf").unlink()
    again = plan(world, "another", limit=2)
    assert [(row.training_id, row.reason) for row in again.set_aside] == [
        (trainings[0].training_id, "document_missing")
    ]
    world.stage("another")
    assert world.deliver("another", limit=2).set_aside == 1
    sent = world.rows(
        "SELECT training_id FROM springest.delivery WHERE state = 'accepted' AND certification_id = 102"
    )
    assert {row.training_id for row in sent} == {row.training_id for row in again.to_send}


def test_single_trainings_are_planned_in_any_window(world: World) -> None:
    """A good one, a bad one, one that is gone, one that nobody knows; the rest is left out."""
    good, gone = world.training(), world.training()
    bad = world.training(certificate_uri="/etc/hostname")
    world.complete(good, bad, gone, world.training(), ago=timedelta(days=400))
    world.catalogue()
    names = [good.training_id, bad.training_id, "nobody"]
    planned = plan(world, which=Selection(training_ids=names))
    assert [row.training_id for row in planned.to_send] == [good.training_id]
    assert [(row.training_id, row.reason) for row in planned.set_aside] == [
        (bad.training_id, "document_outside_roots")
    ]
    assert (planned.rows, planned.not_found, planned.window) == (2, ("nobody",), None)
    assert world.states() == {}
    now = datetime.now(UTC)
    world.stage("backfill", asked=Window(now - timedelta(days=401), now))
    with world.source.begin() as connection:
        connection.execute(
            text("DELETE FROM completed_training WHERE training_id = :name"), {"name": gone.training_id}
        )
    planned = plan(world, which=Selection(training_ids=[gone.training_id]))
    assert [(row.state, row.reason) for row in planned.set_aside] == [("withdrawn", "source_gone")]


def test_a_gate_stops_a_dry_run_with_the_same_message(world: World, monkeypatch) -> None:
    """A night that is too large, a ledger that is behind, a site that has not begun, another secret."""
    monkeypatch.setattr("springest.delivery.volume.ALWAYS_ALLOWED", 3)
    world.complete(*(world.training() for _ in range(5)))
    world.catalogue()
    planned = plan(world, "night")
    world.stage("night")
    with pytest.raises(RunTooLarge) as stopped:
        world.deliver("night")
    assert (planned.to_send, planned.stopped_by) == ((), str(stopped.value))
    assert len(plan(world, "night", expected=5).to_send) == 5
    world.kept.number = 99
    assert "highest attempt is 0, but attempt 99 was made" in str(plan(world, "night", expected=5).stopped_by)
    with pytest.raises(ConfigurationError, match="learner_secret"):
        plan(world, secret="another secret, also long enough for it")
    assert world.posts == 0


def test_a_site_not_begun_is_planned_only_as_a_pilot(make_world) -> None:
    """A plan begins nothing."""
    world = make_world(has_begun=False)
    world.complete(world.training())
    world.catalogue()
    with pytest.raises(SiteNotBegun):
        plan(world)
    assert len(plan(world, which=Selection(is_pilot=True), limit=1).to_send) == 1
    begin = datetime.now(UTC) - timedelta(days=1)
    assert len(plan(world, which=Selection(begin_from=begin)).to_send) == 1
    assert len(plan(world, which=Selection(training_ids=["T0001"])).to_send) == 1
    with pytest.raises(SiteNotBegun):
        plan(world)


def test_the_time_it_takes_is_that_of_the_rate_limit(make_world) -> None:
    """Of 36 requests an hour at 95 % with a burst of one: a certificate every 105 seconds or so."""
    world = make_world(requests_per_hour=36)
    world.complete(*(world.training() for _ in range(4)))
    world.catalogue()
    planned = plan(world, seconds_to_deliver_until=250.0)
    assert planned.seconds == pytest.approx(3 * 3600 / 34.2, abs=1)
    assert (len(planned.to_send), planned.in_time) == (4, 3)
    row = {"host": world.site.host, "key_fingerprint": world.site.key_fingerprint}
    with world.warehouse.begin() as connection:
        connection.execute(
            text(
                "INSERT INTO springest.rate_limit (host, key_fingerprint, frozen_until)"
                " VALUES (:host, :key_fingerprint, clock_timestamp() + interval '200 seconds')"
            ),
            row,
        )
    frozen = plan(world, seconds_to_deliver_until=250.0)
    assert frozen.seconds == pytest.approx(planned.seconds + 200, abs=30)
    assert frozen.in_time == 1


def _holding_the_staging_lock(engine: RollbackEngine) -> None:
    with engine.begin() as connection:
        connection.execute(text(f"SELECT pg_advisory_xact_lock({STAGING})"))


def _is_staging_free(world: World) -> bool:
    [(free,)] = world.rows(f"SELECT pg_try_advisory_xact_lock({STAGING})")
    return bool(free)


def test_a_run_gets_what_a_dry_run_holds_at_once(world: World) -> None:
    """The dry run ends with a message and has changed nothing; the run waited only a moment."""
    world.complete(world.training())
    world.catalogue()
    staged = threading.Event()

    def stage() -> None:
        world.stage("night")
        staged.set()

    real = threading.Thread(target=stage)
    with pytest.raises(DryRunGaveWay), rolled_back(world.warehouse) as engine:  # noqa: PT012 - a story
        _holding_the_staging_lock(engine)
        real.start()
        wait_until(staged.is_set)
        with engine.begin() as connection:
            connection.execute(text("SELECT 1"))
    real.join()
    assert world.states() == {"T0001": ("ready", None)}


def test_a_dry_run_that_cannot_be_watched_takes_no_lock(world: World, warehouse_url: str) -> None:
    """The connection that watches is made first."""
    alone = warehouse_engine(warehouse_url, pool_size=1, max_overflow=0, pool_timeout=0.1)
    with pytest.raises(SQLAlchemyError), rolled_back(alone) as engine:
        _holding_the_staging_lock(engine)
    alone.dispose()
    assert _is_staging_free(world)


def test_a_dry_run_ends_with_its_watch(world: World) -> None:
    """The session that watches is lost: the locks are released, though the dry run itself does nothing."""
    end_watch = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE query LIKE '%pg_blocking_pids%'"
    released = False
    with pytest.raises(DryRunGaveWay, match="who waits"), rolled_back(world.warehouse) as engine:  # noqa: PT012
        _holding_the_staging_lock(engine)
        wait_until(lambda: len(world.rows(f"{end_watch} AND pid <> pg_backend_pid()")) == 1)
        wait_until(lambda: _is_staging_free(world))
        released = True
        with engine.connect() as connection:
            connection.execute(text("SELECT 1"))
    assert released  # an error of the wait above would have become DryRunGaveWay as well


def test_the_server_ends_a_dry_run_that_is_silent(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its machine may have gone: nobody else releases what it locked."""
    monkeypatch.setattr("springest.db.rollback.IDLE_SECONDS", 1)
    silent = pytest.raises(DryRunGaveWay, match="no statement to the warehouse for 1 seconds")
    with silent, rolled_back(world.warehouse) as engine, engine.begin() as connection:
        connection.execute(text(f"SELECT pg_advisory_xact_lock({STAGING})"))
        wait_until(lambda: _is_staging_free(world))
        connection.execute(text("SELECT 1"))


def test_a_dry_run_that_reads_documents_is_not_silent(world: World) -> None:
    """However long it takes: the server hears of it again and again."""
    last = "SELECT state_change FROM pg_stat_activity WHERE pid = :pid"
    with rolled_back(world.warehouse) as engine:
        with engine.connect() as connection:
            pid = connection.execute(text("SELECT pg_backend_pid()")).scalar_one()
        for _ in range(3):
            before = world.rows(last, pid=pid)
            wait_until(lambda before=before: world.rows(last, pid=pid) > before)


def test_an_error_in_the_middle_leaves_nothing_behind(world: World) -> None:
    """The source fails while its rows are read."""
    world.complete(world.training())
    world.catalogue()
    before = everything(world)
    world.query = world.query.replace("completed_training", "no_such_table")
    with pytest.raises(Exception, match="no_such_table"):
        plan(world)
    assert everything(world) == before


def test_an_unknown_is_not_planned_again(world: World) -> None:
    """It counts as sent before; the next one is planned."""
    world.complete(world.training())
    world.catalogue()
    world.sandbox.state.faults.add(Fault(Kind.CLOSE_BEFORE_STORING))
    world.stage("night")
    world.deliver("night")
    world.complete(world.training())
    planned = plan(world)
    assert ([row.training_id for row in planned.to_send], planned.delivered) == (["T0002"], 1)
