"""Slow start: the first certificates of each certification must succeed before the rest is sent.

A certification that Springest refuses then costs five refusals instead of thousands. Refused certificates
leave the queue, so the next run starts with others.
"""

from __future__ import annotations

import asyncio
import logging
from collections import Counter
from typing import Final

from springest.states import State

log = logging.getLogger(__name__)

FIRST: Final = 5
SUCCESSES: Final = frozenset({State.ACCEPTED, State.ACCEPTED_NO_ID})
FAILURES: Final = frozenset({State.REJECTED, State.UNKNOWN})


class SlowStart:
    """Lets five certificates of a certification through, and the rest once those succeeded.

    :param first: certificates that must succeed first. If as many fail before that, the certification is
        closed for the rest of the run.
    """

    def __init__(self, *, first: int = FIRST) -> None:
        self._first = first
        self._succeeded: Counter[int] = Counter()
        self._failed: Counter[int] = Counter()
        self._unknown: Counter[int] = Counter()
        self._in_flight: Counter[int] = Counter()
        self._changed = asyncio.Condition()

    def try_enter(self, certification_id: int) -> bool:
        """Enter if that needs no waiting, as it does once a certification has started; else do nothing."""
        if self._is_closed(certification_id) or not self._has_place(certification_id):
            return False
        self._in_flight[certification_id] += 1
        return True

    async def enter(self, certification_id: int) -> bool:
        """Wait until a certificate of this certification may be sent; ``leave`` must follow.

        :returns: ``False`` if the certification is closed.
        """
        async with self._changed:
            await self._changed.wait_for(
                lambda: self._is_closed(certification_id) or self._has_place(certification_id)
            )
            return self.try_enter(certification_id)

    async def leave(self, certification_id: int, state: State | None) -> None:
        """Record the state of a certificate that had entered; ``None`` if it was not sent."""
        async with self._changed:
            self._in_flight[certification_id] -= 1
            self._succeeded[certification_id] += state in SUCCESSES
            self._failed[certification_id] += state in FAILURES
            self._unknown[certification_id] += state is State.UNKNOWN
            if state in FAILURES and self._is_closed(certification_id):
                log.warning(
                    "%d certificates of certification %d failed before %d succeeded: the others stay in the "
                    "queue",
                    self._failed[certification_id],
                    certification_id,
                    self._first,
                )
            self._changed.notify_all()

    @property
    def closed_with_unknown(self) -> list[int]:
        """Certifications that are closed and have unknown outcomes."""
        return sorted(number for number in self._failed if self._is_closed(number) and self._unknown[number])

    def _has_place(self, certification_id: int) -> bool:
        succeeded, failed = self._succeeded[certification_id], self._failed[certification_id]
        in_flight = self._in_flight[certification_id]
        return succeeded >= self._first or max(succeeded, failed) + in_flight < self._first

    def _is_closed(self, certification_id: int) -> bool:
        return self._failed[certification_id] >= self._first > self._succeeded[certification_id]
