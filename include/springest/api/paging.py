"""Page through a list that may change meanwhile. No input or output: it takes pages and returns requests.

Each page overlaps the last one by one row. If that row differs, the list has shifted, and the pager rewinds
until it finds rows that it has seen. If the totals do not match at the end, the list is read once more.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from springest.api.id_set import IdSet

MOST_REWINDS: Final = 20
MOST_SCANS: Final = 2


@dataclass(frozen=True, slots=True)
class PageRequest:
    """The next page to request.

    :param offset: number of rows to skip.
    :param size: number of rows; the server may return fewer.
    """

    offset: int
    size: int


@dataclass(frozen=True, slots=True)
class Evidence:
    """How completely a list was read.

    :param first_total: total reported by the first page of the last scan.
    :param last_total: total reported by its last page.
    :param distinct_ids: number of distinct ids in it.
    :param rewinds: how often the list had shifted and was read again.
    :param ended_empty: the list was read until the server returned no more rows.
    """

    first_total: int | None
    last_total: int | None
    distinct_ids: int
    rewinds: int
    requests: int
    ended_empty: bool = False
    unreadable: int = 0

    @property
    def reached_end(self) -> bool:
        """Whether the whole list was read, as far as this is known if the server reports no total."""
        no_total = self.first_total is None and self.last_total is None
        ended = no_total and self.ended_empty and self.rewinds == 0 and self.unreadable == 0
        return self.complete or ended

    @property
    def complete(self) -> bool:
        """Whether no row can have been missed: the number of ids equals both totals.

        A removed row whose place a new one takes can't be detected; the API removes none.
        """
        return self.unreadable == 0 and self.has_all_rows

    @property
    def has_all_rows(self) -> bool:
        """Whether the number of distinct rows, readable or not, equals both totals."""
        return self.first_total is not None and self.distinct_ids == self.first_total == self.last_total


class Pager:
    """Determines the next request from the pages received so far.

    :param size: number of rows per request.
    """

    def __init__(self, size: int) -> None:
        self._size = size
        self._scans = 1
        self._rewinds = 0
        self._requests = 0
        self._begin_scan()

    def _begin_scan(self) -> None:
        self._offset = 0
        self._overlap = 0
        self._expected: int | None = None
        self._back = self._size
        self._seen = IdSet()
        self._unreadable = 0
        self._first_total: int | None = None
        self._last_total: int | None = None
        self._ended = False
        self._ended_empty = False

    @property
    def next(self) -> PageRequest | None:
        """The next request; ``None`` at the end."""
        return None if self._ended else PageRequest(self._offset, self._size)

    @property
    def evidence(self) -> Evidence:
        """How completely the list was read so far."""
        return Evidence(
            first_total=self._first_total,
            last_total=self._last_total,
            distinct_ids=len(self._seen),
            rewinds=self._rewinds,
            requests=self._requests,
            ended_empty=self._ended_empty,
            unreadable=self._unreadable,
        )

    def accept(self, ids: Sequence[int], *, total: int | None) -> set[int]:
        """Accept the page for ``next``.

        :param ids: ids of its rows, in its order; negative for a row without a usable id.
        :param total: total that the page reports, if any.
        :returns: the ids that are new in this scan; empty if the page must be read again.
        """
        self._requests += 1
        if self._first_total is None:
            self._first_total = total
        self._last_total = total
        if self._shifted(ids) and self._rewind():
            return set()
        new = self._seen.add_all(ids)
        self._unreadable += sum(number < 0 for number in new)
        self._advance(ids, total)
        return new

    def _shifted(self, ids: Sequence[int]) -> bool:
        """Return whether the page does not overlap with the rows seen so far."""
        if self._overlap == 0:
            return False
        if self._expected is not None:
            return not ids or ids[0] != self._expected
        return not ids or ids[0] not in self._seen

    def _rewind(self) -> bool:
        if self._rewinds >= MOST_REWINDS:
            return False
        self._rewinds += 1
        self._offset = max(0, self._offset - self._back)
        self._overlap = 1 if self._offset else 0
        self._back *= 2
        self._expected = None
        return True

    def _advance(self, ids: Sequence[int], total: int | None) -> None:
        self._ended_empty = len(ids) <= self._overlap
        end = self._offset + len(ids)
        if self._ended_empty or (total is not None and end >= total):
            self._end_scan()
            return
        # A server that returns a single row at a time leaves no room for an overlap.
        self._overlap = 1 if len(ids) > 1 else 0
        self._offset = end - self._overlap
        self._expected = ids[-1]
        self._back = self._size

    def _end_scan(self) -> None:
        if self.evidence.has_all_rows or self._last_total is None or self._scans >= MOST_SCANS:
            self._ended = True
            return
        self._scans += 1
        self._rewinds += 1
        self._begin_scan()
