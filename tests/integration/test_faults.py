"""Failing servers, networks and workers: nothing is sent twice or lost, and everything is reported."""

from __future__ import annotations

import asyncio
import multiprocessing
import os
import signal
import threading
import time
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import psycopg
import pytest
from sqlalchemy import text

from demo.pdf import make_pdf
from demo.people import Learner
from sandbox.faults import Fault, FaultBody, Kind
from springest.db.batching import StatementBatcher
from springest.delivery.attempt_watermark import AttemptWatermark
from springest.delivery.claims import Claim
from springest.delivery.run import SECONDS_TO_RESPOND
from springest.documents.opener import DocumentStore
from springest.errors import AccessRefused, RunTooLarge, SpringestUnreachable, TooManyUnknown, WorkerStopped
from springest.review.status import look
from springest.source.window import Window
from springest.staging import stage
from springest.staging.stage import Stager
from springest.states import State
from tests.integration.conftest import wait_until

_LEASE = "SELECT extract(epoch FROM lease_until - updated_at) FROM springest.delivery WHERE state = 'sending'"


def _staged(world, count=1):
    """A queue of good rows."""
    trainings = [world.training() for _ in range(count)]
    world.complete(*trainings)
    world.catalogue()
    world.stage()
    return trainings


@pytest.mark.parametrize(
    ("fault", "state", "reason", "stored"),
    [
        (Fault(Kind.CLOSE_BEFORE_STORING), "unknown", "response_lost", 0),
        (Fault(Kind.CLOSE_AFTER_STORING), "unknown", "response_lost", 1),
        (Fault(Kind.STORE_LATE), "unknown", "response_lost", 0),
        (Fault(Kind.STATUS, status=500), "unknown", "server_error", 0),
        (Fault(Kind.STATUS_AFTER_STORING, status=502), "unknown", "server_error", 1),
        (Fault(Kind.STATUS, status=429), "unknown", "throttled", 0),
        (Fault(Kind.STATUS, status=503, retry_after="0"), "unknown", "throttled", 0),
        (Fault(Kind.STATUS, status=302), "unknown", "redirected", 0),
        (Fault(Kind.STATUS, status=418), "unknown", "unexpected_status", 0),
        (Fault(Kind.STATUS, status=422), "rejected", "rejected", 0),
        (Fault(Kind.SLOW, seconds=3.0), "unknown", "response_timeout", 1),
        (Fault(Kind.TRUNCATED), "unknown", "response_lost", 1),
        (Fault(Kind.CUT_SHORT), "unknown", "invalid_response", 1),
        (Fault(Kind.HTML), "unknown", "invalid_response", 1),
        (Fault(Kind.STATUS, status=200, body=FaultBody.HTML), "unknown", "invalid_response", 0),
        (Fault(Kind.STATUS, status=200, body=FaultBody.XHTML), "unknown", "invalid_response", 0),
        (Fault(Kind.STATUS, status=201, body=FaultBody.JSON), "unknown", "invalid_response", 0),
        (Fault(Kind.STATUS, status=200, body=FaultBody.EMPTY), "unknown", "invalid_response", 0),
        (Fault(Kind.STATUS_AFTER_STORING, status=200, body=FaultBody.XML), "unknown", "invalid_response", 1),
        (Fault(Kind.STATUS, status=503, body=FaultBody.HTML), "unknown", "server_error", 0),
        (Fault(Kind.STATUS, status=413, body=FaultBody.HTML), "rejected", "rejected", 0),
        (
            Fault(Kind.STATUS_AFTER_STORING, status=403, body=FaultBody.HTML),
            "unknown",
            "unexpected_status",
            1,
        ),
        (Fault(Kind.STATUS, status=403, body=FaultBody.HTML, retry_after="0"), "unknown", "throttled", 0),
        (Fault(Kind.STATUS, status=302, body=FaultBody.HTML), "unknown", "redirected", 0),
    ],
    ids=lambda value: f"{value.kind}-{value.status}-{value.body}" if isinstance(value, Fault) else None,
)
def test_one_bad_answer_and_a_second_run(world, fault, state, reason, stored):
    """A second run sends nothing again, regardless of the first response."""
    [training] = _staged(world)
    world.sandbox.state.faults.add(fault)
    world.deliver("first")
    assert world.states() == {training.training_id: (state, reason)}
    world.deliver("second")
    wait_until(lambda: world.posts)  # a request is noted once it is answered, or given up
    assert world.posts == 1
    assert len(world.sandbox.store.certificates()) == stored


def test_a_stuck_file_system_blocks_neither_others_nor_the_end(world, monkeypatch):
    """One document can't be opened; the response to another certificate stops the run."""
    stuck, _ = _staged(world, 2)
    world.sandbox.state.faults.add(Fault(Kind.STATUS, status=401))
    open_, let_go, returned = DocumentStore.open, threading.Event(), threading.Event()

    def opener(store, uri, checked=None):
        if uri == stuck.certificate_uri:
            let_go.wait(30)
            returned.set()
        return open_(store, uri, checked)

    monkeypatch.setattr(DocumentStore, "open", opener)
    try:
        with pytest.raises(AccessRefused):
            world.deliver()
        assert not returned.is_set()
    finally:
        let_go.set()
    assert returned.wait(30)
    assert world.posts == 1
    assert {state for state, _ in world.states().values()} == {"ready"}


def test_an_incomplete_request_is_repeated_in_the_same_run(world, expected):
    """A body that was not sent in full is known not to have been stored."""
    [training] = _staged(world)
    Path(training.certificate_uri).write_bytes(make_pdf(filling=os.urandom(9_000_000)))
    world.sandbox.state.faults.add(Fault(Kind.CLOSE_BEFORE_BODY))
    world.deliver()
    assert world.stored == expected(training)
    attempts = world.rows("SELECT outcome, failure FROM springest.delivery_attempt ORDER BY attempt_id")
    assert attempts == [("not_stored", "RequestNotSent"), ("accepted_with_id", None)]


@pytest.mark.parametrize(("status", "became"), [(429, "accepted"), (503, "accepted"), (403, "unknown")])
def test_only_a_rate_limit_is_known_to_store_nothing(world, status, became):
    """On a site whose setting says so, the same run sends it again; never after a 403."""
    world.extra["throttled_takes_nothing"] = True
    _staged(world)
    world.sandbox.state.faults.add(Fault(Kind.STATUS, status=status, retry_after="0"))
    world.deliver()
    assert [state for state, _ in world.states().values()] == [became]
    assert world.posts == (2 if became == "accepted" else 1)


def test_a_bad_hour_stays_small(world):
    """When every answer is lost, at most ten become unknown, and the rest stays in the queue."""
    _staged(world, 40)
    world.sandbox.state.faults.add(Fault(Kind.CLOSE_AFTER_STORING, times=None))
    with pytest.raises((TooManyUnknown, SpringestUnreachable)):
        world.deliver()
    states = [state for state, _ in world.states().values()]
    assert states.count("unknown") <= 10
    assert states.count("ready") == 40 - states.count("unknown")
    assert world.posts == states.count("unknown")


FOREIGN = [
    Fault(Kind.STATUS, status=200, body=FaultBody.HTML, times=None),
    Fault(Kind.STATUS, status=200, body=FaultBody.XHTML, times=None),
    Fault(Kind.STATUS, status=201, body=FaultBody.JSON, times=None),
    Fault(Kind.STATUS, status=200, body=FaultBody.EMPTY, times=None),
    Fault(Kind.STATUS, status=503, body=FaultBody.HTML, times=None),
    Fault(Kind.STATUS, status=403, body=FaultBody.HTML, times=None),
    Fault(Kind.STATUS, status=302, body=FaultBody.HTML, times=None),
]


@pytest.mark.parametrize("everywhere", [False, True], ids=["posts", "posts and gets"])
@pytest.mark.parametrize("fault", FOREIGN, ids=lambda fault: f"{fault.status}-{fault.body}")
def test_pages_that_are_not_springests_are_no_success(world, fault, everywhere):
    """Maintenance, a login form, a firewall: at most ten are sent, and none counts as taken."""
    _staged(world, 40)
    world.sandbox.state.faults.add(fault)
    if everywhere:
        world.sandbox.state.faults.add(replace(fault, method="GET"))
    with pytest.raises((TooManyUnknown, SpringestUnreachable)):
        world.deliver()
    states = Counter(state for state, _ in world.states().values())
    assert set(states) == {"unknown", "ready"}
    assert states["unknown"] == world.posts <= 10
    with pytest.raises((TooManyUnknown, SpringestUnreachable)):
        world.deliver("second")
    assert world.posts <= 10


def test_a_retry_of_the_same_run_does_not_get_ten_more(world):
    """The bound is for the run, whatever Airflow does with its tasks."""
    _staged(world, 40)
    world.sandbox.state.faults.add(Fault(Kind.CLOSE_AFTER_STORING, times=None))
    for _ in range(3):
        with pytest.raises((TooManyUnknown, SpringestUnreachable)):
            world.deliver("night")
    assert world.posts <= 10


def _deliver_until_nothing_goes(world, started):
    world.warehouse.dispose(close=False)
    world.source.dispose(close=False)
    started.set()
    with suppress(TooManyUnknown, SpringestUnreachable):
        world.deliver("night", probe_delays=(0.01,) * 5)


@pytest.mark.parametrize("run_id", ["night", "backfill"])
def test_two_processes_do_not_get_ten_each(world, run_id):
    """In-flight and unknown deliveries count for all processes, of one run or two, from an outage's start."""
    _staged(world, 80)
    world.sandbox.state.faults.add(Fault(Kind.SLOW, times=20, seconds=0.05))
    world.sandbox.state.faults.add(Fault(Kind.CLOSE_AFTER_STORING, times=None))
    context = multiprocessing.get_context("fork")
    started = context.Event()
    beside = context.Process(target=_deliver_until_nothing_goes, args=(world, started))
    beside.start()
    assert started.wait(30)
    with suppress(TooManyUnknown, SpringestUnreachable):
        world.deliver(run_id, probe_delays=(0.01,) * 5)
    beside.join(60)
    assert [state for state, _ in world.states().values()].count("unknown") <= 10
    assert [state for state, _ in world.states().values()].count("accepted") == 20


def test_a_run_of_a_person_goes_on_and_a_backfill_does_not(world):
    """Ten are unknown: each day of a backfill would add ten more. A person has seen them."""
    _staged(world, 40)
    world.sandbox.state.faults.add(Fault(Kind.CLOSE_AFTER_STORING, times=20))
    with pytest.raises((TooManyUnknown, SpringestUnreachable)):
        world.deliver("night", probe_delays=(0.01,) * 5)
    lost = [state for state, _ in world.states().values()].count("unknown")
    assert 5 <= lost <= 10
    world.sandbox.state.faults.clear()
    if lost == 10:
        with pytest.raises(TooManyUnknown, match="bin/springest review"):
            world.deliver("backfill")
    assert world.deliver("manual", unknown_since=datetime.now(UTC)).accepted == 40 - lost


def test_a_short_trouble_is_waited_out(world, expected):
    """Three lost answers pause the run, the probe finds the server well, and the rest goes out."""
    trainings = _staged(world, 20)
    world.sandbox.state.faults.add(Fault(Kind.STATUS, status=500, times=3))
    report = world.deliver(concurrency=1)
    assert (report.unknown, report.accepted) == (3, 17)
    assert len(world.sandbox.store.certificates()) == len(trainings) - 3


def test_workers_waiting_for_a_grant_respect_an_open_breaker(world):
    """Ten wait for grants when the third response is lost: none of them claims before a probe succeeds."""
    _staged(world, 40)
    world.extra["requests_per_hour"] = 7_200
    world.sandbox.state.faults.add(Fault(Kind.STATUS, status=500, skip=20, times=None))

    async def stop_a_few_turns_later(run):
        while run.stats.outcomes[State.UNKNOWN] < 3:  # noqa: ASYNC110 - the tally tells nobody
            await asyncio.sleep(0.01)
        await asyncio.sleep(3)
        run.stop.trigger("seen enough")

    report = world.deliver(probe_delays=(600.0,), meanwhile=stop_a_few_turns_later)
    assert report.accepted == 20
    assert 3 <= report.unknown <= 4, "one more may be under way already"
    assert report.left == 40 - 20 - report.unknown


def test_a_worker_stopped_while_claiming_leaves_no_unknown(world, monkeypatch):
    """The claim is committed and nobody waits for it any more: no byte was sent, and the ledger knows."""
    _staged(world, 3)
    execute, claiming = StatementBatcher._execute, asyncio.Event()

    async def claims_slowly(lane, asked):
        answers = await execute(lane, asked)
        if isinstance(answers[0], Claim):
            claiming.set()
            await asyncio.sleep(SECONDS_TO_RESPOND + 0.5)
        return answers

    async def stop(run):
        await claiming.wait()
        run.stop_now()

    monkeypatch.setattr(StatementBatcher, "_execute", claims_slowly)
    with pytest.raises(WorkerStopped):
        world.deliver(meanwhile=stop)
    assert world.posts == 0
    states = set(world.states().values())
    assert ("ready", "worker_stopped") in states
    assert states <= {("ready", "worker_stopped"), ("ready", None)}
    monkeypatch.undo()
    assert world.deliver("retry").accepted == 3


def test_the_deadline_is_kept_when_the_telling_hangs_or_fails(world, monkeypatch):
    """Requests to the warehouse and Airflow cannot delay the end of a run."""
    _staged(world, 30)
    world.extra["requests_per_hour"] = 3600
    monkeypatch.setattr("springest.delivery.run.PROGRESS_SECONDS", 0.1)
    keep, hangs = AttemptWatermark.flush, [True]

    async def keep_slowly(watermark):
        if hangs:
            hangs.clear()
            await asyncio.sleep(60)
        await keep(watermark)

    monkeypatch.setattr(AttemptWatermark, "flush", keep_slowly)
    began = time.monotonic()
    report = world.deliver(seconds_to_deliver_until=2.0)
    assert report.stopped_by == "deliver_until has passed"
    assert time.monotonic() - began < 30


def test_a_retry_after_the_deadline_sends_nothing(world, caplog):
    """It reports how many certificates are left."""
    _staged(world, 10)
    world.extra["requests_per_hour"] = 360
    with caplog.at_level("WARNING"):
        report = world.deliver(seconds_to_deliver_until=0.0, night_seconds=60.0)
    assert (world.posts, report.left, report.stopped_by) == (0, 10, "deliver_until has passed")
    assert (
        "10 stay in the queue: 0.0 hours of sending at the rate limit, 2 nights as long as this one"
        in caplog.text
    )


def test_a_run_whose_worker_is_drained_does_not_end_well(world):
    """So that Airflow tries again, and nobody takes the night for done."""
    _staged(world, 40)
    world.sandbox.state.faults.add(Fault(Kind.SLOW, seconds=0.05, times=None))

    async def stop(run):
        while not run.stats.attempts:  # noqa: ASYNC110 - the tally tells nobody
            await asyncio.sleep(0.01)
        run.stop_now()

    with pytest.raises(WorkerStopped, match="next try"):
        world.deliver(meanwhile=stop)
    sent = world.posts
    assert 0 < sent < 40
    assert world.deliver().accepted == 40 - sent


def test_a_key_that_is_not_known_stops_at_once(world):
    """Every other certificate would fare the same; the queue stays as it was."""
    _staged(world, 20)
    world.password = "a-key-that-was-revoked"
    with pytest.raises(AccessRefused, match="key"):
        world.deliver(concurrency=2)
    assert {state for state, _ in world.states().values()} == {"ready"}
    assert world.posts <= 2


def test_three_forbidden_rows_stop_the_run_and_one_does_not(world):
    """One may be this certificate's own fault."""
    _staged(world, 10)
    world.sandbox.state.faults.add(Fault(Kind.STATUS, status=403, times=1))
    report = world.deliver("first", concurrency=1)
    assert report.left == 0
    _staged(world, 10)
    world.sandbox.state.faults.add(Fault(Kind.STATUS, status=403, times=None))
    with pytest.raises(AccessRefused):
        world.deliver("second", concurrency=1)
    assert [state for state, _ in world.states().values()].count("ready") == 10


def test_a_document_that_vanishes_after_staging_is_set_aside(world, expected):
    """The document is opened at the moment of sending; the other certificates are sent."""
    gone, good = _staged(world, 2)
    Path(gone.certificate_uri).unlink()
    report = world.deliver()
    assert (report.accepted, report.set_aside) == (1, 1)
    assert world.stored == expected(good)
    assert world.states()[gone.training_id] == ("invalid", "document_missing")


def test_a_run_ends_before_its_deadline_with_a_remainder(world):
    """The remainder stays in the queue for the next night, and the report counts it."""
    _staged(world, 30)
    world.extra["requests_per_hour"] = 3600
    report = world.deliver(seconds_to_deliver_until=3.0)
    assert report.stopped_by == "deliver_until has passed"
    assert report.left == 30 - report.accepted
    assert 0 < report.accepted < 30
    assert report.hours_left == pytest.approx(report.left / (3600 * 0.95), abs=0.006)


def _deliver_forever(world, started):
    world.warehouse.dispose(close=False)
    world.source.dispose(close=False)
    started.set()
    world.deliver("killed", concurrency=4)


@pytest.mark.parametrize("after", [0.0, 0.1, 0.3])
def test_a_killed_worker_leaves_nothing_that_is_sent_twice(world, after):
    """`kill -9` while sending: its claims become unknown, the rest is sent once."""
    trainings = _staged(world, 60)
    world.sandbox.state.faults.add(Fault(Kind.SLOW, seconds=0.05, times=None))
    context = multiprocessing.get_context("fork")
    started = context.Event()
    worker = context.Process(target=_deliver_forever, args=(world, started))
    worker.start()
    assert started.wait(30)
    wait_until(lambda: world.posts)
    time.sleep(after)
    assert worker.is_alive()
    os.kill(worker.pid, signal.SIGKILL)
    worker.join()
    assert world.rows("SELECT 1 FROM springest.delivery_attempt LIMIT 1")
    with world.warehouse.begin() as connection:
        connection.exec_driver_sql(
            "UPDATE springest.delivery SET lease_until = now() - interval '1 s' WHERE state = 'sending'"
        )
    world.deliver("after")
    stored = world.sandbox.store.certificates()
    assert len({certificate.email for certificate in stored}) == len(stored)
    states = [state for state, _ in world.states().values()]
    assert set(states) <= {"accepted", "unknown"}
    assert len(states) == len(trainings)
    assert len(stored) >= states.count("accepted")
    assert world.posts <= len(trainings)


def test_a_lease_outlasts_the_longest_post_as_configured(world):
    """A smaller margin returns a dead worker's certificates sooner."""
    _staged(world)
    world.extra["timeout"] = {"connect": 1, "read": 20, "total": 20}
    world.sandbox.state.faults.add(Fault(Kind.SLOW, seconds=5.0))
    context = multiprocessing.get_context("fork")
    worker = context.Process(target=lambda: world.deliver(lease_margin=100.0))
    worker.start()
    wait_until(lambda: world.rows(_LEASE))
    lease = world.rows(_LEASE)
    worker.join(60)
    assert float(lease[0][0]) == pytest.approx(120, abs=1)


def test_two_runs_beside_each_other_send_each_certificate_once(world, expected):
    """Claims are compare-and-set: one wins, the other goes on."""
    trainings = _staged(world, 60)
    world.sandbox.state.faults.add(Fault(Kind.SLOW, seconds=0.1, times=None))
    context = multiprocessing.get_context("fork")
    started = context.Event()
    worker = context.Process(target=_deliver_forever, args=(world, started))
    worker.start()
    assert started.wait(30)
    world.deliver("beside", concurrency=4)
    worker.join(60)
    runs = world.rows("SELECT DISTINCT run_id FROM springest.delivery_attempt ORDER BY 1")
    assert runs == [("beside",), ("killed",)]
    assert world.stored == expected(*trainings)
    assert world.posts == len(trainings)


def test_an_outcome_that_can_not_be_recorded_is_named_in_the_log(world, monkeypatch, caplog):
    """Nothing is sent again, and a person can still say which certificate it is."""
    monkeypatch.setattr("springest.delivery.attempt.RECORDING_SECONDS", 0.0)
    _staged(world)
    with world.warehouse.begin() as connection:
        connection.execute(
            text(
                "CREATE FUNCTION springest.refuse() RETURNS trigger LANGUAGE plpgsql AS"
                " $$ BEGIN RAISE EXCEPTION 'not now'; END $$;"
                " CREATE TRIGGER refuse BEFORE UPDATE ON springest.delivery_attempt"
                " FOR EACH ROW EXECUTE FUNCTION springest.refuse()"
            )
        )
    with pytest.raises(psycopg.Error, match="not now"):
        world.deliver()
    [stored] = world.sandbox.store.certificates()
    assert f"accepted_with_id, HTTP status 201, certificate {stored.id}." in caplog.text
    assert set(world.states().values()) == {("sending", None)}
    assert world.posts == 1


def test_a_late_response_still_resolves_an_unknown(world):
    """The worker's own 201 arrives after its lease was lost to a sweep."""
    [training] = _staged(world)
    world.extra["timeout"] = {"connect": 10, "read": 30, "total": 60}
    world.sandbox.state.faults.add(Fault(Kind.SLOW, seconds=5.0))
    context = multiprocessing.get_context("fork")
    started = context.Event()
    worker = context.Process(target=_deliver_forever, args=(world, started))
    worker.start()
    wait_until(lambda: world.states()[training.training_id][0] == "sending")
    os.kill(worker.pid, signal.SIGSTOP)
    try:
        with world.warehouse.begin() as connection:
            connection.exec_driver_sql("UPDATE springest.delivery SET lease_until = now() - interval '1 s'")
        world.deliver("beside")
        assert world.states() == {training.training_id: ("unknown", "lease_lost")}
    finally:
        os.kill(worker.pid, signal.SIGCONT)
    worker.join(60)
    assert world.states() == {training.training_id: ("accepted", None)}
    assert world.posts == 1


def test_an_always_refused_certification_costs_five_refusals(world, expected):
    """The rest of it stays in the queue, and the other certifications are sent."""
    refused = [world.training(certification_id=105) for _ in range(20)]
    good = [world.training() for _ in range(20)]
    world.complete(*refused, *good)
    world.catalogue()
    world.stage()
    world.sandbox.state.faults.add(Fault(Kind.STATUS, status=422, times=None, certification_id=105))
    report = world.deliver()
    assert (report.rejected, report.accepted, report.left) == (5, 20, 15)
    assert world.stored == expected(*good)


def _many(world, first=1_000, count=600):
    """More good rows than a night may have, of one document."""
    learners = (Learner(number, "Ana", f"ana.{number}@example.com") for number in range(first, first + count))
    training = world.training()
    return [replace(training, training_id=f"B{learner.number}", learner=learner) for learner in learners]


def test_rows_staged_during_a_night_wait_for_their_own_run(world):
    """A concurrent backfill gets its volume check in its own delivering run, however long the night's queue
    is.
    """
    own = _staged(world, 20)
    world.complete(*_many(world))
    world.sandbox.state.faults.add(Fault(Kind.SLOW, seconds=0.3, times=None))

    async def stage_another(_deliverer):
        await asyncio.to_thread(world.stage, "backfill")

    assert world.deliver(concurrency=1, meanwhile=stage_another).accepted == 20
    assert [state for state, _ in world.states().values()].count("ready") == 600
    with pytest.raises(RunTooLarge, match="600 certificates"):
        world.deliver("backfill")
    assert world.posts == len(own)


def test_a_night_is_sent_beside_backfills_of_any_size(world, caplog):
    """Each run has its own volume check; one that is too large keeps no other from being sent, and is
    reported.
    """
    world.catalogue()
    now = datetime.now(UTC)
    for number, count in enumerate((200, 200, 200, 600)):
        world.complete(*_many(world, first=1_000 * (number + 1), count=count), ago=timedelta(days=number + 2))
        day = Window(now - timedelta(days=number + 2, hours=1), now - timedelta(days=number + 2, hours=-1))
        assert world.stage(f"backfill {number}", asked=day).rows == count
    own = world.training()
    world.complete(own)
    world.stage("night")
    with pytest.raises(RunTooLarge, match="expected_certificates of at least 600"):
        world.deliver("a person", expected=599)
    assert (world.posts, look(world.warehouse, world.site).too_large) == (0, {"backfill 3": 600})
    with caplog.at_level("WARNING"):
        assert world.deliver("night").left == 600
    assert world.posts == 601
    assert "600 certificates of run backfill 3: more than the 500" in caplog.text
    assert world.deliver("a person", expected=600).accepted == 600
    assert look(world.warehouse, world.site).too_large == {}


def test_a_run_without_room_for_unknowns_reports_it(world, monkeypatch, caplog):
    """Another run has as many in flight as all may have together, and the server is slow to respond."""
    _staged(world, 11)
    with world.warehouse.begin() as connection:
        connection.exec_driver_sql(
            "UPDATE springest.delivery SET state = 'sending', lease_owner = 'another',"
            " lease_until = now() + interval '1 hour' WHERE training_id <> 'T0001'"
        )
    monkeypatch.setattr("springest.delivery.pipeline.SECONDS_BETWEEN_WARNINGS", 0.0)
    with caplog.at_level("WARNING"):
        assert world.deliver(seconds_to_deliver_until=2.0).left == 1
    assert "10 of site default are unknown or in flight, as many as may be over all runs" in caplog.text
    assert world.posts == 0


def test_a_run_staged_again_gets_another_volume_check(world):
    """The source got 600 rows meanwhile, in the window of a run that had sent one."""
    window = Window(datetime.now(UTC) - timedelta(days=1), datetime.now(UTC) + timedelta(days=1))
    world.complete(world.training())
    world.catalogue()
    world.stage(asked=window)
    assert world.deliver().accepted == 1
    world.complete(*_many(world))
    world.stage(asked=window)
    with pytest.raises(RunTooLarge, match="600 certificates"):
        world.deliver()
    assert world.posts == 1
    assert world.deliver(expected=600).accepted == 600


def test_a_half_staged_run_waits_until_it_is_whole(world, monkeypatch):
    """Five hundred of six hundred rows would pass as a night's work."""
    world.complete(*_many(world))
    world.catalogue()
    read, half, go_on = Stager._read, threading.Event(), threading.Event()

    def read_slowly(stager, rows):
        rows = list(rows)
        if len(rows) == 100:
            half.set()
            assert go_on.wait(30)
        return read(stager, rows)

    monkeypatch.setattr("springest.source.reader.BATCH_ROWS", 500)
    monkeypatch.setattr(Stager, "_read", read_slowly)
    with ThreadPoolExecutor(1) as threads:
        staging = threads.submit(world.stage, "backfill")
        try:
            assert half.wait(30)
            assert len(world.states()) == 500
            assert world.deliver("night").left == 500
        finally:
            go_on.set()
        staging.result()
    assert world.deliver("night").left == 600
    assert world.posts == 0


def test_a_run_that_another_process_still_stages_waits_for_it(world, monkeypatch):
    """A task that Airflow believes dead: the next try stages beside it, and sends once both are through."""
    world.complete(*(world.training() for _ in range(3)))
    world.catalogue()
    monkeypatch.setattr("springest.delivery.run.PROGRESS_SECONDS", 0.1)
    close, hanging, go_on = stage.close_window, threading.Event(), threading.Event()

    def close_slowly(*args, **kwargs):
        if not hanging.is_set():
            hanging.set()
            assert go_on.wait(30)
        close(*args, **kwargs)

    async def let_it_end(run):
        await asyncio.sleep(1)
        assert (world.posts, run.stats.attempts) == (0, 0)
        go_on.set()

    monkeypatch.setattr(stage, "close_window", close_slowly)
    with ThreadPoolExecutor(1) as threads:
        staging = threads.submit(world.stage)
        try:
            assert hanging.wait(30)
            assert world.stage().rows == 3
            assert world.deliver(meanwhile=let_it_end).accepted == 3
        finally:
            go_on.set()
        staging.result()


def test_the_next_night_sends_what_a_dead_staging_left(world, monkeypatch):
    """Its window was never closed, and nobody clears the task; its rows get a volume check and are sent."""
    world.complete(*(world.training() for _ in range(3)))
    world.catalogue()
    with monkeypatch.context() as patch:
        patch.setattr("springest.staging.stage.close_window", _die)
        with pytest.raises(SystemExit):
            world.stage("died")
    assert world.deliver("next").accepted == 3


def _die(*_args, **_kwargs):
    raise SystemExit


def test_a_night_much_larger_than_others_waits_for_a_person(world):
    """It sends nothing until somebody says what to expect; the same number next night needs no one."""
    world.complete(*_many(world))
    world.catalogue()
    world.stage("large")
    with pytest.raises(RunTooLarge, match="expected_certificates of at least 600"):
        world.deliver("large")
    with pytest.raises(RunTooLarge):
        world.deliver("large again", expected=599)
    assert world.posts == 0
    world.sandbox.state.faults.add(Fault(Kind.SLOW, seconds=0.1, times=None))
    report = world.deliver("third", expected=600, seconds_to_deliver_until=2.0, concurrency=1)
    assert 0 < report.left < 600
    world.sandbox.state.faults.clear()
    assert world.deliver("the next night").left == 0
    assert len(world.sandbox.store.certificates()) == 600
