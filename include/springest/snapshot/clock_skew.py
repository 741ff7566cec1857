"""Difference between Springest's clock and ours, measured on matches by id. No input or output.

``created_at`` comes from a server whose clock or time zone may differ from ours. If ids prove which
certificate came from which POST, the difference is known, and so it is for other POSTs between two of these.
Otherwise a wide window is used, which is right for every time zone that could be confused with another.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Final

SECONDS_AN_HOUR: Final = 3_600
FEWEST_SAMPLES: Final = 5
HOURS_AROUND: Final = 24
DRIFT_SECONDS: Final = 300.0
"""Allowance for clock drift between two POSTs with an id, and for rounding of ``created_at``."""
WIDE_HOURS: Final = 26
"""Hours by which a certificate may precede its POST on the other clock: zones differ by up to 26 hours."""
STORED_BY_HOURS: Final = 1
"""Hours after its POST within which a certificate may still be stored; only later snapshots can lack it."""

LATER_BY_HOURS: Final = WIDE_HOURS + STORED_BY_HOURS
"""Difference on the other clock from which a certificate was certainly posted after a POST."""


@dataclass(frozen=True, slots=True)
class Window:
    """Seconds after a POST within which its certificate was created, on the other clock; may be negative."""

    earliest: float
    latest: float


WIDE: Final = Window(-WIDE_HOURS * SECONDS_AN_HOUR, (WIDE_HOURS + STORED_BY_HOURS) * SECONDS_AN_HOUR)


@dataclass(frozen=True, slots=True)
class HourOfSamples:
    """POSTs of one hour whose certificates are proven by id.

    :param hour: hours since the epoch.
    :param first: time of the first POST, in seconds since the epoch; ``last``: of the last one.
    :param least: smallest difference of ``created_at`` and POST in seconds; ``most``: the largest.
    """

    hour: int
    samples: int
    first: float
    last: float
    least: float
    most: float


class Clock:
    """Estimates when the certificate of a POST was created.

    :param hours: samples, in any order.
    """

    def __init__(self, hours: Iterable[HourOfSamples] = ()) -> None:
        self._hours: Mapping[int, HourOfSamples] = {hour.hour: hour for hour in hours}
        self._around: dict[int, HourOfSamples | None] = {}

    def window(self, sent: float) -> Window:
        """Return the window of a POST.

        It is narrow only if ids are known from before the POST and from after its certificate can have been
        stored. If the clock was corrected in between, the window includes both differences.

        :param sent: seconds since the epoch.
        """
        around = self._known_around(int(sent // SECONDS_AN_HOUR))
        stored_by = sent + STORED_BY_HOURS * SECONDS_AN_HOUR
        if around is None or around.samples < FEWEST_SAMPLES:
            return WIDE
        if not (around.first <= sent and stored_by <= around.last):
            return WIDE
        # A certificate whose response was lost may have been stored later than the others.
        latest = around.most + DRIFT_SECONDS + STORED_BY_HOURS * SECONDS_AN_HOUR
        return Window(around.least - DRIFT_SECONDS, latest)

    def _known_around(self, hour: int) -> HourOfSamples | None:
        if not self._hours:
            return None
        if hour not in self._around:
            near = range(hour - HOURS_AROUND, hour + HOURS_AROUND + 1)
            known = [self._hours[hour] for hour in near if hour in self._hours]
            self._around[hour] = (
                HourOfSamples(
                    hour,
                    sum(hour.samples for hour in known),
                    min(hour.first for hour in known),
                    max(hour.last for hour in known),
                    min(hour.least for hour in known),
                    max(hour.most for hour in known),
                )
                if known
                else None
            )
        return self._around[hour]
