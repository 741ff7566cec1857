"""How many certificates a run may send, when a person set a limit."""

from __future__ import annotations

import asyncio
from math import inf
from typing import TypeVar

from springest.delivery.stops import Halt

T = TypeVar("T")


class SendLimit:
    """Hands out a run's places in the order of its queue. An unsent certificate gives its place back.

    The ledger counts as well, at each claim: another try of the run may be sending at the same time.

    :param halt: is thrown when all places are used up.
    :param most: certificates that the run may send; ``None`` for any number.
    :param used: how many its earlier tries sent.
    """

    def __init__(self, halt: Halt, most: int | None = None, *, used: int = 0) -> None:
        self._halt = halt
        self._most = most
        self._free = inf if most is None else max(0, most - used)
        self._taken = 0
        self._changed = asyncio.Condition()
        self._in_order = asyncio.Lock()

    async def next(self, line: asyncio.Queue[T | None]) -> T | None:
        """Return the next certificate of a line, with a place for it; ``leave`` must follow.

        :returns: ``None`` at the end of the line, or when all places are used up.
        """
        async with self._in_order:
            item = await line.get()
            if item is None or self._most is None or await self._halt.unless(self._take()):
                return item
            self._halt.throw(limit_reached(self._most))
            return None

    async def _take(self) -> bool:
        """Take a place, or wait for one that may still come back; ``False`` when all are used up."""
        async with self._changed:
            await self._changed.wait_for(lambda: self._free or not self._taken)
            if not self._free:
                return False
            self._free -= 1
            self._taken += 1
            return True

    async def leave(self, *, sent: bool) -> None:
        """Say what became of a place that was taken."""
        async with self._changed:
            self._taken -= 1
            self._free += not sent
            self._changed.notify_all()


def limit_reached(most: int | None) -> str:
    """Return why a run ends that has sent as many as it may."""
    return f"the run may send {most} and has; what is left stays in the queue"
