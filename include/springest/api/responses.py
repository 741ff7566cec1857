"""The meaning of a response: the only table of statuses, content types and bodies.

A status alone proves nothing. Captive portals, maintenance pages and login forms respond with 200; a
firewall in front of Springest may respond with 403 after Springest has stored the certificate. So a response
counts as Springest's only if its body does, and a response that the table does not list leaves the outcome
of a POST unknown.

Three statuses count with any body, because by definition nothing was stored (RFC 9110, 15.5.2, 15.5.5 and
15.5.14), and because none of them can repeat endlessly: 401 ends the run, 404 ends it after three deliveries,
and 413 sets the delivery aside.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from enum import Flag, auto
from typing import Any, Final

from springest.api.xml import Element, find_messages, find_new_id, names_error, parse_document
from springest.errors import (
    ApiError,
    Forbidden,
    InvalidResponse,
    NotFound,
    Redirected,
    Rejected,
    ServerError,
    Throttled,
    Unauthorized,
    UnexpectedStatus,
)
from springest.redaction import Redactor, show_unseen

MAX_MESSAGES: Final = 10
MAX_MESSAGE_LENGTH: Final = 300


class Body(Flag):
    """Kind of a response's body."""

    EMPTY = auto()
    CERTIFICATE = auto()
    """Springest's XML without an error; an id is not required."""
    REFUSAL = auto()
    """Springest's XML with an error, or with a message and no id."""
    FOREIGN = auto()
    """Anything else: a web page, JSON, a truncated body."""

    ANY = EMPTY | CERTIFICATE | REFUSAL | FOREIGN
    OURS = EMPTY | CERTIFICATE | REFUSAL


@dataclass(frozen=True, slots=True)
class Response:
    """A response as it was read.

    :param content_type: the header in lower case; empty if it is missing.
    :param body: ``None`` if it is truncated; a body that is too long is not parsed.
    """

    status: int
    headers: Mapping[str, str]
    content_type: str
    body: bytes | None


@dataclass(frozen=True, slots=True)
class _Rule:
    """One line of the table.

    :param statuses: the statuses to which it applies.
    :param body: the kinds of body to which it applies.
    :param error: the resulting error; ``None``: Springest stored the certificate.
    :param needs_retry_after: whether it applies only to responses with ``Retry-After``.
    """

    statuses: range | tuple[int, ...]
    body: Body
    error: type[ApiError] | None
    detail: str = ""
    needs_retry_after: bool = False

    def fits(self, status: int, body: Body, *, has_retry_after: bool) -> bool:
        """Return whether the line applies to a response."""
        if self.needs_retry_after and not has_retry_after:
            return False
        return status in self.statuses and body in self.body


_UNREADABLE: Final = "the body is not Springest's, so the outcome is not known"
RULES: Final = (
    _Rule((200,), Body.CERTIFICATE, None),
    _Rule((201,), Body.CERTIFICATE | Body.EMPTY, None),
    _Rule(range(200, 300), Body.ANY, InvalidResponse, _UNREADABLE),
    _Rule(range(300, 400), Body.ANY, Redirected, "a redirect, which is never followed"),
    _Rule((429,), Body.ANY, Throttled, "Springest asks for fewer requests"),
    _Rule((403, 503), Body.ANY, Throttled, "Springest asks for fewer requests", needs_retry_after=True),
    _Rule(
        (401,), Body.ANY, Unauthorized, "Springest does not know this API key: check the connection's keys"
    ),
    _Rule((403,), Body.OURS, Forbidden, "this API key lacks the permission: ask Springest for it"),
    _Rule(
        (404,), Body.ANY, NotFound, "there is nothing at this path: check the connection's host and post_path"
    ),
    _Rule((413,), Body.ANY, Rejected, "the document is larger than Springest, or a proxy before it, accepts"),
    _Rule((400, 415, 422), Body.REFUSAL, Rejected, "Springest refused it"),
    _Rule(range(500, 600), Body.ANY, ServerError, "Springest failed"),
    _Rule(range(100, 1000), Body.ANY, UnexpectedStatus, "an unexpected status with such a body"),
)
"""The first matching line counts. ``parse_page`` reads lists; for a GET, all other responses are looked up
here, and no line is a success."""


@dataclass(frozen=True, slots=True)
class Stored:
    """Springest stored a certificate.

    :param certificate_id: its id, if the response names exactly one.
    """

    certificate_id: int | None


def meaning_of(
    response: Response, *, method: str, path: str, redactor: Redactor, sent: Iterable[str] = ()
) -> ApiError | Stored:
    """Return what a response means.

    :param redactor: removes keys and addresses from the server's text.
    :param sent: private texts of the request, which the server may repeat in whole or in part.
    """
    root = _parse_xml(response)
    messages = () if root is None else find_messages(root)
    body = _kind_of_body(response, root, messages)
    retry_after = response.headers.get("Retry-After")
    has_retry_after = retry_after is not None
    rule = next(rule for rule in RULES if rule.fits(response.status, body, has_retry_after=has_retry_after))
    if rule.error is None:
        return Stored(None if root is None else find_new_id(root))
    hiding = redactor.hiding(sent) if messages else redactor
    common: dict[str, Any] = {
        "method": method,
        "path": path,
        "status": response.status,
        "detail": f"{response.status}: {rule.detail}",
        "messages": tuple(
            show_unseen(hiding.redact(text)[:MAX_MESSAGE_LENGTH]) for text in messages[:MAX_MESSAGES]
        ),
    }
    if rule.error is Throttled:
        is_rate_limit = response.status == 429 or (response.status == 503 and body in Body.OURS)
        return Throttled(retry_after=_parse_retry_after(retry_after), is_rate_limit=is_rate_limit, **common)
    return rule.error(**common)


def _parse_xml(response: Response) -> Element | None:
    """Return the root of Springest's XML; ``None`` if the body is something else."""
    if response.body is None or "html" in response.content_type or "json" in response.content_type:
        return None
    return parse_document(response.body)


def _kind_of_body(response: Response, root: Element | None, messages: tuple[str, ...]) -> Body:
    if response.body is not None and not response.body.strip():
        return Body.EMPTY
    if root is None:
        return Body.FOREIGN
    is_refusal = names_error(root) or (messages and find_new_id(root) is None)
    return Body.REFUSAL if is_refusal else Body.CERTIFICATE


def _parse_retry_after(retry_after: str | None) -> float | None:
    """Parse ``Retry-After``: seconds or an HTTP date (RFC 9110, 10.2.3); ``None`` if it is neither."""
    if retry_after is None:
        return None
    text = retry_after.strip()
    if text.isascii() and text.isdecimal():
        return float(text)
    try:
        moment = parsedate_to_datetime(text)
        moment = moment if moment.tzinfo else moment.replace(tzinfo=UTC)
        return max(0.0, (moment - datetime.now(UTC)).total_seconds())
    except (ValueError, OverflowError, TypeError):
        return None
