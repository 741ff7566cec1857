"""The set of ids of a long list: a set like any other, and small."""

from __future__ import annotations

import tracemalloc

from hypothesis import given
from hypothesis import strategies as st

from springest.api.id_set import IdSet

_NUMBERS = st.one_of(st.integers(-5, 50), st.integers(), st.sampled_from([2**63 - 1, 2**63, -1]))
_LISTS = st.lists(_NUMBERS, max_size=8)
_RUNS = st.builds(range, st.integers(0, 60), st.integers(0, 60))
_PAGES = st.lists(st.one_of(_LISTS, _LISTS.map(sorted), _RUNS))


@given(st.lists(_NUMBERS))
def test_a_set_holds_added_ids_and_returns_the_new_ones(numbers):
    """`add` returns the ids that were not in the set before."""
    ids, expected = IdSet(), set()
    for number in numbers:
        assert ids.add(number) == (number not in expected)
        expected.add(number)
        assert number in ids
    assert len(ids) == len(expected)
    assert all((number in ids) == (number in expected) for number in range(-10, 60))


@given(_PAGES)
def test_pages_of_any_order_are_added_as_their_ids_one_by_one(pages):
    """Ascending ones that join on to the last page, any others, and the same id more than once."""
    ids, expected = IdSet(), set()
    for page in pages:
        assert ids.add_all(page) == set(page) - expected
        expected |= set(page)
        assert len(ids) == len(expected)
    assert all((number in ids) == (number in expected) for number in {*expected, *range(-10, 70)})


def test_two_hundred_thousand_ids_take_few_bytes_each():
    """Any distribution of ids takes few bytes for each, also while the set grows."""
    ascending, spread = range(1, 200_001), range(10**12, 10**12 + 200_000 * 4_096, 4_096)
    for ids in (ascending, spread, ascending[::-1], spread[::-1]):
        tracemalloc.start()
        held = IdSet()
        for number in ids:
            held.add(number)
        _, most = tracemalloc.get_traced_memory()
        tracemalloc.stop()
        assert len(held) == 200_000
        assert most / 200_000 < 50
