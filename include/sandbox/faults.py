"""Faults on demand: what a server, or the way to it, does on a bad day."""

from __future__ import annotations

import hashlib
import random
import threading
from dataclasses import dataclass, field
from enum import StrEnum


class Kind(StrEnum):
    """What goes wrong. Nothing is stored unless it says so."""

    CLOSE_BEFORE_BODY = "close_before_body"
    """The connection is closed once the head of the request is read."""
    CLOSE_MIDWAY = "close_midway"
    """The connection is closed once a part of the body is read; a small body has arrived whole by then."""
    CLOSE_BEFORE_STORING = "close_before_storing"
    """The whole request is read, no answer is sent."""
    CLOSE_AFTER_STORING = "close_after_storing"
    """The certificate is stored, no answer is sent."""
    STORE_LATE = "store_late"
    """No answer is sent; the certificate is stored ``seconds`` later, or at ``release`` when that is 0."""
    STATUS_THEN_STORED = "status_then_stored"
    """``status`` is answered; the certificate is stored later, as with ``STORE_LATE``."""
    STATUS = "status"
    """``status`` is answered."""
    STATUS_AFTER_STORING = "status_after_storing"
    """The certificate is stored, ``status`` is answered."""
    ECHO = "echo"
    """Respond with ``status``; the error text contains the learner's address and the URL with the key."""
    SLOW = "slow"
    """All goes well, the certificate is stored, but the answer comes ``seconds`` late."""
    SLOW_TO_READ = "slow_to_read"
    """The body is left unread for ``seconds``, then all goes well."""
    TRICKLED = "trickled"
    """All goes well, but the answer comes in small pieces over ``seconds``."""
    TRUNCATED = "truncated"
    """The answer breaks off in the middle of the body that its head promised."""
    CUT_SHORT = "cut_short"
    """The answer ends cleanly, in the middle of its XML."""
    HTML = "html"
    """The answer is a web page."""
    SHIFT = "shift"
    """Before the page is read, ``count`` new certificates appear, wherever the list has its newest."""
    SHIFT_FRONT = "shift_front"
    """Before the page is read, ``count`` certificates appear at the front of the list, in any order."""
    REMOVE = "remove"
    """Before the page is read, the first ``count`` certificates of the list are gone."""
    WRONG_TOTAL = "wrong_total"
    """The list says that it has ``count`` rows more than it has."""


class FaultBody(StrEnum):
    """What a failing answer holds."""

    XML = "xml"
    HTML = "html"
    """A web page: of a maintenance, a proxy, a firewall, or to sign in."""
    XHTML = "xhtml"
    """A web page that is well-formed XML."""
    JSON = "json"
    EMPTY = "empty"
    GARBAGE = "garbage"


_BEFORE_FORM = frozenset({Kind.CLOSE_BEFORE_BODY, Kind.CLOSE_MIDWAY, Kind.SLOW_TO_READ})


@dataclass(frozen=True, slots=True)
class Fault:
    """One fault, and the requests it befalls.

    :param kind: what goes wrong.
    :param method: requests it befalls: ``POST`` or ``GET``.
    :param path: only requests for this path.
    :param certification_id: only certificates of this certification.
    :param email_sha256: only this learner; see ``email_hash``.
    :param probability: share of those requests, drawn with ``seed``.
    :param skip: how many of them go well before.
    :param times: how many of them fail; ``None`` is all.
    :param status: status to answer.
    :param body: what that answer holds.
    :param retry_after: ``Retry-After`` to answer, in seconds or as a date.
    :param seconds: how much slower, or how much later.
    :param count: how many certificates appear, vanish or are made up.
    :param reset: close connections with a reset instead of an end.
    :raises ValueError: it is not known in time whether the fault applies to a request.
    """

    kind: Kind
    method: str = "POST"
    times: int | None = 1
    skip: int = 0
    status: int = 500
    retry_after: str | None = None
    seconds: float = 0.0
    count: int = 1
    path: str | None = None
    certification_id: int | None = None
    email_sha256: str | None = None
    probability: float = 1.0
    seed: int = 0
    body: FaultBody = FaultBody.XML
    reset: bool = False

    def __post_init__(self) -> None:
        if self.needs_form and self.kind in _BEFORE_FORM and self.method == "POST":
            raise ValueError(f"{self.kind} comes before the form is read, so it can't look into the form")

    @property
    def needs_form(self) -> bool:
        """Whether the certificate's fields decide if this fault applies to a request."""
        return self.certification_id is not None or self.email_sha256 is not None


@dataclass(frozen=True, slots=True)
class Seen:
    """The facts known about a request so far.

    :param whole: whether its form, or its query when it has no form, has been read.
    """

    method: str
    path: str
    whole: bool = False
    certification_id: int | None = None
    email: str = field(default="", repr=False)


def email_hash(email: str) -> str:
    """Return how a fault names a learner, without the address."""
    return hashlib.sha256(email.strip().lower().encode()).hexdigest()


class _Waiting:
    """A fault and the requests it has met."""

    def __init__(self, fault: Fault) -> None:
        self.fault = fault
        self._met = 0
        self._happened = 0
        self._random = random.Random(fault.seed)  # noqa: S311 - repeatable, not secret

    @property
    def over(self) -> bool:
        return self.fault.times is not None and self._happened >= self.fault.times

    def befalls(self, seen: Seen) -> bool:
        if not self._matches(seen):
            return False
        self._met += 1
        if self._met <= self.fault.skip or self.over:
            return False
        return self.fault.probability >= 1.0 or self._random.random() < self.fault.probability

    def happen(self) -> Fault:
        self._happened += 1
        return self.fault

    def _matches(self, seen: Seen) -> bool:
        fault = self.fault
        if fault.method != seen.method or fault.path not in {None, seen.path}:
            return False
        if fault.certification_id not in {None, seen.certification_id}:
            return False
        return fault.email_sha256 is None or fault.email_sha256 == email_hash(seen.email)


class Faults:
    """The faults that are yet to happen.

    A request meets a fault once: at its head, or with its form if the fault asks for fields of it.
    Each fault counts every request it meets; the oldest that is due happens.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._waiting: list[_Waiting] = []

    def add(self, fault: Fault) -> None:
        """Let it happen."""
        with self._lock:
            self._waiting.append(_Waiting(fault))

    def clear(self) -> None:
        """Let nothing more happen."""
        with self._lock:
            self._waiting.clear()

    def waiting(self) -> list[Fault]:
        """Return what is yet to happen."""
        with self._lock:
            return [entry.fault for entry in self._waiting]

    def next(self, seen: Seen) -> Fault | None:
        """Return what befalls this request, if anything."""
        with self._lock:
            concerned = [entry for entry in self._waiting if entry.fault.needs_form == seen.whole]
            due = [armed for armed in concerned if armed.befalls(seen)]
            if not due:
                return None
            fault = due[0].happen()
            self._waiting = [entry for entry in self._waiting if not entry.over]
            return fault
