"""A set of ids that takes 16 to 32 bytes an id, where Python's own takes about a hundred.

A list of a million certificates is read in a worker whose memory others share.
"""

from __future__ import annotations

from array import array
from typing import Final

_FREE: Final = -1
_FIRST_SLOTS: Final = 1_024
_LARGEST: Final = 2**63 - 1
_SPREAD: Final = 0x9E3779B97F4A7C15
"""2^64 divided by the golden ratio (Knuth, TAOCP 3, 6.4): neighbours land far apart."""


class IdSet:
    """Ids that were seen: open addressing in one flat array of machine integers."""

    def __init__(self) -> None:
        self._slots = array("q", [_FREE]) * _FIRST_SLOTS
        self._count = 0
        self._odd: set[int] = set()

    def __len__(self) -> int:
        return self._count + len(self._odd)

    def __contains__(self, number: int) -> bool:
        if not 0 <= number <= _LARGEST:
            return number in self._odd
        return self._slots[self._place(number)] == number

    def add(self, number: int) -> bool:
        """Add an id; tell whether it is new."""
        if not 0 <= number <= _LARGEST:
            before = len(self._odd)
            self._odd.add(number)
            return len(self._odd) > before
        place = self._place(number)
        if self._slots[place] == number:
            return False
        self._slots[place] = number
        self._count += 1
        if self._count * 2 > len(self._slots):
            self._grow()
        return True

    def _place(self, number: int) -> int:
        """Return where an id is, or would be put."""
        slots = self._slots
        mask = len(slots) - 1
        place = (number * _SPREAD >> 32) & mask
        while (held := slots[place]) != _FREE and held != number:
            place = (place + 1) & mask
        return place

    def _grow(self) -> None:
        old = self._slots
        self._slots = array("q", [_FREE]) * (len(old) * 2)
        for number in old:
            if number != _FREE:
                self._slots[self._place(number)] = number
