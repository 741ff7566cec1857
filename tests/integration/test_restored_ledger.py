"""A warehouse restored from a backup lacks the certificates sent since, and nothing is sent twice."""

from __future__ import annotations

import asyncio
import multiprocessing
import os
import secrets
import signal
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

import pytest
from sqlalchemy import create_engine, make_url, text

from sandbox.faults import Fault, Kind
from springest.db.migrate import check
from springest.delivery.attempt_watermark import AttemptWatermark
from springest.errors import ConfigurationError, DecisionRefused, LedgerBehind
from springest.review import recovery as restoration
from tests.factories import MemoryKeeper, add_delivery
from tests.integration.conftest import wait_until


@dataclass
class Backup:
    """A copy of the warehouse as it was, and how to go back to it."""

    world: object
    postgres: object
    name: str

    @classmethod
    def of(cls, world, postgres):
        world.warehouse.dispose()
        backup = cls(world, postgres, f"backup_{secrets.token_hex(6)}")
        postgres.create_database(backup.name, template=make_url(world.warehouse_url).database)
        return backup

    def restore(self):
        """The warehouse is what it was when the backup was made; what is kept outside stays."""
        name = make_url(self.world.warehouse_url).database
        self.world.warehouse.dispose()
        self.postgres.drop_database(name)
        self.postgres.create_database(name, template=self.name)
        self.postgres.drop_database(self.name)
        self.world.warehouse = create_engine(self.world.warehouse_url)
        check(self.world.warehouse)


@pytest.fixture
def world(make_world):
    """A site that never names an owner, so a person must decide."""
    return make_world(profile="no_filters")


def settle(world):
    return restoration.repair(
        world.warehouse, kept=[world.kept.read()], by="anna", reason="disk of the warehouse broke"
    )


def test_nothing_sent_since_the_backup_is_sent_again(world, postgres):
    """Rows that were queued, set aside or withdrawn, and rows that the backup does not have."""
    world.extra["list_filters"] = False  # nobody is proven by his address
    old, waiting, broken, gone = (world.training() for _ in range(4))
    document = Path(broken.certificate_uri)
    content = document.read_bytes()
    document.unlink()
    world.complete(old)
    world.night("before")
    world.complete(waiting, broken)
    world.stage("backup")
    backup = Backup.of(world, postgres)

    document.write_bytes(content)
    new = world.training()
    world.complete(new)
    world.night("after")
    stored = world.stored
    assert len(stored) == 4
    backup.restore()

    with pytest.raises(LedgerBehind, match="'A restored ledger' in docs/operations"):
        world.deliver("refused")
    world.stage("refused")
    assert settle(world).deliveries == 3
    states = world.states()
    assert {states[training.training_id] for training in (waiting, new)} == {("unknown", "ledger_restored")}

    later = world.training(completed_at=datetime.now(UTC))
    world.complete(later, gone)
    world.night("later")
    world.night("last")
    states = world.states()
    for training in (waiting, broken, new, gone):
        assert states[training.training_id] == ("unknown", "ledger_restored"), training
    assert states[old.training_id][0] == "visible"
    assert states[later.training_id][0] == "visible"
    assert len(world.stored) == len(stored) + 1
    assert world.sandbox.store.duplicates() == 0
    numbers = [row[0] for row in world.rows("SELECT attempt_id FROM springest.delivery_attempt ORDER BY 1")]
    assert len(numbers) == len(set(numbers)) == 2
    assert numbers[-1] == world.kept.read() == 5


def test_owners_in_the_list_resolve_the_attempts_lost(make_world, postgres):
    """If the site names the owners, the next snapshot resolves them, and nobody has to look at each."""
    world = make_world(profile="owner_shown")
    waiting = world.training()
    world.complete(waiting)
    world.catalogue()
    world.stage("backup")
    backup = Backup.of(world, postgres)
    world.night("after")
    backup.restore()
    settle(world)
    world.night("later")
    assert world.statuses()[waiting.training_id] == ("verified", None)
    assert world.posts == 1


def test_a_ledger_that_lost_nothing_is_left_alone(world):
    """Recovery refuses a ledger that is not behind."""
    training = world.training()
    world.complete(training)
    world.night()
    world.complete(world.training())
    world.stage("next")
    with pytest.raises(DecisionRefused, match="has lost nothing: its highest attempt is 1"):
        settle(world)
    assert [state for state, _ in world.states().values()].count("ready") == 1
    assert world.rows("SELECT * FROM springest.ledger_restoration") == []


def test_recovery_happens_once_and_records_who_did_it(world):
    """A second recovery is refused; the ledger records who did the first."""
    world.complete(world.training())
    world.catalogue()
    world.stage()
    world.kept.write(41)
    settle(world)
    with pytest.raises(DecisionRefused, match="has lost nothing"):
        settle(world)
    [kept] = world.rows("SELECT * FROM springest.ledger_restoration")
    assert (kept.settled_by, kept.reason) == ("anna", "disk of the warehouse broke")
    assert (kept.found_attempt_id, kept.highest_attempt_id, kept.deliveries) == (0, 41, 1)


def test_all_sites_of_the_warehouse_are_set_right_together(world):
    """It came back as a whole, and its numbers are shared."""
    world.complete(world.training())
    world.catalogue()
    world.stage()
    add_delivery(world.warehouse, site="other")
    assert restoration.sites_of(world.warehouse) == ["default", "other"]
    assert restoration.look(world.warehouse, kept=[3, None]).queued == {"default": 1, "other": 1}
    assert restoration.repair(world.warehouse, kept=[3, None], by="anna", reason="disk").deliveries == 2


def test_a_ledger_behind_on_one_site_stops_every_site(world, postgres):
    """Attempts are numbered together: new ones would hide from the other site that the ledger is behind."""
    world.complete(world.training())
    world.catalogue()
    world.stage("backup")
    backup = Backup.of(world, postgres)
    world.night("after")
    assert world.kept.read() == 1
    backup.restore()
    own = MemoryKeeper()
    with pytest.raises(LedgerBehind):
        world.deliver("a run of another site", watermark=AttemptWatermark(own, others=[world.kept]))
    assert (world.posts, own.read()) == (1, None)


_FORGET = """
WITH lost AS (
    DELETE FROM springest.delivery_attempt
    WHERE attempt_id > (SELECT max(attempt_id) - 3 FROM springest.delivery_attempt)
    RETURNING delivery_id
)
UPDATE springest.delivery SET state = 'ready', reason = NULL, lease_owner = NULL, lease_until = NULL,
    springest_certificate_id = NULL, match_method = NULL
FROM lost WHERE delivery.delivery_id = lost.delivery_id
"""
"""What a standby says that took over before it had the last three attempts; numbers don't begin again."""


def test_a_standby_that_takes_over_stops_the_run(world):
    """The run remembers its own attempts, whatever the ledger contains now."""
    world.complete(*(world.training() for _ in range(30)))
    world.catalogue()
    world.stage()
    world.sandbox.state.faults.add(Fault(Kind.SLOW, seconds=0.05, times=None))

    async def fail_over(run):
        while run.stats.attempts < 8:  # noqa: ASYNC110 - the tally tells nobody
            await asyncio.sleep(0.01)
        with world.warehouse.begin() as connection:
            connection.execute(text(_FORGET))

    with pytest.raises(LedgerBehind):
        world.deliver(concurrency=1, meanwhile=fail_over)
    assert world.sandbox.store.duplicates() == 0
    with pytest.raises(LedgerBehind):
        world.deliver("next")
    assert world.sandbox.store.duplicates() == 0


class FileKeeper:
    """A place outside the warehouse that outlives a process."""

    def __init__(self, path):
        self.path = path

    def read(self):
        return int(self.path.read_text()) if self.path.exists() else None

    def write(self, attempt_id):
        beside = self.path.with_suffix(".new")
        beside.write_text(str(attempt_id))
        beside.replace(self.path)  # whole, whenever the process is killed


def test_a_standby_after_a_dead_worker_is_noticed_by_the_next(world, tmp_path):
    """Whatever the moment: each attempt is stored outside before it is sent."""
    world.complete(*(world.training() for _ in range(30)))
    world.catalogue()
    world.stage()
    world.sandbox.state.faults.add(Fault(Kind.SLOW, seconds=0.05, times=None))
    keeper = FileKeeper(tmp_path / "kept")
    world.warehouse.dispose(close=False)
    world.source.dispose(close=False)
    worker = multiprocessing.get_context("fork").Process(
        target=lambda: world.deliver("dies", watermark=AttemptWatermark(keeper), concurrency=1)
    )
    worker.start()
    wait_until(lambda: world.posts >= 8)
    os.kill(worker.pid, signal.SIGKILL)
    worker.join()
    with world.warehouse.begin() as connection:
        connection.execute(text(_FORGET))
    wait_until(lambda: _is_quiet(world))  # the server may still be reading the dead worker's last request
    posts = world.posts
    with pytest.raises(LedgerBehind):
        world.deliver("next", watermark=AttemptWatermark(keeper))
    assert world.posts == posts
    assert world.rows("SELECT count(*) FROM springest.delivery_attempt WHERE run_id = 'next'") == [(0,)]


def _is_quiet(world):
    posts = world.posts
    time.sleep(0.5)
    return world.posts == posts


def test_a_concurrent_run_does_not_look_like_a_lost_attempt(world):
    """What it stores outside while this run compares was in the ledger before."""
    world.complete(world.training())
    world.night("first")

    class KeptMeanwhile(MemoryKeeper):
        def read(self):
            if self.number is None:
                with world.warehouse.begin() as connection:
                    connection.execute(
                        text(
                            "INSERT INTO springest.delivery_attempt (delivery_id, run_id, worker,"
                            " document_sha256)"
                            " SELECT delivery_id, 'beside', 'other', document_sha256 FROM springest.delivery"
                        )
                    )
                self.number = 2
            return self.number

    world.deliver("second", watermark=AttemptWatermark(KeptMeanwhile()))


def test_a_staging_at_the_same_time_leaves_nothing_in_the_queue(world):
    """It ends before, and its rows become unknown, or begins after, and knows of the restoration."""
    world.catalogue()
    for number in range(6):
        world.complete(*(world.training() for _ in range(3)))
        world.kept.write(100 * (number + 1))
        with ThreadPoolExecutor(2) as pool:
            staging = pool.submit(world.stage, f"night-{number}")
            settle(world)
            staging.result()
        assert {state for state, _ in world.states().values()} == {"unknown"}


class HiddenKeeper(MemoryKeeper):
    """Is read from a copy, which nothing that is written reaches."""

    def __str__(self):
        return "the Variable springest_highest_attempt"

    def write(self, attempt_id):
        self.written = attempt_id


@pytest.mark.parametrize("copy", [None, 0])
def test_nothing_is_sent_while_a_copy_hides_the_highest_attempt(world, expected, copy):
    """Otherwise a ledger that is restored later would send those certificates again."""
    trainings = [world.training() for _ in range(3)]
    world.complete(*trainings)
    world.catalogue()
    world.stage()
    with pytest.raises(ConfigurationError, match="the Variable springest_highest_attempt was set to"):
        world.deliver("hidden", watermark=AttemptWatermark(HiddenKeeper(copy)))
    assert world.posts == 0
    assert {state for state, _ in world.states().values()} == {"ready"}
    world.deliver("mended")
    assert world.stored == expected(*trainings)
