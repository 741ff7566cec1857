"""How large a run may be without a person's approval."""

from __future__ import annotations

import pytest

from springest.delivery.volume import VolumeCheck, check_volume, max_run_size


@pytest.mark.parametrize(
    ("sizes", "expected"),
    [
        ([], 500),
        ([3, 5, 4], 500),
        ([100], 500),
        ([101], 505),
        ([1_000, 2_000, 3_000], 10_000),
        ([1, 9_000], 22_502),
    ],
)
def test_the_limit_is_five_medians_but_at_least_500(sizes: list[int], expected: int) -> None:
    """The volume check allows five times the median run, and never fewer than 500 certificates."""
    assert max_run_size(sizes) == expected


@pytest.mark.parametrize(
    ("waiting", "expected", "approved", "too_large"),
    [
        ({"own": 400, "a": 150, "b": 150, "c": 150}, 0, {"own", "a", "b", "c"}, {}),
        ({"own": 400, "a": 501}, 0, {"own"}, {"a": 501}),
        ({"own": 501, "a": 150}, 0, set(), {"own": 501}),
        ({"own": 501, "a": 150}, 501, {"own", "a"}, {}),
        ({"own": 3, "a": 501, "b": 600}, 1_100, set(), {"a": 501, "b": 600}),
        ({"own": 3, "a": 501, "b": 600}, 1_101, {"own", "a", "b"}, {}),
        ({"own": 0}, 0, {"own"}, {}),
    ],
    ids=["each alone", "another one waits", "this one waits", "expected", "fewer expected", "all expected",
         "nothing new"],
)  # fmt: skip
def test_each_run_is_checked_alone_unless_its_size_was_expected(
    waiting: dict[str, int], expected: int, approved: set[str], too_large: dict[str, int]
) -> None:
    """The volume check compares each run alone; a run that is too large needs `expected_certificates`."""
    check = check_volume(waiting, run_id="own", max_size=500, expected=expected)
    assert check == VolumeCheck(frozenset(approved), too_large)
