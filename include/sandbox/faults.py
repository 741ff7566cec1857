"""Faults on demand, of the server or of the network."""

from __future__ import annotations

import hashlib
import random
import threading
from dataclasses import dataclass, field
from enum import StrEnum


class Kind(StrEnum):
    """Kind of fault. Nothing is stored unless the description says so."""

    CLOSE_BEFORE_BODY = "close_before_body"
    """The connection is closed after the head of the request was read."""
    CLOSE_MIDWAY = "close_midway"
    """The connection is closed after a part of the body was read; a small body has already arrived."""
    CLOSE_BEFORE_STORING = "close_before_storing"
    """The whole request is read; no response is sent."""
    CLOSE_AFTER_STORING = "close_after_storing"
    """The certificate is stored; no response is sent."""
    STORE_LATE = "store_late"
    """No response is sent; the certificate is stored ``seconds`` later, or at ``release`` if that is 0."""
    STATUS_THEN_STORED = "status_then_stored"
    """The response is ``status``; the certificate is stored later, as with ``STORE_LATE``."""
    STATUS = "status"
    """The response is ``status``."""
    STATUS_AFTER_STORING = "status_after_storing"
    """The certificate is stored; the response is ``status``."""
    ECHO = "echo"
    """The response is ``status``; its text contains the learner's address and the URL with the key."""
    SLOW = "slow"
    """The certificate is stored, but the response is ``seconds`` late."""
    SLOW_TO_READ = "slow_to_read"
    """The body is not read for ``seconds``; then there is no fault."""
    TRICKLED = "trickled"
    """The response is sent in small pieces over ``seconds``."""
    TRUNCATED = "truncated"
    """The response ends within its body, before the announced length."""
    CUT_SHORT = "cut_short"
    """The response has its announced length, but its XML is truncated."""
    HTML = "html"
    """The response is a web page."""
    SHIFT = "shift"
    """Before the page is read, ``count`` new certificates appear, where the list has its newest."""
    SHIFT_FRONT = "shift_front"
    """Before the page is read, ``count`` certificates appear at the front of the list, in any order."""
    REMOVE = "remove"
    """Before the page is read, the first ``count`` certificates of the list are removed."""
    WRONG_TOTAL = "wrong_total"
    """The list reports ``count`` rows more than it has."""


class FaultBody(StrEnum):
    """Body of a failed response."""

    XML = "xml"
    HTML = "html"
    """A web page: maintenance, proxy, firewall or login."""
    XHTML = "xhtml"
    """A web page that is well-formed XML."""
    JSON = "json"
    EMPTY = "empty"
    GARBAGE = "garbage"


_BEFORE_FORM = frozenset({Kind.CLOSE_BEFORE_BODY, Kind.CLOSE_MIDWAY, Kind.SLOW_TO_READ})


@dataclass(frozen=True, slots=True)
class Fault:
    """One fault, and the requests to which it applies.

    :param kind: kind of fault.
    :param method: method of the requests: ``POST`` or ``GET``.
    :param path: only requests for this path.
    :param certification_id: only certificates of this certification.
    :param email_sha256: only this learner; see ``email_hash``.
    :param probability: share of those requests, drawn with ``seed``.
    :param skip: number of matching requests before the first fault.
    :param times: number of requests that fail; ``None`` means all.
    :param status: status of the response.
    :param body: body of the response.
    :param retry_after: ``Retry-After`` of the response, in seconds or as a date.
    :param seconds: delay in seconds.
    :param count: number of certificates that appear, vanish or are invented.
    :param reset: close connections with RST instead of FIN.
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
            raise ValueError(f"{self.kind} occurs before the form is read, so it can't depend on the form")

    @property
    def needs_form(self) -> bool:
        """Whether the certificate's fields decide if this fault applies to a request."""
        return self.certification_id is not None or self.email_sha256 is not None


@dataclass(frozen=True, slots=True)
class Seen:
    """The facts known about a request so far.

    :param whole: whether its form, or the query of a request without a form, has been read.
    """

    method: str
    path: str
    whole: bool = False
    certification_id: int | None = None
    email: str = field(default="", repr=False)


def email_hash(email: str) -> str:
    """Return the hash by which a fault names a learner."""
    return hashlib.sha256(email.strip().lower().encode()).hexdigest()


class _Waiting:
    """A fault with its count of requests."""

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
    """The pending faults.

    A request is compared with a fault once: at its head, or with its form if the fault depends on form
    fields. Each fault counts its requests; the oldest one that is due occurs.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._waiting: list[_Waiting] = []

    def add(self, fault: Fault) -> None:
        """Add a fault."""
        with self._lock:
            self._waiting.append(_Waiting(fault))

    def clear(self) -> None:
        """Remove all faults."""
        with self._lock:
            self._waiting.clear()

    def waiting(self) -> list[Fault]:
        """Return the pending faults."""
        with self._lock:
            return [entry.fault for entry in self._waiting]

    def next(self, seen: Seen) -> Fault | None:
        """Return the fault for this request, if any."""
        with self._lock:
            concerned = [entry for entry in self._waiting if entry.fault.needs_form == seen.whole]
            due = [armed for armed in concerned if armed.befalls(seen)]
            if not due:
                return None
            fault = due[0].happen()
            self._waiting = [entry for entry in self._waiting if not entry.over]
            return fault
