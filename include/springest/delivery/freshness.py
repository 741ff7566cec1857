"""What the source says at the moment of sending: rows that changed since they were staged are staged anew."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from datetime import date
from typing import Final

from include.springest.ledger.claims import Queued
from include.springest.source.contract import CompletedTraining
from include.springest.staging.decide import is_before
from include.springest.staging.stage import Stager

FRESH_SECONDS: Final = 60.0
"""A row that was looked up longer ago is looked up again once its turn comes: a freeze may last hours."""


async def still_current(
    stager: Stager, batch: Sequence[Queued], *, cutover: date | None, run_id: str
) -> list[tuple[Queued, CompletedTraining]]:
    """Return what the source still says as it was staged; stage the rest anew."""
    found = await asyncio.to_thread(stager.look_up, [one.training_id for one in batch])
    current: list[tuple[Queued, CompletedTraining]] = []
    moved: list[str] = []
    for one in batch:
        rows = found.get(one.delivery_key, [])
        if len(rows) == 1 and rows[0].row_version == one.row_version and not is_before(cutover, rows[0]):
            current.append((one, rows[0]))
        else:
            moved.append(one.delivery_key)
    if moved:
        await asyncio.to_thread(stager.restage, moved, found, run_id=run_id)
    return current
