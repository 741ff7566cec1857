"""Virtual time, for an event loop and for PostgreSQL alike.

The loop's clock stands still while anything can still happen at this moment, and jumps to the next timer when
nothing can. The database reads the same clock: its simulated ``clock_timestamp()`` shadows the real one on
connections whose ``search_path`` begins with ``simulated``.
"""

from __future__ import annotations

import asyncio
import os
import selectors
from collections.abc import Awaitable, Callable
from concurrent.futures import Future
from contextvars import Context
from datetime import UTC, datetime, timedelta
from pathlib import Path
from types import ModuleType
from typing import Any, Final

import pytest
from sqlalchemy import Engine, text

BEGINNING: Final = datetime(2026, 11, 2, tzinfo=UTC)
"""What the database's clock says when the loop's says 0."""
SEARCH_PATH: Final = "-csearch_path=simulated,pg_catalog"
REAL_SECONDS: Final = 60.0
"""How long the database may really take before the simulation is given up."""
_SELF_PIPE: Final = 1

_SCHEMA: Final = """
CREATE SCHEMA simulated;
CREATE FUNCTION simulated.clock_timestamp() RETURNS timestamptz LANGUAGE sql VOLATILE
    AS $$ SELECT to_timestamp(pg_read_file('{path}')::double precision) $$;
DO $$
DECLARE stamped record;
BEGIN
    FOR stamped IN SELECT table_name, column_name FROM information_schema.columns
                   WHERE table_schema = 'springest' AND column_default LIKE '%clock_timestamp()%'
    LOOP
        EXECUTE format('ALTER TABLE springest.%I ALTER COLUMN %I SET DEFAULT simulated.clock_timestamp()',
                       stamped.table_name, stamped.column_name);
    END LOOP;
END $$;
"""


class VirtualClock:
    """Seconds since the beginning, and a file that tells them to the database.

    :param path: the file; the database's server must be able to read it.
    """

    def __init__(self, path: Path) -> None:
        self._file = os.open(path, os.O_RDWR | os.O_CREAT, 0o644)
        self._path = path
        self.seconds = 0.0
        self.set(0.0)

    def close(self) -> None:
        os.close(self._file)

    def set(self, seconds: float) -> None:
        """Let it be that moment, everywhere."""
        self.seconds = seconds
        os.pwrite(self._file, b"%020.6f" % (BEGINNING.timestamp() + seconds), 0)

    @property
    def moment(self) -> datetime:
        return BEGINNING + timedelta(seconds=self.seconds)

    def rule(self, warehouse: Engine) -> None:
        """Let the database read this clock, in statements and in its columns' defaults."""
        with warehouse.begin() as connection:
            connection.execute(text(_SCHEMA.format(path=self._path).replace(":double", "\\:double")))


class Deadlock(AssertionError):
    """Nothing can ever happen any more, and the night is not over."""


class _Selector(selectors.DefaultSelector):
    """Waits for the database in real time, and for everything else in virtual time.

    What the database says is heard only when nothing else can go on, so that the order of events depends on
    nothing but the seed.
    """

    clock: VirtualClock

    @property
    def _waits_for_the_database(self) -> bool:
        return len(self.get_map()) > _SELF_PIPE

    def select(self, timeout: float | None = None) -> list[Any]:
        if timeout is not None and timeout <= 0:
            return []
        if self._waits_for_the_database:
            return self.settle()
        if timeout is None:
            raise Deadlock("every task waits, and there is no timer")
        self.clock.set(self.clock.seconds + timeout)
        return []

    def settle(self) -> list[Any]:
        """Wait until the database has answered; return what can be read."""
        if not self._waits_for_the_database:
            return []
        found = super().select(REAL_SECONDS)
        assert found, "the database does not answer"
        return found


def one_after_the_other(monkeypatch: pytest.MonkeyPatch, module: ModuleType, *names: str) -> None:
    """Let the driver wait for one answer at a time, in the order of asking, over all its connections.

    Answers that are awaited together would come in an order that the machine decides.
    """
    asking = asyncio.Lock()

    def alone(wait: Callable[..., Awaitable[Any]]) -> Callable[..., Awaitable[Any]]:
        async def waits(*args: Any, **kwargs: Any) -> Any:
            async with asking:
                return await wait(*args, **kwargs)

        return waits

    for name in names:
        monkeypatch.setattr(module, name, alone(getattr(module, name)))


class VirtualLoop(asyncio.SelectorEventLoop):
    """An event loop on a virtual clock; what others do in threads is done at once."""

    def __init__(self, clock: VirtualClock) -> None:
        self._clock = clock
        self._quiet = _Selector()
        self._quiet.clock = clock
        super().__init__(self._quiet)

    def time(self) -> float:
        return self._clock.seconds

    def run_in_executor(self, executor: Any, func: Callable[..., Any], *args: Any) -> asyncio.Future[Any]:
        """Do it here and now, after what is under way in the database."""
        self._quiet.settle()
        done = self.create_future()
        try:
            done.set_result(func(*args))
        except Exception as error:  # noqa: BLE001 - whatever it is, the caller gets it
            done.set_exception(error)
        return done

    def call_soon_threadsafe(
        self, callback: Callable[..., object], *args: Any, context: Context | None = None
    ) -> asyncio.Handle:
        """There is no other thread, so nobody needs to be woken."""
        return self.call_soon(callback, *args, context=context)


class InlineExecutor:
    """Stands in for threads: what is submitted is done at once, so that no moment depends on the machine."""

    def __init__(self, *_args: Any, **_settings: Any) -> None:
        pass

    def submit(self, func: Callable[..., Any], *args: Any) -> Future[Any]:
        """Do it here and now."""
        done: Future[Any] = Future()
        try:
            done.set_result(func(*args))
        except Exception as error:  # noqa: BLE001 - whatever it is, the caller gets it
            done.set_exception(error)
        return done

    def shutdown(self, *, wait: bool = True, cancel_futures: bool = False) -> None:
        """Nothing is under way."""
