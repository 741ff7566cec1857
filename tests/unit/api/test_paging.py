"""Paging through a list that changes while it is read."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from springest.api.paging import Pager


def _read(rows, *, size, server_max=10_000, changes=None, tell_total=True):
    """Read a list as a client does; ``changes`` are done to it before the request of that number."""
    pager, got, requests = Pager(size), [], 0
    while (wanted := pager.next) is not None:
        requests += 1
        assert requests < 2_000, "it goes round in circles"
        for change in (changes or {}).get(requests, []):
            change(rows)
        page = rows[wanted.offset : wanted.offset + min(wanted.size, server_max)]
        new = pager.accept(page, total=len(rows) if tell_total else None)
        got.extend(row for row in page if row in new)
    return pager.evidence, got


@given(count=st.integers(0, 60), size=st.integers(1, 20), server_max=st.integers(1, 30))
def test_a_list_that_stands_still_is_read_completely(count, size, server_max):
    """Every row once, whatever the page's size is, with few requests."""
    evidence, got = _read(list(range(1, count + 1)), size=size, server_max=server_max)
    assert got == list(range(1, count + 1))
    assert evidence.complete
    assert evidence.rewinds == 0
    assert evidence.requests <= 1 + count / max(1, min(size, server_max) - 1)


@given(count=st.integers(0, 40), size=st.integers(1, 10))
def test_a_list_without_a_total_ends_but_is_never_complete(count, size):
    """Without a total from the server the end is found, but there is nothing to compare the count with."""
    evidence, got = _read(list(range(1, count + 1)), size=size, tell_total=False)
    assert got == list(range(1, count + 1))
    assert not evidence.complete
    assert evidence.reached_end


_CHANGES = st.sampled_from([["front", "end"], ["delete"]]).flatmap(
    lambda kinds: st.dictionaries(
        st.integers(2, 12),
        st.lists(st.tuples(st.sampled_from(kinds), st.integers(0, 10_000)), max_size=3),
        max_size=4,
    )
)


@given(count=st.integers(1, 60), size=st.integers(1, 12), server_max=st.integers(1, 15), planned=_CHANGES)
def test_a_list_is_complete_only_if_all_of_it_was_read(count, size, server_max, planned):
    """Rows appear, or go, while it is read:

    `complete` means that everything there at the end was seen. One that goes while another takes its place
    can't be noticed by any client; see ``Evidence``.
    """
    fresh = iter(range(1_000, 2_000))

    def doing(kind, at):
        def change(rows):
            if kind == "front":
                rows.insert(0, next(fresh))
            elif kind == "end":
                rows.append(next(fresh))
            elif rows:
                del rows[at % len(rows)]

        return change

    rows = list(range(1, count + 1))
    changes = {number: [doing(*change) for change in todo] for number, todo in planned.items()}
    evidence, got = _read(rows, size=size, server_max=server_max, changes=changes)
    if evidence.complete:
        assert set(rows) <= set(got)


def test_rows_that_appear_in_front_make_it_go_back():
    """Newest first, and somebody uploads while the list is read."""
    rows = list(range(1, 31))
    evidence, got = _read(rows, size=10, changes={2: [lambda rows: rows.insert(0, 99)]})
    assert set(got) == set(rows)
    assert evidence.complete
    assert evidence.rewinds >= 1


def test_reading_a_list_that_never_stands_still_ends():
    """A list that changes at every request is partial, and reading it ends."""
    pager, number = Pager(10), 0
    while pager.next is not None:
        number += 1
        assert number < 500
        pager.accept(list(range(number * 100, number * 100 + 10)), total=1_000)
    assert not pager.evidence.complete


def test_a_server_that_ignores_the_offset_comes_to_an_end():
    """It gives the first page again and again."""
    pager, number = Pager(10), 0
    while pager.next is not None:
        number += 1
        assert number < 500
        pager.accept(list(range(10)), total=1_000)
    assert not pager.evidence.complete
