"""Outcomes of responses and failures. A wrong line here duplicates a certificate or loses one."""

from __future__ import annotations

import asyncio
import inspect
from typing import Any

import pytest

from springest import errors
from springest.api.models import PostResponse
from springest.delivery.outcomes import (
    RULES,
    Consequence,
    Rule,
    outcome_of_error,
    outcome_of_response,
    rule_of,
)
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
    StatusError,
    Throttled,
    TransportError,
    Unauthorized,
    UnexpectedStatus,
)
from springest.states import Event, State

GO_ON, STOP, PAUSE = Consequence.CONTINUE, Consequence.STOP, Consequence.PAUSE
AFTER_THREE = Consequence.STOP_AFTER_THREE
MEANING: list[tuple[type[BaseException], bool, Event, State, str, Consequence]] = [
    (DeadlinePassed, False, Event.NOT_STORED, State.READY, "grant_expired", GO_ON),
    (ConnectFailed, False, Event.NOT_STORED, State.READY, "connect_failed", PAUSE),
    (RequestNotSent, False, Event.NOT_STORED, State.READY, "request_not_sent", PAUSE),
    (DocumentError, False, Event.NOT_STORED, State.READY, "document_changed", GO_ON),
    (DocumentUnreachable, False, Event.NOT_STORED, State.READY, "document_unreachable", AFTER_THREE),
    (Rejected, True, Event.REFUSED, State.REJECTED, "rejected", GO_ON),
    (Unauthorized, True, Event.NOT_STORED, State.READY, "unauthorized", STOP),
    (Forbidden, True, Event.NOT_STORED, State.READY, "forbidden", AFTER_THREE),
    (NotFound, True, Event.NOT_STORED, State.READY, "not_found", AFTER_THREE),
    (Throttled, True, Event.OUTCOME_UNKNOWN, State.UNKNOWN, "throttled", PAUSE),
    (Redirected, True, Event.OUTCOME_UNKNOWN, State.UNKNOWN, "redirected", PAUSE),
    (ServerError, True, Event.OUTCOME_UNKNOWN, State.UNKNOWN, "server_error", PAUSE),
    (UnexpectedStatus, True, Event.OUTCOME_UNKNOWN, State.UNKNOWN, "unexpected_status", PAUSE),
    (ResponseTimeout, True, Event.OUTCOME_UNKNOWN, State.UNKNOWN, "response_timeout", PAUSE),
    (ResponseLost, True, Event.OUTCOME_UNKNOWN, State.UNKNOWN, "response_lost", PAUSE),
    (InvalidResponse, True, Event.OUTCOME_UNKNOWN, State.UNKNOWN, "invalid_response", PAUSE),
    (asyncio.CancelledError, True, Event.OUTCOME_UNKNOWN, State.UNKNOWN, "worker_stopped", GO_ON),
]


def make(kind: type[BaseException]) -> BaseException:
    if issubclass(kind, ApiError):
        return kind(
            method="POST", path="/certificates", detail="what happened", status=418, bytes_handed_over=9
        )
    return (
        kind("document_changed", "it changed") if issubclass(kind, DocumentError) else kind("what happened")
    )


@pytest.mark.parametrize(
    ("kind", "body_sent", "event", "state", "reason", "consequence"),
    MEANING,
    ids=[line[0].__name__ for line in MEANING],
)
def test_each_failure_has_its_outcome(
    kind: type[BaseException],
    body_sent: bool,
    event: Event,
    state: State,
    reason: str,
    consequence: Consequence,
) -> None:
    """Each error of a request has the outcome and the consequence in the table above."""
    rule = rule_of(make(kind), body_sent=body_sent)
    assert rule == Rule(event, reason, consequence)
    assert outcome_of_error(make(kind), rule).state is state


def test_every_rule_is_in_the_table_above() -> None:
    """No rule of the code is missing from the table above."""
    assert set(RULES) == {line[0] for line in MEANING}


def test_every_failure_of_a_request_has_a_rule_of_its_own() -> None:
    """A new error in the tree needs a rule, and must not become unknown by accident."""
    leaves = {
        kind
        for _, kind in inspect.getmembers(errors, inspect.isclass)
        if issubclass(kind, ApiError) and kind not in {ApiError, TransportError, StatusError}
    }
    assert leaves <= set(RULES)


def test_a_derived_error_has_the_outcome_of_its_base() -> None:
    """An error class that is derived later has the rule of its base class."""

    class TlsFailed(ConnectFailed):
        pass

    assert rule_of(make(TlsFailed), body_sent=False).event is Event.NOT_STORED


@pytest.mark.parametrize(
    "error", [ValueError("x"), KeyError(), OSError(), MemoryError(), KeyboardInterrupt()]
)
def test_an_unforeseen_error_after_the_body_is_unknown(error: BaseException) -> None:
    """An unforeseen error makes the outcome unknown once the body has been sent."""
    rule = rule_of(error, body_sent=True)
    assert (rule.event, rule.reason) == (Event.OUTCOME_UNKNOWN, "unexpected_error")
    rule = rule_of(error, body_sent=False)
    assert (rule.event, rule.reason) == (Event.NOT_STORED, "unexpected_error")


@pytest.mark.parametrize("line", MEANING, ids=[line[0].__name__ for line in MEANING])
def test_no_failure_before_the_last_bytes_is_unknown(line: Any) -> None:
    """The server never had the body in full; the consequence for the run is the same."""
    kind, _, event, _, reason, consequence = line
    known = Event.NOT_STORED if event is Event.OUTCOME_UNKNOWN else event
    assert rule_of(make(kind), body_sent=False) == Rule(known, reason, consequence)


@pytest.mark.parametrize("kind", [ApiError, TransportError, StatusError])
def test_an_unclassified_failure_is_unknown(kind: type[ApiError]) -> None:
    """A failure that no rule names makes the outcome unknown."""
    assert rule_of(make(kind), body_sent=True).event is Event.OUTCOME_UNKNOWN


@pytest.mark.parametrize("kind", [DocumentError, DocumentUnreachable, DeadlinePassed])
def test_a_document_error_after_the_body_is_unknown(kind: type[BaseException]) -> None:
    """A failure of the document after the body has been sent proves nothing about the server."""
    assert rule_of(make(kind), body_sent=True).event is Event.OUTCOME_UNKNOWN


@pytest.mark.parametrize("is_rate_limit", [True, False])
@pytest.mark.parametrize("throttled_takes_nothing", [True, False])
def test_throttled_means_not_stored_only_by_the_sites_setting(
    is_rate_limit: bool, throttled_takes_nothing: bool
) -> None:
    """A firewall's 403 and a proxy's 503 page say nothing about storing, whatever the setting."""
    about = {"method": "POST", "path": "/certificates", "detail": "what happened"}
    error = Throttled(is_rate_limit=is_rate_limit, **about)
    rule = rule_of(error, body_sent=True, throttled_takes_nothing=throttled_takes_nothing)
    known = is_rate_limit and throttled_takes_nothing
    assert rule.event is (Event.NOT_STORED if known else Event.OUTCOME_UNKNOWN)


def test_the_throttling_setting_changes_no_other_outcome() -> None:
    """`throttled_takes_nothing` changes the outcome of throttled requests only."""
    for kind, handed_over, event, *_ in MEANING:
        if kind is not Throttled:
            rule = rule_of(make(kind), body_sent=handed_over, throttled_takes_nothing=True)
            assert rule.event is event


def test_an_outcome_keeps_the_facts_of_the_failure() -> None:
    """Status, bytes sent and reason of the failed request are in the outcome."""
    error = make(ServerError)
    outcome = outcome_of_error(error, rule_of(error, body_sent=True))
    assert (outcome.failure, outcome.http_status, outcome.bytes_handed_over) == ("ServerError", 418, 9)
    assert outcome.detail == "POST /certificates: what happened"


def test_a_failure_from_elsewhere_is_kept_by_its_name_only() -> None:
    """Its text is not redacted."""
    error = ValueError("zoe@example.com")
    outcome = outcome_of_error(error, rule_of(error, body_sent=True))
    assert (outcome.detail, outcome.failure) == ("ValueError", "ValueError")


@pytest.mark.parametrize(
    ("status", "certificate_id", "event", "state"),
    [
        (201, 7, Event.ACCEPTED_WITH_ID, State.ACCEPTED),
        (200, 7, Event.ACCEPTED_WITH_ID, State.ACCEPTED),
        (201, None, Event.ACCEPTED_WITHOUT_ID, State.ACCEPTED_NO_ID),
        (200, None, Event.ACCEPTED_WITHOUT_ID, State.ACCEPTED_NO_ID),
    ],
)
def test_a_stored_certificate_has_its_id_or_none(
    status: int, certificate_id: int | None, event: Event, state: State
) -> None:
    """A stored certificate is accepted with its id, or without one if the response names none."""
    outcome = outcome_of_response(PostResponse(status=status, certificate_id=certificate_id, bytes_sent=9))
    assert (outcome.event, outcome.state, outcome.http_status) == (event, state, status)
    assert outcome.springest_certificate_id == (7 if state is State.ACCEPTED else None)
    assert (outcome.reason is None) == (state is State.ACCEPTED)
