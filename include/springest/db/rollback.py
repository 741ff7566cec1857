"""An engine that never commits: a dry run does the work of a real run and rolls it back.

All work of such an engine shares one session and one transaction, in which transactions become savepoints.
Its locks last until the end, so it must not delay a run that is staging or sending: the dry run ends as soon
as another session waits for one of them, or as soon as this can't be checked any more.
"""

from __future__ import annotations

import os
import socket
import threading
from collections.abc import AsyncIterator, Callable, Iterator, Mapping
from contextlib import AbstractContextManager, asynccontextmanager, contextmanager, suppress
from typing import Any, Final, Protocol, Self

from psycopg.errors import IdleInTransactionSessionTimeout
from sqlalchemy import Connection, CursorResult, Engine, TextClause, text
from sqlalchemy.exc import DBAPIError, SQLAlchemyError

from springest.errors import DryRunGaveWay

GIVES_WAY_SECONDS: Final = 0.25
"""Interval of the checks for waiting sessions, well below PostgreSQL's ``deadlock_timeout`` of one second,
after which it would choose one of the two sessions."""
IDLE_SECONDS: Final = 60
"""Time without a statement after which the server ends the session, so that the locks are released if the
machine of the dry run is gone. A dry run that reads documents sends a statement at each check."""
_SETTINGS: Final = text(
    "SELECT pg_backend_pid(), set_config('lock_timeout', '15s', true),"
    " set_config('idle_in_transaction_session_timeout', :idle || 's', true)"
)
_IS_WAITED_FOR: Final = text(
    "SELECT EXISTS (SELECT FROM (SELECT DISTINCT pid FROM pg_locks WHERE NOT granted) AS waiting"
    " WHERE :pid = ANY(pg_blocking_pids(pid)))"
)
_KEEP_ALIVE: Final = text("SELECT 1")
_END: Final = text("SELECT pg_terminate_backend(:pid)")


class Transactions(Protocol):
    """The part of an engine that staging uses."""

    def connect(self) -> AbstractContextManager[Connection]:
        """Return a connection for reading."""

    def begin(self) -> AbstractContextManager[Connection]:
        """Return a connection whose work is committed, or rolled back, when the context ends."""


class RollbackEngine:
    """Replaces an engine; see ``rolled_back``. Only one thread at a time uses it.

    :param connection: connection in a transaction that the caller rolls back.
    """

    def __init__(self, connection: Connection) -> None:
        self._connection = connection
        self._turn = threading.RLock()

    @contextmanager
    def connect(self) -> Iterator[Connection]:
        """Yield the connection."""
        with self._turn:
            yield self._connection

    @contextmanager
    def begin(self) -> Iterator[Connection]:
        """Yield the connection within a savepoint, which an error rolls back."""
        with self._turn, self._connection.begin_nested():
            yield self._connection

    def keep_alive(self) -> None:
        """Send a statement, unless a thread is using the connection."""
        if self._turn.acquire(blocking=False):
            try:
                self._connection.execute(_KEEP_ALIVE)
            finally:
                self._turn.release()

    def for_tasks(self) -> AsyncRollbackEngine:
        """Return the asynchronous form."""
        return AsyncRollbackEngine(self)


class AsyncRollbackEngine:
    """The part of an asynchronous engine that the sending ledger uses, on the same transaction.

    Statements run on the event loop's thread, since a dry run has nothing else to do.
    """

    def __init__(self, engine: RollbackEngine) -> None:
        self._engine = engine

    def execution_options(self, **_options: Any) -> Self:
        """Return itself, since its transaction has one isolation level, and no statement is committed."""
        return self

    @asynccontextmanager
    async def connect(self) -> AsyncIterator[_AsyncConnection]:
        """Yield the connection."""
        with self._engine.connect() as connection:
            yield _AsyncConnection(connection)

    @asynccontextmanager
    async def begin(self) -> AsyncIterator[_AsyncConnection]:
        """Yield the connection within a savepoint."""
        with self._engine.begin() as connection:
            yield _AsyncConnection(connection)


class _AsyncConnection:
    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    async def execute(self, statement: TextClause, values: Mapping[str, Any]) -> CursorResult[Any]:
        return self._connection.execute(statement, values)


@contextmanager
def rolled_back(engine: Engine) -> Iterator[RollbackEngine]:
    """Yield an engine whose work is rolled back when the context ends.

    :param engine: engine of the warehouse; another connection of it watches for waiting sessions.
    :raises DryRunGaveWay: another session waited or may have waited; nothing was changed.
    """
    with (
        engine.execution_options(isolation_level="AUTOCOMMIT").connect() as watching,
        engine.connect() as connection,
        connection.begin() as transaction,
    ):
        rolled_back_engine = RollbackEngine(connection)
        watch = _Watch(watching, connection, rolled_back_engine.keep_alive)
        watch.start()
        try:
            yield rolled_back_engine
        except Exception as error:
            if (reason := watch.ended_because or _idle(error)) is not None:
                raise DryRunGaveWay(
                    f"{reason}, so the dry run ended; nothing was changed. Try again once no run is staging "
                    "or sending"
                ) from None
            raise
        finally:
            watch.stop()
            with suppress(SQLAlchemyError):  # the session may be gone, and its work with it
                transaction.rollback()


def _idle(error: Exception) -> str | None:
    if isinstance(error, DBAPIError) and isinstance(error.orig, IdleInTransactionSessionTimeout):
        return f"this dry run sent no statement to the warehouse for {IDLE_SECONDS} seconds"
    return None


class _Watch(threading.Thread):
    """Ends the session of a dry run as soon as another one waits for it.

    :param watching: connection to watch with.
    :param watched: connection of the dry run.
    :param keep_alive: sends a statement in the dry run's session.
    """

    def __init__(self, watching: Connection, watched: Connection, keep_alive: Callable[[], None]) -> None:
        super().__init__(name="dry-run-gives-way", daemon=True)
        self._watching = watching
        self._keep_alive = keep_alive
        self._pid = int(watched.execute(_SETTINGS, {"idle": IDLE_SECONDS}).one()[0])
        self._descriptor = os.dup(watched.connection.driver_connection.fileno())  # type: ignore[union-attr]
        self._over = threading.Event()
        self.ended_because: str | None = None

    def stop(self) -> None:
        """Stop watching."""
        self._over.set()
        self.join()
        os.close(self._descriptor)

    def run(self) -> None:
        """Watch until stopped."""
        try:
            while not self._over.wait(GIVES_WAY_SECONDS):
                if self._watching.execute(_IS_WAITED_FOR, {"pid": self._pid}).scalar_one():
                    self.ended_because = "a run that stages or sends needed what this dry run had locked"
                    self._watching.execute(_END, {"pid": self._pid})
                    return
                with suppress(SQLAlchemyError):  # the next statement meets the same error
                    self._keep_alive()
        except SQLAlchemyError as error:
            self.ended_because = (
                f"it can't be seen any more who waits for this dry run ({type(error).__name__})"
            )
            self._disconnect()

    def _disconnect(self) -> None:
        """End the session without the server's help; its own thread may be waiting for the server."""
        with suppress(OSError), socket.socket(fileno=os.dup(self._descriptor)) as connected:
            connected.shutdown(socket.SHUT_RDWR)
