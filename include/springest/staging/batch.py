"""Decide about a batch of source rows and write it into the ledger, in one transaction."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from datetime import date, datetime
from typing import Final

from sqlalchemy import Connection, Engine
from sqlalchemy.dialects.postgresql import insert

from include.springest.catalogue import Catalogue
from include.springest.documents import DocumentError, DocumentStore
from include.springest.identity import Pseudonyms
from include.springest.ledger import staging as ledger
from include.springest.ledger.set_aside import staged_before
from include.springest.ledger.states import Event
from include.springest.source.contract import CompletedTraining, Defect
from include.springest.staging.decide import (
    CONFLICT,
    RESTORED,
    CertificateIdentity,
    Holder,
    Known,
    Verdict,
    check,
    decide,
    duplicate_of,
    find_duplicate,
    identity,
    is_before,
    may_be_forgotten,
    may_be_restaged,
    needs_check,
    staged_elsewhere,
)
from include.springest.staging.forgotten import without_forgotten
from include.springest.warehouse.erasure import WAIT_FOR_ERASURE, load_forgotten
from include.springest.warehouse.schema import run_training

PROBES_AT_ONCE: Final = 8


@dataclass(frozen=True, slots=True)
class Batch:
    """What is decided and written down together.

    :param trainings: one row for each delivery, by its key.
    :param conflicts: deliveries of which the source has rows that differ; those of which another batch of the
        run had one are found by the writer.
    :param gone: deliveries that the source no longer has.
    :param refused: documents that were opened for sending and could not be sent, by delivery.
    :param rows: delivery by number of the source row in the run's window.
    :param elsewhere: another site that stands for the same training, by delivery.
    """

    trainings: Mapping[str, CompletedTraining]
    conflicts: Collection[str] = ()
    gone: Sequence[str] = ()
    refused: Mapping[str, Defect] = field(default_factory=dict)
    rows: Mapping[int, str] = field(default_factory=dict)
    elsewhere: Mapping[str, str] = field(default_factory=dict)


class BatchWriter:
    """Writes batches of one site.

    :param engine: engine of the warehouse.
    :param pseudonyms: tells learners who were forgotten.
    :param documents: where the certificates lie.
    """

    def __init__(
        self, engine: Engine, *, site: str, pseudonyms: Pseudonyms, documents: DocumentStore
    ) -> None:
        self._engine = engine
        self._site = site
        self._pseudonyms = pseudonyms
        self._documents = documents

    def write(self, batch: Batch, catalogue: Catalogue, *, run_id: str) -> None:
        """Decide about a batch and write it down; documents are looked at before the transaction."""
        keys = [*batch.trainings, *batch.gone]
        with self._engine.connect() as connection:
            known = ledger.load_known(connection, keys, lock=False)
        defects = self._probe(batch, known, catalogue)
        with self._engine.begin() as connection:
            connection.execute(WAIT_FOR_ERASURE)
            batch = self._without_forgotten(batch, connection)
            ledger.lock_site(connection, self._site)
            if not catalogue.site.shared_trainings:
                found = ledger.load_elsewhere(connection, self._site, batch.trainings.values())
                batch = replace(batch, elsewhere=found)
            known = ledger.load_known(connection, keys, lock=True)
            certificates = {one for one in map(identity, batch.trainings.values()) if one is not None}
            # Once the deliveries are locked, no restored ledger is set right before this batch ends.
            restored_at = ledger.restored_at(connection)
            holders = ledger.load_holders(connection, self._site, sorted(certificates))
            batch = replace(
                batch, conflicts={*batch.conflicts, *self._differing(connection, batch, known, run_id)}
            )
            staged = [
                self._decide(one, known.get(key), catalogue, holders, batch, defects, restored_at)
                for key, one in batch.trainings.items()
            ]
            ledger.write(connection, staged, run_id=run_id)
            ledger.withdraw(connection, batch.gone)
            if batch.rows:
                _note_rows(connection, self._site, run_id, batch.rows)

    def _differing(
        self, connection: Connection, batch: Batch, known: Mapping[str, Known], run_id: str
    ) -> set[str]:
        """Return the deliveries of which an earlier batch of the run had a row that differs."""
        if not batch.rows:
            return set()
        earlier = staged_before(connection, self._site, run_id, batch.trainings, row=min(batch.rows))
        return {
            key
            for key in earlier & known.keys()
            if known[key].reason == CONFLICT.reason
            or known[key].row_version != batch.trainings[key].row_version
        }

    def _without_forgotten(self, batch: Batch, connection: Connection) -> Batch:
        """Let go of who was forgotten since the rows were read."""
        forgotten = load_forgotten(connection, self._pseudonyms)
        if not forgotten:
            return batch
        rows = {key: without_forgotten(one, forgotten) for key, one in batch.trainings.items()}
        return replace(batch, trainings=rows)

    def _probe(
        self, batch: Batch, known: Mapping[str, Known], catalogue: Catalogue
    ) -> dict[str, Defect | None]:
        cutover = catalogue.site.cutover_date
        wanted = [
            one
            for key, one in batch.trainings.items()
            if key not in batch.refused
            and not is_before(cutover, one)
            and needs_check(known.get(key), one, catalogue.entry(one.certification_id))
        ]
        with ThreadPoolExecutor(PROBES_AT_ONCE) as pool:
            found = list(pool.map(self._document_defect, wanted))
        probed = {one.delivery_key: defect for one, defect in zip(wanted, found, strict=True)}
        return {**probed, **batch.refused}

    def _decide(
        self,
        training: CompletedTraining,
        known: Known | None,
        catalogue: Catalogue,
        holders: dict[CertificateIdentity, list[Holder]],
        batch: Batch,
        defects: Mapping[str, Defect | None],
        restored_at: datetime | None,
    ) -> ledger.Staged:
        key = training.delivery_key
        entry = catalogue.entry(training.certification_id)
        cutover = catalogue.site.cutover_date
        verdict: Verdict | None = None
        if key in batch.conflicts and may_be_restaged(known):
            verdict = CONFLICT
        elif needs_check(known, training, entry, cutover=cutover) or (
            key in batch.refused and may_be_restaged(known)
        ):
            verdict = check(training, entry, self._defect(training, defects, cutover), cutover=cutover)
        if (
            verdict is not None
            and verdict.event is Event.CHECKED_READY
            and may_be_forgotten(training, known, restored_at=restored_at)
        ):
            verdict = RESTORED
        if verdict is not None and verdict.event is Event.CHECKED_READY:
            if key in batch.elsewhere:
                verdict = staged_elsewhere(batch.elsewhere[key])
            else:
                verdict = _unless_duplicate(training, known, verdict, holders)
        return ledger.Staged(training, decide(known, training, verdict, catalogue_ref=entry.ref), entry.ref)

    def _defect(
        self, training: CompletedTraining, defects: Mapping[str, Defect | None], cutover: date | None
    ) -> Defect | None:
        """Return what is wrong with the document; a row that changed hands meanwhile is looked at now."""
        if training.delivery_key in defects:
            return defects[training.delivery_key]
        return None if is_before(cutover, training) else self._document_defect(training)

    def _document_defect(self, training: CompletedTraining) -> Defect | None:
        if training.certificate_uri is None:
            return None
        try:
            self._documents.probe(training.certificate_uri)
        except DocumentError as error:
            return Defect(error.reason, error.detail)
        return None


def _unless_duplicate(
    training: CompletedTraining,
    known: Known | None,
    verdict: Verdict,
    holders: dict[CertificateIdentity, list[Holder]],
) -> Verdict:
    """Let the first training have the certificate, and note it among its holders."""
    certificate = identity(training)
    if certificate is None:
        return verdict
    same = holders.setdefault(certificate, [])
    other = find_duplicate(training, same, known=known)
    if other is not None:
        return duplicate_of(other.training_id)
    same.append(
        Holder(training.delivery_key, training.training_id, known is not None and known.duplicate_released)
    )
    return verdict


def _note_rows(connection: Connection, site: str, run_id: str, rows: Mapping[int, str]) -> None:
    noted = insert(run_training)
    connection.execute(
        noted.on_conflict_do_update(
            index_elements=["site", "run_id", "row_no"],
            set_={"delivery_key": noted.excluded.delivery_key},
            where=run_training.c.delivery_key != noted.excluded.delivery_key,
        ),
        [
            {"site": site, "run_id": run_id, "row_no": number, "delivery_key": key}
            for number, key in rows.items()
        ],
    )
