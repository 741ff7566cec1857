"""A set of ids that needs 8 to 32 bytes per id; Python's own set needs about a hundred.

Workers that share memory with others read lists of a million certificates.
"""

from __future__ import annotations

import secrets
from array import array
from bisect import bisect_left
from collections.abc import Sequence
from operator import lt
from typing import Final

_FREE: Final = -1
_FIRST_SLOTS: Final = 1_024
_LARGEST: Final = 2**63 - 1
_SPREAD: Final = secrets.randbits(64) | 1 << 63 | 1
"""Multiplier of the hash, odd and random in each process, so that a server can't choose colliding ids
(Dietzfelbinger et al., "A reliable randomized algorithm for the closest-pair problem", 1997)."""


class IdSet:
    """A set of ids in flat arrays of machine integers.

    An id larger than all earlier ones is appended to a sorted array, which suffices for most lists. Others
    go into a hash table with open addressing, whose ids are never larger than the last one of the sorted
    array.
    """

    def __init__(self) -> None:
        self._ascending = array("q")
        self._slots = array("q", [_FREE]) * _FIRST_SLOTS
        self._count = 0
        self._odd: set[int] = set()

    def __len__(self) -> int:
        return len(self._ascending) + self._count + len(self._odd)

    def __contains__(self, number: int) -> bool:
        if not 0 <= number <= _LARGEST:
            return number in self._odd
        return self._ascends_to(number) or self._slots[self._place(number)] == number

    def add(self, number: int) -> bool:
        """Add an id; return whether it is new."""
        if not 0 <= number <= _LARGEST:
            before = len(self._odd)
            self._odd.add(number)
            return len(self._odd) > before
        if self._is_above(number):
            self._ascending.append(number)
            return True
        return not self._ascends_to(number) and self._add_to_slots(number)

    def add_all(self, numbers: Sequence[int]) -> set[int]:
        """Add ids; return those that are new."""
        joined = bool(numbers and self._ascending) and numbers[0] == self._ascending[-1]
        behind = numbers[1:] if joined else numbers
        ascend = all(map(lt, behind, behind[1:]))
        if behind and ascend and self._is_above(behind[0]) and behind[-1] <= _LARGEST:
            self._ascending.extend(behind)
            return set(behind)
        return {number for number in numbers if self.add(number)}

    def _is_above(self, number: int) -> bool:
        return number > (self._ascending[-1] if self._ascending else -1)

    def _ascends_to(self, number: int) -> bool:
        place = bisect_left(self._ascending, number)
        return place < len(self._ascending) and self._ascending[place] == number

    def _add_to_slots(self, number: int) -> bool:
        place = self._place(number)
        if self._slots[place] == number:
            return False
        self._slots[place] = number
        self._count += 1
        if self._count * 2 > len(self._slots):
            self._grow()
        return True

    def _place(self, number: int) -> int:
        """Return the slot of an id, or the slot where it would be put."""
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
