"""The process dies at every boundary there is, one after the other, and what follows is always the same.

A child process works; at its Nth boundary (a statement, a commit, the connection, a piece of the body, the
answer) it is killed outright. Its successor may then do what it likes: no certificate is posted twice, none
is lost, the ledger can explain each, and tables that were being written end as if nothing had happened.

``make test`` draws its boundaries with a seed that a failure tells, ``make test-all`` dies at all of them.
"""

from __future__ import annotations

import itertools
import os
import random
from collections import Counter
from collections.abc import Callable, Iterable
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import text

from demo import source_database
from demo.nights import Training
from sandbox.faults import Fault, Kind
from springest.db.schema import metadata
from springest.source import reader
from springest.source.window import Window
from tests.integration.boundaries import cross

SEED = int(os.environ.get("CRASH_SEED", str(random.SystemRandom().randrange(10**6))))
SAMPLED = 14
MOST_BOUNDARIES = 250
FAR = 10**9

REPORT = Path(__file__).parents[2] / ".springest" / "tests" / "crash_points.txt"
"""What the long forms came to."""

FATES = {
    "answers": None,
    "does not store": Kind.CLOSE_BEFORE_STORING,
    "stores without an answer": Kind.CLOSE_AFTER_STORING,
    "stores late": Kind.STORE_LATE,
}
SUCCESSORS = ("retry", "clear", "backfill")


def _tell(line: str) -> None:
    with REPORT.open("a", encoding="utf-8") as file:
        file.write(f"{line}\n")


def _leases_run_out(world):
    with world.warehouse.begin() as connection:
        connection.exec_driver_sql(
            "UPDATE springest.delivery SET lease_until = now() - interval '1 s' WHERE state = 'sending'"
        )


def _follow(world, successor, backfill):
    """Do what a person or Airflow does with a task that died."""
    if successor == "clear":
        world.stage("night")
    if successor == "backfill":
        now = datetime.now(UTC)
        world.stage(backfill, asked=Window(now - timedelta(days=1), now))
    world.deliver(backfill if successor == "backfill" else "night", max_unknown=FAR)


def _send_one_and_die(world, fate, successor, last):
    """Let one certificate's sending die, follow it up, check what became of it; return boundaries crossed."""
    where = f"(dies at {last}, {fate}, {successor}, seed {SEED})"
    training = world.training()
    world.complete(training)
    world.stage("night")
    world.stage(f"night of {training.training_id}")
    posts = world.posts
    fault = FATES[fate]
    if fault is not None:
        world.sandbox.state.faults.add(Fault(fault))
    crossed = cross(world, last, lambda: world.deliver("night", concurrency=1, max_unknown=FAR))
    _leases_run_out(world)
    world.sandbox.state.faults.clear()
    _follow(world, successor, f"backfill of {training.training_id}")
    world.sandbox.store.release()
    _check_one(world, training, world.posts - posts, where)
    return crossed


def _check_one(world, training: Training, posts: int, where: str) -> None:
    stored = [
        certificate
        for certificate in world.sandbox.store.certificates()
        if certificate.email == training.learner.email
    ]
    state, reason = world.states()[training.training_id]
    outcomes = [
        outcome
        for (outcome,) in world.rows(
            "SELECT outcome FROM springest.delivery_attempt JOIN springest.delivery USING (delivery_id)"
            " WHERE training_id = :training_id ORDER BY attempt_id",
            training_id=training.training_id,
        )
    ]
    assert len(stored) <= 1, f"doubled {where}"
    assert state in {"accepted", "unknown"}, f"lost {where}: {state} {reason}"
    assert posts <= len(outcomes), f"a POST that no attempt explains {where}"
    assert (state == "accepted") == (outcomes[-1] == "accepted_with_id"), f"{state} after {outcomes} {where}"
    assert state == "unknown" or len(stored) == 1, f"called accepted, and isn't there {where}"
    assert sum(outcome != "not_stored" for outcome in outcomes) == 1, f"{outcomes} {where}"


def test_dying_somewhere_while_sending_is_safe(world):
    """Nothing is sent twice and nothing is lost.

    This is the short form: boundaries, fates and successors are drawn with a seed.
    """
    world.catalogue()
    chance = random.Random(SEED)  # noqa: S311 - repeatable, not secret
    most = _send_one_and_die(world, "answers", "retry", FAR)
    for _ in range(SAMPLED):
        last = chance.randint(1, most)
        _send_one_and_die(world, chance.choice(list(FATES)), chance.choice(SUCCESSORS), last)
    assert len(world.states()) == 1 + SAMPLED


@pytest.mark.long
@pytest.mark.timeout(1800)
@pytest.mark.parametrize("successor", SUCCESSORS)
@pytest.mark.parametrize("fate", FATES)
def test_dying_anywhere_while_sending_is_safe(world, fate, successor):
    """Nothing is sent twice and nothing is lost: at every boundary, whatever the server did with the request,
    and whatever runs afterwards.
    """
    world.catalogue()
    for last in itertools.count(1):
        assert last < MOST_BOUNDARIES, "the boundaries never end"
        if _send_one_and_die(world, fate, successor, last) < last:
            break
    _tell(f"sending, {fate}, {successor}: {last - 1} deaths")
    assert last > 30, "there should be more boundaries than that"
    assert len(world.states()) == last


# Tables that are being written when the process dies.

LEFT_OUT = {
    "run_id",
    "staged_run_id",
    "first_snapshot_id",
    "last_snapshot_id",
    "snapshot_id",
    "scan_id",
    "match_evidence",
    "version",
    "verdict_id",
    "publication_id",
    "changed",
    "input_hash",
}
"""Columns that tell which try wrote a row."""
TABLES = (
    "delivery",
    "delivery_attempt",
    "staged_row",
    "staging_run",
    "stage_watermark",
    "certification",
    "snapshot",
    "remote_certificate",
    "verdict",
    "verdict_history",
    "publication",
)
TABLES_IN_ORDER = ("delivery", *(table for table in TABLES if table != "delivery"))


def _keep(world) -> None:
    """Keep all tables as they are now."""
    with world.warehouse.begin() as connection:
        connection.execute(text("CREATE SCHEMA kept"))
        for table in TABLES:
            connection.execute(text(f"CREATE TABLE kept.{table} AS TABLE springest.{table}"))


def _restore(world) -> None:
    with world.warehouse.begin() as connection:
        connection.execute(
            text("TRUNCATE " + ", ".join(f"springest.{table}" for table in TABLES) + " CASCADE")
        )
        for table in TABLES_IN_ORDER:
            written = metadata.tables[f"springest.{table}"].columns
            names = ", ".join(column.name for column in written if column.computed is None)
            connection.execute(
                text(
                    f"INSERT INTO springest.{table} ({names}) OVERRIDING SYSTEM VALUE"  # noqa: S608
                    f" SELECT {names} FROM kept.{table}"
                )
            )


def _tables(world) -> dict[str, Counter[tuple[Any, ...]]]:
    """Everything that was written, but for which try did it and when.

    Each scan is a snapshot of its own, and each run publishes, so how many of them there are is left out too.
    """
    found: dict[str, Counter[tuple[Any, ...]]] = {}
    with world.warehouse.connect() as connection:
        # A number that a dead try drew is not drawn again.
        numbered = text("SELECT delivery_id, delivery_key FROM springest.delivery")
        keys = dict(connection.execute(numbered).all())
        for table in TABLES:
            rows = connection.execute(text(f"TABLE springest.{table}")).mappings()
            found[table] = Counter(
                tuple(
                    (name, keys[value] if name == "delivery_id" else value)
                    for name, value in row.items()
                    if name not in LEFT_OUT and (name == "completed_at" or not isinstance(value, datetime))
                )
                for row in rows
                if table != "snapshot" or row["finished_at"] is not None
            )
    for table in ("snapshot", "publication"):
        found[table] = Counter(set(found[table]))
    return found


def _prepare(world, monkeypatch) -> None:
    """A first night that went half well, and a second day on which rows came, changed and went."""
    monkeypatch.setattr(reader, "BATCH_ROWS", 2)
    trainings = [world.training() for _ in range(4)]
    gone, changed = world.training(certification_id=999), world.training(certification_id=999)
    world.complete(*trainings, gone, changed)
    world.catalogue()
    world.stage("night")
    world.sandbox.state.faults.add(Fault(Kind.CLOSE_AFTER_STORING))
    world.deliver("night", concurrency=1)
    new = [world.training() for _ in range(3)]
    broken = world.training(valid_until=datetime(2020, 1, 1, tzinfo=UTC).date())
    Path(new[0].certificate_uri).unlink()
    world.complete(*new, broken, broken, ago=timedelta(seconds=1))
    table = source_database.completed_training
    with world.source.begin() as connection:
        connection.execute(table.delete().where(table.c.training_id == gone.training_id))
        connection.execute(
            table.update().where(table.c.training_id == changed.training_id).values(certification_id=102)
        )


def _die_in_each_phase(world, draw: Callable[[int], Iterable[int]]) -> Counter[str]:
    """Die in each phase of a night and run it again: the tables end as when nothing disturbed it.

    When staging dies and is never run again, the next night has it all the same.

    :param draw: chooses boundaries, of so many.
    :returns: deaths by phase.
    """
    deaths: Counter[str] = Counter()
    for phase in (world.catalogue, world.stage, world.snapshot, world.publish):
        name, work = phase.__name__, partial(phase, "second")
        _keep(world)
        most = cross(world, FAR, work)
        undisturbed = _tables(world)
        for last in draw(most):
            _restore(world)
            assert cross(world, last, work) == last
            deaths[name] += 1
            if phase == world.stage and last % 2:
                world.stage("another night")
                found = _tables(world)["delivery"]
                assert found == undisturbed["delivery"], f"lost when {name} died at {last} (seed {SEED})"
            else:
                work()
                assert _tables(world) == undisturbed, f"{name} died at {last} (seed {SEED})"
        _restore(world)
        work()
        with world.warehouse.begin() as connection:
            connection.execute(text("DROP SCHEMA kept CASCADE"))
    return deaths


def test_dying_somewhere_while_writing_tables_is_safe(world, monkeypatch):
    """Afterwards the tables are those of an undisturbed run.

    This is the short form: some boundaries of each phase, drawn with a seed.
    """
    _prepare(world, monkeypatch)
    chance = random.Random(SEED)  # noqa: S311 - repeatable, not secret
    deaths = _die_in_each_phase(world, lambda most: chance.sample(range(1, most + 1), 4))
    assert set(deaths.values()) == {4}


@pytest.mark.long
@pytest.mark.timeout(1800)
def test_dying_anywhere_while_writing_tables_is_safe(world, monkeypatch):
    """Afterwards the tables are those of an undisturbed run: at every statement and every commit."""
    _prepare(world, monkeypatch)
    deaths = _die_in_each_phase(world, lambda most: range(1, most + 1))
    _tell(f"phases: {dict(deaths)} deaths")
    assert min(deaths.values()) > 10
