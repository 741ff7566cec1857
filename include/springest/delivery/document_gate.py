"""The document gate: a certificate passes with its document open, the same bytes that staging inspected.

A document that is missing or damaged is that certificate's own fault: it is set aside. If the store fails
(three different documents in a row, and one that could be read before), the run stops and sets nothing aside.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable

from springest.delivery.claims import Queued
from springest.delivery.context import DeliveryContext
from springest.delivery.document_opener import DocumentOpener
from springest.delivery.stats import DeliveryStats
from springest.delivery.stop_signal import StopSignal
from springest.documents.errors import StoreHealth
from springest.documents.opener import OpenDocument
from springest.errors import DocumentError, DocumentsUnreachable, DocumentUnreachable
from springest.source.contract import CompletedTraining

log = logging.getLogger(__name__)


class DocumentGate:
    """Opens the documents of a run, and handles those that can't be read.

    :param max_threads: documents opened concurrently.
    """

    def __init__(
        self, context: DeliveryContext, *, stop: StopSignal, stats: DeliveryStats, max_threads: int
    ) -> None:
        self._stop = stop
        self._stats = stats
        self._root_of: Callable[[str], str] = context.documents.root_of
        self._stager, self._run_id = context.stager, context.run_id
        self._opener = DocumentOpener(context.documents.open, max_threads=max_threads)
        self._stores = StoreHealth()
        self._unreadable: dict[str, tuple[CompletedTraining, DocumentUnreachable]] = {}

    async def open(self, queued: Queued, training: CompletedTraining) -> OpenDocument | None:
        """Open the document of a certificate.

        :returns: ``None`` if the run stops first.
        :raises DocumentError: it can't be sent as it is.
        :raises DocumentUnreachable: it can't be read now.
        """
        uri = training.certificate_uri
        if uri is None:
            raise DocumentError(
                "certificate_uri_missing", "certificate_uri is empty: enter the URI of the document"
            )
        document = await self._stop.run_or_stop(self._opener.open(uri, queued.document_checked))
        if document is not None:
            self._stores.record_success(self._root_of(uri), uri)
            if document.repaired:
                log.warning(
                    "Training %s: its document is accepted although %s",
                    training.training_id,
                    document.repaired,
                )
        return document

    async def set_aside(self, training: CompletedTraining, error: DocumentError) -> None:
        """Make the delivery ``invalid``: its document can't be sent as it is."""
        await asyncio.to_thread(self._stager.set_aside, training, error, run_id=self._run_id)
        self._stats.set_aside += 1

    async def note_unreachable(self, training: CompletedTraining, error: DocumentUnreachable) -> None:
        """Remember a document that could not be read; stop the run if its whole store fails."""
        log.warning("Training %s: %s", training.training_id, error)
        self._unreadable[training.delivery_key] = training, error
        store = self._root_of(training.certificate_uri or "")
        self._stores.record_failure(store, training.delivery_key, error)
        if error.whole_store or (self._stores.failing() and not await self._is_healthy(store)):
            self._stop.trigger(error.detail, error=DocumentsUnreachable(error.detail))

    async def set_aside_unreadable(self) -> None:
        """Set aside the documents that could not be read although their store is healthy."""
        for training, error in self._unreadable.values():
            await self.set_aside(training, error.as_document_error())
        self._unreadable.clear()

    def close(self) -> None:
        """Open nothing more."""
        self._opener.close()

    async def _is_healthy(self, store: str) -> bool:
        """Check whether a document of the store that could be read earlier in this run still can be."""
        witness = self._stores.witness(store)
        if witness is None:
            return False
        try:
            if (document := await self._stop.run_or_stop(self._opener.open(witness))) is not None:
                document.close()
        except DocumentUnreachable:
            return False
        except DocumentError:
            pass  # the store responded
        self._stores.record_success(store)
        return True
