"""Keep one bad hour small: pause after a few doubtful outcomes, and stop for good after too many."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Sequence
from typing import Final

from springest.errors import SpringestError

log = logging.getLogger(__name__)

IN_A_ROW: Final = 3
PROBE_DELAYS: Final = (5.0, 15.0, 45.0, 120.0, 300.0)
"""Seconds before each probe of a server in trouble; when the last fails, the run gives up."""


class Breaker:
    """Lets workers through while the server is well.

    :param probe: one cheap GET; raises when the server is not well.
    :param give_up: called with the last probe's error when it never got well.
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
        self._doubts = 0
        self._probing: asyncio.Task[None] | None = None

    @property
    def is_closed(self) -> bool:
        """Whether certificates may be sent now."""
        return self._closed.is_set()

    async def wait(self) -> None:
        """Return once certificates may be sent."""
        await self._closed.wait()

    def went_well(self) -> None:
        """Note an outcome that shows the server to be well."""
        self._doubts = 0

    def went_badly(self) -> None:
        """Note an outcome that shows the server in trouble; the third in a row pauses everybody."""
        self._doubts += 1
        if self._doubts >= IN_A_ROW and self._closed.is_set():
            self._closed.clear()
            self._probing = asyncio.create_task(self._recover())

    async def close(self) -> None:
        """End a probing that is under way."""
        if self._probing is not None:
            self._probing.cancel()
            await asyncio.gather(self._probing, return_exceptions=True)

    async def _recover(self) -> None:
        error = SpringestError("there was no probe")
        for delay in self._delays:
            log.warning("%d doubtful outcomes in a row: nothing is sent, probing in %.0f s", IN_A_ROW, delay)
            await self._sleep(delay)
            failure = await self._probe_once()
            if failure is not None:
                error = failure
                log.warning("The probe failed: %s", failure)
            else:
                log.info("The probe went well: sending goes on")
                self._doubts = 0
                self._closed.set()
                return
        self._give_up(error)

    async def _probe_once(self) -> SpringestError | None:
        """Return what is wrong; whatever it is, nobody may be left waiting for ever."""
        try:
            await self._probe()
        except SpringestError as failure:
            return failure
        except Exception as failure:  # noqa: BLE001 - its text is not redacted, so only its name is logged
            return SpringestError(f"the probe failed: {type(failure).__name__}")
        return None
