"""How large a night may be before a person looks: a mistake in the source must not become certificates."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
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


@dataclass(frozen=True, slots=True)
class Weighed:
    """The result of the volume check, which looks at each staged run separately.

    :param accepted: runs to be sent.
    :param too_large: certificates of each run that waits for a person.
    """

    accepted: frozenset[str]
    too_large: Mapping[str, int]


def weigh(waiting: Mapping[str, int], *, run_id: str, usual: int, expected: int) -> Weighed:
    """Decide which staged runs are sent: those no larger than usual, and as many more as a person expects.

    When this run itself is too large, or not all that is too large was expected, nothing is sent.

    :param waiting: certificates that wait, by the run that staged them.
    :param run_id: the run that delivers.
    :param usual: how many a run may have without a person.
    :param expected: how many a person said to expect; 0 when nobody did.
    """
    large = {run: number for run, number in waiting.items() if number > usual}
    if expected >= sum(large.values()):
        return Weighed(frozenset(waiting), {})
    if expected or run_id in large:
        return Weighed(frozenset(), large)
    return Weighed(frozenset(waiting.keys() - large.keys()), large)
