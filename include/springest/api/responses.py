"""What a response means: the one table of statuses, body types and bodies.

A status alone proves nothing. A captive portal, a maintenance page and a login form answer 200; a firewall in
front of Springest answers 403 after Springest has stored the certificate. So a response counts as Springest's
only when its body is, and whatever the table does not name leaves the outcome of a POST unknown.

Three statuses are believed whatever their body, because they say by definition that nothing was stored
(RFC 9110, 15.5.2, 15.5.5 and 15.5.14), and because none of them lets a run repeat itself: 401 ends the run,
404 ends it once three deliveries met it, and 413 sets the delivery aside.
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
    """What the body of a response is."""

    EMPTY = auto()
    CERTIFICATE = auto()
    """XML of Springest's that names no error; it need not hold an id."""
    REFUSAL = auto()
    """XML of Springest's that names an error, or that holds a message and no id."""
    FOREIGN = auto()
    """Anything else: a web page, JSON, a body that broke off."""

    ANY = EMPTY | CERTIFICATE | REFUSAL | FOREIGN
    OURS = EMPTY | CERTIFICATE | REFUSAL


@dataclass(frozen=True, slots=True)
class Response:
    """A response as it was read.

    :param content_type: the header in lower case; empty when the server named no type.
    :param body: ``None`` when it broke off; a body that is too long is not parsed.
    """

    status: int
    headers: Mapping[str, str]
    content_type: str
    body: bytes | None


@dataclass(frozen=True, slots=True)
class _Rule:
    """One line of the table.

    :param statuses: the statuses it is about.
    :param body: the bodies it is about.
    :param error: what it means; ``None``: Springest stored the certificate.
    :param retry_after: whether the line is only about responses with ``Retry-After``.
    """

    statuses: range | tuple[int, ...]
    body: Body
    error: type[ApiError] | None
    detail: str = ""
    retry_after: bool = False

    def fits(self, status: int, body: Body, *, waits: bool) -> bool:
        """Return whether the line is about a response; ``waits``: it has a ``Retry-After``."""
        return status in self.statuses and body in self.body and (waits or not self.retry_after)


_UNREADABLE: Final = "the body is not Springest's, so nothing is known of the request"
RULES: Final = (
    _Rule((200,), Body.CERTIFICATE, None),
    _Rule((201,), Body.CERTIFICATE | Body.EMPTY, None),
    _Rule(range(200, 300), Body.ANY, InvalidResponse, _UNREADABLE),
    _Rule(range(300, 400), Body.ANY, Redirected, "it points elsewhere, which is never followed"),
    _Rule((429,), Body.ANY, Throttled, "Springest asks for fewer requests"),
    _Rule((403, 503), Body.ANY, Throttled, "Springest asks for fewer requests", retry_after=True),
    _Rule(
        (401,), Body.ANY, Unauthorized, "Springest does not know this API key: check the connection's keys"
    ),
    _Rule((403,), Body.OURS, Forbidden, "this API key has no right to this: ask Springest for it"),
    _Rule(
        (404,), Body.ANY, NotFound, "there is nothing at this path: check the connection's host and post_path"
    ),
    _Rule((413,), Body.ANY, Rejected, "the document is larger than Springest or a proxy before it takes"),
    _Rule((400, 415, 422), Body.REFUSAL, Rejected, "Springest refused it"),
    _Rule(range(500, 600), Body.ANY, ServerError, "Springest failed"),
    _Rule(range(100, 1000), Body.ANY, UnexpectedStatus, "nobody foresaw this status with such a body"),
)
"""The first line that fits decides. A list is read by ``parse_page``, which refuses whatever is not one; for
a GET, every other response is looked up here, and no line is a success."""


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

    :param redactor: hides keys and addresses in what the server says.
    :param sent: private texts of the request, which the server may repeat in whole or in part.
    """
    root = _root(response)
    messages = () if root is None else find_messages(root)
    body = _body(response, root, messages)
    waits = "Retry-After" in response.headers
    rule = next(rule for rule in RULES if rule.fits(response.status, body, waits=waits))
    if rule.error is None:
        return Stored(None if root is None else find_new_id(root))
    hiding = redactor.hiding(sent) if messages else redactor
    about: dict[str, Any] = {
        "method": method,
        "path": path,
        "status": response.status,
        "detail": f"{response.status}: {rule.detail}",
        "messages": tuple(
            show_unseen(hiding.redact(text)[:MAX_MESSAGE_LENGTH]) for text in messages[:MAX_MESSAGES]
        ),
    }
    if rule.error is Throttled:
        wait = _seconds(response.headers.get("Retry-After"))
        is_rate_limit = response.status == 429 or (response.status == 503 and body in Body.OURS)
        return Throttled(retry_after=wait, is_rate_limit=is_rate_limit, **about)
    return rule.error(**about)


def _root(response: Response) -> Element | None:
    """Return the root of Springest's XML; ``None`` when the body is not that."""
    if response.body is None or "html" in response.content_type or "json" in response.content_type:
        return None
    return parse_document(response.body)


def _body(response: Response, root: Element | None, messages: tuple[str, ...]) -> Body:
    if response.body is not None and not response.body.strip():
        return Body.EMPTY
    if root is None:
        return Body.FOREIGN
    is_refusal = names_error(root) or (messages and find_new_id(root) is None)
    return Body.REFUSAL if is_refusal else Body.CERTIFICATE


def _seconds(retry_after: str | None) -> float | None:
    """Read ``Retry-After``: seconds or an HTTP date (RFC 9110, 10.2.3); ``None`` when it is neither."""
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
