"""The set of ids of a long list: a set like any other, and small."""

from __future__ import annotations

import tracemalloc

from hypothesis import given
from hypothesis import strategies as st

from include.springest.api.id_set import IdSet


@given(st.lists(st.one_of(st.integers(-5, 50), st.integers(), st.sampled_from([2**63 - 1, 2**63, -1]))))
def test_it_holds_what_was_added_and_tells_what_is_new(numbers):
    mine, theirs = IdSet(), set()
    for number in numbers:
        assert mine.add(number) == (number not in theirs)
        theirs.add(number)
        assert number in mine
    assert len(mine) == len(theirs)
    assert all((number in mine) == (number in theirs) for number in range(-10, 60))


def test_two_hundred_thousand_ids_take_few_bytes_each_however_they_lie():
    """While it grows as well."""
    for ids in (range(1, 200_001), range(10**12, 10**12 + 200_000 * 4_096, 4_096)):
        tracemalloc.start()
        held = IdSet()
        for number in ids:
            held.add(number)
        _, most = tracemalloc.get_traced_memory()
        tracemalloc.stop()
        assert len(held) == 200_000
        assert most / 200_000 < 50
