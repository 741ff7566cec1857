"""How large a night may be."""

from __future__ import annotations

import pytest

from springest.delivery.brake import Weighed, largest_night, weigh


@pytest.mark.parametrize(
    ("nights", "most"),
    [
        ([], 500),
        ([3, 5, 4], 500),
        ([100], 500),
        ([101], 505),
        ([1_000, 2_000, 3_000], 10_000),
        ([1, 9_000], 22_502),
    ],
)
def test_the_limit_is_five_medians_but_at_least_500(nights: list[int], most: int) -> None:
    """The volume check allows five times the median run, and never fewer than 500 certificates."""
    assert largest_night(nights) == most


@pytest.mark.parametrize(
    ("waiting", "expected", "accepted", "too_large"),
    [
        ({"own": 400, "a": 150, "b": 150, "c": 150}, 0, {"own", "a", "b", "c"}, {}),
        ({"own": 400, "a": 501}, 0, {"own"}, {"a": 501}),
        ({"own": 501, "a": 150}, 0, set(), {"own": 501}),
        ({"own": 501, "a": 150}, 501, {"own", "a"}, {}),
        ({"own": 3, "a": 501, "b": 600}, 1_100, set(), {"a": 501, "b": 600}),
        ({"own": 3, "a": 501, "b": 600}, 1_101, {"own", "a", "b"}, {}),
        ({"own": 0}, 0, {"own"}, {}),
    ],
    ids=["each by itself", "another one waits", "this one waits", "expected", "less expected", "all expected",
         "nothing new"],
)  # fmt: skip
def test_each_run_is_checked_alone_unless_its_size_was_expected(
    waiting: dict[str, int], expected: int, accepted: set[str], too_large: dict[str, int]
) -> None:
    """The volume check compares each run alone; a run that is too large needs `expected_certificates`."""
    weighed = weigh(waiting, run_id="own", usual=500, expected=expected)
    assert weighed == Weighed(frozenset(accepted), too_large)
