"""The freshness gate: checks that the source row is still the one that was staged.

A row that changed is staged again. A query that returns another value each time (``now() AS updated_at``)
would then be staged forever and never sent. So a changed row is read twice: one that changed again is set
aside, and if several did, the query is wrong and the run fails. Rows that the source refuses to return are
set aside at the end of the run; if they are many, the source is at fault, and the run fails.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import fields
from typing import Final

from springest.delivery.claims import Queued
from springest.delivery.context import DeliveryContext
from springest.delivery.stats import DeliveryStats
from springest.errors import ConfigurationError, SourceError
from springest.source.contract import CompletedTraining, Defect
from springest.source.refusal import MOST_UNREADABLE
from springest.staging.decide import is_before_cutover
from springest.staging.stage import SEVERAL

FRESH_SECONDS: Final = 60.0
"""A row that was read longer ago is read again before its claim, since a freeze can last hours."""
SECOND_READ_SECONDS: Final = 1.1
"""Many databases round their clocks to whole seconds."""
CHANGES_AT_EACH_READ: Final = "changes_at_each_read"

Rows = dict[str, list[CompletedTraining]]
"""Source rows by delivery key."""


class SourceCheck:
    """Compares queued deliveries with the source just before they are sent, for one run.

    :param stats: counts what is staged again or set aside.
    """

    def __init__(self, context: DeliveryContext, stats: DeliveryStats) -> None:
        self._stager = context.stager
        self._cutover = context.site.cutover_date
        self._run_id = context.run_id
        self._stats = stats
        self._refused: dict[str, CompletedTraining] = {}

    async def read(self, batch: Sequence[Queued]) -> list[tuple[Queued, CompletedTraining]]:
        """Return the deliveries whose source row is unchanged; stage the others again.

        Rows that the source refuses to return wait for ``set_aside_refused``.

        :raises ConfigurationError: several rows change at each read.
        :raises SourceError: the source refuses to return more than a few rows; none of them is set aside.
        """
        rows = await self._look_up(batch)
        current: list[tuple[Queued, CompletedTraining]] = []
        moved: list[Queued] = []
        for queued in batch:
            found = rows.get(queued.delivery_key, [])
            if len(found) == 1 and self._is_unchanged(queued, found[0]):
                current.append((queued, found[0]))
                self._refused.pop(queued.delivery_key, None)
            elif len(found) == 1 and found[0].is_refused:
                self._refused[queued.delivery_key] = found[0]
            else:
                moved.append(queued)
        _fail_if_many(self._refused)
        self._stats.restaged += len(moved)
        changed = [queued for queued in moved if _version(rows, queued) not in {None, queued.row_version}]
        unstable = await self._set_aside_unstable(changed, rows) if changed else set()
        if again := [queued.delivery_key for queued in moved if queued.delivery_key not in unstable]:
            await asyncio.to_thread(self._stager.restage, again, rows, run_id=self._run_id)
        return current

    async def set_aside_refused(self) -> None:
        """Set aside the rows that the source refused to return; at the end of a run that did not stop."""
        if self._refused:
            rows = {key: [training] for key, training in self._refused.items()}
            await asyncio.to_thread(self._stager.restage, list(rows), rows, run_id=self._run_id)
            self._stats.set_aside += len(rows)
            self._refused.clear()

    def _is_unchanged(self, queued: Queued, row: CompletedTraining) -> bool:
        return row.row_version == queued.row_version and not is_before_cutover(self._cutover, row)

    async def _look_up(self, batch: Sequence[Queued]) -> Rows:
        return await asyncio.to_thread(self._stager.look_up, [queued.training_id for queued in batch])

    async def _set_aside_unstable(self, changed: Sequence[Queued], rows: Rows) -> set[str]:
        """Read changed rows again; set aside those that changed once more, and return their keys."""
        await asyncio.sleep(SECOND_READ_SECONDS)
        again = await self._look_up(changed)
        unstable = {
            queued.delivery_key: (rows[queued.delivery_key][0], again[queued.delivery_key][0])
            for queued in changed
            if _version(again, queued) not in {None, queued.row_version, _version(rows, queued)}
        }
        columns = sorted({name for pair in unstable.values() for name in _differing(*pair)})
        remedy = (
            f"{', '.join(columns) or 'a value'} differs each time it is read: let the query return stored "
            "values only, such as a column with the time of the last change instead of now()"
        )
        if len(unstable) >= SEVERAL:
            names = ", ".join(first.training_id for first, _ in list(unstable.values())[:SEVERAL])
            raise ConfigurationError(f"completed trainings {names} can't be sent: {remedy}")
        for training, _ in unstable.values():
            defect = Defect(CHANGES_AT_EACH_READ, remedy)
            await asyncio.to_thread(self._stager.set_aside, training, defect, run_id=self._run_id)
        return set(unstable)


def _fail_if_many(refused: Mapping[str, CompletedTraining]) -> None:
    """Fail if the source refuses more rows than staging would set aside: the source is at fault then.

    :raises SourceError: it does.
    """
    if len(refused) <= MOST_UNREADABLE:
        return
    names = ", ".join(training.training_id for training in list(refused.values())[:SEVERAL])
    details = {defect.detail for row in refused.values() for defect in row.defects if defect.is_refused}
    raise SourceError(
        f"more than {MOST_UNREADABLE} queued trainings can't be read again from the source, among them "
        f"{names}: {'; '.join(sorted(details)[:SEVERAL])}. They stay in the queue"
    )


def _version(rows: Rows, queued: Queued) -> str | None:
    """Return the version of the delivery's row; ``None`` unless there is exactly one."""
    found = rows.get(queued.delivery_key, [])
    return found[0].row_version if len(found) == 1 else None


def _differing(first: CompletedTraining, second: CompletedTraining) -> list[str]:
    names = (field.name for field in fields(first) if field.name not in {"row_version", "defects"})
    return [name for name in names if getattr(first, name) != getattr(second, name) and "_ref" not in name]
