"""The hourly cap on the requests of a key in any sliding hour, GETs and POSTs together."""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from typing import Final

HOUR: Final = 3600.0
"""In seconds."""


class SlidingHour:
    """Counts the requests of each key over the last hour."""

    def __init__(self) -> None:
        self._taken: dict[str, deque[float]] = {}

    def take(self, key_name: str, *, limit: int, now: float) -> float | None:
        """Count a request; if it exceeds the cap, return the seconds to wait instead."""
        taken = self._taken.setdefault(key_name, deque())
        while taken and taken[0] <= now - HOUR:
            taken.popleft()
        if len(taken) >= limit:
            return taken[0] + HOUR - now if taken else HOUR
        taken.append(now)
        return None

    def clear(self) -> None:
        """Remove all requests."""
        self._taken.clear()


def peak(moments: Sequence[float], *, window: float = HOUR) -> int:
    """Return the largest number of requests in any sliding window.

    :param moments: times in seconds, in order.
    """
    most, first = 0, 0
    for last, moment in enumerate(moments):
        while moments[first] <= moment - window:
            first += 1
        most = max(most, last - first + 1)
    return most
