"""Every error that this project raises, as one tree.

The last column says whether Airflow tries the task again: after so many minutes, ``no``, or ``-`` where the
error does not fail a task, or the task's own settings decide. ``retry_policy.py`` holds the same, and a test
compares both.

::

    SpringestError                                                                                    retry
    ├── ConfigurationError        a connection field, extra, Variable or parameter is wrong           no
    │   ├── SiteNotBegun              nobody has said from when on trainings are to be sent           no
    │   └── SourceQueryError          the query names what is missing or not allowed                  no
    ├── ApiError                  a request to Springest failed                                       5
    │   ├── TransportError            no response
    │   │   ├── ConnectFailed             DNS, connect or TLS failed: nothing was sent                5
    │   │   ├── RequestNotSent            broke before the last byte of the body: cannot be stored    5
    │   │   ├── ResponseTimeout           sent in full, no response in time: may be stored            5
    │   │   └── ResponseLost              sent in full, response incomplete: may be stored            5
    │   ├── StatusError               the status says no
    │   │   ├── Rejected                  400, 413, 415 or 422 with reasons that could be read        5
    │   │   ├── Unauthorized              401                                                         no
    │   │   ├── Forbidden                 403                                                         no
    │   │   ├── NotFound                  404                                                         no
    │   │   ├── Throttled                 429, or 503 with Retry-After                                10
    │   │   ├── Redirected                3xx; never followed                                         5
    │   │   ├── ServerError               5xx                                                         5
    │   │   └── UnexpectedStatus          anything else                                               5
    │   └── InvalidResponse           2xx with a body that is not the one asked for                   5
    ├── DeadlinePassed            a request was withheld: its time had passed                         -
    ├── SourceError               the source database or the query is not usable now                  5
    │   └── UnreadableRows            the source cannot return at least one row                       5
    ├── DocumentError             one document cannot be sent as it is                                -
    ├── DocumentUnreachable       one document could not be read now                                  -
    ├── InspectionFailed          one document could not be opened for inspection                     -
    ├── DocumentStoreUnreachable  no document of a store can be read                                  5
    ├── DeliveryStopped           the run stopped sending before its queue was empty
    │   ├── AccessRefused             Springest does not let this key send                            no
    │   ├── RunTooLarge               far more certificates than usual wait; a person must agree      no
    │   ├── LedgerBehind              the ledger has lost attempts: it was restored                   no
    │   ├── TooManyUnknown            as many outcomes are unknown as may be                          no
    │   ├── WorkerStopped             the process was stopped                                         1
    │   ├── SpringestUnreachable      Springest does not respond as it should                         15
    │   └── DocumentsUnreachable      the documents' store does not respond                           10
    ├── IllegalTransition         an event does not fit the delivery's state; nothing was changed     -
    ├── ConservationBroken        source rows and verdicts do not add up; nothing was published       no
    ├── QualityCheckFailed        verdicts failed a check; nothing was published                      no
    ├── PendingVerdictsLost       the pending verdicts are gone                                       no
    ├── DecisionRefused           a decision breaks a rule; nothing was changed                       -
    ├── WarehouseLocked           another session holds a lock                                        5
    ├── DryRunGaveWay             a real run needed what a dry run had locked; nothing was changed    5
    ├── SchemaOutOfDate           the warehouse needs ``make migrate``                                no
    └── RolesNotAllowed           the connection's role may not create roles or grant                 -

Messages never contain API keys, e-mail addresses or query strings: callers redact before raising.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

SOURCE_REFUSED: Final = "the source database refused: "


class SpringestError(Exception):
    """Base of everything this project raises on purpose."""


class ConfigurationError(SpringestError):
    """A setting is wrong; the text names it and the remedy."""


class DeadlinePassed(SpringestError):
    """A request was kept back since its time had passed: nothing that a server could take has left."""


class ApiError(SpringestError):
    """A request to Springest failed.

    :param method: HTTP method.
    :param path: path without its query, which holds the key.
    :param detail: what happened, redacted.
    :param status: HTTP status; ``None`` when there was no answer.
    :param messages: the server's own words, redacted.
    :param bytes_handed_over: bytes of the request's body that left this process.
    """

    def __init__(
        self,
        *,
        method: str,
        path: str,
        detail: str,
        status: int | None = None,
        messages: tuple[str, ...] = (),
        bytes_handed_over: int = 0,
    ) -> None:
        self.method = method
        self.path = path
        self.detail = detail
        self.status = status
        self.messages = messages
        self.bytes_handed_over = bytes_handed_over
        said = f": {'; '.join(messages)}" if messages else ""
        super().__init__(f"{method} {path}: {detail}{said}")

    def __reduce__(self) -> tuple[Any, ...]:
        return _rebuild, (type(self), dict(vars(self)))


def _rebuild(kind: type[ApiError], values: dict[str, Any]) -> ApiError:
    return kind(**values)


class TransportError(ApiError):
    """There is no answer."""


class ConnectFailed(TransportError):
    """No connection was made, so nothing was sent."""


class RequestNotSent(TransportError):
    """The connection broke before the body's last byte left: the server cannot have taken it."""


class ResponseTimeout(TransportError):
    """The request left in full and was not answered in time: the server may have taken it."""


class ResponseLost(TransportError):
    """The request left in full and the answer did not arrive whole: the server may have taken it."""


class StatusError(ApiError):
    """The server said no."""


class Rejected(StatusError):
    """The server understood the request and refused its content."""


class Unauthorized(StatusError):
    """The server does not know the key."""


class Forbidden(StatusError):
    """The key has no right to this."""


class NotFound(StatusError):
    """There is nothing at this path."""


class Throttled(StatusError):
    """The server asks for fewer requests.

    :param retry_after: seconds to wait, if the server told.
    """

    def __init__(self, *, retry_after: float | None = None, **values: Any) -> None:
        super().__init__(**values)
        self.retry_after = retry_after


class Redirected(StatusError):
    """The server pointed elsewhere; it is never followed, since the key is in the address."""


class ServerError(StatusError):
    """The server failed."""


class UnexpectedStatus(StatusError):
    """A status that nobody foresaw, or a refusal whose reasons could not be read."""


class InvalidResponse(ApiError):
    """The server agreed, and its body is not what was asked for."""


# Settings


class SiteNotBegun(ConfigurationError):
    """Nobody has said from when on the site's trainings are to be sent: see docs/adr/0021."""

    def __init__(self, site: str) -> None:
        super().__init__(
            f"the site {site!r} has not begun: nothing was staged, and nothing is sent by schedule. First "
            "try a few: trigger springest_deliver with window_start and window_end around one training, or "
            "with limit to send at most so many. Then begin: trigger it with begin_from, the moment from "
            "which on trainings are to be sent, or run `bin/springest begin --from MOMENT`. Nightly runs go "
            "on from there"
        )
        self.site = site

    def __reduce__(self) -> tuple[type[SiteNotBegun], tuple[str]]:
        return type(self), (self.site,)


# The source


class SourceError(SpringestError):
    """The source database or the query over it is not usable as it is."""


class SourceQueryError(SourceError, ConfigurationError):
    """The query names what is not there or not allowed: trying again would not help."""


class UnreadableRows(SourceError):
    """The database answers, and at least one row can't be read."""

    @property
    def cause(self) -> str:
        """The error's class, code and text without values."""
        return str(self).removeprefix(SOURCE_REFUSED)


# Documents


class DocumentError(SpringestError):
    """A document can't be sent as it is.

    :param reason: a fixed word such as ``document_missing``; becomes the delivery's reason.
    :param detail: what is wrong and what to do; never holds the document's name.
    """

    def __init__(self, reason: str, detail: str) -> None:
        super().__init__(detail)
        self.reason = reason
        self.detail = detail

    def __reduce__(self) -> tuple[type[DocumentError], tuple[str, str]]:
        return type(self), (self.reason, self.detail)


class DocumentUnreachable(SpringestError):
    """One document could not be read now, which says nothing about its content.

    :param kind: how reading failed: a name such as ``EIO`` or ``ClientError 403``. Documents that fail in the
        same way, one after the other, show that it is their store that fails.
    :param reason: the fixed word, should it turn out to be this document's own trouble.
    :param whole_store: the error itself says that nothing of the store can be read.
    """

    def __init__(
        self, detail: str, kind: str = "", reason: str = "document_unreachable", whole_store: bool = False
    ) -> None:
        super().__init__(detail)
        self.detail = detail
        self.kind = kind
        self.reason = reason
        self.whole_store = whole_store

    def __reduce__(self) -> tuple[type[DocumentUnreachable], tuple[str, str, str, bool]]:
        return type(self), (self.detail, self.kind, self.reason, self.whole_store)

    def as_defect(self) -> DocumentError:
        """Return it as this document's own trouble: others of its store can be read."""
        return DocumentError(
            self.reason, f"{self.detail}; others can be read. It is looked at again every night"
        )


class InspectionFailed(SpringestError):
    """A document could not be opened now; that says nothing about it."""


class DocumentStoreUnreachable(SpringestError):
    """No document of a store can be read now: what was not sent is still in the queue."""


# Delivery


class DeliveryStopped(SpringestError):
    """The run stopped sending. What it had not sent is still in the queue."""


class AccessRefused(DeliveryStopped):
    """Springest does not let this key send certificates; trying again would not help."""


class RunTooLarge(DeliveryStopped):
    """Many more certificates than usual are new in the queue; a person should say that it is right."""


class LedgerBehind(DeliveryStopped):
    """The ledger has forgotten attempts: it was restored from a backup, or is another one."""

    def __init__(self, in_ledger: int, kept: int) -> None:
        super().__init__(
            f"the ledger's highest attempt is {in_ledger}, and {kept} was made: it was restored from a "
            "backup or is another one, and what it calls ready may have been sent; nothing was sent. See "
            "'A restored ledger' in docs/operations.md, or 'From trial to production' if it is a new one"
        )
        self.in_ledger = in_ledger
        self.kept = kept

    def __reduce__(self) -> tuple[type[LedgerBehind], tuple[int, int]]:
        return type(self), (self.in_ledger, self.kept)


class TooManyUnknown(DeliveryStopped):
    """As many outcomes as one night may have can't be known; a person should look first."""


class WorkerStopped(DeliveryStopped):
    """The process was told to end before the queue was through; the next try goes on."""


class SpringestUnreachable(DeliveryStopped):
    """Springest does not answer as it should; a later try may find it well."""


class DocumentsUnreachable(DeliveryStopped):
    """The store that holds the documents does not answer; a later try may find it well."""


# Ledger, verdicts and decisions


class IllegalTransition(SpringestError):
    """An event arrived in a state that does not allow it; nothing was changed."""

    def __init__(self, state: str | None, event: str) -> None:
        super().__init__(f"a delivery that is {state or 'new'} does not allow {event}")
        self.state = state
        self.event = event

    def __reduce__(self) -> tuple[type[IllegalTransition], tuple[str | None, str]]:
        return type(self), (self.state, self.event)


class ConservationBroken(SpringestError):
    """Source rows and verdicts do not add up; nothing was published, and the last good state stays."""


class QualityCheckFailed(SpringestError):
    """Verdicts failed a check; nothing was published, and the last good state stays."""


class PendingVerdictsLost(SpringestError):
    """The verdicts that were to be published are gone; they must be worked out again."""


class DecisionRefused(SpringestError):
    """The decision does not stand and nothing was changed; the text says why and what to do."""


# The warehouse


class WarehouseLocked(SpringestError):
    """A statement waited longer than ``lock_timeout`` for a lock that another session holds.

    :param holders: a line for each session that may be in the way; see ``holders``.
    """

    def __init__(self, holders: Sequence[str]) -> None:
        held = "; ".join(holders) or "nothing any more"
        super().__init__(
            f"a lock in the warehouse did not become free; held: {held}. The task is tried again; a session "
            "that hangs is ended by SELECT pg_terminate_backend(pid)"
        )
        self.holders = tuple(holders)

    def __reduce__(self) -> tuple[type[WarehouseLocked], tuple[tuple[str, ...]]]:
        return type(self), (self.holders,)


class DryRunGaveWay(SpringestError):
    """Another session waited for a dry run, which ended so as not to hold it up."""

    def __init__(self) -> None:
        super().__init__(
            "a run that stages or sends needed what this dry run had locked, so the dry run ended; nothing "
            "was changed. Try again once that run is over"
        )

    def __reduce__(self) -> tuple[type[DryRunGaveWay], tuple[()]]:
        return type(self), ()


class SchemaOutOfDate(SpringestError):
    """The warehouse schema is not the one this code was written for."""


class RolesNotAllowed(SpringestError):
    """The connection's role may not create roles or grant; the text holds what an administrator must run."""
