"""The ledger while it is sent from, over a real PostgreSQL: who may send, and what is kept of it."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from sqlalchemy import Engine, make_url, text
from sqlalchemy.ext.asyncio import AsyncEngine, create_async_engine

from springest.db.engines import async_warehouse_engine
from springest.delivery.claims import Claim, NotClaimed, Outcome, Queued
from springest.delivery.repository import DeliveryRepository
from springest.errors import IllegalTransition, WarehouseLocked
from springest.states import Event, State

AddDelivery = Callable[..., str]
MakeWorker = Callable[..., DeliveryRepository]
Take = Callable[..., Awaitable[Claim | NotClaimed]]

ACCEPTED = Outcome(Event.ACCEPTED_WITH_ID, http_status=201, bytes_handed_over=9, springest_certificate_id=7)
LOST = Outcome(
    Event.OUTCOME_UNKNOWN, reason="response_timeout", detail="no answer", failure="ResponseTimeout"
)
NOT_STORED = Outcome(Event.NOT_STORED, reason="connect_failed", failure="ConnectFailed")
REFUSED = Outcome(Event.REFUSED, reason="rejected", detail="email is invalid", http_status=422)


def delivery_of(warehouse: Engine, key: str) -> Any:
    with warehouse.connect() as connection:
        found = connection.execute(
            text("SELECT * FROM springest.delivery WHERE delivery_key = :key"), {"key": key}
        )
        return found.one()


def attempts_of(warehouse: Engine, key: str) -> list[Any]:
    with warehouse.connect() as connection:
        statement = (
            "SELECT attempt.* FROM springest.delivery_attempt AS attempt JOIN springest.delivery"
            " USING (delivery_id) WHERE delivery_key = :key ORDER BY attempt_id"
        )
        return list(connection.execute(text(statement), {"key": key}))


async def first(ledger: DeliveryRepository) -> Queued:
    return (await ledger.queue(after=None, limit=1))[0]


async def test_a_claim_leaves_a_committed_attempt_and_a_lease(
    warehouse: Engine, add_delivery: AddDelivery, worker: MakeWorker, take: Take
) -> None:
    """Another connection sees it before the first byte could leave."""
    key = add_delivery("T1")
    claim = await take(worker("one"), await first(worker()), lease=60)
    found, (attempt,) = delivery_of(warehouse, key), attempts_of(warehouse, key)
    assert isinstance(claim, Claim)
    assert (found.state, found.lease_owner, found.version) == ("sending", "one", claim.version)
    assert timedelta(seconds=50) < found.lease_until - datetime.now(UTC) < timedelta(seconds=61)
    assert (attempt.attempt_id, attempt.run_id, attempt.worker) == (claim.attempt_id, "night", "one")
    assert (attempt.outcome, attempt.finished_at, found.document_sha256) == (None, None, "a" * 64)


async def test_exactly_one_of_many_concurrent_claims_wins(
    warehouse: Engine, add_delivery: AddDelivery, worker: MakeWorker, take: Take
) -> None:
    """If many workers claim one delivery at the same time, exactly one gets it."""
    keys = [add_delivery(f"T{number}") for number in range(8)]
    waiting = await worker().queue(after=None, limit=10)
    claims = await asyncio.gather(
        *(take(worker(f"worker-{number}"), queued) for queued in waiting for number in range(4))
    )
    won = [claim.delivery_key for claim in claims if isinstance(claim, Claim)]
    assert sorted(won) == sorted(keys)
    assert [len(attempts_of(warehouse, key)) for key in keys] == [1] * 8


@pytest.mark.parametrize("state", [state for state in State if state is not State.READY])
async def test_only_a_ready_delivery_can_be_claimed(
    warehouse: Engine, add_delivery: AddDelivery, worker: MakeWorker, take: Take, state: State
) -> None:
    """A claim succeeds in state ``ready`` only."""
    values: dict[str, Any] = {}
    if state is State.SENDING:
        values = {"lease_owner": "other", "lease_until": datetime(2000, 1, 1, tzinfo=UTC)}
    if state is State.ACCEPTED:
        values = {"springest_certificate_id": 7}
    key = add_delivery("T1", state=state.value, **values)
    queued = Queued(key, "T1", "1" * 64, 1, datetime.now(UTC), of_this_run=True)
    assert await take(worker(), queued) is NotClaimed.TAKEN
    assert delivery_of(warehouse, key).state == state.value
    assert attempts_of(warehouse, key) == []
    assert await worker().queue(after=None, limit=10) == []


async def test_a_delivery_staged_again_since_queueing_is_not_claimed(
    warehouse: Engine, add_delivery: AddDelivery, worker: MakeWorker, take: Take
) -> None:
    """A claim names the version that was queued, so a newer one is not claimed."""
    key = add_delivery("T1")
    queued = await first(worker())
    with warehouse.begin() as connection:
        connection.execute(text("UPDATE springest.delivery SET version = version + 1"))
    assert await take(worker(), queued) is NotClaimed.TAKEN
    assert attempts_of(warehouse, key) == []


@pytest.mark.parametrize(
    ("outcome", "state", "sent"),
    [
        (ACCEPTED, State.ACCEPTED, True),
        (Outcome(Event.ACCEPTED_WITHOUT_ID, reason="no_id_in_response"), State.ACCEPTED_NO_ID, True),
        (LOST, State.UNKNOWN, True),
        (REFUSED, State.REJECTED, True),
        (NOT_STORED, State.READY, False),
    ],
)
async def test_an_outcome_is_recorded_with_its_attempt(
    warehouse: Engine,
    add_delivery: AddDelivery,
    worker: MakeWorker,
    take: Take,
    outcome: Outcome,
    state: State,
    sent: bool,
) -> None:
    """An outcome is recorded in the delivery and in its attempt."""
    key = add_delivery("T1")
    claim = await take(worker(), await first(worker()))
    assert isinstance(claim, Claim)
    assert await worker().record(claim, outcome) is state
    found, (attempt,) = delivery_of(warehouse, key), attempts_of(warehouse, key)
    assert (found.state, found.reason, found.reason_detail) == (state, outcome.reason, outcome.detail)
    assert (found.lease_owner, found.lease_until) == (None, None)
    assert found.sent_at == (attempt.started_at if sent else None)
    assert found.springest_certificate_id == outcome.springest_certificate_id
    assert (attempt.outcome, attempt.failure) == (outcome.event, outcome.failure)
    assert (attempt.http_status, attempt.bytes_handed_over) == (
        outcome.http_status,
        outcome.bytes_handed_over,
    )
    assert attempt.finished_at >= attempt.started_at


async def test_an_outcome_waiting_for_a_lock_blocks_no_other(
    warehouse: Engine, warehouse_url: str, add_delivery: AddDelivery, take: Take
) -> None:
    """This also holds if one statement records both; otherwise the response to the other would be lost."""
    for name in ("T1", "T2"):
        add_delivery(name)
    address = make_url(warehouse_url).update_query_dict({"options": "-c lock_timeout=300"})
    engine = async_warehouse_engine(address)
    ledger = DeliveryRepository(engine, site="default", run_id="night", worker="one")
    claims = [await take(ledger, queued) for queued in await ledger.queue(after=None, limit=2)]
    outcomes = [
        Outcome(Event.ACCEPTED_WITH_ID, http_status=201, springest_certificate_id=number) for number in (7, 8)
    ]
    with warehouse.begin() as connection:
        connection.execute(
            text("SELECT FROM springest.delivery WHERE delivery_key = :key FOR UPDATE"),
            {"key": claims[0].delivery_key},
        )
        recorded = await asyncio.gather(*map(ledger.record, claims, outcomes), return_exceptions=True)
    assert isinstance(recorded[0], WarehouseLocked)
    assert recorded[1] is State.ACCEPTED
    found = [delivery_of(warehouse, claim.delivery_key) for claim in claims]
    assert [(row.state, row.springest_certificate_id) for row in found] == [
        ("sending", None),
        ("accepted", 8),
    ]
    assert await ledger.record(claims[0], outcomes[0]) is State.ACCEPTED
    await engine.dispose()


async def test_a_delivery_not_stored_can_be_claimed_again(
    warehouse: Engine, add_delivery: AddDelivery, worker: MakeWorker, take: Take
) -> None:
    """A delivery that Springest cannot have stored can be claimed again."""
    key = add_delivery("T1")
    claim = await take(worker(), await first(worker()))
    assert isinstance(claim, Claim)
    await worker().record(claim, NOT_STORED)
    assert isinstance(await take(worker(), await first(worker())), Claim)
    assert len(attempts_of(warehouse, key)) == 2


@pytest.mark.parametrize("event", [Event.SEEN, Event.RELEASED, Event.CLAIMED, Event.CHECKED_READY])
def test_an_impossible_outcome_of_sending_is_refused(event: Event) -> None:
    """An outcome that `sending` does not allow is refused."""
    with pytest.raises(IllegalTransition):
        _ = Outcome(event).state


async def test_a_sweep_makes_only_expired_leases_unknown(
    warehouse: Engine, add_delivery: AddDelivery, worker: MakeWorker, take: Take
) -> None:
    """Taking over a dead worker's lease never sends."""
    lost, alive, waiting = add_delivery("T1"), add_delivery("T2"), add_delivery("T3")
    elsewhere = add_delivery("T4", site="other")
    for queued in await worker().queue(after=None, limit=2):
        await take(worker(), queued, lease=-1 if queued.delivery_key == lost else 60)
    await take(worker(site="other"), await first(worker(site="other")), lease=-1)
    swept = [await worker("another").sweep_expired_leases() for _ in range(2)]
    assert swept == [1, 0]
    states = {key: delivery_of(warehouse, key).state for key in (lost, alive, waiting, elsewhere)}
    assert states == {lost: "unknown", alive: "sending", waiting: "ready", elsewhere: "sending"}
    (attempt,) = attempts_of(warehouse, lost)
    assert (attempt.outcome, attempt.failure) == ("outcome_unknown", "LeaseLost")
    found = delivery_of(warehouse, lost)
    assert (found.reason, found.sent_at) == ("lease_lost", attempt.started_at)
    assert "not sent again" in found.reason_detail


@pytest.mark.parametrize("outcome", [LOST, NOT_STORED, REFUSED, Outcome(Event.ACCEPTED_WITHOUT_ID)])
async def test_a_worker_that_lost_its_lease_changes_nothing_any_more(
    warehouse: Engine, add_delivery: AddDelivery, worker: MakeWorker, take: Take, outcome: Outcome
) -> None:
    """Above all, its late "not taken" must not put the delivery back into the queue. The attempt keeps it."""
    key = add_delivery("T1")
    claim = await take(worker(), await first(worker()), lease=-1)
    await worker().sweep_expired_leases()
    before = delivery_of(warehouse, key)
    assert isinstance(claim, Claim)
    assert await worker().record(claim, outcome) is None
    assert delivery_of(warehouse, key) == before
    assert attempts_of(warehouse, key)[0].outcome == outcome.event


@pytest.mark.parametrize("state", ["unknown", "review"])
async def test_a_late_201_still_resolves_its_own_delivery(
    warehouse: Engine, add_delivery: AddDelivery, worker: MakeWorker, take: Take, state: str
) -> None:
    """A 201 that is recorded after the lease expired makes the delivery `accepted`."""
    key = add_delivery("T1")
    claim = await take(worker(), await first(worker()), lease=-1)
    await worker().sweep_expired_leases()
    with warehouse.begin() as connection:
        connection.execute(text("UPDATE springest.delivery SET state = :state"), {"state": state})
    assert isinstance(claim, Claim)
    assert await worker().record(claim, ACCEPTED) is State.ACCEPTED
    found = delivery_of(warehouse, key)
    assert (found.state, found.springest_certificate_id, found.reason) == ("accepted", 7, None)


async def test_a_late_201_without_an_id_undoes_a_release(
    warehouse: Engine, add_delivery: AddDelivery, worker: MakeWorker, take: Take
) -> None:
    """Springest has it after all, which the person who released it could not know; it is not sent again."""
    key = add_delivery("T1")
    late = await take(worker("late"), await first(worker()), lease=-1)
    await worker().sweep_expired_leases()
    with warehouse.begin() as connection:
        connection.execute(text("UPDATE springest.delivery SET state = 'ready', version = version + 1"))
    assert late is not None
    taken = Outcome(Event.ACCEPTED_WITHOUT_ID, reason="no_id_in_response", http_status=202)
    assert await worker("late").record(late, taken) is State.ACCEPTED_NO_ID
    assert delivery_of(warehouse, key).state == "accepted_no_id"
    assert await worker().queue(after=None, limit=1) == []


async def test_a_late_201_does_not_touch_a_delivery_sent_again(
    warehouse: Engine, add_delivery: AddDelivery, worker: MakeWorker, take: Take
) -> None:
    """A person released it, and another worker is sending it; the attempt still keeps the id for a
    reviewer.
    """
    key = add_delivery("T1")
    late = await take(worker("late"), await first(worker()), lease=-1)
    await worker().sweep_expired_leases()
    with warehouse.begin() as connection:
        connection.execute(text("UPDATE springest.delivery SET state = 'ready'"))
    assert isinstance(await take(worker("other"), await first(worker())), Claim)
    assert late is not None
    assert await worker("late").record(late, ACCEPTED) is None
    assert delivery_of(warehouse, key).state == "sending"
    assert attempts_of(warehouse, key)[0].springest_certificate_id == 7


async def test_an_outcome_of_an_earlier_attempt_is_ignored(
    warehouse: Engine, add_delivery: AddDelivery, worker: MakeWorker, take: Take
) -> None:
    """An outcome counts for its own attempt only, even if the same worker made both."""
    key = add_delivery("T1")
    early = await take(worker(), await first(worker()))
    assert early is not None
    await worker().record(early, NOT_STORED)
    await take(worker(), await first(worker()))
    assert await worker().record(early, NOT_STORED) is None
    assert delivery_of(warehouse, key).state == "sending"


async def test_the_queue_returns_this_runs_deliveries_first(
    add_delivery: AddDelivery, worker: MakeWorker
) -> None:
    """The queue returns this run's deliveries first, then the others from the oldest."""
    day = datetime(2026, 11, 1, tzinfo=UTC)
    add_delivery("old", staged_run_id="before", created_at=day)
    add_delivery("older", staged_run_id="before", created_at=day - timedelta(days=1))
    add_delivery("tonight", staged_run_id="night", created_at=day + timedelta(days=2))
    add_delivery("tonight-first", staged_run_id="night", created_at=day + timedelta(days=1))
    add_delivery("elsewhere", site="other", created_at=day)
    queued = await worker(run_id="night").queue(after=None, limit=10)
    assert [item.training_id for item in queued] == ["tonight-first", "tonight", "older", "old"]
    assert [item.of_this_run for item in queued] == [True, True, False, False]


@pytest.mark.parametrize("page", [1, 2, 3, 7])
async def test_paging_through_the_queue_returns_each_once(
    add_delivery: AddDelivery, worker: MakeWorker, take: Take, page: int
) -> None:
    """This also holds if many were created at the same moment, and while those already read leave the
    queue.
    """
    moment = datetime(2026, 11, 1, tzinfo=UTC)
    for number in range(12):
        run = "night" if number % 3 else "before"
        add_delivery(f"T{number}", staged_run_id=run, created_at=moment + timedelta(seconds=number // 4))
    ledger = worker()
    whole = [item.delivery_key for item in await ledger.queue(after=None, limit=100)]
    read: list[str] = []
    after = None
    while batch := await ledger.queue(after=after, limit=page):
        after = batch[-1].order
        for queued in batch:
            read.append(queued.delivery_key)
            await take(ledger, queued)
    assert read == whole
    assert len(set(read)) == 12


async def test_the_queue_length_counts_this_run_and_all(
    add_delivery: AddDelivery, worker: MakeWorker
) -> None:
    """The length is counted for this run and for all runs."""
    add_delivery("T1")
    add_delivery("T2", staged_run_id="before")
    add_delivery("T3", state="held")
    add_delivery("T4", site="other")
    length = await worker().queue_length()
    assert (length.ready, length.of_this_run) == (2, 1)


async def test_a_run_that_is_not_approved_is_in_no_queue(
    warehouse: Engine, add_delivery: AddDelivery, worker: MakeWorker
) -> None:
    """This holds for this run and for any other; only chosen rows are approved."""
    for name, run in (("T1", "night"), ("T2", "before"), ("T3", "before")):
        add_delivery(name, staged_run_id=run)
    with warehouse.begin() as connection:
        connection.execute(text("DELETE FROM springest.approved_run"))
    ledger = worker(run_id="night")
    assert await ledger.queue(after=None, limit=9) == []
    assert await ledger.approve(lambda _: ()) == {"night": 1, "before": 2}
    assert await ledger.queue(after=None, limit=9) == []
    assert await ledger.approve(lambda _: ["before"]) == {"night": 1, "before": 2}
    assert [item.of_this_run for item in await ledger.queue(after=None, limit=9)] == [False, False]
    assert await ledger.approve(dict.keys) == {"night": 1}
    assert len(await ledger.queue(after=None, limit=9)) == 3


async def test_unknowns_count_for_every_run_until_resolved_or_old(
    warehouse: Engine, add_delivery: AddDelivery, worker: MakeWorker, take: Take
) -> None:
    """A cleared task, another process or another run does not get another ten unknown outcomes."""
    for name in ("T1", "T2", "T3", "T4"):
        add_delivery(name)
    for queued, outcome in zip(
        await worker().queue(after=None, limit=4), (LOST, ACCEPTED, None, LOST), strict=True
    ):
        claim = await take(worker(), queued, lease=-1)
        if outcome is not None:
            await worker().record(claim, outcome)
    assert await worker("other", run_id="other").count_unknown() == 2
    assert await worker("other", run_id="other").count_unknown(in_flight=True) == 3
    await worker().sweep_expired_leases()
    assert await worker("next try").count_unknown() == 3
    assert await worker(site="other").count_unknown() == 0
    with warehouse.begin() as connection:
        connection.execute(text("UPDATE springest.delivery SET state = 'visible' WHERE training_id = 'T1'"))
        connection.execute(
            text("UPDATE springest.delivery SET sent_at = sent_at - interval '12 h' WHERE training_id = 'T3'")
        )
    assert await worker().count_unknown() == 1
    assert await worker(unknown_since=datetime.now(UTC)).count_unknown() == 0


async def test_claims_are_limited_by_the_unknowns_of_all_processes(
    add_delivery: AddDelivery, worker: MakeWorker, take: Take
) -> None:
    """Claims in flight count as unknown outcomes, and make room again once they are resolved."""
    for number in range(5):
        add_delivery(f"T{number}")
    items = await worker().queue(after=None, limit=5)
    first_lost = await take(worker("one"), items[0], most=3)
    await worker("one").record(first_lost, LOST)
    under_way = [await take(worker(name), item, most=3) for name, item in zip("ab", items[1:3], strict=True)]
    assert await take(worker("c", run_id="other"), items[3], most=3) is NotClaimed.NO_CAPACITY
    assert await take(worker("c", run_id="other"), items[1], most=3) is NotClaimed.NO_CAPACITY
    await worker("a").record(under_way[0], ACCEPTED)
    assert await take(worker("c", run_id="other"), items[1], most=3) is NotClaimed.TAKEN
    assert isinstance(await take(worker("c", run_id="other"), items[3], most=3), Claim)
    assert await take(worker("d"), items[4], most=3) is NotClaimed.NO_CAPACITY


async def test_a_ledger_that_lost_attempts_gives_no_claims(
    warehouse: Engine, add_delivery: AddDelivery, worker: MakeWorker, take: Take
) -> None:
    """A standby's next number is up to 32 ahead of its rows, so the number alone proves nothing."""
    for name in ("T1", "T2"):
        add_delivery(name)
    first, two = await worker().queue(after=None, limit=2)
    claim = await take(worker(), first)
    with warehouse.begin() as connection:
        connection.execute(text("DELETE FROM springest.delivery_attempt"))
    assert await take(worker(), two, known=claim.attempt_id) is NotClaimed.LEDGER_BEHIND
    assert await worker().highest_attempt() == 0, "so that the next run notices it as well"
    assert isinstance(await take(worker(), two, known=0), Claim)


@pytest.mark.parametrize("together", [True, False])
async def test_claims_that_come_at_the_same_moment_count_each_other(
    warehouse_url: str, add_delivery: AddDelivery, worker: MakeWorker, take: Take, together: bool
) -> None:
    """In one statement, or in statements of several processes that began before any was committed."""
    for number in range(40):
        add_delivery(f"T{number}")
    items = await worker().queue(after=None, limit=40)
    engines = [create_async_engine(warehouse_url) for _ in range(1 if together else 8)]
    ledgers = [
        DeliveryRepository(engine, site="default", run_id="night", worker=f"w{number}")
        for number, engine in enumerate(engines)
    ]
    try:
        asking = [take(ledgers[number % len(ledgers)], item, most=10) for number, item in enumerate(items)]
        claims = await asyncio.gather(*asking)
    finally:
        for engine in engines:
            await engine.dispose()
    assert sum(isinstance(claim, Claim) for claim in claims) == 10
    assert claims.count(NotClaimed.NO_CAPACITY) == 30


async def test_a_cancelled_claim_leaves_the_connection_usable(
    async_warehouse: AsyncEngine, add_delivery: AddDelivery, worker: MakeWorker
) -> None:
    """Tasks are cancelled when the process is asked to stop; the outcome is still recorded afterwards."""
    add_delivery("T1")
    reading = asyncio.create_task(worker().queue(after=None, limit=1))
    reading.cancel()
    await asyncio.gather(reading, return_exceptions=True)
    assert len(await worker().queue(after=None, limit=1)) == 1
