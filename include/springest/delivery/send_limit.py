"""How many certificates a run may send, when a person set a limit."""

from __future__ import annotations

import asyncio
from math import inf


class SendLimit:
    """Hands out a run's places. A certificate that was certainly not sent gives its place back.

    :param most: certificates that the run may send; ``None`` for any number.
    :param used: how many its earlier tries sent.
    """

    def __init__(self, most: int | None, *, used: int = 0) -> None:
        self.most = most
        self._free = inf if most is None else max(0, most - used)
        self._taken = 0
        self._changed = asyncio.Condition()

    async def take(self) -> bool:
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
