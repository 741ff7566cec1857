"""The window of a source that a run reads."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime

from springest.errors import SourceError

Bounds = dict[str, datetime]


@dataclass(frozen=True, slots=True)
class Window:
    """A half-open interval on ``updated_at``: start inclusive, end exclusive, both with a time zone."""

    start: datetime
    end: datetime

    def __post_init__(self) -> None:
        if self.start.tzinfo is None or self.end.tzinfo is None:
            raise SourceError("a window of the source needs time zones at both ends")
        if self.end < self.start:
            raise SourceError(f"the window ends ({self.end}) before it starts ({self.start})")

    @property
    def bounds(self) -> Bounds:
        """The query's parameters, in UTC, since a source without a timestamp type compares text."""
        return {"window_start": self.start.astimezone(UTC), "window_end": self.end.astimezone(UTC)}


def require_count(count: int, returned: int) -> None:
    """Refuse a window of which the source returned another number of rows than it counted.

    :raises SourceError: it did.
    """
    if returned != count:
        raise SourceError(
            f"the source counts {count} completed trainings but returned {returned}: the query must return "
            "the same rows each time; nothing is lost, the next try reads the window again"
        )
