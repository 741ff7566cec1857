"""Snapshots may be stored in any order: the table says the same as if each had been stored in its turn."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from itertools import count
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sqlalchemy import Engine, text
from sqlalchemy.ext.asyncio import AsyncConnection, create_async_engine

from springest.snapshot.snapshot import Begun, Reading, begin, gather_rows, merge
from tests.factories import PSEUDONYMS

MONDAY = datetime(2026, 11, 2, 1, tzinfo=UTC)
SITES = count()
STATUSES = ("verified", "withdrawn")


@dataclass(frozen=True)
class Taken:
    """A snapshot: what it showed, as status by id, and whether it read the whole list."""

    hour: int
    is_complete: bool
    shown: Mapping[int, str]

    @property
    def started_at(self) -> datetime:
        return MONDAY + timedelta(hours=self.hour)


@st.composite
def snapshots(draw: st.DrawFn) -> tuple[list[Taken], list[Taken]]:
    """Up to five snapshots, in the order in which they began and in the one in which they are stored."""
    taken = [
        Taken(
            hour,
            draw(st.booleans()),
            draw(st.dictionaries(st.integers(1, 3), st.sampled_from(STATUSES), max_size=3)),
        )
        for hour in range(draw(st.integers(1, 5)))
    ]
    return taken, draw(st.permutations(taken))


def expected(taken: Sequence[Taken]) -> dict[int, tuple[Any, ...]]:
    """Return what is true of each certificate: its status, when it was seen first and last, and missed."""
    truth = {}
    for number in {number for snapshot in taken for number in snapshot.shown}:
        seen = [snapshot for snapshot in taken if number in snapshot.shown]
        lacked = [item.started_at for item in taken if item.is_complete and item.hour > seen[-1].hour]
        truth[number] = (
            seen[-1].shown[number],
            seen[0].started_at,
            seen[-1].started_at,
            min(lacked, default=None),
        )
    return truth


async def store(connection: AsyncConnection, site: str, taken: Taken) -> None:
    """Store a snapshot as if it had begun in its hour."""
    number = (await begin(connection, site, "run")).snapshot_id
    values = {"number": number, "started_at": taken.started_at}
    moved = text("UPDATE springest.snapshot SET started_at = :started_at WHERE snapshot_id = :number")
    await connection.execute(moved, values)
    rows = [(item, 102, None, None, status, None, None, None) for item, status in taken.shown.items()]
    await gather_rows(connection, rows)
    await merge(
        connection,
        site,
        Begun(number, taken.started_at),
        Reading(complete=taken.is_complete),
        scope="full",
        detail="",
        pseudonyms=PSEUDONYMS,
    )


async def stored(
    connection: AsyncConnection, order: Sequence[Taken], *, twice: bool
) -> dict[int, tuple[Any, ...]]:
    """Store snapshots in an order, and return what the warehouse says afterwards."""
    site = f"site {next(SITES)}"
    for taken in [*order, *order] if twice else order:
        await store(connection, site, taken)
    query = text(
        "SELECT springest_certificate_id, springest_status, first_seen_at, last_seen_at, lacked_at"
        " FROM springest.seen_certificate WHERE site = :site"
    )
    return {row[0]: tuple(row[1:]) for row in await connection.execute(query, {"site": site})}


@pytest.fixture
def runner() -> Iterator[asyncio.Runner]:
    with asyncio.Runner() as runner:
        yield runner


@pytest.fixture
def connection(warehouse: Engine, runner: asyncio.Runner) -> Iterator[AsyncConnection]:
    engine = create_async_engine(warehouse.url, isolation_level="AUTOCOMMIT")
    connection = runner.run(engine.connect().start())
    yield connection
    runner.run(connection.close())
    runner.run(engine.dispose())


@pytest.mark.parametrize("twice", [False, True])
def test_the_order_in_which_snapshots_are_stored_does_not_matter(
    runner: asyncio.Runner, connection: AsyncConnection, twice: bool
) -> None:
    """Storing each of them twice makes no difference either."""

    @settings(max_examples=120, deadline=None)
    @given(snapshots())
    def check(drawn: tuple[list[Taken], list[Taken]]) -> None:
        taken, order = drawn
        assert runner.run(stored(connection, order, twice=twice)) == expected(taken)

    check()


def test_a_complete_snapshot_that_shows_the_same_writes_nothing(
    runner: asyncio.Runner, connection: AsyncConnection
) -> None:
    """A list of a million certificates that nobody changed rewrites none of them."""
    shown = dict.fromkeys(range(1, 6), "verified")
    versions = text("SELECT xmin::text, ctid::text FROM springest.remote_certificate ORDER BY 2")

    async def stored_rows(hour: int) -> list[Any]:
        await store(connection, "default", Taken(hour, True, shown))
        return list((await connection.execute(versions)).all())

    before = runner.run(stored_rows(0))
    assert len(before) == len(shown)
    assert runner.run(stored_rows(1)) == before
