"""The whole state machine: forbidden transitions, and those that the design requires."""

from __future__ import annotations

import pickle
import re
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from springest.db.schema import delivery
from springest.errors import IllegalTransition
from springest.states import (
    POSSIBLY_STORED,
    RECHECKED,
    TRANSITIONS,
    UNSENT_REVIEW,
    Event,
    State,
    next_state,
    sources_of,
)

DOCS = Path(__file__).parents[2] / "docs"
STATES = st.sampled_from([None, *State])
EVENTS = st.sampled_from(list(Event))
DECIDED = {Event.RELEASED, Event.CONFIRMED, Event.CONFIRMED_UNSEEN, Event.DROPPED, Event.REOPENED}


@given(state=STATES, event=EVENTS, ever_sent=st.booleans())
def test_only_a_claim_of_a_ready_delivery_leads_to_sending(
    state: State | None, event: Event, ever_sent: bool
) -> None:
    """Promise: only ``ready`` + ``claimed`` may POST."""
    try:
        after = next_state(state, event, ever_sent=ever_sent)
    except IllegalTransition:
        return
    assert (after is State.SENDING) == ((state, event) == (State.READY, Event.CLAIMED))


@given(start=st.sampled_from(sorted(POSSIBLY_STORED)), events=st.lists(EVENTS, max_size=30))
def test_a_possibly_stored_delivery_is_never_sent_again(start: State, events: list[Event]) -> None:
    """Whatever happens in whatever order, it becomes ``ready`` again only by a person's release, or by proof
    that nothing was stored.
    """
    state = start
    for event in events:
        before = state
        try:
            state = next_state(state, event, ever_sent=True)
        except IllegalTransition:
            continue
        if state is State.READY:
            assert event is Event.RELEASED or (before, event) == (State.SENDING, Event.NOT_STORED)
            return
        if state is State.REJECTED:
            assert (before, event) == (State.SENDING, Event.REFUSED)
            return


@given(events=st.lists(EVENTS, max_size=40))
def test_a_second_claim_needs_proof_or_a_release(events: list[Event]) -> None:
    """On every path from the first staging there is no second claim unless the first was not stored, refused
    or released.
    """
    state: State | None = None
    in_doubt = False
    for event in events:
        try:
            state = next_state(state, event, ever_sent=in_doubt)
        except IllegalTransition:
            continue
        if event is Event.CLAIMED:
            assert not in_doubt
            in_doubt = True
        if event in {Event.NOT_STORED, Event.REFUSED, Event.RELEASED}:
            in_doubt = False


@pytest.mark.parametrize("state", list(State))
def test_a_lost_outcome_always_leads_to_unknown(state: State) -> None:
    """A lost outcome leads to ``unknown`` and to no other state."""
    leads_to_unknown = {event for event, after in TRANSITIONS[state].items() if after is State.UNKNOWN}
    lost = {Event.OUTCOME_UNKNOWN} if state is State.SENDING else set()
    assert leads_to_unknown - {Event.LEDGER_RESTORED} == lost


@pytest.mark.parametrize("state", sorted(POSSIBLY_STORED))
def test_no_source_event_moves_a_possibly_stored_delivery(state: State) -> None:
    """Events of the source leave every state in which Springest may have the certificate."""
    from_source = {
        Event.CHECKED_READY,
        Event.CHECKED_INVALID,
        Event.CHECKED_HELD,
        Event.DUPLICATE_FOUND,
        Event.SOURCE_GONE,
    }
    assert not from_source & TRANSITIONS[state].keys()


def test_only_uncertain_states_can_be_released() -> None:
    """A certificate that Springest gave an id for or shows, and one that a worker is sending, can't be sent
    again.
    """
    in_doubt = {State.UNKNOWN, State.ACCEPTED_NO_ID, State.VANISHED, State.REVIEW}
    assert set(sources_of(Event.RELEASED)) == in_doubt


@pytest.mark.parametrize("event", [Event.CONFIRMED, Event.CONFIRMED_UNSEEN, Event.DROPPED])
def test_every_unproven_state_can_be_confirmed_or_cancelled(event: Event) -> None:
    """A person can confirm or cancel every delivery that Springest is not known to have."""
    waiting = {State.READY, State.INVALID, State.HELD, State.REJECTED}
    assert set(sources_of(event)) == waiting | set(sources_of(Event.RELEASED))


@pytest.mark.parametrize("event", sorted(DECIDED))
def test_no_decision_applies_while_sending(event: Event) -> None:
    """No decision applies to a delivery in ``sending``."""
    with pytest.raises(IllegalTransition):
        next_state(State.SENDING, event)


def test_a_wrong_decision_can_be_reopened() -> None:
    """A cancelled or confirmed delivery can be reopened for review."""
    assert set(sources_of(Event.REOPENED)) == {State.CANCELLED, State.ACCEPTED, State.VISIBLE}
    assert {next_state(state, Event.REOPENED) for state in sources_of(Event.REOPENED)} == {State.REVIEW}


def test_a_restored_ledger_makes_possible_posts_unknown() -> None:
    """This covers every state that leads to ``sending`` without a person, reviews of which nothing was sent,
    and deliveries that are newer than the backup.
    """
    automatic = {State.READY, State.SENDING, *RECHECKED, State.WITHDRAWN}
    assert set(sources_of(Event.LEDGER_RESTORED)) == automatic
    assert next_state(None, Event.LEDGER_RESTORED) is State.UNKNOWN
    assert next_state(State.REVIEW, Event.LEDGER_RESTORED, ever_sent=False) is State.UNKNOWN


@pytest.mark.parametrize("event", list(UNSENT_REVIEW))
def test_a_review_is_staged_again_only_if_nothing_was_sent(event: Event) -> None:
    """A delivery in ``review`` is staged again only while nothing of it was sent."""
    assert next_state(State.REVIEW, event, ever_sent=False) is UNSENT_REVIEW[event]
    with pytest.raises(IllegalTransition):
        next_state(State.REVIEW, event, ever_sent=True)


def test_a_review_counts_as_sent_unless_known_otherwise() -> None:
    """Without the attempts, ``review`` counts as possibly stored."""
    with pytest.raises(IllegalTransition):
        next_state(State.REVIEW, Event.CHECKED_READY)


def test_a_cancelled_delivery_leaves_only_if_stored_or_reopened() -> None:
    """A cancelled delivery stays cancelled unless Springest stored it after all or a person reopens it."""
    assert set(TRANSITIONS[State.CANCELLED]) == {Event.ACCEPTED_WITH_ID, Event.REOPENED}


def test_only_a_late_acceptance_resolves_an_unknown() -> None:
    """It does so however late it comes and whatever was decided; one without an id keeps back only what was
    released.
    """
    without = set(State) - set(sources_of(Event.ACCEPTED_WITH_ID))
    assert without == {State.ACCEPTED_NO_ID}
    assert sources_of(Event.ACCEPTED_WITHOUT_ID) == (State.READY, State.SENDING)
    for event in (Event.NOT_STORED, Event.REFUSED, Event.OUTCOME_UNKNOWN):
        assert sources_of(event) == (State.SENDING,)


def test_every_state_can_be_reached_and_left() -> None:
    """No state is a dead end, and every state follows from another."""
    reached = {after for events in TRANSITIONS.values() for after in events.values()}
    assert reached == set(State)
    assert all(TRANSITIONS[state] for state in State)


def test_every_state_and_every_event_is_in_the_table() -> None:
    """The table uses every state and every event."""
    assert set(TRANSITIONS) == {None, *State}
    assert {event for events in TRANSITIONS.values() for event in events} == set(Event)


def test_states_checked_every_night_were_never_stored() -> None:
    """Deliveries that are checked every night cannot be at Springest."""
    assert not RECHECKED & POSSIBLY_STORED


def test_the_database_allows_exactly_these_states() -> None:
    """The constraint of the table lists exactly the states of the code."""
    (check,) = [
        constraint for constraint in delivery.constraints if str(constraint.name).endswith("state_check")
    ]
    assert set(re.findall(r"'(\w+)'", str(check.sqltext))) == {state.value for state in State}


def test_the_documentation_names_every_state() -> None:
    """`docs/states.md` describes every state."""
    named = set(re.findall(r"`(\w+)`", (DOCS / "states.md").read_text(encoding="utf-8")))
    assert {state.value for state in State} <= named


def test_a_refused_transition_names_state_and_event() -> None:
    """The error also survives pickling, since Airflow passes exceptions between processes."""
    with pytest.raises(IllegalTransition, match="in the state visible does not allow claimed") as caught:
        next_state(State.VISIBLE, Event.CLAIMED)
    again = pickle.loads(pickle.dumps(caught.value))  # noqa: S301 - made right here
    assert (again.state, again.event) == (State.VISIBLE, Event.CLAIMED)
    assert "in the state new" in str(IllegalTransition(None, Event.CLAIMED))
