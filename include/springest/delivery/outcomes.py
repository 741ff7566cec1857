"""Which answer or failure leads where: the one table that decides what an attempt means.

A wrong line here either doubles a certificate or loses one, so each has a test of its own. Whatever the
table does not name leaves doubt, and doubt is ``OUTCOME_LOST``.
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, replace
from enum import Enum
from typing import Final

from springest.api.models import PostAnswer
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
    """What an outcome means for the rest of the run."""

    GO_ON = "go on"
    STOP = "stop"
    """Every other certificate would fare the same."""
    STOP_AFTER_THREE = "stop after three"
    """It may be this one's own fault; three different ones are not."""
    PAUSE = "pause"
    """The server or the way to it is in trouble."""


@dataclass(frozen=True, slots=True)
class Rule:
    """What one kind of failure means.

    :param reason: a fixed word, kept with the delivery.
    """

    event: Event
    reason: str
    consequence: Consequence = Consequence.GO_ON


RULES: Final[dict[type[BaseException], Rule]] = {
    DeadlinePassed: Rule(Event.NOT_TAKEN, "turn_expired"),
    ConnectFailed: Rule(Event.NOT_TAKEN, "not_connected", Consequence.PAUSE),
    RequestNotSent: Rule(Event.NOT_TAKEN, "body_not_handed_over", Consequence.PAUSE),
    DocumentError: Rule(Event.NOT_TAKEN, "document_changed"),
    DocumentUnreachable: Rule(Event.NOT_TAKEN, "document_unreachable", Consequence.STOP_AFTER_THREE),
    Rejected: Rule(Event.REFUSED, "rejected"),
    Unauthorized: Rule(Event.NOT_TAKEN, "unauthorised", Consequence.STOP),
    Forbidden: Rule(Event.NOT_TAKEN, "forbidden", Consequence.STOP_AFTER_THREE),
    NotFound: Rule(Event.NOT_TAKEN, "not_found", Consequence.STOP_AFTER_THREE),
    Throttled: Rule(Event.OUTCOME_LOST, "throttled", Consequence.PAUSE),
    Redirected: Rule(Event.OUTCOME_LOST, "redirected", Consequence.PAUSE),
    ServerError: Rule(Event.OUTCOME_LOST, "server_fault", Consequence.PAUSE),
    UnexpectedStatus: Rule(Event.OUTCOME_LOST, "unexpected_status", Consequence.PAUSE),
    ResponseTimeout: Rule(Event.OUTCOME_LOST, "answer_timeout", Consequence.PAUSE),
    ResponseLost: Rule(Event.OUTCOME_LOST, "answer_lost", Consequence.PAUSE),
    InvalidResponse: Rule(Event.OUTCOME_LOST, "unreadable_answer", Consequence.PAUSE),
    asyncio.CancelledError: Rule(Event.OUTCOME_LOST, "worker_stopped"),
}
"""By class of error, most specific first along its bases; what leaves doubt, once the whole body has left."""

UNFORESEEN: Final = Rule(Event.OUTCOME_LOST, "unforeseen", Consequence.PAUSE)


def rule_of(error: BaseException, *, body_handed_over: bool, throttled_takes_nothing: bool = False) -> Rule:
    """Return what a failed attempt means.

    What comes before the body's last bytes have left, an early 500 as well, leaves no doubt: no server can
    take a body that it never had in full.

    :param body_handed_over: whether the last byte of the body left this process.
    :param throttled_takes_nothing: the site is known not to store a request that its rate limit refuses.
    """
    found = next((RULES[kind] for kind in type(error).__mro__ if kind in RULES), UNFORESEEN)
    if found.event is Event.NOT_TAKEN and body_handed_over and not isinstance(error, ApiError):
        return UNFORESEEN
    takes_nothing = isinstance(error, Throttled) and error.is_rate_limit and throttled_takes_nothing
    if found.event is Event.OUTCOME_LOST and (takes_nothing or not body_handed_over):
        return replace(found, event=Event.NOT_TAKEN)
    return found


def failed(error: BaseException, rule: Rule) -> Outcome:
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


def answered(answer: PostAnswer) -> Outcome:
    """Return the outcome of an attempt whose response says that the certificate is stored."""
    if answer.certificate_id is not None:
        return Outcome(
            Event.ACCEPTED_WITH_ID,
            http_status=answer.status,
            bytes_handed_over=answer.bytes_sent,
            springest_certificate_id=answer.certificate_id,
        )
    return Outcome(
        Event.ACCEPTED_WITHOUT_ID,
        reason="no_id_in_answer",
        detail="Springest stored it and named no id: it stays open until it is seen with proof",
        http_status=answer.status,
        bytes_handed_over=answer.bytes_sent,
    )
