"""Faults on demand: what a server, or the way to it, does on a bad day."""

from __future__ import annotations

import threading
from dataclasses import dataclass
from enum import StrEnum


class Kind(StrEnum):
    """What goes wrong."""

    CLOSE_BEFORE_BODY = "close_before_body"
    """The connection is closed once the head of the request is read."""
    CLOSE_BEFORE_STORING = "close_before_storing"
    """The whole request is read, nothing is stored, no answer is sent."""
    CLOSE_AFTER_STORING = "close_after_storing"
    """The certificate is stored, no answer is sent."""
    STORE_LATE = "store_late"
    """No answer is sent; the certificate is stored when ``release`` is called."""
    STATUS = "status"
    """``status`` is answered, nothing is stored."""
    STATUS_AFTER_STORING = "status_after_storing"
    """The certificate is stored, ``status`` is answered."""
    SLOW = "slow"
    """The answer takes ``seconds`` longer."""
    TRUNCATED = "truncated"
    """The answer breaks off in the middle of its body."""
    HTML = "html"
    """The answer is a web page."""
    SHIFT = "shift"
    """Before the page is read, ``count`` new certificates appear in the list."""


@dataclass(slots=True)
class Fault:
    """One fault.

    :param kind: what goes wrong.
    :param method: requests it befalls: ``POST`` or ``GET``.
    :param times: how many of them; ``None`` is all.
    :param skip: how many go well before.
    :param status: status to answer.
    :param retry_after: ``Retry-After`` to answer, in seconds or as a date.
    :param seconds: how much slower.
    :param count: how many certificates appear.
    """

    kind: Kind
    method: str = "POST"
    times: int | None = 1
    skip: int = 0
    status: int = 500
    retry_after: str | None = None
    seconds: float = 0.0
    count: int = 1


class Faults:
    """The faults that are yet to happen."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._waiting: list[Fault] = []

    def add(self, fault: Fault) -> None:
        """Let it happen."""
        with self._lock:
            self._waiting.append(fault)

    def clear(self) -> None:
        """Let nothing more happen."""
        with self._lock:
            self._waiting.clear()

    def next(self, method: str) -> Fault | None:
        """Return what befalls this request, if anything."""
        with self._lock:
            for fault in self._waiting:
                if fault.method != method:
                    continue
                if fault.skip > 0:
                    fault.skip -= 1
                    continue
                if fault.times is not None:
                    fault.times -= 1
                    if fault.times <= 0:
                        self._waiting.remove(fault)
                return fault
        return None
