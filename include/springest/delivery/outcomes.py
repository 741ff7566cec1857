"""The table from responses and failures to outcomes, and to their consequences for the run.

A wrong line here duplicates a certificate or loses one, so each line has a test. Whatever the table does not
name is ``OUTCOME_UNKNOWN``: the delivery becomes ``unknown``.
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, replace
from enum import Enum
from typing import Final

from springest.api.models import PostResponse
from springest.delivery.claims import Outcome
from springest.documents.opener import DocumentError, DocumentUnreachable
from springest.errors import (
    ApiError,
    ConnectFailed,
    DeadlinePassed,
    Forbidden,
    InvalidResponse,
    NotFound,
    Redirected,
    Rejected,
    RequestNotSent,
    ResponseLost,
    ResponseTimeout,
    ServerError,
    Throttled,
    Unauthorized,
    UnexpectedStatus,
)
from springest.states import Event


class Consequence(Enum):
    """Consequence of an outcome for the rest of the run."""

    CONTINUE = "continue"
    STOP = "stop"
    """Every other certificate would fail in the same way."""
    STOP_AFTER_THREE = "stop after three"
    """It may be this certificate's own fault; three different ones are not."""
    PAUSE = "pause"
    """The server or the network is failing: the circuit breaker counts it."""


@dataclass(frozen=True, slots=True)
class Rule:
    """Outcome and consequence of one kind of failure.

    :param reason: a fixed word, stored with the delivery.
    """

    event: Event
    reason: str
    consequence: Consequence = Consequence.CONTINUE


RULES: Final[dict[type[BaseException], Rule]] = {
    DeadlinePassed: Rule(Event.NOT_STORED, "grant_expired"),
    ConnectFailed: Rule(Event.NOT_STORED, "connect_failed", Consequence.PAUSE),
    RequestNotSent: Rule(Event.NOT_STORED, "request_not_sent", Consequence.PAUSE),
    DocumentError: Rule(Event.NOT_STORED, "document_changed"),
    DocumentUnreachable: Rule(Event.NOT_STORED, "document_unreachable", Consequence.STOP_AFTER_THREE),
    Rejected: Rule(Event.REFUSED, "rejected"),
    Unauthorized: Rule(Event.NOT_STORED, "unauthorized", Consequence.STOP),
    Forbidden: Rule(Event.NOT_STORED, "forbidden", Consequence.STOP_AFTER_THREE),
    NotFound: Rule(Event.NOT_STORED, "not_found", Consequence.STOP_AFTER_THREE),
    Throttled: Rule(Event.OUTCOME_UNKNOWN, "throttled", Consequence.PAUSE),
    Redirected: Rule(Event.OUTCOME_UNKNOWN, "redirected", Consequence.PAUSE),
    ServerError: Rule(Event.OUTCOME_UNKNOWN, "server_error", Consequence.PAUSE),
    UnexpectedStatus: Rule(Event.OUTCOME_UNKNOWN, "unexpected_status", Consequence.PAUSE),
    ResponseTimeout: Rule(Event.OUTCOME_UNKNOWN, "response_timeout", Consequence.PAUSE),
    ResponseLost: Rule(Event.OUTCOME_UNKNOWN, "response_lost", Consequence.PAUSE),
    InvalidResponse: Rule(Event.OUTCOME_UNKNOWN, "invalid_response", Consequence.PAUSE),
    asyncio.CancelledError: Rule(Event.OUTCOME_UNKNOWN, "worker_stopped"),
}
"""By class of error; the most specific class counts. ``OUTCOME_UNKNOWN`` applies once the body was sent."""

UNEXPECTED: Final = Rule(Event.OUTCOME_UNKNOWN, "unexpected_error", Consequence.PAUSE)


def rule_of(error: BaseException, *, body_sent: bool, throttled_takes_nothing: bool = False) -> Rule:
    """Return the rule for a failed attempt.

    Any failure before the last bytes of the body were sent (an early 500 as well) is ``NOT_STORED``: no
    server can store a body that it never received in full.

    :param body_sent: whether the last byte of the body was sent.
    :param throttled_takes_nothing: the site is known not to store a request that its rate limit refuses.
    """
    found = next((RULES[kind] for kind in type(error).__mro__ if kind in RULES), UNEXPECTED)
    if found.event is Event.NOT_STORED and body_sent and not isinstance(error, ApiError):
        return UNEXPECTED
    takes_nothing = isinstance(error, Throttled) and error.is_rate_limit and throttled_takes_nothing
    if found.event is Event.OUTCOME_UNKNOWN and (takes_nothing or not body_sent):
        return replace(found, event=Event.NOT_STORED)
    return found


def outcome_of_error(error: BaseException, rule: Rule) -> Outcome:
    """Return the outcome of a failed attempt."""
    known = isinstance(error, ApiError | DeadlinePassed | DocumentError | DocumentUnreachable)
    return Outcome(
        event=rule.event,
        reason=rule.reason,
        detail=str(error) if known else type(error).__name__,
        failure=type(error).__name__,
        http_status=error.status if isinstance(error, ApiError) else None,
        bytes_handed_over=error.bytes_handed_over if isinstance(error, ApiError) else None,
    )


def outcome_of_response(response: PostResponse) -> Outcome:
    """Return the outcome of an attempt whose response says that the certificate is stored."""
    if response.certificate_id is not None:
        return Outcome(
            Event.ACCEPTED_WITH_ID,
            http_status=response.status,
            bytes_handed_over=response.bytes_sent,
            springest_certificate_id=response.certificate_id,
        )
    return Outcome(
        Event.ACCEPTED_WITHOUT_ID,
        reason="no_id_in_response",
        detail="Springest stored it and returned no id: it stays open until a snapshot proves it",
        http_status=response.status,
        bytes_handed_over=response.bytes_sent,
    )
