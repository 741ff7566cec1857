"""Check a batch of source rows and write the resulting changes into the ledger, in one transaction."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import Final

from sqlalchemy import Connection, text

from springest.catalogue import Catalogue
from springest.db.rollback import Transactions
from springest.db.statements import load_sql
from springest.documents.opener import CheckedDocument, DocumentStore
from springest.identity import Pseudonyms
from springest.privacy.erased import without_erased
from springest.privacy.erasure import WAIT_FOR_ERASURE, load_erased
from springest.privacy.secret import keep_to_secret
from springest.source.contract import BETWEEN_SOURCES, CompletedTraining, Defect
from springest.staging import repository as ledger
from springest.staging.checking import DocumentChecker, Finding, Unknown
from springest.staging.decide import (
    CONFLICT,
    RESTORED,
    CertificateIdentity,
    CheckResult,
    Holder,
    Known,
    check,
    decide,
    duplicate_of,
    find_duplicate,
    identity,
    is_before_cutover,
    may_be_restaged,
    maybe_sent_before_restore,
    needs_check,
    staged_elsewhere,
)
from springest.staging.set_aside import staged_before
from springest.states import RECHECKED, Event, State

_NOTE_ROWS: Final = text(load_sql("staging/note_rows"))


Checked = tuple[Finding, CheckResult | None]
"""The finding on a row's document, and the result of the row's checks; ``None`` if none were needed."""


@dataclass(frozen=True, slots=True)
class Batch:
    """Rows that are checked and written in one transaction.

    :param trainings: one row for each delivery, by delivery key.
    :param conflicts: deliveries whose source rows differ within the batch; the writer finds differences from
        earlier batches of the run.
    :param gone: deliveries whose rows the source no longer has.
    :param defects: defects that were found just before sending, by delivery key.
    :param rows: delivery key by number of the source row in the run's window.
    :param elsewhere: the other site that has the same training, by delivery key.
    """

    trainings: Mapping[str, CompletedTraining]
    conflicts: Collection[str] = ()
    gone: Sequence[str] = ()
    defects: Mapping[str, Defect] = field(default_factory=dict)
    rows: Mapping[int, str] = field(default_factory=dict)
    elsewhere: Mapping[str, str] = field(default_factory=dict)


class BatchWriter:
    """Writes batches of one site.

    :param engine: engine of the warehouse.
    :param pseudonyms: recognises erased learners.
    :param documents: store of the certificate files.
    :param sources: names of the site's sources.
    """

    def __init__(
        self,
        engine: Transactions,
        *,
        site: str,
        pseudonyms: Pseudonyms,
        documents: DocumentStore,
        sources: Collection[str] = (),
    ) -> None:
        self._engine = engine
        self._site = site
        self._pseudonyms = pseudonyms
        self._documents = DocumentChecker(documents)
        self._sources = sources

    def write(self, batch: Batch, catalogue: Catalogue, *, run_id: str) -> None:
        """Check a batch and write the changes; documents are checked before the transaction."""
        keys = [*batch.trainings, *batch.gone]
        if not keys:
            return
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
            # The locked deliveries keep a restored ledger from being repaired before this batch ends.
            restored_at = ledger.restored_at(connection)
            conflicts = self._conflicts_with_earlier_batches(connection, batch, known, run_id)
            batch = replace(batch, conflicts={*batch.conflicts, *conflicts})
            checked = {
                key: self._check(training, known.get(key), catalogue, batch, findings)
                for key, training in batch.trainings.items()
            }
            holders = ledger.load_holders(connection, self._site, _certificates_to_give(batch, checked))
            staged = [
                self._decide(batch, key, known.get(key), catalogue, checked[key], holders, restored_at)
                for key in batch.trainings
            ]
            ledger.write(connection, staged, run_id=run_id)
            unlisted = {key for key in batch.gone if key in known and self._is_unlisted(known[key])}
            ledger.hold_unlisted(connection, sorted(unlisted))
            ledger.withdraw(connection, [key for key in batch.gone if key not in unlisted])
            if batch.rows:
                _note_rows(connection, self._site, run_id, batch.rows)

    def _is_unlisted(self, known: Known) -> bool:
        """Return whether a source that it came from is not listed any more, so that it may still be there."""
        if known.source is None or known.source in self._sources:
            return False
        return not set(known.source.split(BETWEEN_SOURCES)) <= set(self._sources)

    def _conflicts_with_earlier_batches(
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
            if key not in batch.defects
            and not is_before_cutover(cutover, training)
            and (
                _is_rejected(known.get(key))
                or needs_check(known.get(key), training, catalogue.entry(training.certification_id))
            )
        ]
        return {**self._documents.check_all(wanted, known), **batch.defects}

    def _decide(
        self,
        batch: Batch,
        key: str,
        known: Known | None,
        catalogue: Catalogue,
        checked: Checked,
        holders: dict[CertificateIdentity, list[Holder]],
        restored_at: datetime | None,
    ) -> ledger.Staged:
        """Compare a checked row with other deliveries, and return the change that results."""
        training = batch.trainings[key]
        entry = catalogue.entry(training.certification_id)
        document, result = checked
        if result is not None and result.event is Event.CHECKED_READY:
            if maybe_sent_before_restore(training, known, restored_at=restored_at):
                result = RESTORED
            elif key in batch.elsewhere:
                result = staged_elsewhere(batch.elsewhere[key])
            else:
                result = _unless_duplicate(training, known, result, holders)
        change = decide(known, training, result, catalogue_ref=entry.ref, sources=self._sources)
        is_named = training.certificate_uri is not None  # false if the learner was erased meanwhile
        passed = document.checked if is_named and isinstance(document, CheckedDocument) else None
        return ledger.Staged(training, change, entry.ref, passed)

    def _check(
        self,
        training: CompletedTraining,
        known: Known | None,
        catalogue: Catalogue,
        batch: Batch,
        findings: Mapping[str, Finding],
    ) -> Checked:
        key = training.delivery_key
        entry, cutover = catalogue.entry(training.certification_id), catalogue.site.cutover_date
        document: Finding = findings.get(key)
        if key in batch.conflicts and not training.sources and may_be_restaged(known):
            return document, CONFLICT
        if document is Unknown.STORE_FAILS and known is not None and known.state in RECHECKED:
            return document, None  # it stays set aside as it is
        if not (
            needs_check(known, training, entry, cutover=cutover)
            or _is_replaced(document, known)
            or (key in batch.defects and may_be_restaged(known))
        ):
            return document, None
        if key not in findings and not is_before_cutover(cutover, training):
            document = self._documents.check(training, known)  # the row changed meanwhile
        defect = document if isinstance(document, Defect) else None
        return document, check(training, entry, defect, cutover=cutover)


def _certificates_to_give(batch: Batch, checked: Mapping[str, Checked]) -> list[CertificateIdentity]:
    """Return the certificates of the rows that passed their checks."""
    passed = (
        identity(batch.trainings[key])
        for key, (_, result) in checked.items()
        if result is not None and result.event is Event.CHECKED_READY
    )
    return sorted({certificate for certificate in passed if certificate is not None})


def _is_replaced(document: Finding, known: Known | None) -> bool:
    """Return whether a rejected delivery has another document now."""
    return (
        known is not None
        and known.state is State.REJECTED
        and isinstance(document, CheckedDocument)
        and document.sha256 != known.document_sha256
    )


def _is_rejected(known: Known | None) -> bool:
    """Return whether Springest rejected it, which a replaced document may fix."""
    return known is not None and known.state is State.REJECTED and known.document_sha256 is not None


def _unless_duplicate(
    training: CompletedTraining,
    known: Known | None,
    result: CheckResult,
    holders: dict[CertificateIdentity, list[Holder]],
) -> CheckResult:
    """Give the certificate to the first training and add it to the holders; others are duplicates."""
    certificate = identity(training)
    if certificate is None:
        return result
    rivals = holders.setdefault(certificate, [])
    rival = find_duplicate(training, rivals, known=known)
    if rival is not None:
        return duplicate_of(rival.training_id)
    rivals.append(
        Holder(training.delivery_key, training.training_id, known is not None and known.duplicate_released)
    )
    return result


def _note_rows(connection: Connection, site: str, run_id: str, rows: Mapping[int, str]) -> None:
    numbered = {"row_numbers": list(rows), "delivery_keys": list(rows.values())}
    connection.execute(_NOTE_ROWS, {"site": site, "run_id": run_id, **numbered})
