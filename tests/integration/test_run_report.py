"""The counts of a run, and the certificates of it that need somebody."""

from __future__ import annotations

from collections import Counter

import pytest

from sandbox.faults import Fault, Kind
from springest.review.run_report import REMEDIES, RunCounts, count_run, find_attention
from springest.states import State


def _counts(world, run_id):
    with world.warehouse.connect() as connection:
        return count_run(connection, site=world.name, run_id=run_id)


def _attention(world, run_id, most=10):
    with world.warehouse.connect() as connection:
        return find_attention(connection, site=world.name, run_id=run_id, most=most)


@pytest.fixture
def night(world):
    """Six completed trainings: two accepted, one unknown, one refused, one invalid, one held."""
    sent = [world.training() for _ in range(4)]
    missing = world.training(certificate_uri=str(world.folder / "missing.pdf"))
    unlisted = world.training(certification_id=999)
    world.complete(*sent, missing, unlisted)
    world.catalogue()
    world.stage("first")
    world.sandbox.state.faults.add(Fault(Kind.CLOSE_AFTER_STORING))
    world.deliver("first", limit=1)
    world.sandbox.state.faults.add(Fault(Kind.STATUS, status=422))
    world.deliver("first", limit=2, concurrency=1)
    world.deliver("first", concurrency=1)
    return world


def test_the_counts_of_a_run_are_those_of_all_its_tries(night):
    """Three tries; each certificate counts once, and the columns add up to what was completed."""
    states = Counter(state for state, _ in night.states().values())
    assert states == {"accepted": 2, "unknown": 1, "rejected": 1, "invalid": 1, "held": 1}
    counts = _counts(night, "first")
    assert counts == RunCounts(
        completed=6, staged=4, set_aside=2, sent=4, accepted=2, refused=1, unknown=1, left=0
    )
    assert counts.completed == counts.staged + counts.set_aside


def test_a_later_run_counts_only_its_own_work(night):
    """The rows that it reads again were staged and sent by the first one."""
    night.complete(night.training())
    night.stage("second")
    counts = _counts(night, "second")
    assert (counts.completed, counts.staged, counts.sent, counts.left) == (7, 1, 0, 1)
    night.deliver("second")
    assert _counts(night, "second").accepted == 1
    assert _counts(night, "first").accepted == 2


def test_what_needs_attention_is_listed_by_urgency(night):
    """What may have been stored comes before what was never sent; each has its reason."""
    found, in_all = _attention(night, "first")
    assert [row.state for row in found] == ["unknown", "rejected", "invalid", "held"]
    assert in_all == 4
    assert [row.reason for row in found[2:]] == ["document_missing", "certification_not_listed"]
    assert all(row.remedy for row in found)
    few, in_all = _attention(night, "first", most=1)
    assert ([row.state for row in few], in_all) == (["unknown"], 4)


def test_a_change_after_sending_needs_attention(night):
    """The delivery is accepted, and flagged."""
    [accepted, *_] = [key for key, (state, _) in night.states().items() if state == "accepted"]
    with night.warehouse.begin() as connection:
        connection.exec_driver_sql(
            "UPDATE springest.delivery SET needs_review = true,"
            " review_reason = 'changed_after_sending(valid_until)' WHERE training_id = %s",
            (accepted,),
        )
    found, _ = _attention(night, "first")
    assert (found[-1].training_id, found[-1].reason) == (accepted, "changed_after_sending(valid_until)")


def test_a_run_that_saw_nothing_has_counts_of_nothing(world):
    """No row is not an error."""
    assert _counts(world, "none") == RunCounts(0, 0, 0, 0, 0, 0, 0, 0)
    assert _attention(world, "none") == ([], 0)


def test_every_state_that_waits_for_somebody_has_a_remedy():
    """The others go on by themselves, or are finished."""
    goes_on = {State.READY, State.SENDING, State.ACCEPTED, State.ACCEPTED_NO_ID, State.VISIBLE}
    finished = {State.WITHDRAWN, State.CANCELLED}
    assert set(REMEDIES) == set(State) - goes_on - finished
