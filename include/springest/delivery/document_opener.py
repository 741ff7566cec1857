"""Opens documents in threads, so that a slow file system or bucket never blocks the event loop."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from contextvars import copy_context

from springest.documents.opener import OpenDocument


class DocumentOpener:
    """Opens up to ``max_threads`` documents concurrently.

    :param opener: opens a URI; the second argument is what an earlier check recorded of the document, see
        ``DocumentStore.open``.
    """

    def __init__(self, opener: Callable[[str, str | None], OpenDocument], *, max_threads: int) -> None:
        self._opener = opener
        self._threads = ThreadPoolExecutor(max_threads, thread_name_prefix="documents")

    async def open(self, uri: str, checked: str | None = None) -> OpenDocument:
        """Open a document; the caller closes it.

        :raises CancelledError: the caller was cancelled; the document is closed once it is open.
        :raises Exception: whatever the opener raises.
        """
        # Remote stores read the caller's context, as with `asyncio.to_thread`.
        opening = self._threads.submit(copy_context().run, self._open, uri, checked)
        try:
            return await asyncio.wrap_future(opening)
        except asyncio.CancelledError:
            opening.add_done_callback(_close_unused)
            raise

    def close(self) -> None:
        """Open nothing more; does not wait for threads, which may be stuck in a file system."""
        self._threads.shutdown(wait=False, cancel_futures=True)

    def _open(self, uri: str, checked: str | None) -> OpenDocument:
        try:
            return self._opener(uri, checked)
        except BaseException as error:
            if isinstance(error, Exception) and not isinstance(error, StopIteration):
                raise
            # For example the cancellation of a remote store's own event loop: no future of ours takes these.
            raise RuntimeError(f"the opener ended with {type(error).__name__}") from None


def _close_unused(opening: Future[OpenDocument]) -> None:
    if not opening.cancelled() and opening.exception() is None:
        opening.result().close()
