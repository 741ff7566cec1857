"""What passes between the ledger and who sends: what waits, the right to send it, and what became of it."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from enum import Enum
from typing import Final

from springest.states import Event, State, next_state


@dataclass(frozen=True, slots=True)
class Queued:
    """A delivery that waits to be sent.

    :param document_checked: type and sha256 of its document as it was looked into.
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
        """What the queue is sorted by: this run's deliveries first, then the oldest."""
        return (not self.of_this_run, self.created_at, self.delivery_key)


@dataclass(frozen=True, slots=True)
class Claim:
    """The right to make one POST, committed."""

    attempt_id: int
    delivery_key: str
    version: int
    worker: str


class NotClaimed(Enum):
    """Why a worker did not get a delivery: nothing of it may be sent."""

    TAKEN = "taken"
    """Another worker was faster, or the delivery changed."""
    NO_ROOM = "no room"
    """As many as may become unknown are under way or in doubt already, in whatever process."""
    LIMIT_REACHED = "limit reached"
    """All tries of the run together have sent, or have under way, as many as it may send."""
    FORGOTTEN = "forgotten"
    """The ledger has forgotten attempts that the worker knows of."""


@dataclass(frozen=True, slots=True)
class Outcome:
    """What became of an attempt.

    :param event: what it means for the delivery.
    :param reason: a fixed word, such as ``answer_timeout``; ``None`` when all is well.
    :param detail: what happened and what to do, redacted.
    :param failure: name of the error, if any.
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
        """The state it leads to."""
        return next_state(State.SENDING, self.event)


GIVEN_BACK: Final = Outcome(
    Event.NOT_TAKEN, reason="worker_stopped", detail="the task was stopped before the first byte"
)


@dataclass(frozen=True, slots=True)
class QueueLength:
    """How many deliveries wait, and how many of them this run staged."""

    ready: int
    of_this_run: int
