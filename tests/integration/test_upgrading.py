"""A migration, and new keys, while a night is being delivered."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import NullPool

from sandbox.faults import Fault, Kind
from springest.db.engines import warehouse_engine
from springest.db.migrate import schema_in_use, upgrade
from springest.errors import AccessRefused, SchemaInUse, SchemaOutOfDate, Unauthorized
from tests.integration.conftest import World
from tests.next_release import NextRelease

TRAININGS = 24


@pytest.fixture
def staged(make_world: Callable[..., World]) -> World:
    """A staged night whose responses are late, so that something happens meanwhile."""
    world = make_world()
    world.complete(*(world.training() for _ in range(TRAININGS)))
    world.catalogue()
    world.stage()
    for _ in range(TRAININGS):
        world.sandbox.state.faults.add(Fault(Kind.SLOW, seconds=0.7))
    return world


@pytest.fixture
def release(staged: World, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> NextRelease:
    """A next revision, which adds a column to what delivering writes."""
    release = NextRelease(tmp_path, monkeypatch)
    release.add_columns(staged.warehouse, "delivery", "delivery_attempt", "verdict", "verdict_history")
    return release


def during(world: World, do: Callable[[], None]) -> Callable[[Any], Awaitable[None]]:
    """Do something once the first certificates are on their way, and before the last one is."""

    def do_meanwhile() -> None:
        while not _posts(world):
            time.sleep(0.01)
        do()
        assert len(_posts(world)) < TRAININGS

    async def meanwhile(_: Any) -> None:
        await asyncio.to_thread(do_meanwhile)

    return meanwhile


def _posts(world: World) -> list[Any]:
    return [request for request in world.sandbox.store.requests() if request.method == "POST"]


def _require_all_sent_once(world: World) -> None:
    stored = world.sandbox.store.certificates()
    assert len(stored) == len({row.email for row in stored}) == TRAININGS
    assert {state for state, _ in world.states().values()} <= {"accepted", "visible"}


def test_a_night_goes_on_beside_a_migration(staged: World, release: NextRelease) -> None:
    """One that only adds: the tasks of the code before it send, snapshot and publish all the same."""
    release.allow_beside_tasks()

    def migrate() -> None:
        engine = warehouse_engine(staged.warehouse_url, poolclass=NullPool)
        with release.deployed():
            assert upgrade(engine) == "0002"

    with schema_in_use(staged.warehouse):
        staged.deliver(meanwhile=during(staged, migrate))
        staged.snapshot()
        assert staged.publish().statuses == {"verified": TRAININGS}
    _require_all_sent_once(staged)
    with pytest.raises(SchemaOutOfDate), schema_in_use(staged.warehouse):
        pass


def test_a_migration_waits_for_the_night(staged: World, release: NextRelease) -> None:
    """One that the running tasks could not bear is refused, and the night does not notice."""

    def try_to_migrate() -> None:
        with release.deployed(), pytest.raises(SchemaInUse):
            upgrade(staged.warehouse)

    with schema_in_use(staged.warehouse):
        staged.deliver(meanwhile=during(staged, try_to_migrate))
    _require_all_sent_once(staged)
    with release.deployed():
        assert upgrade(staged.warehouse) == "0002"
        with schema_in_use(staged.warehouse):
            staged.snapshot()
            assert staged.publish().statuses == {"verified": TRAININGS}


@contextmanager
def _former_keys(world: World):
    """A worker that read the connection before the keys were rotated."""
    former = (world.sandbox.state.api_key, world.sandbox.state.certifications_api_key)
    rotated = ("the-new-key-for-certificates", "the-new-key-for-certifications")

    def rotate() -> None:
        world.sandbox.state.api_key, world.sandbox.state.certifications_api_key = rotated

    world.password, world.extra["certifications_api_key"] = former
    yield rotate
    world.password, world.extra["certifications_api_key"] = rotated


def test_rotated_keys_stop_a_run_and_lose_nothing(staged: World) -> None:
    """The worker still has the former key: it stops, what it sent stands, and the next run sends the rest."""
    with _former_keys(staged) as rotate:
        with pytest.raises(AccessRefused):
            staged.deliver(meanwhile=during(staged, rotate))
        with pytest.raises(Unauthorized):
            staged.catalogue()
    sent = len(staged.sandbox.store.certificates())
    assert 0 < sent < TRAININGS
    assert {state for state, _ in staged.states().values()} == {"accepted", "ready"}
    staged.catalogue()
    staged.stage("again")
    staged.deliver("again")
    _require_all_sent_once(staged)
    [(fingerprint,)] = staged.rows("SELECT key_fingerprint FROM springest.site_identity")
    assert fingerprint == staged.site.key_fingerprint
    assert len(staged.rows("SELECT 1 FROM springest.rate_limit WHERE granted > 0")) >= 2
