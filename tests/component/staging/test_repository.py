"""The ledger while rows are staged, over a real PostgreSQL: written once, locked, and taken back."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import replace
from datetime import date, timedelta
from typing import Any

import pytest
from sqlalchemy import Engine, create_engine, text
from sqlalchemy.exc import OperationalError

from springest.delivery.claims import Claim, Outcome
from springest.delivery.repository import DeliveryRepository
from springest.source.contract import CompletedTraining
from springest.staging import repository as ledger
from springest.staging.decide import Action, Change, identity
from springest.staging.repository import Staged
from springest.staging.set_aside import to_recheck
from springest.states import Event, State
from tests.factories import add_attempt, source_row

AddDelivery = Callable[..., str]
MakeWorker = Callable[..., DeliveryRepository]
Take = Callable[..., Awaitable[Claim | None]]
READY = Change(Action.INSERT, State.READY)


def training(name: str = "T1", **changes: Any) -> CompletedTraining:
    return source_row(name, **{"email": "zoë@example.com", **changes})


def write(warehouse: Engine, *staged: tuple[CompletedTraining, Change], run_id: str = "night") -> None:
    with warehouse.begin() as connection:
        ledger.write(
            connection,
            [Staged(completed, decision, "listed") for completed, decision in staged],
            run_id=run_id,
        )


def known(warehouse: Engine, *keys: str) -> dict[str, Any]:
    with warehouse.connect() as connection:
        return ledger.load_known(connection, keys, lock=False)


def row_of(warehouse: Engine, key: str) -> Any:
    with warehouse.connect() as connection:
        return connection.execute(
            text("SELECT * FROM springest.delivery WHERE delivery_key = :key"), {"key": key}
        ).one()


def attempt(warehouse: Engine, key: str, outcome: Event | None) -> None:
    add_attempt(warehouse, key, outcome and outcome.value)


def test_a_new_row_is_written_with_its_content_and_read_back(warehouse: Engine) -> None:
    """A new delivery is read back with all its fields."""
    completed = training()
    write(warehouse, (completed, READY))
    found = known(warehouse, completed.delivery_key, "0" * 64)
    assert set(found) == {completed.delivery_key}
    it = found[completed.delivery_key]
    assert (it.state, it.version, it.row_version, it.ever_sent) == (
        State.READY,
        1,
        completed.row_version,
        False,
    )
    assert (it.learner_ref, it.valid_from, it.catalogue_ref) == (
        completed.learner_ref,
        completed.valid_from,
        "listed",
    )


def test_no_email_and_no_document_name_is_stored(warehouse: Engine) -> None:
    """Neither the e-mail address nor the document's name is in the table."""
    completed = training()
    write(warehouse, (completed, READY))
    stored = " ".join(map(str, row_of(warehouse, completed.delivery_key)))
    assert "example.com" not in stored
    assert "certificates" not in stored


def test_staging_again_replaces_the_content(warehouse: Engine) -> None:
    """Staging again replaces the content and increments the version."""
    completed = training()
    write(warehouse, (completed, READY))
    changed = training(certification_id=103)
    decision = Change(Action.RESTAGE, State.HELD, "certification_not_listed", "have it verified")
    write(warehouse, (changed, decision), run_id="next")
    row = row_of(warehouse, completed.delivery_key)
    assert (row.state, row.reason, row.certification_id) == ("held", "certification_not_listed", 103)
    assert (row.version, row.staged_run_id, row.row_version) == (2, "next", changed.row_version)


def test_a_released_duplicate_stays_so_for_one_certificate(
    warehouse: Engine, add_delivery: AddDelivery
) -> None:
    """A released duplicate stays released until its row is another certificate."""
    completed = training()
    facts = {name: getattr(completed, name) for name in ("certification_id", "learner_ref", "valid_from")}
    key = add_delivery("T1", duplicate_released=True, **facts)
    again = Change(Action.RESTAGE, State.READY)
    write(warehouse, (training(booking_id=4), again))
    assert row_of(warehouse, key).duplicate_released
    certificate = identity(completed)
    assert certificate is not None
    with warehouse.connect() as connection:
        ((holder,),) = ledger.load_holders(connection, "default", [certificate]).values()
    assert holder.duplicate_released
    assert known(warehouse, key)[key].duplicate_released
    write(warehouse, (training(valid_from=date(2027, 1, 1)), again))
    assert not row_of(warehouse, key).duplicate_released


def test_a_decision_to_do_nothing_writes_nothing(warehouse: Engine) -> None:
    """The action NOTHING leaves the row and its version."""
    completed = training()
    write(warehouse, (completed, READY))
    before = row_of(warehouse, completed.delivery_key)
    write(warehouse, (replace(completed, row_version="2" * 64), Change(Action.NOTHING)), run_id="next")
    assert row_of(warehouse, completed.delivery_key) == before


async def test_flagging_while_sending_does_not_lose_the_outcome(
    warehouse: Engine, add_delivery: AddDelivery, worker: MakeWorker, take: Take
) -> None:
    """The source row changed during the POST: its 201 must still be recorded."""
    completed = training()
    add_delivery("T1")
    claim = await take(worker(), (await worker().queue(after=None, limit=1))[0])
    write(warehouse, (completed, Change(Action.FLAG, review_reason="changed_after_sending(email)")))
    assert isinstance(claim, Claim)
    accepted = Outcome(Event.ACCEPTED_WITH_ID, springest_certificate_id=7)
    assert await worker().record(claim, accepted) is State.ACCEPTED
    row = row_of(warehouse, completed.delivery_key)
    assert (row.state, row.needs_review, row.review_reason) == (
        "accepted",
        True,
        "changed_after_sending(email)",
    )


@pytest.mark.parametrize(
    ("outcomes", "ever_sent"),
    [
        ([], False),
        ([None], True),
        ([Event.NOT_STORED], False),
        ([Event.REFUSED], False),
        ([Event.NOT_STORED, Event.REFUSED], False),
        ([Event.OUTCOME_UNKNOWN], True),
        ([Event.ACCEPTED_WITH_ID], True),
        ([Event.ACCEPTED_WITHOUT_ID], True),
        ([Event.OUTCOME_UNKNOWN, Event.NOT_STORED], True),
    ],
)
def test_a_delivery_counts_as_sent_unless_all_attempts_failed(
    warehouse: Engine, add_delivery: AddDelivery, outcomes: list[Event | None], ever_sent: bool
) -> None:
    """A delivery counts as sent unless every attempt is known not to have been stored."""
    key = add_delivery("T1", state="review")
    for outcome in outcomes:
        attempt(warehouse, key, outcome)
    assert known(warehouse, key)[key].ever_sent is ever_sent


def test_rows_being_staged_are_locked_against_a_claim(
    warehouse: Engine, warehouse_url: str, add_delivery: AddDelivery
) -> None:
    """A delivery that staging has read cannot be claimed until staging commits."""
    key = add_delivery("T1")
    impatient = create_engine(warehouse_url, connect_args={"options": "-c lock_timeout=50"})
    with warehouse.begin() as deciding:
        ledger.load_known(deciding, [key], lock=True)
        with pytest.raises(OperationalError, match="lock timeout"), impatient.begin() as claiming:
            claiming.execute(text("UPDATE springest.delivery SET version = version + 1"))
    impatient.dispose()


def test_staging_is_serialised_per_site(warehouse: Engine, warehouse_url: str) -> None:
    """Two stagings of one site run one after the other, those of other sites do not wait."""
    impatient = create_engine(warehouse_url, connect_args={"options": "-c lock_timeout=50"})
    with warehouse.begin() as first:
        ledger.lock_staging(first, "default")
        with impatient.begin() as elsewhere:
            ledger.lock_staging(elsewhere, "other")
        with pytest.raises(OperationalError, match="lock timeout"), impatient.begin() as second:
            ledger.lock_staging(second, "default")
    with impatient.begin() as afterwards:
        ledger.lock_staging(afterwards, "default")
    impatient.dispose()


def test_a_learners_deliveries_are_read_once(warehouse: Engine, add_delivery: AddDelivery) -> None:
    """An e-mail address that many people share may have thousands of deliveries: not thousands for each
    certificate.
    """
    days = [date(2026, 1, 1) + timedelta(days=number) for number in range(30)]
    for number, day in enumerate(days):
        add_delivery(f"T{number}", certification_id=102, learner_ref="a" * 64, valid_from=day)
    add_delivery("another", certification_id=102, learner_ref="b" * 64, valid_from=days[0])
    asked = [(102, "a" * 64, day) for day in days]
    read = text("SELECT pg_stat_get_xact_tuples_returned('springest.delivery_learner_ref_idx'::regclass)")
    with warehouse.begin() as connection:
        connection.execute(text("SET LOCAL enable_seqscan = off"))
        found = ledger.load_holders(connection, "default", asked)
        assert connection.execute(read).scalar_one() == len(days)
    assert [holder.training_id for certificate in asked for holder in found[certificate]] == [
        f"T{number}" for number in range(len(days))
    ]


@pytest.mark.parametrize("state", [state for state in State if state is not State.SENDING])
@pytest.mark.parametrize("sent", [True, False])
def test_which_states_hold_a_certificate(
    warehouse: Engine, add_delivery: AddDelivery, state: State, sent: bool
) -> None:
    """A delivery that waits, or that Springest may have stored, holds the certificate; one that was set aside
    does not.
    """
    completed = training()
    facts = {name: getattr(completed, name) for name in ("certification_id", "learner_ref", "valid_from")}
    key = add_delivery("T1", state=state.value, springest_certificate_id=7, **facts)
    if sent:
        attempt(warehouse, key, Event.OUTCOME_UNKNOWN)
    certificate = identity(completed)
    assert certificate is not None
    with warehouse.connect() as connection:
        found = ledger.load_holders(connection, "default", [certificate])
        assert ledger.load_holders(connection, "other", [certificate]) == {}
        assert ledger.load_holders(connection, "default", []) == {}
    holds = state in {
        State.READY,
        State.ACCEPTED,
        State.ACCEPTED_NO_ID,
        State.UNKNOWN,
        State.VISIBLE,
        State.VANISHED,
    } or (state in {State.REVIEW, State.CANCELLED} and sent)
    assert [holder.training_id for holder in found.get(certificate, [])] == (["T1"] if holds else [])


@pytest.mark.parametrize("state", ["ready", "invalid", "held", "rejected", "review"])
def test_an_unsent_delivery_is_withdrawn_when_its_row_is_gone(
    warehouse: Engine, add_delivery: AddDelivery, state: str
) -> None:
    """A delivery that was never sent is withdrawn when the source no longer has its row."""
    key = add_delivery("T1", state=state, needs_review=True, review_reason="duplicate")
    untouched = add_delivery("T2", state=state)
    with warehouse.begin() as connection:
        assert ledger.withdraw(connection, [key]) == 1
    row = row_of(warehouse, key)
    assert (row.state, row.reason, row.needs_review, row.version) == ("withdrawn", "source_gone", False, 2)
    assert row_of(warehouse, untouched).state == state


@pytest.mark.parametrize("state", ["accepted", "accepted_no_id", "unknown", "visible", "review", "vanished"])
def test_a_possibly_sent_delivery_is_flagged_not_withdrawn(
    warehouse: Engine, add_delivery: AddDelivery, state: str
) -> None:
    """A delivery that may have been sent is never withdrawn; it is flagged for a person."""
    key = add_delivery("T1", state=state, springest_certificate_id=7)
    attempt(warehouse, key, Event.OUTCOME_UNKNOWN)
    with warehouse.begin() as connection:
        assert ledger.withdraw(connection, [key]) == 0
    row = row_of(warehouse, key)
    assert (row.state, row.version) == (state, 1)
    assert (row.needs_review, row.review_reason) == (True, "withdrawn_after_sending")
    with warehouse.begin() as connection:
        ledger.withdraw(connection, [key])
    assert row_of(warehouse, key) == row


@pytest.mark.parametrize("state", ["cancelled", "withdrawn"])
def test_a_finished_delivery_stays_when_its_row_is_gone(
    warehouse: Engine, add_delivery: AddDelivery, state: str
) -> None:
    """A finished delivery does not change when the source no longer has its row."""
    key = add_delivery("T1", state=state)
    before = row_of(warehouse, key)
    with warehouse.begin() as connection:
        assert ledger.withdraw(connection, [key]) == 0
    assert row_of(warehouse, key) == before


def test_deliveries_to_check_again_are_paged_through_once(
    warehouse: Engine, add_delivery: AddDelivery
) -> None:
    """Deliveries to be checked again are read page by page, each once."""
    for number in range(7):
        add_delivery(f"T{number}", state=("held", "invalid", "ready")[number % 3])
    add_delivery("elsewhere", state="held", site="other")
    read: list[str] = []
    after = ""
    with warehouse.connect() as connection:
        while page := to_recheck(connection, "default", after=after, limit=2):
            after = page[-1].delivery_key
            read.extend(row.training_id for row in page)
    assert sorted(read) == ["T0", "T1", "T3", "T4", "T6"]
