"""Compare rows with the source just before they are sent, and stage those again that changed.

A row that differs each time it is read (``now() AS updated_at``) would be staged again for ever and never be
sent. So a changed row is read a second time. If it has changed again, it is set aside; if several rows have,
the query is at fault. Rows that the source refuses to return are set aside at the end of the run; if they are
many, the source is at fault, and the run stops.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import fields
from typing import Final

from springest.delivery.claims import Queued
from springest.delivery.context import Parts
from springest.delivery.tally import Tally
from springest.errors import ConfigurationError
from springest.source.contract import CompletedTraining, Defect
from springest.source.reader import MOST_UNREADABLE, SourceError
from springest.staging.decide import is_before
from springest.staging.stage import SEVERAL

FRESH_SECONDS: Final = 60.0
"""A row that was looked up longer ago is looked up again once its turn comes: a freeze may last hours."""
SECOND_LOOK_SECONDS: Final = 1.1
"""Many databases' clocks go in whole seconds."""
CHANGES_AT_EACH_LOOK: Final = "changes_at_each_look"


class SourceCheck:
    """Compares queued deliveries with the source just before they are sent, for one run.

    :param parts: what the run works with.
    :param tally: counts what is staged again or set aside.
    """

    def __init__(self, parts: Parts, tally: Tally) -> None:
        self._stager = parts.stager
        self._cutover = parts.site.cutover_date
        self._run_id = parts.run_id
        self._tally = tally
        self._refused: dict[str, CompletedTraining] = {}

    async def current(self, batch: Sequence[Queued]) -> list[tuple[Queued, CompletedTraining]]:
        """Return the deliveries whose row is as it was staged; stage the rest again.

        Rows that the source refuses to return wait for ``set_aside_refused``.

        :raises ConfigurationError: several rows differ each time they are read.
        :raises SourceError: the source refuses to return more than a few rows; none of them is set aside.
        """
        found = await asyncio.to_thread(self._stager.look_up, [queued.training_id for queued in batch])
        current: list[tuple[Queued, CompletedTraining]] = []
        moved: list[Queued] = []
        for queued in batch:
            rows = found.get(queued.delivery_key, [])
            if len(rows) == 1 and rows[0].row_version == queued.row_version and not self._is_before(rows[0]):
                current.append((queued, rows[0]))
                self._refused.pop(queued.delivery_key, None)
            elif len(rows) == 1 and rows[0].is_refused:
                self._refused[queued.delivery_key] = rows[0]
            else:
                moved.append(queued)
        _stop_at_too_many(self._refused)
        self._tally.restaged += len(moved)
        changed = [one for one in moved if _version(found, one) not in {None, one.row_version}]
        unstable = await self._set_aside_unstable(changed, found) if changed else set()
        if again := [one.delivery_key for one in moved if one.delivery_key not in unstable]:
            await asyncio.to_thread(self._stager.restage, again, found, run_id=self._run_id)
        return current

    async def set_aside_refused(self) -> None:
        """Set aside the rows that the source refused to return, at the end of a run that did not stop."""
        if self._refused:
            found = {key: [training] for key, training in self._refused.items()}
            await asyncio.to_thread(self._stager.restage, list(found), found, run_id=self._run_id)
            self._tally.set_aside += len(found)
            self._refused.clear()

    def _is_before(self, training: CompletedTraining) -> bool:
        return is_before(self._cutover, training)

    async def _set_aside_unstable(
        self, changed: Sequence[Queued], found: dict[str, list[CompletedTraining]]
    ) -> set[str]:
        """Look again at rows that changed; set those aside that changed once more, and return their keys."""
        await asyncio.sleep(SECOND_LOOK_SECONDS)
        again = await asyncio.to_thread(self._stager.look_up, [queued.training_id for queued in changed])
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
            await asyncio.to_thread(self._stager.set_aside, training, defect, run_id=self._run_id)
        return set(unstable)


def _stop_at_too_many(refused: Mapping[str, CompletedTraining]) -> None:
    """Blame the source, not its rows, if it refuses as many as staging would not set aside either.

    :raises SourceError: it does.
    """
    if len(refused) <= MOST_UNREADABLE:
        return
    names = ", ".join(training.training_id for training in list(refused.values())[:SEVERAL])
    details = {defect.detail for one in refused.values() for defect in one.defects if defect.is_refused}
    raise SourceError(
        f"more than {MOST_UNREADABLE} queued trainings can't be read again from the source, among them "
        f"{names}: {'; '.join(sorted(details)[:SEVERAL])}. They stay in the queue"
    )


def _version(found: dict[str, list[CompletedTraining]], queued: Queued) -> str | None:
    """Return the version of the only row that was found, if there is one."""
    rows = found.get(queued.delivery_key, [])
    return rows[0].row_version if len(rows) == 1 else None


def _differing(one: CompletedTraining, two: CompletedTraining) -> list[str]:
    names = (field.name for field in fields(one) if field.name not in {"row_version", "defects"})
    return [name for name in names if getattr(one, name) != getattr(two, name) and "_ref" not in name]
