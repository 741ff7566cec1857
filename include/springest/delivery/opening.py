"""Open documents in threads, so that a file system that blocks never blocks the event loop.

Each thread drains the queue of requested documents, and reports several results at once:
to hand a single document to a thread and back costs as much as to hash it. While documents open quickly, one
thread is enough. As soon as one has waited a moment, because of a large one, a slow file system or a bucket,
another thread helps.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextvars import copy_context
from dataclasses import dataclass, field
from typing import Final

from springest.documents.opener import OpenDocument

PATIENCE_SECONDS: Final = 0.02
"""How long a document waits before another thread is set to work."""


@dataclass(slots=True)
class _Waiting:
    uri: str = field(repr=False)
    checked: str | None
    since: float
    answer: asyncio.Future[OpenDocument | None]


class Opening:
    """Opens documents for several askers at once; made and used within one event loop.

    :param opener: opens an address, given what was kept of its document when it was looked into;
        called in a thread.
    :param most: threads at once.
    """

    def __init__(self, opener: Callable[[str, str | None], OpenDocument], *, most: int) -> None:
        self._opener = opener
        self._most = most
        self._loop = asyncio.get_running_loop()
        self._threads = ThreadPoolExecutor(most, thread_name_prefix="documents")
        self._waiting: deque[_Waiting] = deque()
        self._opened: deque[tuple[_Waiting, OpenDocument | Exception]] = deque()
        self._is_told = False
        self._at_work = 0
        self._look: asyncio.TimerHandle | None = None
        self._under_way: set[asyncio.Future[OpenDocument | None]] = set()
        self._is_over = False

    async def open(self, uri: str, checked: str | None = None) -> OpenDocument | None:
        """Open a document, which its asker closes.

        :param checked: see ``DocumentStore.open``.
        :returns: ``None`` when ``give_up`` came first.
        :raises Exception: whatever the opener raises.
        """
        if self._is_over:
            return None
        answer: asyncio.Future[OpenDocument | None] = self._loop.create_future()
        self._waiting.append(_Waiting(uri, checked, self._loop.time(), answer))
        if not self._at_work:
            try:
                self._set_to_work()
            except RuntimeError:  # there is no thread to be had
                self._waiting.pop()
                raise
        self._under_way.add(answer)
        try:
            return await answer
        except asyncio.CancelledError:
            _close_unused(answer)
            raise
        finally:
            self._under_way.discard(answer)

    def give_up(self) -> None:
        """Answer everybody who waits, now and later, with ``None``; no thread is waited for.

        A document that a thread is opening now is closed as soon as the thread returns it.
        """
        self._is_over = True
        self._waiting.clear()
        for answer in self._under_way:
            if not answer.done():
                answer.set_result(None)
        if self._look is not None:
            self._look.cancel()
        self._threads.shutdown(wait=False)

    def _set_to_work(self) -> None:
        # Each thread has the context of who asks, as with `asyncio.to_thread`: remote openers look into it.
        thread = self._loop.run_in_executor(self._threads, copy_context().run, self._work)
        self._at_work += 1
        thread.add_done_callback(self._note_end)
        if self._look is None:
            self._look = self._loop.call_later(PATIENCE_SECONDS, self._help)

    def _note_end(self, _thread: asyncio.Future[None]) -> None:
        self._at_work -= 1
        if self._waiting and not self._at_work:  # asked for when the thread had just looked
            self._set_to_work()

    def _help(self) -> None:
        """Set another thread to work when somebody has waited for long."""
        self._look = None
        if not self._at_work:
            return
        if self._at_work < self._most and self._longest_wait() >= PATIENCE_SECONDS:
            self._set_to_work()
        else:
            self._look = self._loop.call_later(PATIENCE_SECONDS, self._help)

    def _longest_wait(self) -> float:
        try:
            return self._loop.time() - self._waiting[0].since
        except IndexError:  # a thread has just taken the last one
            return 0.0

    def _work(self) -> None:
        """Open what waits until nothing does; runs in a thread."""
        while True:
            try:
                one = self._waiting.popleft()
            except IndexError:
                return
            self._tell(one, self._open(one.uri, one.checked))

    def _open(self, uri: str, checked: str | None) -> OpenDocument | Exception:
        try:
            return self._opener(uri, checked)
        except BaseException as error:  # noqa: BLE001 - whatever it is, it is theirs who asked
            if isinstance(error, Exception) and not isinstance(error, StopIteration):
                return error
            # A remote store's own cancellation, say, which no future takes.
            return RuntimeError(f"the opener ended with {type(error).__name__}")

    def _tell(self, one: _Waiting, opened: OpenDocument | Exception) -> None:
        """Have the event loop look; once for all that is opened before it does."""
        self._opened.append((one, opened))
        if not self._is_told:
            self._is_told = True
            try:
                self._loop.call_soon_threadsafe(self._answer)
            except RuntimeError:  # the event loop is over, and nobody waits any more
                self._is_told = False
                self._close_opened()

    def _answer(self) -> None:
        self._is_told = False
        while self._opened:
            one, opened = self._opened.popleft()
            if isinstance(opened, Exception):
                if not one.answer.done():
                    one.answer.set_exception(opened)
            elif one.answer.done():  # cancelled, or given up
                opened.close()
            else:
                one.answer.set_result(opened)

    def _close_opened(self) -> None:
        while self._opened:
            _, opened = self._opened.popleft()
            if isinstance(opened, OpenDocument):
                opened.close()


def _close_unused(answer: asyncio.Future[OpenDocument | None]) -> None:
    """Close a document that was opened for somebody who was cancelled before taking it."""
    if answer.done() and not answer.cancelled() and answer.exception() is None:
        document = answer.result()
        if document is not None:
            document.close()
