"""Begin carefully with each certification: its first certificates must be answered well before the rest goes.

A certification that Springest refuses, for whatever reason, then costs five refusals instead of thousands.
What is refused for its own sake leaves the queue, so that the next run begins with others.
"""

from __future__ import annotations

import asyncio
import logging
from collections import Counter
from typing import Final

from springest.states import State

log = logging.getLogger(__name__)

FIRST: Final = 5
ANSWERED_WELL: Final = frozenset({State.ACCEPTED, State.ACCEPTED_NO_ID})
ANSWERED_BADLY: Final = frozenset({State.REJECTED, State.UNKNOWN})


class SlowStart:
    """Lets certificates of a certification through, five at first.

    :param first: how many must be answered well before the rest goes; when as many were answered badly before
        that, nothing more does.
    """

    def __init__(self, *, first: int = FIRST) -> None:
        self._first = first
        self._well: Counter[int] = Counter()
        self._badly: Counter[int] = Counter()
        self._in_doubt: Counter[int] = Counter()
        self._under_way: Counter[int] = Counter()
        self._changed = asyncio.Condition()

    def enter_at_once(self, certification_id: int) -> bool:
        """Enter when that needs no waiting, as once a certification has begun well; else do nothing."""
        if self._is_closed(certification_id) or not self._may_go(certification_id):
            return False
        self._under_way[certification_id] += 1
        return True

    async def enter(self, certification_id: int) -> bool:
        """Wait until a certificate of this certification may go; ``leave`` must follow.

        :returns: whether it may go at all: not once too many of the first were answered badly.
        """
        async with self._changed:
            await self._changed.wait_for(
                lambda: self._is_closed(certification_id) or self._may_go(certification_id)
            )
            return self.enter_at_once(certification_id)

    async def leave(self, certification_id: int, became: State | None) -> None:
        """Note what became of a certificate that was let through; ``None`` is that it was not sent."""
        async with self._changed:
            self._under_way[certification_id] -= 1
            self._well[certification_id] += became in ANSWERED_WELL
            self._badly[certification_id] += became in ANSWERED_BADLY
            self._in_doubt[certification_id] += became is State.UNKNOWN
            if became in ANSWERED_BADLY and self._is_closed(certification_id):
                log.warning(
                    "%d certificates of certification %d were answered badly before %d were answered well: "
                    "the others stay in the queue",
                    self._badly[certification_id],
                    certification_id,
                    self._first,
                )
            self._changed.notify_all()

    @property
    def closed_in_doubt(self) -> list[int]:
        """Certifications that are closed, and of which something became unknown."""
        return sorted(number for number in self._badly if self._is_closed(number) and self._in_doubt[number])

    def _may_go(self, certification_id: int) -> bool:
        well, badly = self._well[certification_id], self._badly[certification_id]
        return well >= self._first or max(well, badly) + self._under_way[certification_id] < self._first

    def _is_closed(self, certification_id: int) -> bool:
        return self._badly[certification_id] >= self._first > self._well[certification_id]
