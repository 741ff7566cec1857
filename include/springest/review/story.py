"""The history of one training's certificates. It contains no e-mail address, since none is stored."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date, datetime
from typing import Any, Final

from sqlalchemy import Engine, text

from springest.db.statements import load_sql
from springest.states import State

_DELIVERIES: Final = text(load_sql("review/who_delivery"))
_ATTEMPTS: Final = text(load_sql("review/who_attempts"))
_DECISIONS: Final = text(load_sql("review/who_decisions"))


@dataclass(frozen=True, slots=True)
class Attempt:
    """A POST that was started."""

    attempt_id: int
    run_id: str
    started_at: datetime
    finished_at: datetime | None
    outcome: str | None
    failure: str | None
    http_status: int | None
    bytes_handed_over: int | None
    springest_certificate_id: int | None
    message: str | None


@dataclass(frozen=True, slots=True)
class RecordedDecision:
    """A decision that a person made."""

    decision_id: int
    decided_at: datetime
    decided_by: str
    decision: str
    reason: str
    springest_certificate_id: int | None
    from_state: str
    to_state: str
    without_evidence: bool
    evidence: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Story:
    """One delivery with its attempts, decisions, verdict and the certificate it is matched with.

    :param learner_ref: reference of the learner, to find the learner's other certificates.
    :param verification_status: the last published verdict; ``None`` before the first.
    :param remote_created_at: when Springest stored the matched certificate.
    """

    delivery_key: str
    training_id: str
    issue_no: int
    version: int
    state: State
    reason: str | None
    reason_detail: str | None
    needs_review: bool
    review_reason: str | None
    learner_ref: str | None
    certification_id: int | None
    certification_name: str | None
    listed_since: datetime | None
    booking_id: int | None
    valid_from: date | None
    valid_until: date | None
    completed_at: datetime | None
    staged_run_id: str
    created_at: datetime
    updated_at: datetime
    sent_at: datetime | None
    springest_certificate_id: int | None
    match_method: str | None
    verification_status: str | None
    match_evidence: str | None
    springest_status: str | None
    remote_created_at: datetime | None
    first_seen_at: datetime | None
    last_seen_at: datetime | None
    reconciled_at: datetime | None
    attempts: tuple[Attempt, ...] = ()
    decisions: tuple[RecordedDecision, ...] = ()


def load_stories(engine: Engine, *, site: str, training_id: str) -> list[Story]:
    """Return the history of each certificate of a training, by issue; empty if it was never staged."""
    with engine.connect() as connection:
        found = connection.execute(_DELIVERIES, {"site": site, "training_id": training_id}).mappings().all()
        keys = {"keys": [row["delivery_key"] for row in found]}
        attempts = connection.execute(_ATTEMPTS, keys).mappings().all()
        decisions = connection.execute(_DECISIONS, keys).mappings().all()
    return [
        Story(
            **{**row, "state": State(row["state"])},
            attempts=tuple(Attempt(**_without_key(attempt)) for attempt in attempts if _is_of(attempt, row)),
            decisions=tuple(
                RecordedDecision(**_without_key(decision)) for decision in decisions if _is_of(decision, row)
            ),
        )
        for row in found
    ]


def _is_of(mapping: Mapping[Any, Any], row: Mapping[Any, Any]) -> bool:
    return bool(mapping["delivery_key"] == row["delivery_key"])


def _without_key(row: Mapping[Any, Any]) -> dict[str, Any]:
    return {name: value for name, value in row.items() if name != "delivery_key"}
