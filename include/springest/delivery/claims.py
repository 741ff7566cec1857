"""The values that a worker and the ledger exchange: a queued delivery, its claim, and the outcome."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from enum import Enum
from typing import Final

from springest.states import Event, State, next_state


@dataclass(frozen=True, slots=True)
class Queued:
    """A delivery that waits to be sent.

    :param document_checked: type and sha256 of the document when staging inspected it.
    """

    delivery_key: str
    training_id: str
    row_version: str
    version: int
    created_at: datetime
    of_this_run: bool
    document_checked: str | None = None

    @property
    def order(self) -> tuple[bool, datetime, str]:
        """Sort key of the queue: deliveries of this run first, then the oldest."""
        return (not self.of_this_run, self.created_at, self.delivery_key)


@dataclass(frozen=True, slots=True)
class Claim:
    """The right to make one POST, committed."""

    attempt_id: int
    delivery_key: str
    version: int
    worker: str


class NotClaimed(Enum):
    """Why a delivery was not claimed, so that it must not be sent; the values are those of ``claim.sql``."""

    TAKEN = "taken"
    """Another worker was faster, or the delivery changed."""
    NO_CAPACITY = "no_capacity"
    """As many as may become unknown are in flight or unknown already, over all processes."""
    RUN_LIMIT_REACHED = "run_limit_reached"
    """All tries of the run together have sent, or have in flight, as many as it may send."""
    LEDGER_BEHIND = "ledger_behind"
    """The ledger has lost attempts that the worker knows of."""


@dataclass(frozen=True, slots=True)
class Outcome:
    """The result of an attempt.

    :param event: the event for the delivery.
    :param reason: a fixed word, such as ``response_timeout``; ``None`` if Springest returned an id.
    :param detail: what happened and what to do, redacted.
    :param failure: class name of the error, if any.
    """

    event: Event
    reason: str | None = None
    detail: str | None = None
    failure: str | None = None
    http_status: int | None = None
    bytes_handed_over: int | None = None
    springest_certificate_id: int | None = None

    @property
    def state(self) -> State:
        """The state that the delivery gets."""
        return next_state(State.SENDING, self.event)


CLAIM_RETURNED: Final = Outcome(
    Event.NOT_STORED, reason="worker_stopped", detail="the task was stopped before the first byte was sent"
)


@dataclass(frozen=True, slots=True)
class QueueLength:
    """Number of deliveries that wait, and of those that this run staged."""

    ready: int
    of_this_run: int
