"""How large a night may be."""

from __future__ import annotations

import pytest

from include.springest.delivery.brake import largest_night


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
def test_five_times_the_median_and_never_less_than_five_hundred(nights: list[int], most: int) -> None:
    assert largest_night(nights) == most
