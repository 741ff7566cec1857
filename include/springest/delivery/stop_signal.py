"""The signal by which a run stops sending."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Coroutine
from typing import Any, TypeVar

from springest.errors import SpringestError

log = logging.getLogger(__name__)
T = TypeVar("T")


class StopSignal:
    """Stops a run once. The first trigger sets the reason; a later one can only make the stop immediate."""

    def __init__(self) -> None:
        self._triggered = asyncio.Event()
        self._immediate = asyncio.Event()
        self._future: asyncio.Future[None] | None = None
        self.reason: str | None = None
        self.error: SpringestError | None = None

    @property
    def immediate(self) -> bool:
        """Whether the process is about to be killed."""
        return self._immediate.is_set()

    def __bool__(self) -> bool:
        return self._triggered.is_set()

    def trigger(self, reason: str, *, error: SpringestError | None = None, immediate: bool = False) -> None:
        """Stop claiming certificates.

        :param error: the run fails with this error; ``None`` if it ends with success.
        :param immediate: the process is about to be killed: do not wait long for responses either.
        """
        if immediate:
            self._immediate.set()
        if self:
            return
        log.warning("Sending stops: %s", reason)
        self.reason, self.error = reason, error
        self._triggered.set()
        if self._future is not None:
            self._future.set_result(None)

    async def wait(self) -> None:
        """Return once the signal has been triggered."""
        await self._triggered.wait()

    async def wait_until_immediate(self) -> None:
        """Return once the process is about to be killed."""
        await self._immediate.wait()

    async def run_or_stop(self, work: Coroutine[Any, Any, T]) -> T | None:
        """Return the result of ``work``, or cancel it and return ``None`` if the run stops first."""
        if self._future is None:
            self._future = asyncio.get_running_loop().create_future()
            if self:
                self._future.set_result(None)
        task = asyncio.ensure_future(work)
        try:
            await asyncio.wait((task, self._future), return_when=asyncio.FIRST_COMPLETED)
            return task.result() if task.done() else None
        finally:
            if not task.done():
                task.cancel()
                await asyncio.gather(task, return_exceptions=True)
