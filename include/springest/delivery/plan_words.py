"""The text of a dry run's result."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Final

from springest.delivery.plan import Plan, PlannedRow

SHOWN: Final = 500
"""Maximum number of certificates to list of each kind; ``bin/springest plan --json`` has all."""


def in_words(plan: Plan, *, until: str) -> Iterator[str]:
    """Yield lines for people.

    :param until: deadline of ``Plan.in_time``, such as ``06:00 UTC``.
    """
    yield f"DRY RUN of site {plan.site}: nothing was changed, and nothing was sent."
    if plan.window is None:
        yield f"Completed trainings read: {plan.rows}, as the source has them now."
    else:
        start, end = (moment.isoformat(" ", "seconds") for moment in (plan.window.start, plan.window.end))
        yield f"Completed trainings read: {plan.rows}, changed from {start} to {end}."
    if plan.not_found:
        yield f"Not found in the source: {', '.join(plan.not_found[:SHOWN])}"
    if plan.stopped_by:
        yield f"Stops: {plan.stopped_by}"
    yield f"Would send: {len(plan.to_send)}{_duration(plan, until)}"
    yield from _named(plan.to_send)
    yield f"Would set aside, leave for a person, or keep cancelled: {len(plan.set_aside)}"
    yield from _by_reason(plan.set_aside)
    yield f"Sent before, not sent again: {plan.delivered}"
    yield f"Would stay in the queue: {plan.queued - plan.in_time}"


def _duration(plan: Plan, until: str) -> str:
    if not plan.to_send:
        return "."
    minutes = plan.seconds / 60
    length = f"{plan.seconds:.0f} s" if minutes < 2 else f"{minutes:.0f} minutes"
    length = length if minutes < 120 else f"{minutes / 60:.1f} hours"
    if plan.in_time == len(plan.to_send):
        return f". It takes {length} at the rate limit."
    return f". It takes {length} at the rate limit: {plan.in_time} until {until}, the rest in the next runs."


def _named(rows: Sequence[PlannedRow], indent: str = "  ", *, with_details: bool = False) -> Iterator[str]:
    for row in rows[:SHOWN]:
        yield f"{indent}{_name(row)}" + (f": {_detail(row)}" if with_details else "")
    if len(rows) > SHOWN:
        yield f"{indent}… and {len(rows) - SHOWN} more"


def _by_reason(rows: Sequence[PlannedRow]) -> Iterator[str]:
    """Yield each reason with its remedy once, the most frequent one first, and then its rows."""
    grouped: dict[tuple[str, str], list[PlannedRow]] = {}
    for row in rows:
        grouped.setdefault((row.state, row.reason or "no reason"), []).append(row)
    for (state, reason), group in sorted(grouped.items(), key=lambda item: (-len(item[1]), item[0])):
        is_shared = len({_detail(row) for row in group}) == 1
        yield f"  {len(group)} {state}, {reason}" + (f": {_detail(group[0])}" if is_shared else "")
        yield from _named(group, "    ", with_details=not is_shared)


def _detail(row: PlannedRow) -> str:
    return row.detail or "see docs/states.md"


def _name(row: PlannedRow) -> str:
    issue = f" (issue {row.issue_no})" if row.issue_no != 1 else ""
    return f"training {row.training_id}{issue}, certification {row.certification_id or 'unreadable'}"
