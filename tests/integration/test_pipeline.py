"""The gates of the pipeline: their order, and that a closed one lets nothing through."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Awaitable, Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from types import FrameType
from typing import Any

import pytest
from sqlalchemy import text
from sqlalchemy.ext.asyncio import create_async_engine

import springest
from springest.api.client import SpringestClient
from springest.delivery import pipeline as module
from springest.delivery.breaker import Breaker
from springest.delivery.document_gate import DocumentGate
from springest.delivery.freshness import FRESH_SECONDS, SourceCheck
from springest.delivery.pipeline import CertificatePipeline, OutgoingCertificate
from springest.delivery.repository import DeliveryRepository
from springest.delivery.slow_start import SlowStart
from springest.delivery.stats import DeliveryStats
from springest.delivery.stop_signal import StopSignal
from springest.errors import DeliveryStopped
from springest.rate_limit.limiter import RateLimiter
from springest.states import State
from tests.integration.conftest import World

MOST_FRAMES = 7
PACKAGE = str(Path(springest.__file__).parent)
LONG_AGO = 2 * FRESH_SECONDS


@dataclass
class Gates:
    """A pipeline with everything it needs, and one certificate before its first gate."""

    world: World
    pipeline: CertificatePipeline
    breaker: Breaker
    limiter: RateLimiter
    ledger: DeliveryRepository
    stop: StopSignal
    stats: DeliveryStats
    certificate: OutgoingCertificate


async def _close_slow_start(gates: Gates) -> None:
    for _ in range(5):
        assert gates.pipeline.slow_start.try_enter(102)
        await gates.pipeline.slow_start.leave(102, State.REJECTED)


async def _close_document(gates: Gates) -> None:
    for document in gates.world.folder.iterdir():
        document.unlink()


async def _close_concurrency(gates: Gates) -> None:
    while not gates.pipeline._concurrency.locked():
        await gates.pipeline._concurrency.acquire()


async def _close_unknown_budget(gates: Gates) -> None:
    while not gates.pipeline._unknown_budget.locked():
        await gates.pipeline._unknown_budget.acquire()


async def _close_circuit_breaker(gates: Gates) -> None:
    for _ in range(3):
        gates.breaker.record_failure()


async def _close_rate_limit(gates: Gates) -> None:
    await gates.limiter.freeze(600)


async def _close_freshness(gates: Gates) -> None:
    gates.certificate.read_at -= LONG_AGO
    with gates.world.source.begin() as connection:
        connection.execute(text("UPDATE completed_training SET valid_until = '2030-01-01'"))


async def _close_claim(gates: Gates) -> None:
    with gates.world.warehouse.begin() as connection:
        connection.execute(text("UPDATE springest.delivery SET version = version + 1"))


async def _use_up_the_sites_capacity(gates: Gates) -> None:
    """Another process has as many in flight as may be."""
    with gates.world.warehouse.begin() as connection:
        connection.execute(
            text(
                "INSERT INTO springest.delivery (delivery_key, site, training_id, issue_no, state,"
                " row_version, staged_run_id, lease_owner, lease_until)"
                " SELECT lpad(n::text, 64, '0'), 'default', 'B' || n, 1, 'sending', repeat('1', 64),"
                " 'beside', 'another', now() + interval '1 h' FROM generate_series(1, 10) AS n"
            )
        )


async def _send(
    world: World, close: Callable[[Gates], Awaitable[None]] | None, *, waits: bool = False
) -> DeliveryStats:
    """Close a gate and send one certificate; if it waits at the gate, stop the run after a while."""
    engine = create_async_engine(world.warehouse_url, pool_size=6)
    try:
        async with SpringestClient(world.site) as client:
            context = world.context(engine, client, "night")
            stop, stats = StopSignal(), DeliveryStats()
            breaker = Breaker(probe=_fail, give_up=lambda _: None, delays=(600.0,))
            source = SourceCheck(context, stats)
            pipeline = CertificatePipeline(
                context,
                stop=stop,
                breaker=breaker,
                stats=stats,
                concurrency=2,
                max_unknown=10,
                unknown_left=10,
                source=source,
            )
            await context.watermark.verify(context.ledger.highest_attempt)
            await context.ledger.approve(dict.keys)
            queued = await context.ledger.queue(after=None, limit=9)
            [(delivery, training)] = await source.read(queued)
            certificate = OutgoingCertificate(delivery, training, asyncio.get_running_loop().time())
            if close is not None:
                await close(
                    Gates(world, pipeline, breaker, context.limiter, context.ledger, stop, stats, certificate)
                )
            sending = asyncio.create_task(pipeline.send(certificate))
            if waits:
                done, _ = await asyncio.wait((sending,), timeout=1)
                assert not done, "it should wait"
                stop.trigger("the test has seen enough")
                pipeline._concurrency.release()  # as POSTs do when they end
            await sending
            pipeline.documents.close()
            await breaker.stop()
            return stats
    finally:
        await engine.dispose()


async def _fail() -> None:
    raise AssertionError("not probed within ten minutes")


@pytest.fixture
def staged(world: World) -> World:
    """A world with one certificate in its queue."""
    world.complete(world.training())
    world.catalogue()
    world.stage()
    return world


def test_a_certificate_passes_when_every_gate_is_open(staged: World) -> None:
    """The certificate is sent if no gate is closed."""
    stats = asyncio.run(_send(staged, None))
    assert (staged.posts, stats.outcomes) == (1, {State.ACCEPTED: 1})


@pytest.mark.parametrize(
    ("close", "waits"),
    [
        (_close_slow_start, False),
        (_close_document, False),
        (_close_concurrency, True),
        (_close_unknown_budget, True),
        (_close_circuit_breaker, True),
        (_close_rate_limit, True),
        (_close_freshness, False),
        (_close_claim, False),
        (_use_up_the_sites_capacity, True),
    ],
    ids=lambda value: value.__name__.strip("_") if callable(value) else "waits" if value else "returns",
)
def test_a_closed_gate_lets_nothing_through(
    staged: World, close: Callable[[Gates], Awaitable[None]], waits: bool
) -> None:
    """One closed gate keeps the certificate from being claimed and sent; it is not lost."""
    stats = asyncio.run(_send(staged, close, waits=waits))
    assert staged.posts == 0
    assert staged.rows("SELECT count(*) FROM springest.delivery_attempt") == [(0,)]
    is_set_aside = close is _close_document
    assert staged.states()["T0001"] == (("invalid", "document_missing") if is_set_aside else ("ready", None))
    assert (stats.set_aside, stats.restaged, stats.taken_by_others) == (
        is_set_aside,
        close is _close_freshness,
        close is _close_claim,
    )


def test_the_gates_are_passed_in_the_documented_order(staged: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """The order of the table at the top of the pipeline is the order in which gates are passed."""
    passed: list[str] = []

    def record(owner: Any, name: str, gate: str) -> None:
        original = getattr(owner, name)

        def passing(*args: Any, **kwargs: Any) -> Any:
            passed.append(gate)
            return original(*args, **kwargs)

        monkeypatch.setattr(owner, name, passing)

    record(SlowStart, "try_enter", "slow start")
    record(DocumentGate, "open", "document")
    record(CertificatePipeline, "_unknown_budget_gate", "unknown budget")
    record(CertificatePipeline, "_rate_limit_gate", "rate limit")
    record(CertificatePipeline, "_freshness_gate", "freshness")
    record(DeliveryRepository, "claim", "claim (state)")
    assert staged.deliver().accepted == 1
    documented = [gate for gate in _documented_gates() if gate in passed]
    assert passed == documented
    assert len(passed) == 6


def _documented_gates() -> list[str]:
    """Return the first column of the table in the docstring of the pipeline."""
    lines = (module.__doc__ or "").splitlines()
    return [line[:20].strip() for line in lines if line[:20].strip()]


def test_at_most_seven_frames_lead_from_the_run_to_the_post(
    staged: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Counted in a real run: the frames that start the worker, and those of the worker at its POST."""
    stacks: list[list[str]] = []
    created: dict[asyncio.Task[Any], list[str]] = {}
    post = SpringestClient.post_certificate

    async def posting(client: SpringestClient, *args: Any, **kwargs: Any) -> Any:
        task = asyncio.current_task()
        assert task is not None
        stacks.append([*created[task], *_frames(sys._getframe(1)), "post_certificate"])
        return await post(client, *args, **kwargs)

    def create(loop: asyncio.AbstractEventLoop, coroutine: Any, **kwargs: Any) -> asyncio.Task[Any]:
        task: asyncio.Task[Any] = asyncio.Task(coroutine, loop=loop, **kwargs)
        created[task] = _frames(sys._getframe(1))
        return task

    original = asyncio.new_event_loop

    def new_loop() -> asyncio.AbstractEventLoop:
        loop = original()
        loop.set_task_factory(create)
        return loop

    monkeypatch.setattr(SpringestClient, "post_certificate", posting)
    monkeypatch.setattr(asyncio.events, "new_event_loop", new_loop)
    assert staged.deliver().accepted == 1
    [stack] = stacks
    assert stack[0] == "run"
    assert len(stack) <= MOST_FRAMES, " -> ".join(stack)


def _frames(frame: FrameType | None) -> list[str]:
    """Return the names of this project's frames, outermost first."""
    return list(reversed(list(_walk(frame))))


def _walk(frame: FrameType | None) -> Iterator[str]:
    while frame is not None:
        name = frame.f_code.co_name
        if frame.f_code.co_filename.startswith(PACKAGE) and not name.startswith("<"):  # comprehensions
            yield name
        frame = frame.f_back


def test_deliver_until_keeps_its_name_up_to_the_stop_reason(staged: World) -> None:
    """Grep for `deliver_until` leads from the operator's parameter to the reason that a report names."""
    report = staged.deliver(seconds_to_deliver_until=0.0, night_seconds=60.0)
    assert (report.stopped_by, report.left) == ("deliver_until has passed", 1)


def test_a_worker_stopped_before_its_first_pass_sends_nothing(staged: World) -> None:
    """A run that is stopped while it checks whether it may send claims nothing."""

    async def stop(run: Any) -> None:
        run.stop_now()

    with pytest.raises(DeliveryStopped):
        staged.deliver(meanwhile=stop)
    assert staged.posts == 0
