"""The limit of a pilot: how many certificates a run may send."""

from __future__ import annotations

import asyncio
from math import inf
from typing import TypeVar

from springest.delivery.stop_signal import StopSignal

T = TypeVar("T")


class RunLimit:
    """Hands out a run's places in the order of its queue. A certificate that was not sent returns its place.

    Each claim checks the limit as well: another try of the run may be sending at the same time.

    :param stop: is triggered once all places are used up.
    :param limit: certificates that the run may send; ``None`` for any number.
    :param used: certificates that earlier tries of the run sent.
    """

    def __init__(self, stop: StopSignal, limit: int | None = None, *, used: int = 0) -> None:
        self._stop = stop
        self._limit = limit
        self._free = inf if limit is None else max(0, limit - used)
        self._taken = 0
        self._changed = asyncio.Condition()
        self._in_order = asyncio.Lock()

    async def next(self, queue: asyncio.Queue[T | None]) -> T | None:
        """Return the next item of the queue, with a place for it; ``leave`` must follow.

        :returns: ``None`` at the end of the queue, or once all places are used up.
        """
        async with self._in_order:
            item = await queue.get()
            if item is None or self._limit is None or await self._stop.run_or_stop(self._take()):
                return item
            self._stop.trigger(run_limit_reached(self._limit))
            return None

    async def leave(self, *, sent: bool) -> None:
        """Release a taken place; it can be taken again if nothing was sent."""
        async with self._changed:
            self._taken -= 1
            self._free += not sent
            self._changed.notify_all()

    async def _take(self) -> bool:
        """Take a place, or wait for one that may be returned; ``False`` once all are used up."""
        async with self._changed:
            await self._changed.wait_for(lambda: self._free or not self._taken)
            if not self._free:
                return False
            self._free -= 1
            self._taken += 1
            return True


def run_limit_reached(limit: int | None) -> str:
    """Return why a run stops that has sent as many certificates as it may."""
    return f"the run has reached its limit of {limit}; the rest stays in the queue"
