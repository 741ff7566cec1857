"""Decide about a batch of source rows and write the decisions into the ledger, in one transaction."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import date, datetime
from typing import Final

from sqlalchemy import Connection, text

from springest.catalogue import Catalogue, CatalogueEntry
from springest.db.rollback import Transactions
from springest.db.statements import load_sql
from springest.documents.opener import CheckedDocument, DocumentStore
from springest.identity import Pseudonyms
from springest.privacy.erased import without_erased
from springest.privacy.erasure import WAIT_FOR_ERASURE, load_erased
from springest.privacy.secret import keep_to_secret
from springest.source.contract import CompletedTraining, Defect
from springest.staging import repository as ledger
from springest.staging.checking import DocumentChecker, Finding, Unknown
from springest.staging.decide import (
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
    may_be_restaged,
    maybe_sent_before_restore,
    needs_check,
    staged_elsewhere,
)
from springest.staging.set_aside import staged_before
from springest.states import RECHECKED, Event, State

_NOTE_ROWS: Final = text(load_sql("staging/note_rows"))


@dataclass(frozen=True, slots=True)
class Batch:
    """Rows that are decided about and written in one transaction.

    :param trainings: one row for each delivery, by delivery key.
    :param conflicts: deliveries whose source rows differ within the batch; the writer finds differences from
        earlier batches of the run.
    :param gone: deliveries whose rows the source no longer has.
    :param refused: defects of documents that could not be sent when they were opened, by delivery key.
    :param rows: delivery key by number of the source row in the run's window.
    :param elsewhere: the other site that has the same training, by delivery key.
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
    :param pseudonyms: recognises erased learners.
    :param documents: store of the certificate files.
    """

    def __init__(
        self, engine: Transactions, *, site: str, pseudonyms: Pseudonyms, documents: DocumentStore
    ) -> None:
        self._engine = engine
        self._site = site
        self._pseudonyms = pseudonyms
        self._documents = DocumentChecker(documents)

    def write(self, batch: Batch, catalogue: Catalogue, *, run_id: str) -> None:
        """Decide about a batch and write the decisions; documents are checked before the transaction."""
        keys = [*batch.trainings, *batch.gone]
        with self._engine.connect() as connection:
            known = ledger.load_known(connection, keys, lock=False)
        findings = self._check_documents(batch, known, catalogue)
        with self._engine.begin() as connection:
            connection.execute(WAIT_FOR_ERASURE)
            keep_to_secret(connection, self._pseudonyms)
            batch = self._without_erased(batch, connection)
            ledger.lock_staging(connection, self._site)
            if not catalogue.site.shared_trainings:
                found = ledger.load_elsewhere(connection, self._site, batch.trainings.values())
                batch = replace(batch, elsewhere=found)
            known = ledger.load_known(connection, keys, lock=True)
            certificates = {held for held in map(identity, batch.trainings.values()) if held is not None}
            # The locked deliveries keep a restored ledger from being repaired before this batch ends.
            restored_at = ledger.restored_at(connection)
            holders = ledger.load_holders(connection, self._site, sorted(certificates))
            batch = replace(
                batch, conflicts={*batch.conflicts, *self._differing(connection, batch, known, run_id)}
            )
            staged = [
                self._decide(training, known.get(key), catalogue, holders, batch, findings, restored_at)
                for key, training in batch.trainings.items()
            ]
            ledger.write(connection, staged, run_id=run_id)
            ledger.withdraw(connection, batch.gone)
            if batch.rows:
                _note_rows(connection, self._site, run_id, batch.rows)

    def _differing(
        self, connection: Connection, batch: Batch, known: Mapping[str, Known], run_id: str
    ) -> set[str]:
        """Return the deliveries of which an earlier batch of the run had a different row."""
        if not batch.rows:
            return set()
        earlier = staged_before(connection, self._site, run_id, batch.trainings, row=min(batch.rows))
        return {
            key
            for key in earlier & known.keys()
            if known[key].reason == CONFLICT.reason
            or known[key].row_version != batch.trainings[key].row_version
        }

    def _without_erased(self, batch: Batch, connection: Connection) -> Batch:
        """Remove learners that were erased since the rows were read."""
        erased = load_erased(connection, self._pseudonyms)
        if not erased:
            return batch
        rows = {key: without_erased(training, erased) for key, training in batch.trainings.items()}
        return replace(batch, trainings=rows)

    def _check_documents(
        self, batch: Batch, known: Mapping[str, Known], catalogue: Catalogue
    ) -> dict[str, Finding]:
        cutover = catalogue.site.cutover_date
        wanted = [
            training
            for key, training in batch.trainings.items()
            if key not in batch.refused
            and not is_before(cutover, training)
            and (
                _is_rejected(known.get(key))
                or needs_check(known.get(key), training, catalogue.entry(training.certification_id))
            )
        ]
        return {**self._documents.check_all(wanted, known), **batch.refused}

    def _decide(
        self,
        training: CompletedTraining,
        known: Known | None,
        catalogue: Catalogue,
        holders: dict[CertificateIdentity, list[Holder]],
        batch: Batch,
        findings: Mapping[str, Finding],
        restored_at: datetime | None,
    ) -> ledger.Staged:
        key = training.delivery_key
        entry = catalogue.entry(training.certification_id)
        cutover = catalogue.site.cutover_date
        found: Finding = findings.get(key)
        verdict: Verdict | None = None
        if key in batch.conflicts and may_be_restaged(known):
            verdict = CONFLICT
        elif found is Unknown.STORE_FAILS and known is not None and known.state in RECHECKED:
            pass  # it stays set aside as it is
        elif self._is_to_be_checked(training, known, entry, found, cutover) or (
            key in batch.refused and may_be_restaged(known)
        ):
            found = self._finding(training, known, findings, cutover)
            defect = found if isinstance(found, Defect) else None
            verdict = check(training, entry, defect, cutover=cutover)
        if (
            verdict is not None
            and verdict.event is Event.CHECKED_READY
            and maybe_sent_before_restore(training, known, restored_at=restored_at)
        ):
            verdict = RESTORED
        if verdict is not None and verdict.event is Event.CHECKED_READY:
            if key in batch.elsewhere:
                verdict = staged_elsewhere(batch.elsewhere[key])
            else:
                verdict = _unless_duplicate(training, known, verdict, holders)
        decision = decide(known, training, verdict, catalogue_ref=entry.ref)
        is_named = training.certificate_uri is not None  # false if the learner was erased meanwhile
        checked = found.checked if is_named and isinstance(found, CheckedDocument) else None
        return ledger.Staged(training, decision, entry.ref, checked)

    def _is_to_be_checked(
        self,
        training: CompletedTraining,
        known: Known | None,
        entry: CatalogueEntry,
        found: Finding,
        cutover: date | None,
    ) -> bool:
        """Return whether the row is checked; a rejected one also if its document was replaced."""
        replaced = (
            known is not None
            and known.state is State.REJECTED
            and isinstance(found, CheckedDocument)
            and found.sha256 != known.document_sha256
        )
        return replaced or needs_check(known, training, entry, cutover=cutover)

    def _finding(
        self,
        training: CompletedTraining,
        known: Known | None,
        findings: Mapping[str, Finding],
        cutover: date | None,
    ) -> Finding:
        """Return the finding on the document; if the row changed meanwhile, check its document now."""
        if training.delivery_key in findings:
            return findings[training.delivery_key]
        return None if is_before(cutover, training) else self._documents.check(training, known)


def _is_rejected(known: Known | None) -> bool:
    """Return whether Springest rejected it, which a replaced document may fix."""
    return known is not None and known.state is State.REJECTED and known.document_sha256 is not None


def _unless_duplicate(
    training: CompletedTraining,
    known: Known | None,
    verdict: Verdict,
    holders: dict[CertificateIdentity, list[Holder]],
) -> Verdict:
    """Give the certificate to the first training and add it to the holders; others are duplicates."""
    certificate = identity(training)
    if certificate is None:
        return verdict
    rivals = holders.setdefault(certificate, [])
    rival = find_duplicate(training, rivals, known=known)
    if rival is not None:
        return duplicate_of(rival.training_id)
    rivals.append(
        Holder(training.delivery_key, training.training_id, known is not None and known.duplicate_released)
    )
    return verdict


def _note_rows(connection: Connection, site: str, run_id: str, rows: Mapping[int, str]) -> None:
    numbered = {"row_numbers": list(rows), "delivery_keys": list(rows.values())}
    connection.execute(_NOTE_ROWS, {"site": site, "run_id": run_id, **numbered})
