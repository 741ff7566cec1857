"""Geometry of the plots. The server draws them as SVG, with positions in per cent and heights in pixels.

So they fit any width without a script, and their colours follow the page's theme.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from typing import Final

from springest.verification import VerificationStatus as Verdict

HEIGHT: Final = 180
_GAP: Final = 0.22
"""Of a night's place, what stays free between two bars."""


@dataclass(frozen=True, slots=True)
class Group:
    """
    Verdicts that are drawn in one colour.

    :param key: end of its class name in the style sheet.
    """

    key: str
    name: str
    verdicts: tuple[str | None, ...]


GROUPS: Final = (
    Group("verified", "Verified", (Verdict.VERIFIED, Verdict.EXPIRED)),
    Group("inferred", "Shown, not proven", (Verdict.INFERRED,)),
    Group("waiting", "Waiting for verification", (Verdict.AWAITING_VERIFICATION,)),
    Group("doubt", "Unclear", (Verdict.UNKNOWN, Verdict.AMBIGUOUS, Verdict.MISSING, Verdict.VANISHED)),
    Group("aside", "Set aside", (Verdict.HELD, Verdict.INVALID, Verdict.REJECTED)),
    Group("queue", "Not sent yet", (Verdict.NOT_SENT, None)),
    Group("ended", "Withdrawn or cancelled", (Verdict.WITHDRAWN, Verdict.CANCELLED)),
)
"""From the bottom of a bar to its top; every verdict is in exactly one. ``None``: not reconciled yet."""


@dataclass(frozen=True, slots=True)
class Night:
    """
    Verdicts of the rows that a day's runs staged; a row counts once for each run.

    :param runs: number of these runs.
    :param completed: the source's own count of these rows.
    :param rows: number of rows by verdict; ``None`` if there are too many to count while a user waits.
    """

    day: date
    runs: int
    completed: int
    sent: int
    rows: Mapping[str | None, int] | None

    def of(self, group: Group) -> int:
        """Return the number of rows in a group."""
        return sum((self.rows or {}).get(verdict, 0) for verdict in group.verdicts)

    @property
    def lost(self) -> int:
        """Return the number of source rows without a verdict; anything but 0 is an error."""
        return self.completed - sum(self.rows.values()) if self.rows is not None else 0


@dataclass(frozen=True, slots=True)
class Segment:
    """A piece of a bar; ``x`` and ``width`` in per cent, ``y`` and ``height`` in pixels."""

    group: Group
    x: float
    y: float
    width: float
    height: float
    rows: int


@dataclass(frozen=True, slots=True)
class Bar:
    """A night's bar; ``middle`` in per cent."""

    night: Night
    middle: float
    segments: tuple[Segment, ...]
    shows_month: bool


@dataclass(frozen=True, slots=True)
class Tick:
    """A line across the plot."""

    y: float
    value: int


def bars(nights: Sequence[Night]) -> list[Bar]:
    """Return a bar for each night, all on one scale."""
    top = scale(max((night.completed for night in nights), default=0))
    place = 100 / max(len(nights), 1)
    return [
        Bar(
            night,
            round(place * (index + 0.5), 3),
            tuple(_segments(night, place * (index + _GAP / 2), place * (1 - _GAP), top)),
            shows_month=index == 0 or night.day.month != nights[index - 1].day.month,
        )
        for index, night in enumerate(nights)
    ]


def ticks(nights: Sequence[Night]) -> list[Tick]:
    """Return the lines of the scale."""
    top = scale(max((night.completed for night in nights), default=0))
    values = sorted({0, top // 2, top}) if top > 1 else [0, 1]
    return [Tick(round(HEIGHT * (1 - value / top), 2), value) for value in values]


def scale(largest: int) -> int:
    """Round up to 1, 2, 4, 6, 8 or 10 times a power of ten."""
    power = 1
    while power * 10 < largest:
        power *= 10
    return next(power * step for step in (1, 2, 4, 6, 8, 10) if power * step >= largest)


def _segments(night: Night, x: float, width: float, top: int) -> list[Segment]:
    segments, base = [], float(HEIGHT)
    for group in GROUPS:
        rows = night.of(group)
        if rows:
            height = HEIGHT * rows / top
            base -= height
            segments.append(
                Segment(group, round(x, 3), round(base, 2), round(width, 3), round(height, 2), rows)
            )
    return segments
