"""What the source says at the moment of sending: rows that changed since they were staged are staged anew.

A row that says something else at each look (``now() AS updated_at``) would be staged anew for ever and never
be sent. So what changed is looked up a second time: what changed again is set aside, and where several rows
do, the query is at fault.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import fields
from datetime import date
from typing import Final

from springest.delivery.claims import Queued
from springest.errors import ConfigurationError
from springest.source.contract import CompletedTraining, Defect
from springest.staging.decide import is_before
from springest.staging.stage import SEVERAL, Stager

FRESH_SECONDS: Final = 60.0
"""A row that was looked up longer ago is looked up again once its turn comes: a freeze may last hours."""
SECOND_LOOK_SECONDS: Final = 1.1
"""Many databases' clocks go in whole seconds."""
CHANGES_AT_EACH_LOOK: Final = "changes_at_each_look"


async def still_current(
    stager: Stager, batch: Sequence[Queued], *, cutover: date | None, run_id: str
) -> list[tuple[Queued, CompletedTraining]]:
    """Return what the source still says as it was staged; stage the rest anew.

    :raises ConfigurationError: several rows say something else at each look.
    """
    found = await asyncio.to_thread(stager.look_up, [queued.training_id for queued in batch])
    current: list[tuple[Queued, CompletedTraining]] = []
    moved: list[Queued] = []
    for queued in batch:
        rows = found.get(queued.delivery_key, [])
        if len(rows) == 1 and rows[0].row_version == queued.row_version and not is_before(cutover, rows[0]):
            current.append((queued, rows[0]))
        else:
            moved.append(queued)
    changed = [one for one in moved if _version(found, one) not in {None, one.row_version}]
    unstable = await _set_aside_unstable(stager, changed, found, run_id=run_id) if changed else set()
    if again := [one.delivery_key for one in moved if one.delivery_key not in unstable]:
        await asyncio.to_thread(stager.restage, again, found, run_id=run_id)
    return current


async def _set_aside_unstable(
    stager: Stager, changed: Sequence[Queued], found: dict[str, list[CompletedTraining]], *, run_id: str
) -> set[str]:
    """Look again at rows that changed; set those aside that changed once more, and return their keys."""
    await asyncio.sleep(SECOND_LOOK_SECONDS)
    again = await asyncio.to_thread(stager.look_up, [queued.training_id for queued in changed])
    unstable = {
        one.delivery_key: (found[one.delivery_key][0], again[one.delivery_key][0])
        for one in changed
        if _version(again, one) not in {None, one.row_version, _version(found, one)}
    }
    columns = sorted({name for pair in unstable.values() for name in _differing(*pair)})
    remedy = (
        f"{', '.join(columns) or 'a value'} differs at each look: let the query give stored values only, "
        "such as a column that says when the row was changed in place of now()"
    )
    if len(unstable) >= SEVERAL:
        names = ", ".join(first.training_id for first, _ in list(unstable.values())[:SEVERAL])
        raise ConfigurationError(f"completed trainings {names} can't be sent: {remedy}")
    for training, _ in unstable.values():
        defect = Defect(CHANGES_AT_EACH_LOOK, remedy)
        await asyncio.to_thread(stager.set_aside, training, defect, run_id=run_id)
    return set(unstable)


def _version(found: dict[str, list[CompletedTraining]], queued: Queued) -> str | None:
    """Return the version of the only row that was found, if there is one."""
    rows = found.get(queued.delivery_key, [])
    return rows[0].row_version if len(rows) == 1 else None


def _differing(one: CompletedTraining, two: CompletedTraining) -> list[str]:
    names = (field.name for field in fields(one) if field.name not in {"row_version", "defects"})
    return [name for name in names if getattr(one, name) != getattr(two, name) and "_ref" not in name]
