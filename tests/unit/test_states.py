"""The state machine as a whole: what it must never allow, and what the design says it must."""

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
    POSSIBLY_TAKEN,
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


@given(start=st.sampled_from(sorted(POSSIBLY_TAKEN)), events=st.lists(EVENTS, max_size=30))
def test_what_may_have_been_taken_is_never_sent_again_without_a_person(
    start: State, events: list[Event]
) -> None:
    """Whatever happens in whatever order: back to ``ready`` only by a release, or by proof of not taken."""
    state = start
    for event in events:
        before = state
        try:
            state = next_state(state, event, ever_sent=True)
        except IllegalTransition:
            continue
        if state is State.READY:
            assert event is Event.RELEASED or (before, event) == (State.SENDING, Event.NOT_TAKEN)
            return
        if state is State.REJECTED:
            assert (before, event) == (State.SENDING, Event.REFUSED)
            return


@given(events=st.lists(EVENTS, max_size=40))
def test_every_life_of_a_delivery_has_at_most_one_claim_between_two_proofs_of_not_taken(
    events: list[Event],
) -> None:
    """A walk from the first staging: no second claim unless the first was not taken, refused or released."""
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
        if event in {Event.NOT_TAKEN, Event.REFUSED, Event.RELEASED}:
            in_doubt = False


@pytest.mark.parametrize("state", list(State))
def test_a_lost_outcome_ends_in_unknown_and_nowhere_else(state: State) -> None:
    leads_to_unknown = {event for event, after in TRANSITIONS[state].items() if after is State.UNKNOWN}
    lost = {Event.OUTCOME_LOST} if state is State.SENDING else set()
    assert leads_to_unknown - {Event.LEDGER_RESTORED} == lost


@pytest.mark.parametrize("state", sorted(POSSIBLY_TAKEN))
def test_nothing_the_source_says_moves_what_may_have_been_taken(state: State) -> None:
    from_source = {
        Event.CHECKED_READY,
        Event.CHECKED_INVALID,
        Event.CHECKED_HELD,
        Event.DUPLICATE_FOUND,
        Event.SOURCE_GONE,
    }
    assert not from_source & TRANSITIONS[state].keys()


def test_only_what_is_in_doubt_can_be_released() -> None:
    """What Springest told an id for, what it shows, and what a worker is sending can't be sent again."""
    in_doubt = {State.UNKNOWN, State.ACCEPTED_NO_ID, State.VANISHED, State.REVIEW}
    assert set(sources_of(Event.RELEASED)) == in_doubt


@pytest.mark.parametrize("event", [Event.CONFIRMED, Event.CONFIRMED_UNSEEN, Event.DROPPED])
def test_what_is_not_known_to_be_there_can_be_confirmed_or_cancelled(event: Event) -> None:
    waiting = {State.READY, State.INVALID, State.HELD, State.REJECTED}
    assert set(sources_of(event)) == waiting | set(sources_of(Event.RELEASED))


@pytest.mark.parametrize("event", sorted(DECIDED))
def test_nobody_decides_about_what_a_worker_is_sending(event: Event) -> None:
    with pytest.raises(IllegalTransition):
        next_state(State.SENDING, event)


def test_a_decision_that_was_wrong_can_be_taken_back_into_review() -> None:
    assert set(sources_of(Event.REOPENED)) == {State.CANCELLED, State.ACCEPTED, State.VISIBLE}
    assert {next_state(state, Event.REOPENED) for state in sources_of(Event.REOPENED)} == {State.REVIEW}


def test_a_restored_ledger_puts_in_doubt_all_that_could_become_a_post() -> None:
    """Everything from which no person is needed to reach ``sending``, and what was new since the backup."""
    automatic = {State.READY, State.SENDING, *RECHECKED, State.WITHDRAWN}
    assert set(sources_of(Event.LEDGER_RESTORED)) == automatic
    assert next_state(None, Event.LEDGER_RESTORED) is State.UNKNOWN
    assert next_state(State.REVIEW, Event.LEDGER_RESTORED, ever_sent=False) is State.UNKNOWN


@pytest.mark.parametrize("event", list(UNSENT_REVIEW))
def test_a_review_is_staged_anew_only_while_nothing_of_it_was_sent(event: Event) -> None:
    assert next_state(State.REVIEW, event, ever_sent=False) is UNSENT_REVIEW[event]
    with pytest.raises(IllegalTransition):
        next_state(State.REVIEW, event, ever_sent=True)


def test_a_review_counts_as_sent_unless_somebody_knows_better() -> None:
    with pytest.raises(IllegalTransition):
        next_state(State.REVIEW, Event.CHECKED_READY)


def test_a_cancelled_delivery_stays_so_unless_it_is_there_after_all_or_a_person_reopens_it() -> None:
    assert set(TRANSITIONS[State.CANCELLED]) == {Event.ACCEPTED_WITH_ID, Event.REOPENED}


def test_only_the_workers_own_acceptance_settles_what_was_in_doubt() -> None:
    """However late it comes and whatever was decided; without an id, only what was released is kept back."""
    without = set(State) - set(sources_of(Event.ACCEPTED_WITH_ID))
    assert without == {State.ACCEPTED_NO_ID}
    assert sources_of(Event.ACCEPTED_WITHOUT_ID) == (State.READY, State.SENDING)
    for event in (Event.NOT_TAKEN, Event.REFUSED, Event.OUTCOME_LOST):
        assert sources_of(event) == (State.SENDING,)


def test_every_state_can_be_left_and_every_state_can_be_reached() -> None:
    reached = {after for events in TRANSITIONS.values() for after in events.values()}
    assert reached == set(State)
    assert all(TRANSITIONS[state] for state in State)


def test_every_state_and_every_event_is_in_the_table() -> None:
    assert set(TRANSITIONS) == {None, *State}
    assert {event for events in TRANSITIONS.values() for event in events} == set(Event)


def test_what_is_looked_at_again_every_night_was_never_taken() -> None:
    assert not RECHECKED & POSSIBLY_TAKEN


def test_the_database_allows_exactly_these_states() -> None:
    (check,) = [one for one in delivery.constraints if str(one.name).endswith("state_check")]
    assert set(re.findall(r"'(\w+)'", str(check.sqltext))) == {state.value for state in State}


def test_the_documentation_names_every_state() -> None:
    named = set(re.findall(r"`(\w+)`", (DOCS / "states.md").read_text(encoding="utf-8")))
    assert {state.value for state in State} <= named


def test_a_refused_transition_says_what_was_tried_and_survives_pickling() -> None:
    """Airflow hands exceptions from process to process."""
    with pytest.raises(IllegalTransition, match="that is visible does not allow claimed") as caught:
        next_state(State.VISIBLE, Event.CLAIMED)
    again = pickle.loads(pickle.dumps(caught.value))  # noqa: S301 - made right here
    assert (again.state, again.event) == (State.VISIBLE, Event.CLAIMED)
    assert "that is new" in str(IllegalTransition(None, Event.CLAIMED))
