"""The life of a delivery as a pure state machine.

A *delivery* is one certificate on its way from the source to Springest. Every change of its state is an
event applied here; the table below is the whole machine, and what is not in it cannot happen:
``next_state`` raises ``IllegalTransition``. Storage, clocks and the wire are elsewhere.

The one rule that everything else serves: only ``READY`` + ``CLAIMED`` leads to ``SENDING``, and only a
``SENDING`` delivery may be POSTed. Whatever leaves doubt about what the server took ends in ``UNKNOWN``,
from which no event leads back to ``READY`` without a person (``RELEASED``).
"""

from __future__ import annotations

from enum import StrEnum
from typing import Final

from include.springest.errors import SpringestError


class State(StrEnum):
    """Where a delivery stands; stored in ``springest.delivery.state``."""

    READY = "ready"
    INVALID = "invalid"
    HELD = "held"
    SENDING = "sending"
    REJECTED = "rejected"
    ACCEPTED = "accepted"
    ACCEPTED_NO_ID = "accepted_no_id"
    UNKNOWN = "unknown"
    VISIBLE = "visible"
    REVIEW = "review"
    VANISHED = "vanished"
    WITHDRAWN = "withdrawn"
    CANCELLED = "cancelled"


class Event(StrEnum):
    """What can happen to a delivery."""

    CHECKED_READY = "checked_ready"
    """Local checks passed: the row, its certification and its document may be sent."""
    CHECKED_INVALID = "checked_invalid"
    CHECKED_HELD = "checked_held"
    DUPLICATE_FOUND = "duplicate_found"
    """Another training holds the same certification, learner and ``valid_from``."""
    SOURCE_GONE = "source_gone"
    """The source no longer has the row, and nothing was sent."""
    CLAIMED = "claimed"
    """A worker took it, and its attempt is committed."""
    NOT_TAKEN = "not_taken"
    """The server cannot have taken it: it never had the whole body, or said so."""
    REFUSED = "refused"
    """The server understood it and said no."""
    ACCEPTED_WITH_ID = "accepted_with_id"
    ACCEPTED_WITHOUT_ID = "accepted_without_id"
    OUTCOME_LOST = "outcome_lost"
    """It cannot be known what the server did with it; also a lease that ran out."""
    SEEN = "seen"
    """A snapshot proves it is there."""
    ADOPTED = "adopted"
    """A snapshot proves that it was there before this project began; nothing was sent."""
    ABSENCE_INFORMATIVE = "absence_informative"
    """Complete snapshots lack it although its certification is verified, or the doubt grew too old."""
    DISAPPEARED = "disappeared"
    """Seen before, and gone from complete snapshots a day apart."""
    RELEASED = "released"
    """A person decided that it may be sent (again)."""
    CONFIRMED = "confirmed"
    """A person decided that it is there."""
    DROPPED = "dropped"
    """A person decided that it will never be sent."""


class IllegalTransition(SpringestError):
    """An event arrived in a state that does not allow it; nothing was changed."""

    def __init__(self, state: State | None, event: Event) -> None:
        super().__init__(f"a delivery that is {state or 'new'} does not allow {event}")
        self.state = state
        self.event = event

    def __reduce__(self) -> tuple[type[IllegalTransition], tuple[State | None, Event]]:
        return type(self), (self.state, self.event)


_CHECKED: Final = {
    Event.CHECKED_READY: State.READY,
    Event.CHECKED_INVALID: State.INVALID,
    Event.CHECKED_HELD: State.HELD,
    Event.DUPLICATE_FOUND: State.REVIEW,
    Event.SOURCE_GONE: State.WITHDRAWN,
}
_DECIDED: Final = {
    Event.RELEASED: State.READY,
    Event.CONFIRMED: State.VISIBLE,
    Event.DROPPED: State.CANCELLED,
}

TRANSITIONS: Final[dict[State | None, dict[Event, State]]] = {
    None: {event: state for event, state in _CHECKED.items() if event is not Event.SOURCE_GONE},
    State.READY: {**_CHECKED, Event.CLAIMED: State.SENDING},
    State.INVALID: dict(_CHECKED),
    State.HELD: {**_CHECKED, Event.ADOPTED: State.VISIBLE},
    State.REJECTED: dict(_CHECKED),
    State.WITHDRAWN: dict(_CHECKED),
    State.SENDING: {
        Event.NOT_TAKEN: State.READY,
        Event.REFUSED: State.REJECTED,
        Event.ACCEPTED_WITH_ID: State.ACCEPTED,
        Event.ACCEPTED_WITHOUT_ID: State.ACCEPTED_NO_ID,
        Event.OUTCOME_LOST: State.UNKNOWN,
    },
    State.UNKNOWN: {
        Event.ACCEPTED_WITH_ID: State.ACCEPTED,
        Event.SEEN: State.VISIBLE,
        Event.ABSENCE_INFORMATIVE: State.REVIEW,
    },
    State.ACCEPTED: {Event.SEEN: State.VISIBLE, Event.ABSENCE_INFORMATIVE: State.REVIEW},
    State.ACCEPTED_NO_ID: {Event.SEEN: State.VISIBLE, Event.ABSENCE_INFORMATIVE: State.REVIEW},
    State.VISIBLE: {Event.SEEN: State.VISIBLE, Event.DISAPPEARED: State.VANISHED},
    State.VANISHED: {Event.SEEN: State.VISIBLE},
    State.REVIEW: {
        **_DECIDED,
        Event.ACCEPTED_WITH_ID: State.ACCEPTED,
        Event.SEEN: State.VISIBLE,
        Event.ABSENCE_INFORMATIVE: State.REVIEW,
    },
    State.CANCELLED: {},
}
"""``TRANSITIONS[from][event]`` is the state that follows; ``None`` is a row that was never seen before.

A ``REVIEW`` that was never sent (a duplicate) whose source row changes is staged anew: see ``UNSENT_REVIEW``.
"""

UNSENT_REVIEW: Final[dict[Event, State]] = dict(_CHECKED)
"""What staging may do to a ``REVIEW`` delivery of which nothing was ever sent."""

RECHECKED: Final = frozenset({State.INVALID, State.HELD, State.REJECTED})
"""States that staging looks at again every night."""

POSSIBLY_TAKEN: Final = frozenset(
    {State.SENDING, State.ACCEPTED, State.ACCEPTED_NO_ID, State.UNKNOWN, State.VISIBLE, State.VANISHED}
)
"""States in which the server may have the certificate: nothing about the source may lead to a POST."""


def next_state(state: State | None, event: Event, *, ever_sent: bool = True) -> State:
    """Return the state that follows ``event``.

    :param state: the state now; ``None`` for a row that has no delivery yet.
    :param event: what happened.
    :param ever_sent: whether any attempt of this delivery may have reached the server. Only tells apart
        the two kinds of ``REVIEW``.
    :raises IllegalTransition: the machine does not allow the event in that state.
    """
    if state is State.REVIEW and not ever_sent and event in UNSENT_REVIEW:
        return UNSENT_REVIEW[event]
    try:
        return TRANSITIONS[state][event]
    except KeyError:
        raise IllegalTransition(state, event) from None


def sources_of(event: Event) -> tuple[State, ...]:
    """Return the states in which ``event`` is allowed, for a store's compare-and-set."""
    return tuple(state for state, events in TRANSITIONS.items() if state is not None and event in events)
