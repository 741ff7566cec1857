"""The circuit breaker: three failures in a row pause sending until a cheap GET succeeds."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Sequence
from typing import Final

from springest.errors import SpringestError

log = logging.getLogger(__name__)

FAILURES_TO_OPEN: Final = 3
PROBE_DELAYS: Final = (5.0, 15.0, 45.0, 120.0, 300.0)
"""Seconds before each probe. If the last one fails, the run gives up."""


class Breaker:
    """Closed while the server is healthy; certificates are claimed only then.

    :param probe: one cheap GET; raises if the server is not healthy.
    :param give_up: called with the error of the last probe if none succeeded.
    """

    def __init__(
        self,
        *,
        probe: Callable[[], Awaitable[None]],
        give_up: Callable[[Exception], None],
        delays: Sequence[float] = PROBE_DELAYS,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
    ) -> None:
        self._probe = probe
        self._give_up = give_up
        self._delays = delays
        self._sleep = sleep
        self._closed = asyncio.Event()
        self._closed.set()
        self._failures = 0
        self._probing: asyncio.Task[None] | None = None

    @property
    def is_closed(self) -> bool:
        """Whether certificates may be claimed now."""
        return self._closed.is_set()

    async def wait_until_closed(self) -> None:
        """Return once certificates may be claimed."""
        await self._closed.wait()

    def record_success(self) -> None:
        """Count an outcome that shows a healthy server."""
        self._failures = 0

    def record_failure(self) -> None:
        """Count an outcome that shows a failing server; the third in a row opens the breaker."""
        self._failures += 1
        if self._failures >= FAILURES_TO_OPEN and self._closed.is_set():
            self._closed.clear()
            self._probing = asyncio.create_task(self._recover())

    async def stop(self) -> None:
        """End the probing, if there is any."""
        if self._probing is not None:
            self._probing.cancel()
            await asyncio.gather(self._probing, return_exceptions=True)

    async def _recover(self) -> None:
        error = SpringestError("there was no probe")
        for delay in self._delays:
            log.warning(
                "%d failures in a row: nothing is sent, next probe in %.0f s", FAILURES_TO_OPEN, delay
            )
            await self._sleep(delay)
            failure = await self._probe_once()
            if failure is None:
                log.info("The probe succeeded: sending continues")
                self._failures = 0
                self._closed.set()
                return
            error = failure
            log.warning("The probe failed: %s", failure)
        self._give_up(error)

    async def _probe_once(self) -> SpringestError | None:
        """Return the failure, whatever it is: no caller may wait forever."""
        try:
            await self._probe()
        except SpringestError as failure:
            return failure
        except Exception as failure:  # noqa: BLE001 - its text is not redacted, so only the name is used
            return SpringestError(f"the probe failed: {type(failure).__name__}")
        return None
