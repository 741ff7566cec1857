"""Stage completed trainings: read the source, check every row, and write the result into the ledger.

The rows of a window are processed in batches, one transaction each. So memory use is constant (a batch reads
from the warehouse what it needs of earlier batches), and a run that dies keeps its committed batches;
repeating them changes nothing. The run is closed and the watermark moves only after all rows are committed.
"""

from __future__ import annotations

import logging
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Any, Final

from sqlalchemy import Connection, func, select

from springest.catalogue import Catalogue, load_catalogue
from springest.db.rollback import Transactions
from springest.db.schema import delivery, staged_row
from springest.documents.opener import DocumentError, DocumentStore
from springest.errors import ConfigurationError, UnreadableRows
from springest.identity import Pseudonyms
from springest.privacy.erased import without_erased
from springest.privacy.erasure import load_erased
from springest.privacy.secret import keep_to_secret
from springest.site import Site
from springest.source.contract import CompletedTraining, Defect, read_row
from springest.source.reader import BATCH_ROWS
from springest.source.several import TrainingSource
from springest.source.values import WITHOUT_TRAINING_ID
from springest.source.window import Window
from springest.staging import repository as ledger
from springest.staging.batch import Batch, BatchWriter
from springest.staging.progress import ProgressLog
from springest.staging.set_aside import SetAside, count_to_recheck, staged_before, to_recheck
from springest.staging.site_identity import keep_to_site
from springest.staging.window import PlannedWindow, close_window, plan_window, windows_around

log = logging.getLogger(__name__)

LOOK_BACK: Final = timedelta(days=1)
SEVERAL: Final = 3
"""Number of rows not found by their id from which the query is at fault, not the rows."""
NOT_FOUND: Final = "training_id_not_found"
NOT_FOUND_REMEDY: Final = (
    "the query must compute training_id from the row alone, as text, and use the window only to filter "
    "updated_at"
)


@dataclass(frozen=True, slots=True)
class StageReport:
    """The result of staging a run.

    :param rows: rows of the run's window, equal to the source's own count.
    :param states: number of these rows by the state of their delivery.
    :param rechecked: number of deliveries that were set aside earlier and checked again.
    """

    window: Window
    rows: int
    states: Mapping[str, int]
    rechecked: int


class Stager:
    """Stages one site's trainings.

    :param engine: engine of the warehouse.
    :param source: reader of the site's sources.
    :param documents: store of the certificate files.
    """

    def __init__(
        self,
        engine: Transactions,
        *,
        source: TrainingSource,
        site: Site,
        pseudonyms: Pseudonyms,
        documents: DocumentStore,
    ) -> None:
        self._engine = engine
        self._source = source
        self._site = site
        self._pseudonyms = pseudonyms
        self._writer = BatchWriter(
            engine, site=site.name, pseudonyms=pseudonyms, documents=documents, sources=source.names
        )

    def stage(
        self,
        run_id: str,
        *,
        asked: Window | None = None,
        look_back: timedelta = LOOK_BACK,
        begin_from: datetime | None = None,
        is_pilot: bool = False,
    ) -> StageReport:
        """Stage a run's window, then check all rows again that were set aside earlier.

        :param asked: the interval of a backfill; ``None`` continues from the watermark.
        :param begin_from: start of the first nightly window, for a site that has not begun.
        :param is_pilot: stage the last ``look_back`` of a site that has not begun, without beginning it.
        :raises SiteNotBegun: the site has not begun, and no parameter gives a window.
        :raises SourceError: the source fails, or returns another number of rows than it counts.
        :raises ConfigurationError: there is no catalogue yet, the learner secret changed, or the site's
            name or host did.
        """
        with ledger.being_staged(self._engine, self._site.name, run_id):
            with self._engine.begin() as connection:
                keep_to_secret(connection, self._pseudonyms)
                keep_to_site(connection, self._site)
                planned = plan_window(
                    connection,
                    site=self._site.name,
                    run_id=run_id,
                    asked=asked,
                    look_back=look_back,
                    begin_from=begin_from,
                    is_pilot=is_pilot,
                )
                catalogue = load_catalogue(connection, self._site)
            return self._stage_planned(run_id, planned, catalogue)

    def _stage_planned(self, run_id: str, planned: PlannedWindow, catalogue: Catalogue) -> StageReport:
        log.info(
            "Staging %s of site %s from %s to %s",
            run_id,
            self._site.name,
            planned.window.start,
            planned.window.end,
        )
        not_found = self._not_found_by_id(planned.window)
        try:
            count = self._stage_window(planned.window, catalogue, not_found, run_id=run_id)
        except UnreadableRows as error:
            log.warning("%s: reading the window again training by training, to find these rows", error)
            count = self._stage_window(planned.window, catalogue, not_found, run_id=run_id, by_training=True)
        rechecked = self._recheck(catalogue, run_id=run_id, rows=count)
        with self._engine.begin() as connection:
            close_window(connection, planned, site=self._site.name, run_id=run_id, source_count=count)
            states = _count_states(connection, self._site.name, run_id)
        return StageReport(planned.window, count, states, rechecked)

    def _not_found_by_id(self, window: Window) -> frozenset[str]:
        """Return trainings that the source does not find by their id.

        :raises ConfigurationError: there are ``SEVERAL`` or more, so the query is at fault.
        """
        try:
            not_found = self._source.not_found_again(window)
        except UnreadableRows:  # staging finds out which rows they are
            return frozenset()
        if len(not_found) >= SEVERAL:
            raise ConfigurationError(
                f"{len(not_found)} completed trainings of the window are not found by their training_id, "
                f"among them {', '.join(not_found[:SEVERAL])}: {NOT_FOUND_REMEDY}"
            )
        return frozenset(not_found)

    def _stage_window(
        self,
        window: Window,
        catalogue: Catalogue,
        not_found: Collection[str],
        *,
        run_id: str,
        by_training: bool = False,
    ) -> int:
        """Stage the rows of a window and return their number."""
        with self._source.open_window(window, by_training=by_training) as (count, batches):
            progress = ProgressLog(count, "completed trainings staged")
            for batch in batches:
                trainings = [_with_defect_if_not_found(training, not_found) for training in self._read(batch)]
                rows = {
                    number: training.delivery_key
                    for number, training in enumerate(trainings, start=progress.done + 1)
                }
                batched = replace(_batch_from_window(trainings), rows=rows)
                self._writer.write(batched, catalogue, run_id=run_id)
                progress.advance(len(trainings))
        return progress.done

    def keep_to_site(self) -> None:
        """Check that the site's name still belongs to the account that it was staged for.

        :raises ConfigurationError: it does not, so nothing may be sent.
        """
        with self._engine.begin() as connection:
            keep_to_site(connection, self._site)

    def look_up(self, training_ids: Iterable[str]) -> dict[str, list[CompletedTraining]]:
        """Return the distinct rows that the source now has for these trainings, by delivery key."""
        return look_up(self._source, training_ids, site=self._site.name, pseudonyms=self._pseudonyms)

    def restage(
        self, keys: Iterable[str], found: Mapping[str, list[CompletedTraining]], *, run_id: str
    ) -> None:
        """Stage deliveries again from the rows that ``look_up`` found; withdraw the others."""
        with self._engine.begin() as connection:
            catalogue = load_catalogue(connection, self._site)
        self._writer.write(_batch_from_look_up(keys, found), catalogue, run_id=run_id)

    def set_aside(self, training: CompletedTraining, error: DocumentError | Defect, *, run_id: str) -> None:
        """Set a delivery aside that turned out to be unsendable."""
        with self._engine.begin() as connection:
            catalogue = load_catalogue(connection, self._site)
        key = training.delivery_key
        batch = Batch({key: training}, defects={key: Defect(error.reason, error.detail)})
        self._writer.write(batch, catalogue, run_id=run_id)

    def _read(self, rows: Iterable[Mapping[str, Any]]) -> list[CompletedTraining]:
        read = [read_row(row, site=self._site.name, pseudonyms=self._pseudonyms) for row in rows]
        with self._engine.connect() as connection:
            erased = load_erased(connection, self._pseudonyms)
        return [without_erased(training, erased) for training in read]

    def _recheck(self, catalogue: Catalogue, *, run_id: str, rows: int) -> int:
        """Check deliveries again that were set aside earlier and are not in this window."""
        after, rechecked = "", 0
        with self._engine.connect() as connection:
            count = count_to_recheck(connection, self._site.name)
        progress = ProgressLog(count, "trainings that were set aside looked at again")
        while True:
            with self._engine.connect() as connection:
                page = to_recheck(connection, self._site.name, after=after, limit=BATCH_ROWS)
                keys = [row.delivery_key for row in page]
                staged = staged_before(connection, self._site.name, run_id, keys, row=rows + 1)
            if not page:
                return rechecked
            after = keys[-1]
            remaining = [row for row in page if row.delivery_key not in staged]
            named = {row.delivery_key: row for row in remaining if row.has_training_id}
            found = self.look_up(row.training_id for row in named.values())
            # The source returns these rows only in their windows, so they are not gone.
            hidden = {key for key, row in named.items() if row.reason == NOT_FOUND and key not in found}
            self._writer.write(_batch_from_look_up(named.keys() - hidden, found), catalogue, run_id=run_id)
            nameless = [row for row in remaining if not row.has_training_id]
            self._recheck_nameless(nameless, catalogue, run_id=run_id)
            rechecked += len(named)
            progress.advance(len(page))

    def _recheck_nameless(self, nameless: Sequence[SetAside], catalogue: Catalogue, *, run_id: str) -> None:
        """Withdraw rows without an id that the source no longer has in that form.

        They can't be looked up by id, so the source is queried for rows with the same ``updated_at``. All
        rows with exactly that time are staged, since one may have got its id without a new ``updated_at``.
        Other rows of the small window are skipped, because no run may have asked for them. A row without a
        readable ``updated_at`` that is not in every window can't be found and stays set aside.
        """
        findable = [row for row in nameless if row.is_found_by_moment]
        waiting = {row.delivery_key for row in findable}
        moments = {row.updated_at for row in findable}
        for window in windows_around(moments):
            for trainings in self._read_around(window):
                waiting -= {training.delivery_key for training in trainings}
                rows = [training for training in trainings if training.updated_at in moments]
                self._writer.write(_batch_from_window(rows), catalogue, run_id=run_id)
        self._writer.write(Batch({}, gone=sorted(waiting)), catalogue, run_id=run_id)

    def _read_around(self, window: Window) -> Iterator[list[CompletedTraining]]:
        """Yield the rows of a small window; unreadable rows do not affect the others."""
        try:
            yield from self._read_window(window)
        except UnreadableRows:
            yield from self._read_window(window, by_training=True)

    def _read_window(self, window: Window, *, by_training: bool = False) -> Iterator[list[CompletedTraining]]:
        with self._source.open_window(window, by_training=by_training) as (_, batches):
            for batch in batches:
                yield self._read(batch)


def look_up(
    source: TrainingSource, training_ids: Iterable[str], *, site: str, pseudonyms: Pseudonyms
) -> dict[str, list[CompletedTraining]]:
    """Return the distinct rows that the source now has for these trainings, by delivery key."""
    findable = sorted({name for name in training_ids if not name.startswith(WITHOUT_TRAINING_ID)})
    found: dict[str, list[CompletedTraining]] = {}
    for row in source.look_up(findable):
        training = read_row(row, site=site, pseudonyms=pseudonyms)
        rows = found.setdefault(training.delivery_key, [])
        if all(training.row_version != earlier.row_version for earlier in rows):
            rows.append(training)
    return found


def _batch_from_look_up(keys: Iterable[str], found: Mapping[str, list[CompletedTraining]]) -> Batch:
    wanted = list(keys)
    return Batch(
        {key: _pick_row(found[key]) for key in wanted if key in found},
        conflicts={key for key in wanted if len(found.get(key, ())) > 1},
        gone=[key for key in wanted if key not in found],
    )


def _batch_from_window(trainings: Iterable[CompletedTraining]) -> Batch:
    """Return one row for each delivery, and the deliveries whose rows differ."""
    by_key: dict[str, list[CompletedTraining]] = {}
    for training in trainings:
        by_key.setdefault(training.delivery_key, []).append(training)
    return Batch(
        {key: _pick_row(rows) for key, rows in by_key.items()},
        conflicts={key for key, rows in by_key.items() if len({item.row_version for item in rows}) > 1},
    )


def _with_defect_if_not_found(training: CompletedTraining, not_found: Collection[str]) -> CompletedTraining:
    if training.training_id not in not_found:
        return training
    defect = Defect(NOT_FOUND, f"the source does not find the row by its training_id: {NOT_FOUND_REMEDY}")
    return replace(training, defects=(*training.defects, defect))


def _pick_row(rows: Iterable[CompletedTraining]) -> CompletedTraining:
    """Return one of several rows of a delivery, independent of their order."""
    return min(rows, key=lambda training: training.row_version)


def _count_states(connection: Connection, site: str, run_id: str) -> dict[str, int]:
    counted = connection.execute(
        select(delivery.c.state, func.count())
        .join_from(staged_row, delivery, staged_row.c.delivery_id == delivery.c.delivery_id)
        .where(staged_row.c.site == site, staged_row.c.run_id == run_id)
        .group_by(delivery.c.state)
        .order_by(delivery.c.state)
    )
    return {str(state): int(number) for state, number in counted}
