"""Documents are opened in threads, and nobody waits for one that is stuck."""

from __future__ import annotations

import asyncio
import io
import threading
from collections.abc import Callable
from concurrent.futures import Executor
from contextvars import ContextVar
from typing import Any

import pytest

from springest.delivery import opening as module
from springest.delivery.opening import Opening
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


def _at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """Do what threads do here and now, so that its order is known."""

    def run(executor: Executor, work: Callable[..., Any], *values: Any) -> asyncio.Future[Any]:
        done = asyncio.get_running_loop().create_future()
        done.set_result(work(*values))
        return done

    monkeypatch.setattr(asyncio.get_running_loop(), "run_in_executor", run)


async def test_each_caller_gets_its_own_document_or_error(store: Store) -> None:
    """Concurrent callers get the document, or the error, of their own request."""
    opening = Opening(store.open, most=3)
    names = ["a.pdf", "missing.pdf", "b.pdf", "missing too.pdf", "c.pdf"]
    found = await asyncio.gather(*(opening.open(name) for name in names), return_exceptions=True)
    results = [result.detail if isinstance(result, DocumentError) else result.filename for result in found]
    assert results == names
    opening.give_up()


async def test_one_thread_opens_the_documents_that_queued_up(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Documents that are requested while a thread works are opened by the same thread."""
    monkeypatch.setattr(module, "PATIENCE_SECONDS", 10 * LONG)
    opening = Opening(store.open, most=10)
    asked = [asyncio.create_task(opening.open(f"stuck {number}.pdf")) for number in range(10)]
    await _begun(store)
    store.let_go.set()
    assert [result.filename for result in await asyncio.gather(*asked)] == [
        f"stuck {n}.pdf" for n in range(10)
    ]
    assert len(store.threads) == 1
    opening.give_up()


async def test_stuck_documents_delay_no_others_in_bounded_threads(store: Store) -> None:
    """Documents that hang delay no others, and the number of threads is bounded."""
    opening = Opening(store.open, most=3)
    stuck = [asyncio.create_task(opening.open(f"stuck {number}.pdf")) for number in range(2)]
    await _begun(store, 2)
    async with asyncio.timeout(LONG):
        quick = await asyncio.gather(*(opening.open(f"{number}.pdf") for number in range(20)))
    assert [document.filename for document in quick] == [f"{number}.pdf" for number in range(20)]
    more = [asyncio.create_task(opening.open(f"stuck too {number}.pdf")) for number in range(5)]
    await _begun(store, 20 + 1)
    await asyncio.sleep(5 * module.PATIENCE_SECONDS)
    store.let_go.set()
    await asyncio.gather(*stuck, *more)
    assert store.most_at_once == 3
    opening.give_up()


async def test_closing_waits_for_no_thread_and_closes_late_documents(store: Store) -> None:
    """Closing returns at once; a document that is opened afterwards is closed."""
    opening = Opening(store.open, most=1)
    asked = [asyncio.create_task(opening.open(name)) for name in ("stuck.pdf", "waits.pdf")]
    await _begun(store)
    opening.give_up()
    async with asyncio.timeout(LONG):
        assert await asyncio.gather(*asked) == [None, None]
        assert await opening.open("later.pdf") is None
    store.let_go.set()
    assert await asyncio.to_thread(store.all_closed.wait, LONG)
    assert [document.closed for document in store.opened] == [True]


async def test_the_document_of_a_cancelled_caller_is_closed(store: Store) -> None:
    """A document is closed if its caller was cancelled while it was being opened."""
    opening = Opening(store.open, most=1)
    asked = asyncio.create_task(opening.open("stuck.pdf"))
    await _begun(store)
    asked.cancel()
    with pytest.raises(asyncio.CancelledError):
        await asked
    store.let_go.set()
    assert await asyncio.to_thread(store.all_closed.wait, LONG)
    assert [document.closed for document in store.opened] == [True]
    opening.give_up()


async def test_a_cancelled_caller_never_leaves_a_document_open(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Cancelled after any number of rounds of the event loop, before or after the document was opened or
    handed over.
    """
    _at_once(monkeypatch)
    opening = Opening(store.open, most=1)
    taken = []
    for rounds in range(6):
        asked = asyncio.create_task(opening.open("a.pdf"))
        for _ in range(rounds):
            await asyncio.sleep(0)
        asked.cancel()
        [found] = await asyncio.gather(asked, return_exceptions=True)
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        if isinstance(found, OpenDocument):
            taken.append(rounds)
            found.close()
        assert all(document.closed for document in store.opened), rounds
    assert 0 < len(taken) < 6
    assert len(store.opened) > len(taken)
    opening.give_up()


def test_a_document_opened_after_the_loop_ended_is_closed(store: Store) -> None:
    """A document is closed if the event loop has ended before it was opened."""

    async def leaves() -> None:
        opening = Opening(store.open, most=1)
        asked = asyncio.create_task(opening.open("stuck.pdf"))
        await _begun(store)
        opening.give_up()
        assert await asked is None

    asyncio.run(leaves())
    store.let_go.set()
    assert store.all_closed.wait(LONG)


async def test_an_opener_sees_the_callers_context(store: Store) -> None:
    """Remote stores depend on it."""
    variable: ContextVar[str] = ContextVar("variable")
    variable.set("seen")
    seen = []

    def opener(uri: str, checked: str | None) -> OpenDocument:
        seen.append(variable.get())
        return store.open(uri)

    opening = Opening(opener, most=1)
    assert await opening.open("a.pdf") is not None
    assert seen == ["seen"]
    opening.give_up()


@pytest.mark.parametrize("odd", [asyncio.CancelledError, KeyboardInterrupt, StopIteration, GeneratorExit])
def test_an_opener_that_ends_oddly_lets_nobody_wait(odd: type[BaseException]) -> None:
    """A remote store may have an event loop of its own, and raise what that one was told."""

    def opener(uri: str, checked: str | None) -> OpenDocument:
        if uri == "odd":
            raise odd
        return OpenDocument(uri, "application/pdf", 1, "", b"x")

    async def ask() -> OpenDocument | None:
        line = Opening(opener, most=2)
        with pytest.raises(RuntimeError, match="the opener"):
            await asyncio.wait_for(line.open("odd"), LONG)
        opened = await asyncio.wait_for(line.open("even"), LONG)
        line.give_up()
        return opened

    opened = asyncio.run(ask())
    assert opened is not None
    assert opened.filename == "even"


def test_without_a_thread_nothing_stays_open(monkeypatch: pytest.MonkeyPatch) -> None:
    """If no thread can be started, the error is raised and no document or request is left behind."""
    asked: list[str] = []

    def opener(uri: str, checked: str | None) -> OpenDocument:
        asked.append(uri)
        return OpenDocument(uri, "application/pdf", 1, "", b"x")

    async def ask() -> None:
        line, loop = Opening(opener, most=2), asyncio.get_running_loop()

        def refuse(*_: Any) -> Any:
            raise RuntimeError("can't start new thread")

        with monkeypatch.context() as patched:
            patched.setattr(loop, "run_in_executor", refuse)
            with pytest.raises(RuntimeError, match="new thread"):
                await line.open("first")
        await asyncio.wait_for(line.open("second"), LONG)
        line.give_up()

    asyncio.run(ask())
    assert asked == ["second"]
