"""Check the documents of a batch, and distinguish single unreadable documents from a failed store.

If one document can't be read now, its row is set aside with the reason and checked again every night. If
several different documents in a row fail in the same way, and no document of their store can be read since,
the run stops: an unmounted folder or expired credentials are not a problem of these rows.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from enum import Enum
from typing import Final

from springest.documents.errors import IN_A_ROW, StoreHealth
from springest.documents.opener import (
    CheckedDocument,
    DocumentError,
    DocumentStore,
    DocumentStoreUnreachable,
    DocumentUnreachable,
)
from springest.source.contract import CompletedTraining, Defect
from springest.staging.decide import Known
from springest.states import RECHECKED

log = logging.getLogger(__name__)

CHECKS_AT_ONCE: Final = 8
MOST_IN_A_ROW: Final = 100
"""Failures in a row after which the rest of a batch is skipped; each may take the store's full time-out."""
_NAMED: Final = 20


class Unknown(Enum):
    """The document could not be examined."""

    STORE_FAILS = "store fails"


Finding = CheckedDocument | Defect | Unknown | None
"""Result of checking a row's document; ``None`` if the row names none."""


class DocumentChecker:
    """Checks the documents of one staging, batch by batch.

    :param documents: store of the certificate files.
    """

    def __init__(self, documents: DocumentStore) -> None:
        self._documents = documents
        self._health = StoreHealth()
        self._health_of_waiting = StoreHealth()

    def check(self, training: CompletedTraining, known: Known | None = None) -> Finding:
        """Check one row's document; one that can't be read now is a defect of this row."""
        found = self._check(training, known)
        return _defect(found.as_document_error()) if isinstance(found, DocumentUnreachable) else found

    def check_all(
        self, trainings: Sequence[CompletedTraining], known: Mapping[str, Known]
    ) -> dict[str, Finding]:
        """Check the documents of a batch.

        :param known: these deliveries in the ledger, by key.
        :returns: the findings, by delivery key.
        :raises DocumentStoreUnreachable: a whole store can't be read.
        """
        findings: dict[str, Finding] = {}
        waiting: dict[str, str] = {}
        pool = ThreadPoolExecutor(CHECKS_AT_ONCE, thread_name_prefix="documents")
        try:
            each = pool.map(lambda row: self._check(row, known.get(row.delivery_key)), trainings)
            for training, found in zip(trainings, each, strict=True):
                key = training.delivery_key
                if isinstance(found, DocumentUnreachable):
                    findings[key] = _defect(found.as_document_error())
                    store = self._documents.root_of(training.certificate_uri or "")
                    if _waits(training, known.get(key)):
                        self._health_of_waiting.record_failure(store, key, found)
                        waiting[key] = store
                        if found.whole_store:
                            findings[key] = Unknown.STORE_FAILS
                    else:
                        self._note_trouble(key, store, found)
                else:
                    self._note_answer(training, found)
                    findings[key] = found
            self._stop_where_a_store_fails(IN_A_ROW)
            findings |= self._left_alone(waiting)
        finally:
            pool.shutdown(cancel_futures=True)
        _say_what_readers_repair(trainings, findings)
        return findings

    def _check(self, training: CompletedTraining, known: Known | None) -> Finding | DocumentUnreachable:
        if training.certificate_uri is None:
            return None
        try:
            return self._documents.probe(training.certificate_uri, known.document_checked if known else None)
        except DocumentError as error:
            return _defect(error)
        except DocumentUnreachable as error:
            return error

    def _note_answer(self, training: CompletedTraining, found: Finding) -> None:
        """Record that a store responded, even if it does not have the document."""
        if training.certificate_uri is not None and (
            store := self._documents.root_of(training.certificate_uri)
        ):
            opened = isinstance(found, CheckedDocument)
            self._health.record_success(store, training.certificate_uri if opened else None)
            self._health_of_waiting.record_success(store)

    def _note_trouble(self, key: str, store: str, error: DocumentUnreachable) -> None:
        """Record a document that can't be read.

        :raises DocumentStoreUnreachable: the whole store can't be read.
        """
        if error.whole_store:
            raise DocumentStoreUnreachable(error.detail)
        self._health.record_failure(store, key, error)
        self._stop_where_a_store_fails(MOST_IN_A_ROW)

    def _left_alone(self, waiting: Mapping[str, str]) -> dict[str, Finding]:
        """Return findings for rows that stay set aside unchanged, because their store can't be read.

        :param waiting: store of each unreadable document whose row was set aside before, by delivery key.
        """
        health = self._health_of_waiting
        failing = {store for store, _ in health.failing() if not self._is_well(store, health)}
        return {key: Unknown.STORE_FAILS for key, store in waiting.items() if store in failing}

    def _stop_where_a_store_fails(self, in_a_row: int) -> None:
        for store, error in list(self._health.failing(in_a_row)):
            if not self._is_well(store, self._health):
                raise DocumentStoreUnreachable(
                    f"{error.detail}; {in_a_row} or more documents of {store} in a row failed like this, and "
                    "none could be read since: their rows are not set aside"
                )

    def _is_well(self, store: str, health: StoreHealth) -> bool:
        """Return whether a document of the store that could be read earlier still can be."""
        witness = self._health.witness(store)
        if witness is None:
            return False
        try:
            self._documents.probe(witness)
        except DocumentUnreachable:
            return False
        except DocumentError:
            pass  # the store responded
        health.record_success(store)
        return True


def _waits(training: CompletedTraining, known: Known | None) -> bool:
    """Return whether the row was set aside before and is only checked again; it never stops a run."""
    return known is not None and known.state in RECHECKED and known.row_version == training.row_version


def _defect(error: DocumentError) -> Defect:
    return Defect(error.reason, error.detail)


def _say_what_readers_repair(trainings: Sequence[CompletedTraining], findings: Mapping[str, Finding]) -> None:
    repaired: dict[str, list[str]] = {}
    for training in trainings:
        found = findings[training.delivery_key]
        if isinstance(found, CheckedDocument) and found.repaired:
            repaired.setdefault(found.repaired, []).append(training.training_id)
    for why, names in repaired.items():
        log.warning(
            "Accepted documents that readers repair automatically, because %s: %d (trainings %s%s)",
            why,
            len(names),
            ", ".join(names[:_NAMED]),
            ", ..." if len(names) > _NAMED else "",
        )
