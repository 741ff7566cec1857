"""Log how far staging is, and how long the rest takes."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from datetime import timedelta
from typing import Final

log = logging.getLogger(__name__)

SECONDS_BETWEEN_LINES: Final = 15.0


class ProgressLog:
    """Counts rows of a long step; logs the first and the last batch, and one every few seconds between.

    :param count: rows in all.
    :param step: the rows and the step, such as ``completed trainings staged``.
    :param clock: monotonic clock in seconds.
    """

    def __init__(self, count: int, step: str, *, clock: Callable[[], float] = time.monotonic) -> None:
        self._count = count
        self._step = step
        self._clock = clock
        self._began_at = clock()
        self._logged_at: float | None = None
        self.done = 0

    def advance(self, rows: int) -> None:
        """Count a batch of rows."""
        self.done += rows
        now = self._clock()
        is_last = self.done >= self._count
        if not is_last and self._logged_at is not None and now - self._logged_at < SECONDS_BETWEEN_LINES:
            return
        self._logged_at = now
        if is_last:
            log.info("%d of %d %s", self.done, self._count, self._step)
            return
        left = (now - self._began_at) * (self._count - self.done) / max(self.done, 1)
        log.info(
            "%d of %d %s, about %s left", self.done, self._count, self._step, timedelta(seconds=round(left))
        )
