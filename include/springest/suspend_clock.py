"""Elapsed time that includes suspension of the machine."""

from __future__ import annotations

import asyncio
import time
from dataclasses import dataclass
from typing import Final, Self

_CLOCK: Final = getattr(time, "CLOCK_BOOTTIME", time.CLOCK_MONOTONIC)
"""``CLOCK_MONOTONIC``, the clock of an event loop, stops while the machine is suspended."""


@dataclass(frozen=True, slots=True)
class Instant:
    """An instant, by two clocks of this process.

    :param monotonic: seconds on the event loop's clock, which tests can control.
    :param boottime: seconds on a clock that keeps running while the machine is suspended.
    """

    monotonic: float
    boottime: float

    @classmethod
    def now(cls) -> Self:
        """Return the current instant."""
        return cls(asyncio.get_running_loop().time(), time.clock_gettime(_CLOCK))

    @property
    def age(self) -> float:
        """Seconds since this instant."""
        now = Instant.now()
        return max(now.monotonic - self.monotonic, now.boottime - self.boottime)
