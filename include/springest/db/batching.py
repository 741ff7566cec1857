"""Batch calls to the warehouse: calls that arrive while a statement runs share the next statement.

Certificates in flight make the same calls: a grant, a claim, a recorded outcome. Batched, they share
statements and commits, as PostgreSQL's own commits share a flush. There is no batching delay: a call on an
idle batcher runs immediately, and every caller waits for the commit.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any, Final, Generic, TypeVar

import psycopg
from psycopg import AsyncConnection as DriverConnection
from psycopg.rows import TupleRow, namedtuple_row
from sqlalchemy import text
from sqlalchemy.dialects.postgresql.psycopg import dialect as psycopg_dialect
from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

from springest.db.lock_holders import holders
from springest.errors import WarehouseLocked

log = logging.getLogger(__name__)
Asked = TypeVar("Asked")
Answer = TypeVar("Answer")
Rows = list[Any]
"""Named tuples: columns are read by name."""

DATABASE_ERRORS: Final = (SQLAlchemyError, psycopg.Error, WarehouseLocked)
"""Errors of a warehouse that does not respond or refuses a statement."""
MOST_TOGETHER: Final = 50


def for_driver(statement: str) -> str:
    """Return a statement with ``:name`` parameters in the driver's own style."""
    return str(text(statement).compile(dialect=psycopg_dialect()))  # type: ignore[no-untyped-call]


@dataclass(slots=True)
class _Waiting(Generic[Asked, Answer]):
    asked: Asked
    answer: asyncio.Future[Answer] = field(default_factory=lambda: asyncio.get_running_loop().create_future())


class StatementBatcher(Generic[Asked, Answer]):
    """Runs one statement for many callers at once, with one commit per batch.

    If the statement fails for several callers, it is run again for each of them, so that no caller fails
    because of another. It must tolerate repetition: if only the response to the commit was lost, it runs
    twice.

    :param engine: engine of the warehouse.
    :param statement: in the driver's style; see ``for_driver``.
    :param parameters: creates the statement's parameters from the calls.
    :param answers: converts the rows into one result per call.
    """

    def __init__(
        self,
        engine: AsyncEngine,
        statement: str,
        *,
        parameters: Callable[[Sequence[Asked]], Mapping[str, Any]],
        answers: Callable[[Sequence[Asked], Rows], Sequence[Answer]],
    ) -> None:
        self._engine = engine.execution_options(isolation_level="AUTOCOMMIT")
        self._statement = statement
        self._parameters = parameters
        self._answers = answers
        self._waiting: list[_Waiting[Asked, Answer]] = []
        self._running: asyncio.Task[None] | None = None
        self._connection: AsyncConnection | None = None
        self._driver: DriverConnection[TupleRow] | None = None
        self._is_kept = False

    async def ask(self, asked: Asked) -> Answer:
        """Make one call; return its result after the commit.

        :raises SQLAlchemyError, psycopg.Error: the warehouse does not respond, or refuses the statement.
        """
        return await self.put(asked)

    def put(self, asked: Asked) -> asyncio.Future[Answer]:
        """Queue one call and return its future; a call that is cancelled in the queue never runs."""
        item: _Waiting[Asked, Answer] = _Waiting(asked)
        self._waiting.append(item)
        if self._running is None:
            self._running = asyncio.create_task(self._run())
        return item.answer

    @asynccontextmanager
    async def kept(self) -> AsyncIterator[None]:
        """Keep one connection open, instead of returning it whenever the queue is empty."""
        self._is_kept = True
        try:
            yield
        finally:
            self._is_kept = False
            if self._running is None:
                await self._give_back()

    async def _run(self) -> None:
        """Run batches until no caller waits."""
        try:
            while self._waiting:
                asking = [
                    entry for entry in self._waiting if not entry.answer.done()
                ]  # not cancelled meanwhile
                batch, self._waiting = asking[:MOST_TOGETHER], asking[MOST_TOGETHER:]
                if batch:
                    await self._serve(batch)
                if not self._waiting and not self._is_kept:
                    await self._give_back()
        except BaseException:  # this task was cancelled: no caller may wait for ever
            for entry in self._waiting:
                entry.answer.cancel()
            self._waiting = []
            raise
        finally:
            self._running = None

    async def _serve(self, batch: Sequence[_Waiting[Asked, Answer]]) -> None:
        try:
            answers = await self._execute([call.asked for call in batch])
        except Exception as error:  # noqa: BLE001 - whatever it is, it is theirs who asked
            await self._fail(batch, error)
        except BaseException:
            for call in batch:
                call.answer.cancel()
            await self._give_back(broken=True)
            raise
        else:
            for call, answer in zip(batch, answers, strict=True):
                if not call.answer.done():  # a cancelled caller no longer waits
                    call.answer.set_result(answer)

    async def _fail(self, batch: Sequence[_Waiting[Asked, Answer]], error: Exception) -> None:
        """Fail all callers; run each separately if the warehouse refused the statement."""
        if isinstance(error, psycopg.Error) and self._is_open and len(batch) > 1:
            try:
                for call in batch:
                    await self._serve([call])
            finally:
                for call in batch:
                    call.answer.cancel()  # calls that did not run because the batcher was cancelled
            return
        for call in batch:
            if not call.answer.done():
                call.answer.set_exception(error)
        await self._give_back(broken=True)

    async def _execute(self, asked: Sequence[Asked]) -> Sequence[Answer]:
        if self._driver is None:
            self._connection = await self._engine.connect()
            self._driver = (await self._connection.get_raw_connection()).driver_connection
            if self._driver is None:
                raise psycopg.OperationalError("the warehouse connection is closed")
        try:
            cursor = self._driver.cursor(row_factory=namedtuple_row)
            await cursor.execute(self._statement, self._parameters(asked))
        except psycopg.errors.LockNotAvailable:
            raise WarehouseLocked(await self._lock_holders()) from None
        return self._answers(asked, await cursor.fetchall())

    async def _lock_holders(self) -> list[str]:
        try:
            async with self._engine.connect() as connection:
                return await connection.run_sync(holders)
        except DATABASE_ERRORS:
            return []

    @property
    def _is_open(self) -> bool:
        return self._driver is not None and not self._driver.closed

    async def _give_back(self, *, broken: bool = False) -> None:
        connection, self._connection, self._driver = self._connection, None, None
        if connection is None:
            return
        try:
            if broken:
                await connection.invalidate()
        except DATABASE_ERRORS as error:
            log.warning("A connection to the warehouse can't even be given up: %s", type(error).__name__)
        finally:
            await connection.close()
