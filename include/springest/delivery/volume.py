"""The volume check: a run that is far larger than usual waits for a person.

A mistake in the source must not become thousands of certificates.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from statistics import median
from typing import Final

ALWAYS_ALLOWED: Final = 500
TIMES_THE_MEDIAN: Final = 5


def max_run_size(sizes: Sequence[int]) -> int:
    """Return how many certificates a run may have without a person's approval.

    :param sizes: certificates that each of the last runs sent.
    """
    return max(ALWAYS_ALLOWED, int(TIMES_THE_MEDIAN * median(sizes)) if sizes else 0)


@dataclass(frozen=True, slots=True)
class VolumeCheck:
    """Result of the volume check. Each staged run is checked separately.

    :param approved: runs to send.
    :param too_large: runs that wait for a person, with their number of certificates.
    """

    approved: frozenset[str]
    too_large: Mapping[str, int]


def check_volume(waiting: Mapping[str, int], *, run_id: str, max_size: int, expected: int) -> VolumeCheck:
    """Approve the runs of usual size, and larger ones if a person expects as many certificates.

    Nothing is approved if this run itself is too large, or if a person expects fewer than there are.

    :param waiting: waiting certificates by the run that staged them.
    :param run_id: the run that delivers.
    :param max_size: certificates that a run may have without a person's approval.
    :param expected: certificates that a person expects; 0 if nobody gave a number.
    """
    large = {run: number for run, number in waiting.items() if number > max_size}
    if expected >= sum(large.values()):
        return VolumeCheck(frozenset(waiting), {})
    if expected or run_id in large:
        return VolumeCheck(frozenset(), large)
    return VolumeCheck(frozenset(waiting.keys() - large.keys()), large)


def describe_too_large(runs: Mapping[str, int], *, max_size: int) -> str:
    """Return a message that names runs that are too large, and the remedy.

    :param runs: waiting certificates by the run that staged them.
    :param max_size: certificates that a run may have without a person's approval.
    """
    named = ", ".join(f"{number} certificates of run {run}" for run, number in sorted(runs.items()))
    return (
        f"{named}: more than the {max_size} that a run may have (five times the median of the last runs, at "
        f"least {ALWAYS_ALLOWED}). If that is right, trigger springest_deliver with expected_certificates of "
        f"at least {sum(runs.values())} (it stages as well, so allow for newly completed trainings), "
        "or trigger springest_review and approve it there. If not, run "
        "`bin/springest review cancel --run RUN_ID --state ready`"
    )
