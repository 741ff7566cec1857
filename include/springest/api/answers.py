"""What an HTTP status means, in one place."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from http import HTTPStatus
from typing import Any, Final

from include.springest.api.xml import parse_messages
from include.springest.errors import (
    Forbidden,
    NotFound,
    Redirected,
    Rejected,
    ServerFault,
    StatusError,
    Throttled,
    Unauthorised,
    UnexpectedStatus,
)
from include.springest.redaction import Redactor

REFUSALS: Final = frozenset({400, 413, 415, 422})
"""Statuses that refuse the content of a request, when their body says why."""
MOST_MESSAGES: Final = 10
LONGEST_MESSAGE: Final = 300
_PLAIN: Final[dict[int, tuple[type[StatusError], str]]] = {
    401: (Unauthorised, "Springest does not know this API key: check the connection's keys"),
    403: (Forbidden, "this API key has no right to this: ask Springest for it"),
    404: (NotFound, "there is nothing at this path: check the connection's host and post_path"),
}


def error_of(
    status: int, headers: Mapping[str, str], body: bytes, *, method: str, path: str, redactor: Redactor
) -> StatusError:
    """Return the error that a status other than 2xx means.

    :param body: the answer's body, as far as it was read.
    """
    messages = tuple(redactor.redact(text)[:LONGEST_MESSAGE] for text in parse_messages(body)[:MOST_MESSAGES])
    about: dict[str, Any] = {"method": method, "path": path, "status": status, "messages": messages}
    retry_after = headers.get("Retry-After")
    if status == HTTPStatus.TOO_MANY_REQUESTS or (status == HTTPStatus.SERVICE_UNAVAILABLE and retry_after):
        return Throttled(
            detail="Springest asks for fewer requests", retry_after=_seconds(retry_after), **about
        )
    if status in _PLAIN:
        kind, detail = _PLAIN[status]
        return kind(detail=f"{status}: {detail}", **about)
    if status in REFUSALS and (messages or status == HTTPStatus.REQUEST_ENTITY_TOO_LARGE):
        return Rejected(detail=f"Springest refused it with {status}", **about)
    if 300 <= status < 400:
        return Redirected(detail=f"{status}: it points elsewhere, which is never followed", **about)
    if status >= 500:
        return ServerFault(detail=f"Springest failed with {status}", **about)
    return UnexpectedStatus(detail=f"nobody foresaw the status {status} with such a body", **about)


def _seconds(retry_after: str | None) -> float | None:
    """Read ``Retry-After``: seconds or an HTTP date (RFC 9110, 10.2.3)."""
    if retry_after is None:
        return None
    text = retry_after.strip()
    if text.isascii() and text.isdecimal():
        return float(text)
    try:
        moment = parsedate_to_datetime(text)
    except ValueError:
        return None
    moment = moment if moment.tzinfo else moment.replace(tzinfo=UTC)
    return max(0.0, (moment - datetime.now(UTC)).total_seconds())
