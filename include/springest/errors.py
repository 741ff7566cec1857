"""Every error that this project raises, as one tree.

The last column says whether Airflow tries the task again: after so many minutes, ``no``, or ``-`` where the
error does not fail a task, or the task's own settings decide. ``retry_policy.py`` holds the same, and a test
compares both.

::

    SpringestError                                                                                    retry
    ├── ConfigurationError        a connection field, extra, Variable or parameter is wrong           no
    │   ├── SiteNotBegun              no person has begun the site yet                                no
    │   └── SourceQueryError          the query names what is missing or not allowed                  no
    ├── SettingsUnreachable       a secrets backend with connections or Variables does not respond    5
    ├── ApiError                  a request to Springest failed                                       5
    │   ├── TransportError            no response
    │   │   ├── ConnectFailed             DNS, connect or TLS failed: nothing was sent                5
    │   │   ├── RequestNotSent            broke before the last byte of the body: cannot be stored    5
    │   │   ├── ResponseTimeout           sent in full, no response in time: may be stored            5
    │   │   └── ResponseLost              sent in full, response incomplete: may be stored            5
    │   ├── StatusError               the status is not a success
    │   │   ├── Rejected                  400, 413, 415 or 422 with reasons that could be read        5
    │   │   ├── Unauthorized              401                                                         no
    │   │   ├── Forbidden                 403                                                         no
    │   │   ├── NotFound                  404                                                         no
    │   │   ├── Throttled                 429; 403 or 503 with Retry-After                              10
    │   │   ├── Redirected                3xx; never followed                                         5
    │   │   ├── ServerError               5xx                                                         5
    │   │   └── UnexpectedStatus          anything else                                               5
    │   └── InvalidResponse           2xx with an unexpected body                                     5
    ├── DeadlinePassed            a request was not sent: its grant or lease had expired              -
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
    │   ├── TooManyUnknown            the limit on unknown outcomes is reached                        no
    │   ├── WorkerStopped             the process was stopped                                         1
    │   ├── SpringestUnreachable      Springest does not respond correctly                            15
    │   └── DocumentsUnreachable      the documents' store does not respond                           10
    ├── IllegalTransition         an event does not fit the delivery's state; nothing was changed     -
    ├── ConservationBroken        source rows and verdicts do not add up; nothing was published       no
    ├── QualityCheckFailed        verdicts failed a check; nothing was published                      no
    ├── PendingVerdictsLost       there are no verdicts to publish                                    no
    ├── DecisionRefused           a decision breaks a rule; nothing was changed                       -
    ├── WarehouseLocked           another session holds a lock                                        5
    ├── DryRunGaveWay             a real run needed what a dry run had locked; nothing was changed    5
    ├── CopyFailed                another warehouse does not respond, or its copy still differs       5
    ├── CopyAhead                 a copy has rows that the warehouse lacks; nothing was copied        no
    ├── SchemaOutOfDate           the warehouse has another schema than the code                      10
    ├── SchemaInUse               tasks are using the schema; nothing was migrated                    -
    ├── SecretInUse               a run is using the learner secret; nothing was changed              -
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


class SettingsUnreachable(SpringestError):
    """A secrets backend, in which Airflow looks for connections and Variables, does not respond."""


class DeadlinePassed(SpringestError):
    """A request was not completed, since its grant or lease had expired: the server cannot have stored it."""


class ApiError(SpringestError):
    """A request to Springest failed.

    :param method: HTTP method.
    :param path: path without its query, which contains the key.
    :param detail: description of the failure, redacted.
    :param status: HTTP status; ``None`` if there was no response.
    :param messages: the server's error messages, redacted.
    :param bytes_handed_over: bytes of the request body that this process sent.
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
        suffix = f": {'; '.join(messages)}" if messages else ""
        super().__init__(f"{method} {path}: {detail}{suffix}")

    def __reduce__(self) -> tuple[Any, ...]:
        return _rebuild, (type(self), dict(vars(self)))


def _rebuild(kind: type[ApiError], values: dict[str, Any]) -> ApiError:
    return kind(**values)


class TransportError(ApiError):
    """There was no response."""


class ConnectFailed(TransportError):
    """No connection was made, so nothing was sent."""


class RequestNotSent(TransportError):
    """The connection broke before the last byte of the body: the server cannot have stored it."""


class ResponseTimeout(TransportError):
    """The request was sent in full but got no response in time: the server may have stored it."""


class ResponseLost(TransportError):
    """The request was sent in full but the response was incomplete: the server may have stored it."""


class StatusError(ApiError):
    """The status of the response is not a success."""


class Rejected(StatusError):
    """The server understood the request and rejected its content."""


class Unauthorized(StatusError):
    """The server does not know the key."""


class Forbidden(StatusError):
    """The key lacks the permission."""


class NotFound(StatusError):
    """There is nothing at this path."""


class Throttled(StatusError):
    """The server asks for fewer requests.

    :param retry_after: seconds to wait, if the response says so.
    :param is_rate_limit: whether a rate limiter answered, so that the site's setting may decide whether the
        request was stored. Firewalls also answer 403, and proxies put a 503 page in place of other failures,
        after the certificate was stored.
    """

    def __init__(
        self, *, retry_after: float | None = None, is_rate_limit: bool = False, **values: Any
    ) -> None:
        super().__init__(**values)
        self.retry_after = retry_after
        self.is_rate_limit = is_rate_limit


class Redirected(StatusError):
    """A redirect. It is never followed, since the URL contains the key."""


class ServerError(StatusError):
    """The server failed."""


class UnexpectedStatus(StatusError):
    """An unexpected status, or a rejection without readable reasons."""


class InvalidResponse(ApiError):
    """The status is a success, but the body is not the expected one."""


# Settings


class SiteNotBegun(ConfigurationError):
    """No person has begun the site: see docs/adr/0021."""

    def __init__(self, site: str) -> None:
        super().__init__(
            f"the site {site!r} has not begun: nothing was staged, and nothing is sent by schedule. First "
            "try a few certificates: trigger springest_deliver with window_start and window_end around one "
            "training, or with limit to cap their number. Then begin: trigger it with begin_from, or run "
            "`bin/springest begin --from MOMENT`; trainings that changed at or after that moment are sent. "
            "Nightly runs continue from there"
        )
        self.site = site

    def __reduce__(self) -> tuple[type[SiteNotBegun], tuple[str]]:
        return type(self), (self.site,)


# The source


class SourceError(SpringestError):
    """The source database, or the query on it, is not usable now."""


class SourceQueryError(SourceError, ConfigurationError):
    """The query names something that does not exist or is not allowed: a retry would not help."""


class UnreadableRows(SourceError):
    """The database responds, but at least one row can't be read."""

    @property
    def cause(self) -> str:
        """The error's class, code and text without values."""
        return str(self).removeprefix(SOURCE_REFUSED)


# Documents


class DocumentError(SpringestError):
    """A document can't be sent as it is.

    :param reason: the delivery's reason, such as ``document_missing``.
    :param detail: the problem and the remedy, without the document's name.
    """

    def __init__(self, reason: str, detail: str) -> None:
        super().__init__(detail)
        self.reason = reason
        self.detail = detail

    def __reduce__(self) -> tuple[type[DocumentError], tuple[str, str]]:
        return type(self), (self.reason, self.detail)


class DocumentUnreachable(SpringestError):
    """One document could not be read now; its content may be fine.

    :param kind: the failure as a name, such as ``EIO`` or ``ClientError 403``. Several documents in a row
        that fail in the same way show that their store has failed.
    :param reason: the delivery's reason, if only this document is affected.
    :param whole_store: the error shows that no document of the store can be read.
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

    def as_document_error(self) -> DocumentError:
        """Return it as an error of this document alone: others of its store can be read."""
        return DocumentError(
            self.reason, f"{self.detail}; other documents can be read. It is checked again every night"
        )


class InspectionFailed(SpringestError):
    """A document could not be opened now; it may be fine."""


class DocumentStoreUnreachable(SpringestError):
    """No document of a store can be read now. Unsent certificates are still in the queue."""


# Delivery


class DeliveryStopped(SpringestError):
    """The run stopped sending. Unsent certificates are still in the queue."""


class AccessRefused(DeliveryStopped):
    """Springest does not let this key send certificates; a retry would not help."""


class RunTooLarge(DeliveryStopped):
    """The run has far more certificates than usual; a person should approve it."""


class LedgerBehind(DeliveryStopped):
    """The ledger has lost attempts: it was restored from a backup, or is another one."""

    def __init__(self, in_ledger: int, kept: int) -> None:
        super().__init__(
            f"the ledger's highest attempt is {in_ledger}, but attempt {kept} was made: the ledger was "
            "restored from a backup or is another one, so its ready deliveries may have been sent already. "
            "Nothing was sent. See 'A restored ledger' in docs/operations.md, or 'From trial to production' "
            "for a new one"
        )
        self.in_ledger = in_ledger
        self.kept = kept

    def __reduce__(self) -> tuple[type[LedgerBehind], tuple[int, int]]:
        return type(self), (self.in_ledger, self.kept)


class TooManyUnknown(DeliveryStopped):
    """The limit on unknown outcomes is reached; a person should look first."""


class WorkerStopped(DeliveryStopped):
    """The process was stopped before the queue was empty; the next try continues."""


class SpringestUnreachable(DeliveryStopped):
    """Springest does not respond correctly; a later try may succeed."""


class DocumentsUnreachable(DeliveryStopped):
    """The document store does not respond; a later try may succeed."""


# Ledger, verdicts and decisions


class IllegalTransition(SpringestError):
    """The delivery's state does not allow the event; nothing was changed."""

    def __init__(self, state: str | None, event: str) -> None:
        super().__init__(f"a delivery in the state {state or 'new'} does not allow {event}")
        self.state = state
        self.event = event

    def __reduce__(self) -> tuple[type[IllegalTransition], tuple[str | None, str]]:
        return type(self), (self.state, self.event)


class ConservationBroken(SpringestError):
    """Source rows and verdicts do not add up. Nothing was published; the previous verdicts stay."""


class QualityCheckFailed(SpringestError):
    """Verdicts failed a check. Nothing was published; the previous verdicts stay."""


class PendingVerdictsLost(SpringestError):
    """There are no verdicts to publish; they must be computed first."""


class DecisionRefused(SpringestError):
    """The decision is refused and nothing was changed; the text has the reason and the remedy."""


# The warehouse


class WarehouseLocked(SpringestError):
    """A statement waited longer than ``lock_timeout`` for a lock that another session holds.

    :param holders: one line per session that may hold the lock; see ``holders``.
    """

    def __init__(self, holders: Sequence[str]) -> None:
        held = "; ".join(holders) or "by nobody any more"
        super().__init__(
            f"a lock in the warehouse did not become free; held: {held}. The task is retried. To end a "
            "session that hangs: SELECT pg_terminate_backend(pid)"
        )
        self.holders = tuple(holders)

    def __reduce__(self) -> tuple[type[WarehouseLocked], tuple[tuple[str, ...]]]:
        return type(self), (self.holders,)


class DryRunGaveWay(SpringestError):
    """Another session waited, or may have waited, for a dry run, which ended so as not to hold it up."""


class CopyFailed(SpringestError):
    """A copy in another warehouse could not be written, or still differs."""


class CopyAhead(SpringestError):
    """A copy has rows that the warehouse lacks, which was restored from a backup or is another one."""


class SchemaOutOfDate(SpringestError):
    """The warehouse schema has another version than this code needs."""


class SchemaInUse(SpringestError):
    """The schema can't be migrated while tasks use it."""


class SecretInUse(SpringestError):
    """A run is using the learner secret right now; nothing was changed."""


class RolesNotAllowed(SpringestError):
    """The connection's role may not create roles or grant; the text has statements for an administrator."""
