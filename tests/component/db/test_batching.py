"""A lane shares statements and commits, answers each asker his own, and lets nobody fail for another."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Any

import psycopg
import pytest
from sqlalchemy import Engine, text
from sqlalchemy.ext.asyncio import AsyncEngine, create_async_engine

from springest.db.batching import DATABASE_ERRORS, MOST_TOGETHER, Rows, StatementBatcher, for_driver

SLOW = (
    "SELECT pg_sleep(0.02), number * 2, pg_backend_pid() FROM unnest(CAST(:numbers AS integer[])) AS number"
)
DIVIDED = "SELECT 12 / number FROM unnest(CAST(:numbers AS integer[])) AS number"


class Statements(list[int]):
    """How many askers each statement that was run served."""

    def __init__(self) -> None:
        super().__init__()
        self.began = asyncio.Event()

    def lane(
        self, engine: AsyncEngine, statement: str = SLOW, *, column: int = 1
    ) -> StatementBatcher[int, int]:
        def parameters(asked: Sequence[int]) -> dict[str, Any]:
            self.append(len(asked))
            self.began.set()
            return {"numbers": list(asked)}

        def answers(_asked: Sequence[int], rows: Rows) -> list[int]:
            return [row[column] for row in rows]

        return StatementBatcher(engine, for_driver(statement), parameters=parameters, answers=answers)


@pytest.fixture
def statements() -> Statements:
    return Statements()


async def test_waiting_calls_share_a_statement(async_warehouse: AsyncEngine, statements: Statements) -> None:
    """Calls that arrive while a statement runs share the next one, and each gets its own result."""
    lane = statements.lane(async_warehouse)
    first = asyncio.create_task(lane.ask(0))
    await statements.began.wait()
    rest = await asyncio.gather(*(lane.ask(number) for number in range(1, 8)))
    assert (await first, rest) == (0, [2, 4, 6, 8, 10, 12, 14])
    assert statements == [1, 7]


async def test_a_crowd_is_served_in_batches(async_warehouse: AsyncEngine, statements: Statements) -> None:
    """Many calls at once are served in batches of limited size."""
    lane = statements.lane(async_warehouse)
    crowd = range(2 * MOST_TOGETHER + 3)
    assert await asyncio.gather(*map(lane.ask, crowd)) == [2 * number for number in crowd]
    assert max(statements) <= MOST_TOGETHER
    assert sum(statements) == len(crowd)


async def test_an_error_of_one_call_reaches_only_its_caller(
    async_warehouse: AsyncEngine, statements: Statements
) -> None:
    """An error that concerns one call of a batch is raised to that caller only."""
    lane = statements.lane(async_warehouse, DIVIDED, column=0)
    results = await asyncio.gather(*map(lane.ask, (3, 0, 4)), return_exceptions=True)
    assert (results[0], results[2]) == (4, 3)
    assert isinstance(results[1], psycopg.errors.DivisionByZero)
    assert await lane.ask(6) == 2


async def test_a_broken_connection_fails_all_and_is_replaced(
    async_warehouse: AsyncEngine, warehouse: Engine, statements: Statements
) -> None:
    """A broken connection fails every call of the batch; the next batch gets a new one."""
    lane = statements.lane(async_warehouse, SLOW.replace("0.02", "5"))
    asking = [asyncio.create_task(lane.ask(number)) for number in (1, 2)]
    for _ in range(500):
        with warehouse.begin() as connection:
            ended = connection.execute(
                text(
                    "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
                    " WHERE datname = current_database() AND query LIKE '%pg_sleep(5)%'"
                    " AND pid <> pg_backend_pid()"
                )
            ).all()
        if ended:
            break
        await asyncio.sleep(0.01)
    results = await asyncio.gather(*asking, return_exceptions=True)
    assert all(isinstance(result, DATABASE_ERRORS) for result in results)
    assert await statements.lane(async_warehouse).ask(3) == 6
    lane._statement = for_driver(SLOW)
    assert await lane.ask(4) == 8


async def test_a_cancelled_caller_does_not_affect_the_others(
    async_warehouse: AsyncEngine, statements: Statements
) -> None:
    """A cancelled caller does not affect the other calls of its batch."""
    lane = statements.lane(async_warehouse)
    asking = [asyncio.create_task(lane.ask(number)) for number in range(4)]
    await asyncio.sleep(0)
    asking[1].cancel()
    asking[3].cancel()
    results = await asyncio.gather(*asking, return_exceptions=True)
    assert (results[0], results[2]) == (0, 4)


async def test_cancelling_the_batcher_leaves_nobody_waiting(
    async_warehouse: AsyncEngine, statements: Statements
) -> None:
    """If the batcher's own task is cancelled, no caller waits for ever."""
    lane = statements.lane(async_warehouse)
    asking = [asyncio.create_task(lane.ask(number)) for number in range(MOST_TOGETHER + 1)]
    await statements.began.wait()
    assert lane._running is not None
    lane._running.cancel()
    async with asyncio.timeout(10):
        results = await asyncio.gather(*asking, return_exceptions=True)
    assert all(isinstance(result, asyncio.CancelledError) for result in results)
    assert await lane.ask(5) == 10


@pytest.mark.parametrize("kept", [True, False])
async def test_an_idle_connection_is_returned_unless_kept(
    warehouse_url: str, statements: Statements, kept: bool
) -> None:
    """An idle batcher returns its connection to the pool unless it is to keep it."""
    engine = create_async_engine(warehouse_url)
    lane = statements.lane(engine, column=2)
    held = []
    if kept:
        async with lane.kept():
            await lane.ask(1)
            held.append(engine.pool.checkedout())
    else:
        await lane.ask(1)
        await asyncio.sleep(0.1)
    held.append(engine.pool.checkedout())
    assert held == ([1, 0] if kept else [0])
    await engine.dispose()
