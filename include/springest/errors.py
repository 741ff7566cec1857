"""Everything that can go wrong, as one tree.

    SpringestError
    ├── ConfigurationError        a connection field, extra, variable or parameter is wrong
    ├── TooLate                   a request must not leave any more
    └── ApiError                  a request to Springest did not do what it was meant to
        ├── TransportError        there is no answer
        │   ├── NotConnected          DNS, connect or TLS failed: nothing was sent
        │   ├── BodyNotHandedOver     broke before the body's last byte left: cannot have been taken
        │   ├── AnswerTimeout         the request left in full, no answer in time
        │   └── AnswerLost            the request left in full, the connection broke before a whole answer
        ├── StatusError           the server said no
        │   ├── Rejected              400, 413, 415 or 422 with reasons that could be read
        │   ├── Unauthorised          401
        │   ├── Forbidden             403
        │   ├── NotFound              404
        │   ├── Throttled             429, or 503 with Retry-After
        │   ├── Redirected            3xx; never followed
        │   ├── ServerFault           5xx
        │   └── UnexpectedStatus      anything else
        └── UnreadableAnswer      2xx with a body that is not what was asked for

Documents, the source, the ledger and delivering have errors of their own, next to what raises them, all below
``SpringestError``. No text here ever holds a key, an address or a query string: whoever raises redacts first.
"""

from __future__ import annotations

from typing import Any


class SpringestError(Exception):
    """Base of everything this project raises on purpose."""


class ConfigurationError(SpringestError):
    """A setting is wrong; the text names it and the remedy."""


class TooLate(SpringestError):
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


class NotConnected(TransportError):
    """No connection was made, so nothing was sent."""


class BodyNotHandedOver(TransportError):
    """The connection broke before the body's last byte left: the server cannot have taken it."""


class AnswerTimeout(TransportError):
    """The request left in full and was not answered in time: the server may have taken it."""


class AnswerLost(TransportError):
    """The request left in full and the answer did not arrive whole: the server may have taken it."""


class StatusError(ApiError):
    """The server said no."""


class Rejected(StatusError):
    """The server understood the request and refused its content."""


class Unauthorised(StatusError):
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


class ServerFault(StatusError):
    """The server failed."""


class UnexpectedStatus(StatusError):
    """A status that nobody foresaw, or a refusal whose reasons could not be read."""


class UnreadableAnswer(ApiError):
    """The server agreed, and its body is not what was asked for."""
