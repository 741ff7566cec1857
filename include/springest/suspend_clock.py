"""How long ago something was, counting the time that the machine slept."""

from __future__ import annotations

import asyncio
import time
from dataclasses import dataclass
from typing import Final, Self

_CLOCK: Final = getattr(time, "CLOCK_BOOTTIME", time.CLOCK_MONOTONIC)
"""Where the system has it: an event loop's clock stands still while the machine is suspended."""


@dataclass(frozen=True, slots=True)
class Moment:
    """A moment of this process, by two clocks.

    :param running: seconds on the event loop's clock.
    :param always: seconds on a clock that a suspended machine does not stop.
    """

    running: float
    always: float

    @classmethod
    def now(cls) -> Self:
        """Return this moment."""
        return cls(asyncio.get_running_loop().time(), time.clock_gettime(_CLOCK))

    @property
    def age(self) -> float:
        """Seconds since then."""
        now = Moment.now()
        return max(now.running - self.running, now.always - self.always)
