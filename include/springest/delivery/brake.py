"""How large a night may be before a person looks: a mistake in the source must not become certificates."""

from __future__ import annotations

from collections.abc import Sequence
from statistics import median
from typing import Final

SMALLEST_LIMIT: Final = 500
TIMES_THE_MEDIAN: Final = 5


def largest_night(nights: Sequence[int]) -> int:
    """Return how many certificates may be new in the queue.

    :param nights: how many the last nights sent.
    """
    usual = median(nights) if nights else 0
    return max(SMALLEST_LIMIT, int(TIMES_THE_MEDIAN * usual))
