"""Documents are opened in threads, and nobody waits for one that is stuck."""

from __future__ import annotations

import asyncio
import io
import threading
from contextvars import ContextVar

import pytest

from springest.delivery.document_opener import DocumentOpener
from springest.documents.opener import DocumentError, OpenDocument

LONG = 60.0
"""Seconds after which something is stuck for good."""


class Store:
    """Opens documents; those whose name begins with ``stuck`` only once they are let go."""

    def __init__(self) -> None:
        self.opened: list[io.BytesIO] = []
        self.threads: set[int] = set()
        self.begun = threading.Semaphore(0)
        self.let_go = threading.Event()
        self.all_closed = threading.Event()
        self.at_once = self.most_at_once = 0
        self._lock = threading.Lock()

    def open(self, uri: str, checked: str | None = None) -> OpenDocument:
        with self._lock:
            self.at_once += 1
            self.most_at_once = max(self.most_at_once, self.at_once)
            self.threads.add(threading.get_ident())
        self.begun.release()
        try:
            if uri.startswith("stuck"):
                assert self.let_go.wait(LONG)
            if uri.startswith("missing"):
                raise DocumentError("document_missing", uri)
        finally:
            with self._lock:
                self.at_once -= 1
        handle = _Handle(self.all_closed)
        self.opened.append(handle)
        return OpenDocument(uri, "application/pdf", 1, "", None, handle)


class _Handle(io.BytesIO):
    def __init__(self, closed: threading.Event) -> None:
        super().__init__(b"x")
        self._on_close = closed

    def close(self) -> None:
        super().close()
        self._on_close.set()


@pytest.fixture
def store():
    store = Store()
    yield store
    store.let_go.set()


async def _begun(store: Store, number: int = 1) -> None:
    for _ in range(number):
        assert await asyncio.to_thread(store.begun.acquire, timeout=LONG)


async def test_each_caller_gets_its_own_document_or_error(store: Store) -> None:
    """Concurrent callers get the document, or the error, of their own request."""
    opener = DocumentOpener(store.open, max_threads=3)
    names = ["a.pdf", "missing.pdf", "b.pdf", "missing too.pdf", "c.pdf"]
    found = await asyncio.gather(*(opener.open(name) for name in names), return_exceptions=True)
    assert [
        result.detail if isinstance(result, DocumentError) else result.filename for result in found
    ] == names
    opener.close()


async def test_stuck_documents_delay_no_others_in_bounded_threads(store: Store) -> None:
    """Documents that hang delay no others, and the number of threads is bounded."""
    opener = DocumentOpener(store.open, max_threads=3)
    stuck = [asyncio.create_task(opener.open(f"stuck {number}.pdf")) for number in range(2)]
    await _begun(store, 2)
    async with asyncio.timeout(LONG):
        others = await asyncio.gather(*(opener.open(f"{number}.pdf") for number in range(20)))
    assert [document.filename for document in others] == [f"{number}.pdf" for number in range(20)]
    more = [asyncio.create_task(opener.open(f"stuck too {number}.pdf")) for number in range(5)]
    await _begun(store, 20 + 1)
    store.let_go.set()
    await asyncio.gather(*stuck, *more)
    assert store.most_at_once == 3
    opener.close()


async def test_closing_waits_for_no_thread_and_closes_late_documents(store: Store) -> None:
    """Closing returns at once; a document opened afterwards is closed, and no other is opened."""
    opener = DocumentOpener(store.open, max_threads=1)
    asked = [asyncio.create_task(opener.open(name)) for name in ("stuck.pdf", "waits.pdf")]
    await _begun(store)
    for asking in asked:
        asking.cancel()
    opener.close()
    async with asyncio.timeout(LONG):
        await asyncio.gather(*asked, return_exceptions=True)
    store.let_go.set()
    assert await asyncio.to_thread(store.all_closed.wait, LONG)
    assert [document.closed for document in store.opened] == [True]


async def test_the_document_of_a_cancelled_caller_is_closed(store: Store) -> None:
    """A document is closed if its caller was cancelled while it was being opened."""
    opener = DocumentOpener(store.open, max_threads=1)
    asked = asyncio.create_task(opener.open("stuck.pdf"))
    await _begun(store)
    asked.cancel()
    with pytest.raises(asyncio.CancelledError):
        await asked
    store.let_go.set()
    assert await asyncio.to_thread(store.all_closed.wait, LONG)
    assert [document.closed for document in store.opened] == [True]
    opener.close()


async def test_a_cancelled_caller_never_leaves_a_document_open(store: Store) -> None:
    """Cancelled after any number of rounds of the event loop, before or after it was handed over."""
    opener = DocumentOpener(store.open, max_threads=1)
    taken, opened = 0, 0
    for rounds in range(200):
        asked = asyncio.create_task(opener.open("a.pdf"))
        for _ in range(rounds):
            await asyncio.sleep(0)
        if rounds % 2:
            await _begun(store)  # opened, perhaps not handed over yet
            opened += 1
        asked.cancel()
        [found] = await asyncio.gather(asked, return_exceptions=True)
        if isinstance(found, OpenDocument):
            taken += 1
            found.close()
    await asyncio.to_thread(opener._threads.shutdown)
    assert 0 < taken < 200
    assert opened > 0
    assert all(document.closed for document in store.opened)


def test_a_document_opened_after_the_loop_ended_is_closed(store: Store) -> None:
    """A document is closed if the event loop has ended before it was opened."""

    async def leaves() -> None:
        opener = DocumentOpener(store.open, max_threads=1)
        asked = asyncio.create_task(opener.open("stuck.pdf"))
        await _begun(store)
        opener.close()
        asked.cancel()

    asyncio.run(leaves())
    store.let_go.set()
    assert store.all_closed.wait(LONG)


async def test_an_opener_sees_the_callers_context(store: Store) -> None:
    """Remote stores depend on it."""
    variable: ContextVar[str] = ContextVar("variable")
    variable.set("seen")
    seen = []

    def open_document(uri: str, checked: str | None) -> OpenDocument:
        seen.append(variable.get())
        return store.open(uri)

    opener = DocumentOpener(open_document, max_threads=1)
    assert await opener.open("a.pdf") is not None
    assert seen == ["seen"]
    opener.close()


@pytest.mark.parametrize("odd", [asyncio.CancelledError, KeyboardInterrupt, StopIteration, GeneratorExit])
def test_an_opener_that_ends_oddly_leaves_no_caller_waiting(odd: type[BaseException]) -> None:
    """A remote store may run its own event loop, and raise the cancellation of it."""

    def open_document(uri: str, checked: str | None) -> OpenDocument:
        if uri == "odd":
            raise odd
        return OpenDocument(uri, "application/pdf", 1, "", b"x")

    async def ask() -> OpenDocument | None:
        opener = DocumentOpener(open_document, max_threads=2)
        with pytest.raises(RuntimeError, match="the opener"):
            await asyncio.wait_for(opener.open("odd"), LONG)
        opened = await asyncio.wait_for(opener.open("even"), LONG)
        opener.close()
        return opened

    opened = asyncio.run(ask())
    assert opened is not None
    assert opened.filename == "even"
