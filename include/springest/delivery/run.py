"""One delivery run: takes the queue of a site through the pipeline, several certificates at once."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Collection, Iterator, Mapping, Sequence
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass
from math import ceil
from typing import Final, TypeVar

from springest.delivery.breaker import PROBE_DELAYS, Breaker
from springest.delivery.claims import Queued
from springest.delivery.context import DeliveryContext
from springest.delivery.freshness import SourceCheck
from springest.delivery.pipeline import (
    LEASE_MARGIN_SECONDS,
    CertificatePipeline,
    OutgoingCertificate,
    too_many_unknown,
)
from springest.delivery.run_limit import RunLimit
from springest.delivery.stats import DeliveryReport, DeliveryStats
from springest.delivery.stop_signal import StopSignal
from springest.delivery.volume import VolumeCheck, check_volume, describe_too_large, max_run_size
from springest.errors import (
    DocumentsUnreachable,
    RunTooLarge,
    SpringestUnreachable,
    TooManyUnknown,
    WorkerStopped,
)
from springest.rate_limit.limiter import SECONDS_PER_HOUR
from springest.states import State

log = logging.getLogger(__name__)
P = TypeVar("P", bound=CertificatePipeline)

MAX_PASSES: Final = 3
"""Times the queue is read: certificates that came back to it are sent by a later pass."""
SECONDS_TO_RESPOND: Final = 3.0
"""How long responses are awaited when the process is about to be killed; Airflow allows five seconds."""
PROGRESS_SECONDS: Final = 15.0
DELIVER_UNTIL_PASSED: Final = "deliver_until has passed"

Queue = asyncio.Queue[OutgoingCertificate | None]
"""Certificates whose source row is current; ``None`` ends a worker."""


@dataclass(frozen=True, slots=True)
class DeliverySettings:
    """Settings of a run.

    :param concurrency: certificates in flight at once.
    :param batch: deliveries whose source rows are read together; few, so that they are fresh when sent.
    :param max_unknown: outcomes that may be unknown or in flight at once, over all runs of the last hours.
    :param expected: certificates that a person expects of larger runs; 0 if nobody gave a number.
    :param limit: certificates that the run may send, all its tries together; ``None`` for any number.
    :param seconds_to_deliver_until: how long the run may take; the rest stays in the queue.
    :param night_seconds: length of a whole night, if this try has less of it left.
    :param probe_delays: seconds before each probe of a failing server.
    :param lease_margin: seconds that a lease lasts longer than the longest POST.
    """

    concurrency: int = 10
    batch: int = 50
    max_unknown: int = 10
    expected: int = 0
    limit: int | None = None
    seconds_to_deliver_until: float = 6 * 3600.0
    night_seconds: float | None = None
    probe_delays: Sequence[float] = PROBE_DELAYS
    lease_margin: float = LEASE_MARGIN_SECONDS


class DeliveryRun:
    """One run over the queue of one site."""

    def __init__(self, context: DeliveryContext, *, settings: DeliverySettings | None = None) -> None:
        self._context = context
        self._settings = settings or DeliverySettings()
        self.stop = StopSignal()
        self._limit = RunLimit(self.stop)
        self.stats = DeliveryStats()
        self._source = SourceCheck(context, self.stats)

    def stop_now(self) -> None:
        """Stop because the process is about to be killed."""
        reason = "the worker is being stopped; the rest stays in the queue, and the next try continues"
        self.stop.trigger(reason, error=WorkerStopped(reason), immediate=True)

    async def run(self) -> DeliveryReport:
        """Send the queue, until it is empty or the run stops.

        :raises DeliveryStopped: the run stopped with an error; see its subclasses.
        :raises ConfigurationError: the site's connection leads to another account than what was staged.
        """
        with self._stop_at_deliver_until():
            unknown_left = await self._check_before_sending()
            async with self._open_pipeline(unknown_left) as pipeline:
                await self._send_queue(pipeline)
            self._fail_if_closed_with_unknown(pipeline.slow_start.closed_with_unknown)
            report = await self._report()
        if self.stop.error is not None:
            raise self.stop.error
        return report

    @contextmanager
    def _stop_at_deliver_until(self) -> Iterator[None]:
        """Stop at ``deliver_until``, by a timer of its own, which no step that hangs can delay."""
        timer = asyncio.get_running_loop().call_later(
            self._settings.seconds_to_deliver_until, self.stop.trigger, DELIVER_UNTIL_PASSED
        )
        try:
            yield
        finally:
            timer.cancel()

    async def _check_before_sending(self) -> int:
        """Check that this run may send at all; a dry run makes the same checks.

        :returns: how many outcomes may still become unknown.
        :raises LedgerBehind: the ledger has lost attempts.
        :raises RunTooLarge: the run is larger than usual.
        """
        ledger = self._context.ledger
        await self._context.watermark.verify(ledger.highest_attempt)
        await asyncio.to_thread(self._context.stager.keep_to_site)
        await self._check_volume()
        self.stats.swept = await ledger.sweep_expired_leases()
        if self.stats.swept:
            log.warning("%d deliveries with an expired lease are unknown now", self.stats.swept)
        if self._settings.limit is not None:
            self._limit = RunLimit(self.stop, self._settings.limit, used=await ledger.sent_by_run())
        unknown = await ledger.count_unknown()
        if unknown >= self._settings.max_unknown:
            message = too_many_unknown(unknown)
            self.stop.trigger(message, error=TooManyUnknown(message))
        return max(self._settings.max_unknown - unknown, 0)

    async def _check_volume(self) -> None:
        """Approve the staged runs that are not larger than usual.

        :raises RunTooLarge: this run is larger, or a person expects fewer certificates than wait.
        """
        run_id, expected = self._context.run_id, self._settings.expected
        max_size = max_run_size(await self._context.ledger.recent_run_sizes())
        check: VolumeCheck | None = None

        def choose(waiting: Mapping[str, int]) -> Collection[str]:
            nonlocal check
            check = check_volume(waiting, run_id=run_id, max_size=max_size, expected=expected)
            return check.approved

        while await self._context.ledger.approve(choose) is None and not self.stop:
            log.warning("Another process is staging this run: nothing is sent before it has finished")
            await self.stop.run_or_stop(asyncio.sleep(PROGRESS_SECONDS))
        if check is None or not check.too_large:
            return
        message = describe_too_large(check.too_large, max_size=max_size)
        if not check.approved:
            raise RunTooLarge(f"nothing was sent: {message}")
        log.warning("Not sent: %s", message)

    @asynccontextmanager
    async def _open_pipeline(self, unknown_left: int) -> AsyncIterator[CertificatePipeline]:
        """Hold connections and background tasks while certificates are sent."""
        context, pipeline = self._context, self._new_pipeline(CertificatePipeline, unknown_left)
        progress = asyncio.create_task(self._log_progress())
        try:
            async with context.ledger.hold_connections(), context.limiter.hold_connection():
                yield pipeline
        finally:
            pipeline.documents.close()
            progress.cancel()
            await asyncio.gather(progress, return_exceptions=True)
            await context.watermark.flush()
            await pipeline.breaker.stop()

    def _new_pipeline(self, kind: type[P], unknown_left: int) -> P:
        """Return a pipeline; a dry run has its own kind of it."""
        settings = self._settings
        return kind(
            self._context,
            stop=self.stop,
            breaker=Breaker(probe=self._probe, give_up=self._give_up, delays=settings.probe_delays),
            stats=self.stats,
            concurrency=settings.concurrency,
            max_unknown=settings.max_unknown,
            unknown_left=unknown_left,
            source=self._source,
            run_limit=settings.limit,
            lease_margin=settings.lease_margin,
        )

    async def _send_queue(self, pipeline: CertificatePipeline) -> None:
        for _ in range(MAX_PASSES):
            if self.stop or not await self._drain_queue(pipeline):
                break
        if not self.stop.immediate and not isinstance(self.stop.error, DocumentsUnreachable):
            await pipeline.documents.set_aside_unreadable()
            await self._source.set_aside_refused()

    async def _drain_queue(self, pipeline: CertificatePipeline) -> bool:
        """Read the queue once, and send it.

        :returns: whether certificates came back to it meanwhile.
        """
        not_stored, restaged = self.stats.outcomes[State.READY], self.stats.restaged
        # Twice as many workers as POSTs: the others read documents and wait at the gates meanwhile.
        workers_wanted = 2 * self._settings.concurrency
        queue: Queue = asyncio.Queue(workers_wanted)
        workers = [asyncio.create_task(self._work(queue, pipeline)) for _ in range(workers_wanted)]
        try:
            await self.stop.run_or_stop(self._feed(queue, workers=len(workers)))
        except BaseException as error:  # also a cancellation: no worker may wait for a queue without a feeder
            self.stop.trigger(f"the queue could not be read: {type(error).__name__}")
            raise
        finally:
            if self.stop:
                _end_workers(queue, workers=len(workers))
            await self._finish(workers, pipeline)
        return self.stats.outcomes[State.READY] > not_stored or self.stats.restaged > restaged

    async def _feed(self, queue: Queue, *, workers: int) -> None:
        """Read the ledger's queue in batches for the workers, then end each worker."""
        after = None
        while batch := await self._context.ledger.queue(after=after, limit=self._settings.batch):
            after = batch[-1].order
            for certificate in await self._read_source(batch):
                await queue.put(certificate)
        for _ in range(workers):
            await queue.put(None)

    async def _read_source(self, batch: Sequence[Queued]) -> list[OutgoingCertificate]:
        """Return the certificates whose source row is unchanged; the others are staged again."""
        read_at = asyncio.get_running_loop().time()
        current = await self._source.read(batch)
        return [OutgoingCertificate(queued, training, read_at) for queued, training in current]

    async def _work(self, queue: Queue, pipeline: CertificatePipeline) -> None:
        try:
            while (certificate := await self._limit.next(queue)) is not None and not self.stop:
                sent = True  # unless it is known not to be
                try:
                    await pipeline.send(certificate)
                    sent = certificate.state not in {None, State.READY}
                finally:
                    await self._limit.leave(sent=sent)
        except Exception as error:
            self.stop.trigger(f"sending failed: {type(error).__name__}")
            raise

    async def _finish(self, workers: Sequence[asyncio.Task[None]], pipeline: CertificatePipeline) -> None:
        """Wait for the responses to POSTs in flight; if the process is about to be killed, not for long."""
        stopping = asyncio.create_task(self._cut_short(workers, pipeline))
        try:
            await asyncio.wait(workers)
        except asyncio.CancelledError:
            for worker in workers:  # each still records its outcome
                worker.cancel()
            await asyncio.gather(*workers, return_exceptions=True)
            raise
        finally:
            stopping.cancel()
            await asyncio.gather(stopping, return_exceptions=True)
        for worker in workers:
            if not worker.cancelled():
                worker.result()

    async def _cut_short(self, workers: Sequence[asyncio.Task[None]], pipeline: CertificatePipeline) -> None:
        await self.stop.wait_until_immediate()
        pipeline.attempts.abort_unfinished_requests()
        await asyncio.sleep(SECONDS_TO_RESPOND)
        for worker in workers:
            worker.cancel()

    def _fail_if_closed_with_unknown(self, certifications: Sequence[int]) -> None:
        """Fail if slow start closed a certification with unknown outcomes among its first certificates."""
        if certifications:
            message = (
                f"of certification {', '.join(map(str, certifications))} no certificate was accepted, and "
                "the outcome of some is unknown: look at them in certificate_reconciliation"
            )
            self.stop.trigger(message, error=TooManyUnknown(message))

    async def _log_progress(self) -> None:
        """Store the high-water mark and log the progress, every few seconds."""
        while True:
            await asyncio.sleep(PROGRESS_SECONDS)
            await self._context.watermark.flush()
            try:
                waiting = (await self._context.ledger.queue_length()).ready
            except Exception as error:  # noqa: BLE001 - only this log line is lost
                log.warning("The length of the queue can't be read: %s", type(error).__name__)
                continue
            log.info(
                "%s; %d left, %s; %d requests by this process, %d an hour allowed for all",
                self.stats.describe(),
                waiting,
                self._estimate(waiting),
                self._context.limiter.granted,
                self._context.site.requests_per_hour,
            )

    def _estimate(self, waiting: int) -> str:
        """Return how long the queue takes: in hours of sending, and in nights if it is more than one."""
        seconds = waiting * self._context.limiter.pace.interval
        hours = f"{seconds / SECONDS_PER_HOUR:.1f} hours of sending at the rate limit"
        night = self._settings.night_seconds or self._settings.seconds_to_deliver_until
        return hours if seconds <= night else f"{hours}, {ceil(seconds / night)} nights as long as this one"

    def _give_up(self, error: Exception) -> None:
        message = f"Springest does not respond as it should: {error}"
        self.stop.trigger(message, error=SpringestUnreachable(message))

    async def _probe(self) -> None:
        """Read one certificate: the cheapest request that shows Springest to be healthy."""
        async for _ in self._context.client.certificates(size=1):
            return

    async def _report(self) -> DeliveryReport:
        left = (await self._context.ledger.queue_length()).ready
        log.info("%s; %d left in the queue", self.stats.describe(), left)
        if left:
            log.warning("%d stay in the queue: %s", left, self._estimate(left))
        return DeliveryReport.of(
            self.stats,
            requests=self._context.limiter.granted,
            left=left,
            seconds_each=self._context.limiter.pace.interval,
            stopped_by=self.stop.reason,
        )


def _end_workers(queue: Queue, *, workers: int) -> None:
    """Empty the queue and end its workers."""
    while not queue.empty():
        queue.get_nowait()
    for _ in range(workers):
        queue.put_nowait(None)
