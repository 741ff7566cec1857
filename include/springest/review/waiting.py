"""Finds deliveries that wait for a person, by filter."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date, datetime
from typing import Any, Final

from sqlalchemy import Engine, text

from springest.db.statements import load_sql
from springest.states import State

_FIND: Final = text(load_sql("review/for_a_person"))
MOST: Final = 1_000_000


@dataclass(frozen=True, slots=True)
class Filter:
    """A filter of deliveries; ``None`` does not restrict.

    :param states: by default, deliveries that wait for a person, in any state.
    :param reason: reason of the state or of the review.
    :param any_state: without ``states``, find any state by reason, and everything that did not succeed by
        run, instead of only deliveries that wait for a person.
    :param run_id: Airflow run that last staged the delivery or made an attempt of it.
    """

    states: Sequence[State] | None = None
    reason: str | None = None
    run_id: str | None = None
    certification_id: int | None = None
    training_ids: Sequence[str] | None = None
    any_state: bool = False

    @property
    def is_empty(self) -> bool:
        """Whether it restricts nothing."""
        wanted = (self.states, self.reason, self.run_id, self.certification_id, self.training_ids)
        return all(value is None for value in wanted)


@dataclass(frozen=True, slots=True)
class Waiting:
    """A delivery that waits for a person."""

    delivery_key: str
    training_id: str
    issue_no: int
    version: int
    state: State
    reason: str | None
    reason_detail: str | None
    review_reason: str | None
    certification_id: int | None
    certification_name: str | None
    valid_from: date | None
    springest_certificate_id: int | None
    sent_at: datetime | None
    updated_at: datetime


def find(engine: Engine, *, site: str, which: Filter, limit: int = MOST) -> list[Waiting]:
    """Return deliveries in the order in which they were sent."""
    values: dict[str, Any] = {
        "site": site,
        "states": [state.value for state in which.states] if which.states is not None else None,
        "reason": which.reason,
        "run_id": which.run_id,
        "certification_id": which.certification_id,
        "training_ids": list(which.training_ids) if which.training_ids is not None else None,
        "any_state": which.any_state,
        "limit": limit,
    }
    with engine.connect() as connection:
        rows = connection.execute(_FIND, values).mappings()
        return [Waiting(**{**row, "state": State(row["state"])}) for row in rows]
