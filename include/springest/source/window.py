"""The window of a source that a run reads."""

from __future__ import annotations

from collections.abc import Generator
from contextlib import closing
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TypeVar

from springest.errors import SourceError

T = TypeVar("T")
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


def counted(batches: Generator[list[T], None, None], count: int) -> Generator[list[T], None, None]:
    """Yield batches; at their end, refuse another number of rows than the source counted in the window.

    :raises SourceError: the numbers differ.
    """
    returned = 0
    with closing(batches):
        for batch in batches:
            returned += len(batch)
            yield batch
    if returned != count:
        raise SourceError(
            f"the source counts {count} completed trainings but returned {returned}: the query must return "
            "the same rows each time; nothing is lost, the next try reads the window again"
        )
