"""Stage completed trainings: read the source, check every row, and write what follows into the ledger.

The rows of a window are worked through in batches, a transaction each, so that memory stays flat and a night
that dies half-way keeps what it has done; doing it again changes nothing. Only when all rows are in, the run
is closed and the watermark moves.
"""

from __future__ import annotations

import logging
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any, Final

from sqlalchemy import Connection, Engine, func, select

from include.springest.catalogue import Catalogue, load_catalogue
from include.springest.documents import DocumentError, DocumentStore
from include.springest.identity import Pseudonyms
from include.springest.ledger import staging as ledger
from include.springest.ledger.states import RECHECKED
from include.springest.site import Site
from include.springest.source.contract import WITHOUT_TRAINING_ID, CompletedTraining, Defect, read_row
from include.springest.source.reader import BATCH_ROWS, SourceError, SourceReader, Window
from include.springest.staging.batch import Batch, BatchWriter
from include.springest.staging.forgotten import without_forgotten
from include.springest.staging.learner_secret import keep_to_secret
from include.springest.staging.site_identity import keep_to_site
from include.springest.staging.window import PlannedWindow, close_window, plan_window
from include.springest.warehouse.erasure import load_forgotten
from include.springest.warehouse.schema import delivery, run_training

log = logging.getLogger(__name__)

LOOK_BACK: Final = timedelta(days=1)


@dataclass(frozen=True, slots=True)
class StageReport:
    """What a run staged.

    :param rows: rows of the run's window, equal to the source's own count.
    :param states: how many of these rows became or belong to a delivery in each state.
    :param rechecked: deliveries set aside earlier that were looked at again.
    """

    window: Window
    rows: int
    states: Mapping[str, int]
    rechecked: int


@dataclass(slots=True)
class _Tally:
    """What one staging remembers from batch to batch.

    :param versions: row version by delivery, to notice two rows of one training that differ. 32 bytes a row.
    """

    rows: int = 0
    versions: dict[str, bytes] = field(default_factory=dict)

    def conflicts(self, trainings: Iterable[CompletedTraining]) -> set[str]:
        """Note these rows; return the deliveries of which another row said something else."""
        found = set()
        for training in trainings:
            version = bytes.fromhex(training.row_version)
            if self.versions.setdefault(training.delivery_key, version) != version:
                found.add(training.delivery_key)
        return found


class Stager:
    """Stages one site's trainings.

    :param engine: engine of the warehouse.
    :param source: the source database behind the user's query.
    :param documents: where the certificates lie.
    """

    def __init__(
        self,
        engine: Engine,
        *,
        source: SourceReader,
        site: Site,
        pseudonyms: Pseudonyms,
        documents: DocumentStore,
    ) -> None:
        self._engine = engine
        self._source = source
        self._site = site
        self._pseudonyms = pseudonyms
        self._writer = BatchWriter(engine, site=site.name, pseudonyms=pseudonyms, documents=documents)

    def stage(
        self,
        run_id: str,
        *,
        asked: Window | None = None,
        look_back: timedelta = LOOK_BACK,
        begin_from: datetime | None = None,
        is_pilot: bool = False,
    ) -> StageReport:
        """Stage a run's window, then look again at everything that was set aside earlier.

        :param asked: the interval of a backfill; ``None`` reads on from the watermark.
        :param begin_from: start of the first nightly window, for a site that has not begun.
        :param is_pilot: stage the last ``look_back`` of a site that has not begun, without beginning it.
        :raises SiteNotBegun: the site has not begun, and none of these says what to read.
        :raises SourceError: the source fails, or does not give as many rows as it counts.
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
            return self._stage(run_id, planned, catalogue)

    def _stage(self, run_id: str, planned: PlannedWindow, catalogue: Catalogue) -> StageReport:
        log.info(
            "Staging %s of site %s from %s to %s",
            run_id,
            self._site.name,
            planned.window.start,
            planned.window.end,
        )
        tally = _Tally()
        with self._source.open_window(planned.window) as (count, batches):
            for batch in batches:
                self._stage_batch(self._read(batch), catalogue, tally, run_id=run_id)
                log.info("%d of %d completed trainings staged", tally.rows, count)
        if tally.rows != count:
            raise SourceError(
                f"the source counts {count} completed trainings and gave {tally.rows}: its query must give "
                "the same rows when it is counted; nothing is lost, the next try reads the window again"
            )
        rechecked = self._recheck(catalogue, tally, run_id=run_id)
        with self._engine.begin() as connection:
            close_window(connection, planned, site=self._site.name, run_id=run_id, source_count=count)
            states = _states(connection, self._site.name, run_id)
        return StageReport(planned.window, count, states, rechecked)

    def keep_to_site(self) -> None:
        """Make sure that the site's name still stands for the account it was staged for.

        :raises ConfigurationError: it does not; nothing may be sent.
        """
        with self._engine.begin() as connection:
            keep_to_site(connection, self._site)

    def look_up(self, training_ids: Iterable[str]) -> dict[str, list[CompletedTraining]]:
        """Return the different rows that the source has now for these trainings, by delivery."""
        return look_up(self._source, training_ids, site=self._site.name, pseudonyms=self._pseudonyms)

    def restage(
        self, keys: Iterable[str], found: Mapping[str, list[CompletedTraining]], *, run_id: str
    ) -> None:
        """Stage single deliveries anew from what ``look_up`` found; withdraw those it did not find."""
        with self._engine.begin() as connection:
            catalogue = load_catalogue(connection, self._site)
        self._writer.write(_again(keys, found), catalogue, run_id=run_id)

    def set_aside(self, training: CompletedTraining, error: DocumentError, *, run_id: str) -> None:
        """Set a delivery aside whose document can't be sent after all."""
        with self._engine.begin() as connection:
            catalogue = load_catalogue(connection, self._site)
        key = training.delivery_key
        batch = Batch({key: training}, refused={key: Defect(error.reason, error.detail)})
        self._writer.write(batch, catalogue, run_id=run_id)

    def _read(self, rows: Iterable[Mapping[str, Any]]) -> list[CompletedTraining]:
        read = [read_row(row, site=self._site.name, pseudonyms=self._pseudonyms) for row in rows]
        with self._engine.connect() as connection:
            forgotten = load_forgotten(connection, self._pseudonyms)
        return [without_forgotten(one, forgotten) for one in read]

    def _stage_batch(
        self, trainings: list[CompletedTraining], catalogue: Catalogue, tally: _Tally, *, run_id: str
    ) -> None:
        rows = {tally.rows + number: one.delivery_key for number, one in enumerate(trainings, start=1)}
        by_key: dict[str, list[CompletedTraining]] = {}
        for training in trainings:
            by_key.setdefault(training.delivery_key, []).append(training)
        batch = Batch(
            {key: _first(same) for key, same in by_key.items()},
            conflicts=tally.conflicts(trainings),
            rows=rows,
        )
        self._writer.write(batch, catalogue, run_id=run_id)
        tally.rows += len(trainings)

    def _recheck(self, catalogue: Catalogue, tally: _Tally, *, run_id: str) -> int:
        """Look again at what was set aside earlier and is not in this window: the world may have changed."""
        after, rechecked = "", 0
        while True:
            with self._engine.connect() as connection:
                page = ledger.to_recheck(
                    connection, self._site.name, states=RECHECKED, after=after, limit=BATCH_ROWS
                )
            if not page:
                return rechecked
            after = page[-1][0]
            others = {
                key: training_id
                for key, training_id in page
                if key not in tally.versions and not training_id.startswith(WITHOUT_TRAINING_ID)
            }
            found = self.look_up(others.values())
            self._writer.write(_again(others, found), catalogue, run_id=run_id)
            rechecked += len(others)


def look_up(
    source: SourceReader, training_ids: Iterable[str], *, site: str, pseudonyms: Pseudonyms
) -> dict[str, list[CompletedTraining]]:
    """Return the different rows that the source has now for these trainings, by delivery."""
    findable = sorted({name for name in training_ids if not name.startswith(WITHOUT_TRAINING_ID)})
    found: dict[str, list[CompletedTraining]] = {}
    for row in source.look_up(findable):
        training = read_row(row, site=site, pseudonyms=pseudonyms)
        rows = found.setdefault(training.delivery_key, [])
        if all(training.row_version != other.row_version for other in rows):
            rows.append(training)
    return found


def _again(keys: Iterable[str], found: Mapping[str, list[CompletedTraining]]) -> Batch:
    wanted = list(keys)
    return Batch(
        {key: _first(found[key]) for key in wanted if key in found},
        conflicts={key for key in wanted if len(found.get(key, ())) > 1},
        gone=[key for key in wanted if key not in found],
    )


def _first(same: Iterable[CompletedTraining]) -> CompletedTraining:
    """Return one of several rows of a delivery, the same one in whatever order they come."""
    return min(same, key=lambda training: training.row_version)


def _states(connection: Connection, site: str, run_id: str) -> dict[str, int]:
    counted = connection.execute(
        select(delivery.c.state, func.count())
        .join_from(run_training, delivery, run_training.c.delivery_key == delivery.c.delivery_key)
        .where(run_training.c.site == site, run_training.c.run_id == run_id)
        .group_by(delivery.c.state)
        .order_by(delivery.c.state)
    )
    return {str(state): int(number) for state, number in counted}
