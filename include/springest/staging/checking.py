"""Check the documents of a batch, and tell a few that can't be read from a store that can't be.

A document that can't be read now is its own row's trouble: the row is set aside with the reason and checked
again every night. Where several different ones failed in the same way, one after the other, and no document
of their store could be read since, the run stops: an unmounted folder or expired credentials are no row's
trouble.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Final

from springest.documents.errors import IN_A_ROW, UNREACHABLE, UNREADABLE, StoreHealth
from springest.documents.opener import (
    CheckedDocument,
    DocumentError,
    DocumentStore,
    DocumentStoreUnreachable,
    DocumentUnreachable,
)
from springest.source.contract import CompletedTraining, Defect
from springest.staging.decide import Known
from springest.states import State

log = logging.getLogger(__name__)

CHECKS_AT_ONCE: Final = 8
MOST_IN_A_ROW: Final = 100
"""Failures in a row after which the rest of a batch is not tried: each may take a store's whole time-out."""
_NAMED: Final = 20

Finding = CheckedDocument | Defect | None
"""What is known of a row's document; ``None`` where the row names none."""


class DocumentChecker:
    """Checks the documents of one staging, batch by batch.

    :param documents: where they lie.
    """

    def __init__(self, documents: DocumentStore) -> None:
        self._documents = documents
        self._health = StoreHealth()

    def check(self, training: CompletedTraining, known: Known | None = None) -> Finding:
        """Check one row's document; what can't be read now is a defect of this row."""
        found = self._check(training, known)
        return _defect(found.as_defect()) if isinstance(found, DocumentUnreachable) else found

    def check_all(
        self, trainings: Sequence[CompletedTraining], known: Mapping[str, Known]
    ) -> dict[str, Finding]:
        """Check the documents of a batch.

        :param known: what the ledger has of these deliveries, by key.
        :returns: what was found, by delivery.
        :raises DocumentStoreUnreachable: they can't be read, for a reason that is no row's.
        """
        findings: dict[str, Finding] = {}
        pool = ThreadPoolExecutor(CHECKS_AT_ONCE, thread_name_prefix="documents")
        try:
            each = pool.map(lambda one: self._check(one, known.get(one.delivery_key)), trainings)
            for training, found in zip(trainings, each, strict=True):
                key = training.delivery_key
                if isinstance(found, DocumentUnreachable):
                    self._note_trouble(training, found, known.get(key))
                    findings[key] = _defect(found.as_defect())
                else:
                    self._note_answer(training, found)
                    findings[key] = found
            self._stop_where_a_store_fails(IN_A_ROW)
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
        """Note that a store answered, if only that there is no such document."""
        if training.certificate_uri is not None and (
            store := self._documents.root_of(training.certificate_uri)
        ):
            opened = isinstance(found, CheckedDocument)
            self._health.went_well(store, training.certificate_uri if opened else None)

    def _note_trouble(
        self, training: CompletedTraining, error: DocumentUnreachable, known: Known | None
    ) -> None:
        """Note a document that can't be read; one that was set aside for that before says nothing new.

        One that Springest refused is looked at only in case another lies in its place: it stops nothing.

        :raises DocumentStoreUnreachable: it is the store.
        """
        if known is not None and known.state is State.REJECTED and known.row_version == training.row_version:
            return
        if error.whole_store:
            raise DocumentStoreUnreachable(error.detail)
        if known is not None and known.reason in {UNREADABLE, UNREACHABLE}:
            return
        store = self._documents.root_of(training.certificate_uri or "")
        self._health.went_badly(store, training.delivery_key, error)
        self._stop_where_a_store_fails(MOST_IN_A_ROW)

    def _stop_where_a_store_fails(self, in_a_row: int) -> None:
        for store, error in list(self._health.failing(in_a_row)):
            if not self._is_well(store):
                raise DocumentStoreUnreachable(
                    f"{error.detail}; so it is with {in_a_row} or more documents of {store} "
                    "in a row, and none could be read since: these rows are not set aside for it"
                )

    def _is_well(self, store: str) -> bool:
        """Tell whether a document of the store that could be read earlier still can be."""
        witness = self._health.witness(store)
        if witness is None:
            return False
        try:
            self._documents.probe(witness)
        except DocumentUnreachable:
            return False
        except DocumentError:
            pass  # the store answered
        self._health.went_well(store)
        return True


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
            "Documents that readers repair by themselves, since %s, are accepted: %d (trainings %s%s)",
            why,
            len(names),
            ", ".join(names[:_NAMED]),
            ", ..." if len(names) > _NAMED else "",
        )
