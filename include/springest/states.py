"""The states of a delivery as a pure state machine.

A *delivery* is one certificate on its way from the source to Springest. Every change of its state is an
event of the table below, which is the whole machine: for any other, ``next_state`` raises
``IllegalTransition``. SQL statements that move many deliveries at once carry guards of their own;
``tests/unit/springest/ledger/test_moves.py`` runs each of them in every state and compares its moves with
the table. Storage, clocks and the wire are elsewhere.

The one rule that everything else serves: only ``READY`` + ``CLAIMED`` leads to ``SENDING``, and only a
``SENDING`` delivery may be POSTed. An outcome that is not known leads to ``UNKNOWN``,
from which no event leads back to ``READY`` without a person (``RELEASED``).
"""

from __future__ import annotations

from enum import StrEnum
from typing import Final

from springest.errors import IllegalTransition


class State(StrEnum):
    """State of a delivery; stored in ``springest.delivery.state``."""

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
    """An event in the life of a delivery."""

    CHECKED_READY = "checked_ready"
    """Local checks passed: the row, its certification and its document may be sent."""
    CHECKED_INVALID = "checked_invalid"
    CHECKED_HELD = "checked_held"
    DUPLICATE_FOUND = "duplicate_found"
    """Another training holds the same certification, learner and ``valid_from``."""
    SOURCE_GONE = "source_gone"
    """The source no longer has the row, and nothing was sent."""
    LEARNER_ERASED = "learner_erased"
    """The learner was erased, and nothing was sent."""
    CLAIMED = "claimed"
    """A worker claimed it, and its attempt is committed."""
    NOT_STORED = "not_stored"
    """The server cannot have stored it: it never received the whole body, or its response says so."""
    REFUSED = "refused"
    """The server understood and refused it."""
    ACCEPTED_WITH_ID = "accepted_with_id"
    ACCEPTED_WITHOUT_ID = "accepted_without_id"
    OUTCOME_UNKNOWN = "outcome_unknown"
    """The server may have stored it; also after an expired lease."""
    SEEN = "seen"
    """A snapshot proves that Springest has it."""
    SHOWN_OTHERWISE = "shown_otherwise"
    """A certificate that seemed to be gone is shown under its id, with other data than was sent."""
    ADOPTED = "adopted"
    """A snapshot proves that Springest had it before this project began; nothing was sent."""
    ABSENCE_INFORMATIVE = "absence_informative"
    """Complete snapshots lack it although its certification is verified, or it was unknown for too long."""
    CANDIDATE_SHOWN = "candidate_shown"
    """After a person's release, before it was sent, a snapshot shows a certificate that may be this one."""
    DISAPPEARED = "disappeared"
    """Seen before, and gone from complete snapshots a day apart."""
    RELEASED = "released"
    """A person decided that it may be sent (again)."""
    CONFIRMED = "confirmed"
    """A person confirmed which certificate it is, and Springest shows that one."""
    CONFIRMED_UNSEEN = "confirmed_unseen"
    """A person confirmed its id; Springest does not show it, because its certification is not verified."""
    DROPPED = "dropped"
    """A person decided that it will never be sent."""
    REOPENED = "reopened"
    """A person reverses an earlier decision."""
    LEDGER_RESTORED = "ledger_restored"
    """The ledger was restored from a backup: deliveries may have been sent without a record."""


class DecisionKind(StrEnum):
    """A person's decision about a delivery; stored in ``springest.delivery_decision.decision``."""

    RELEASE = "release"
    """Send it (again)."""
    CONFIRM = "confirm"
    """Springest has it under this id."""
    CANCEL = "cancel"
    """Never send it."""
    REOPEN = "reopen"
    """An earlier decision was wrong."""


_CHECKED: Final = {
    Event.CHECKED_READY: State.READY,
    Event.CHECKED_INVALID: State.INVALID,
    Event.CHECKED_HELD: State.HELD,
    Event.DUPLICATE_FOUND: State.REVIEW,
    Event.LEDGER_RESTORED: State.UNKNOWN,
}
_STOPPED: Final = {Event.SOURCE_GONE: State.WITHDRAWN, Event.LEARNER_ERASED: State.INVALID}
_LATE: Final = {Event.ACCEPTED_WITH_ID: State.ACCEPTED}
"""Effect of a worker's own late 201, regardless of decisions made meanwhile."""
_SETTLED_BY_A_PERSON: Final = {
    Event.CONFIRMED: State.VISIBLE,
    Event.CONFIRMED_UNSEEN: State.ACCEPTED,
    Event.DROPPED: State.CANCELLED,
}
_DECIDED: Final = {**_SETTLED_BY_A_PERSON, Event.RELEASED: State.READY}
_UNSENT: Final = {**_CHECKED, **_STOPPED, **_SETTLED_BY_A_PERSON, **_LATE}

TRANSITIONS: Final[dict[State | None, dict[Event, State]]] = {
    None: dict(_CHECKED),
    State.READY: {
        **_UNSENT,
        Event.CLAIMED: State.SENDING,
        Event.CANDIDATE_SHOWN: State.REVIEW,
        Event.ACCEPTED_WITHOUT_ID: State.ACCEPTED_NO_ID,  # late, of what was released
    },
    State.INVALID: dict(_UNSENT),
    State.HELD: {**_UNSENT, Event.ADOPTED: State.VISIBLE},
    State.REJECTED: dict(_UNSENT),
    State.WITHDRAWN: {**_CHECKED, **_LATE},
    State.SENDING: {
        Event.NOT_STORED: State.READY,
        Event.REFUSED: State.REJECTED,
        Event.ACCEPTED_WITH_ID: State.ACCEPTED,
        Event.ACCEPTED_WITHOUT_ID: State.ACCEPTED_NO_ID,
        Event.OUTCOME_UNKNOWN: State.UNKNOWN,
        Event.LEDGER_RESTORED: State.UNKNOWN,
    },
    State.UNKNOWN: {
        **_DECIDED,
        **_LATE,
        Event.SEEN: State.VISIBLE,
        Event.ABSENCE_INFORMATIVE: State.REVIEW,
    },
    State.ACCEPTED: {
        **_LATE,
        Event.SEEN: State.VISIBLE,
        Event.ABSENCE_INFORMATIVE: State.REVIEW,
        Event.REOPENED: State.REVIEW,
    },
    State.ACCEPTED_NO_ID: {
        **_DECIDED,
        Event.SEEN: State.VISIBLE,
        Event.ABSENCE_INFORMATIVE: State.REVIEW,
    },
    State.VISIBLE: {
        **_LATE,
        Event.DISAPPEARED: State.VANISHED,
        Event.REOPENED: State.REVIEW,
    },
    State.VANISHED: {
        **_DECIDED,
        **_LATE,
        Event.SEEN: State.VISIBLE,
        Event.SHOWN_OTHERWISE: State.VISIBLE,
    },
    State.REVIEW: {
        **_DECIDED,
        **_LATE,
        Event.SEEN: State.VISIBLE,
        Event.SHOWN_OTHERWISE: State.ACCEPTED,
        Event.ABSENCE_INFORMATIVE: State.REVIEW,
    },
    State.CANCELLED: {**_LATE, Event.REOPENED: State.REVIEW},
}
"""``TRANSITIONS[from][event]`` is the state that follows; ``None`` is a row that was never seen before.

A ``REVIEW`` that was never sent (a duplicate) whose source row changes is staged again: see
``UNSENT_REVIEW``. ``ACCEPTED`` and ``VISIBLE`` are reopened, and they and
``VANISHED`` changed by a late 201, only if a person had confirmed the id.
"""

UNSENT_REVIEW: Final[dict[Event, State]] = {**_CHECKED, **_STOPPED}
"""Further events of a ``REVIEW`` delivery that was never sent."""

RECHECKED: Final = frozenset({State.INVALID, State.HELD, State.REJECTED})
"""States that staging looks at again every night."""

POSSIBLY_STORED: Final = frozenset(
    {State.SENDING, State.ACCEPTED, State.ACCEPTED_NO_ID, State.UNKNOWN, State.VISIBLE, State.VANISHED}
)
"""States in which the server may have the certificate, so that no change in the source may lead to a POST."""


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


def late_sources_of(event: Event) -> tuple[State, ...]:
    """Return the states in which an attempt's outcome still counts after its delivery left ``SENDING``."""
    return tuple(state for state in sources_of(event) if state is not State.SENDING)
