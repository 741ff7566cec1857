"""The gates that a certificate passes on its way from the queue to its POST.

In this order (``CertificatePipeline.send``):

==================  ==============================================  ====================================
gate                it passes if                                    otherwise
==================  ==============================================  ====================================
slow start          five of its certification succeeded, or it is   waits; stays in the queue if the
                    one of these five                               certification failed five times
document            it opens, with the bytes that were checked      is set aside; the run stops if the
                                                                    documents' store failed
concurrency         fewer than ``concurrency`` are in flight        waits
unknown budget      fewer than ``unknown_left`` of this run are     waits; the run stops once all of them
                    in flight or unknown                            are unknown (``TooManyUnknown``)
circuit breaker     fewer than three failures in a row              waits for a successful probe
rate limit          the rate limiter grants a request               waits
freshness           its source row is unchanged                     is staged again
claim (state)       it is still ready                               has left the queue
claim (capacity)    fewer than ``max_unknown`` of the site are      waits
                    unknown or in flight, over all processes
claim (ledger)      the run is below its ``limit``, and the ledger  the run stops
                    has not lost attempts
==================  ==============================================  ====================================

Then ``AttemptRunner.make`` makes the POST. A run with a ``limit`` takes a place first (``RunLimit``). If the
run stops, certificates that wait at a gate stay in the queue.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Final

from springest.delivery.attempt import AttemptRunner, SendGuard
from springest.delivery.breaker import Breaker
from springest.delivery.claims import Claim, NotClaimed, Queued
from springest.delivery.context import DeliveryContext
from springest.delivery.document_gate import DocumentGate
from springest.delivery.freshness import FRESH_SECONDS, SourceCheck
from springest.delivery.run_limit import run_limit_reached
from springest.delivery.slow_start import SlowStart
from springest.delivery.stats import DeliveryStats
from springest.delivery.stop_signal import StopSignal
from springest.documents.opener import OpenDocument
from springest.errors import DocumentError, DocumentUnreachable, LedgerBehind, TooManyUnknown
from springest.rate_limit.limiter import Grant
from springest.source.contract import CompletedTraining
from springest.states import State
from springest.suspend_clock import Instant

log = logging.getLogger(__name__)

LEASE_MARGIN_SECONDS: Final = 60.0
"""A lease lasts this much longer than the longest POST."""
CAPACITY_POLL_SECONDS: Final = 0.5
SECONDS_BETWEEN_WARNINGS: Final = 60.0
"""How often a run that waits for capacity logs so."""


class GateClosed(Exception):
    """The certificate does not pass a gate: it stays in the queue, or has left it already."""


@dataclass(slots=True)
class OutgoingCertificate:
    """A certificate on its way.

    :param read_at: when its source row was read, on the event loop's clock.
    :param state: the state that its attempt led to; ``None`` until then.
    """

    queued: Queued
    training: CompletedTraining
    read_at: float
    state: State | None = None


class CertificatePipeline:
    """Takes the certificates of a run through the gates.

    :param concurrency: POSTs in flight at once, in this process.
    :param max_unknown: outcomes that may be unknown or in flight at once, over all processes of the site.
    :param run_limit: certificates that the run may send in all its tries; ``None`` for any number.
    :param source: compares rows with the source.
    :param unknown_left: as many of them may still become unknown when the run begins.
    :param lease_margin: seconds that a lease lasts longer than the longest POST.
    """

    def __init__(
        self,
        context: DeliveryContext,
        *,
        stop: StopSignal,
        breaker: Breaker,
        stats: DeliveryStats,
        concurrency: int,
        max_unknown: int,
        unknown_left: int,
        source: SourceCheck,
        run_limit: int | None = None,
        lease_margin: float = LEASE_MARGIN_SECONDS,
    ) -> None:
        self._context = context
        self._stop = stop
        self.breaker = breaker
        self._stats = stats
        self._max_unknown, self._unknown_left = max_unknown, unknown_left
        self._source = source
        self._run_limit = run_limit
        self.slow_start = SlowStart()
        self.documents = DocumentGate(context, stop=stop, stats=stats, max_threads=concurrency)
        self._concurrency = asyncio.Semaphore(concurrency)
        self._unknown_budget = asyncio.Semaphore(unknown_left)
        self._polling_capacity = asyncio.Lock()
        self._unused_grants: list[Grant] = []
        self.attempts = AttemptRunner(
            context,
            stop=stop,
            breaker=breaker,
            stats=stats,
            lease_seconds=context.site.timeouts.total + lease_margin,
        )

    async def send(self, certificate: OutgoingCertificate) -> None:
        """Take one certificate through all gates, and make its POST; sets its ``state``."""
        try:
            async with (
                self._slow_start_gate(certificate),
                self._document_gate(certificate) as document,
                self._concurrency,
                self._unknown_budget_gate(certificate),
            ):
                claim, guard, known_attempt = await self._claim(certificate, document)
                certificate.state = await self.attempts.make(
                    claim, certificate.training, document, guard, known_attempt=known_attempt
                )
        except GateClosed:
            return
        if certificate.state is State.UNKNOWN:
            await self.stop_if_too_many_unknown()

    @asynccontextmanager
    async def _slow_start_gate(self, certificate: OutgoingCertificate) -> AsyncIterator[None]:
        certification_id = certificate.training.certification_id or 0
        if not self.slow_start.try_enter(certification_id) and not await self._stop.run_or_stop(
            self.slow_start.enter(certification_id)
        ):
            raise GateClosed
        try:
            yield
        finally:
            await self.slow_start.leave(certification_id, certificate.state)

    @asynccontextmanager
    async def _document_gate(self, certificate: OutgoingCertificate) -> AsyncIterator[OpenDocument]:
        training = certificate.training
        try:
            document = await self.documents.open(certificate.queued, training)
            if document is None:
                raise GateClosed
            with document:
                yield document
        except DocumentError as error:  # also while it is sent
            await self.documents.set_aside(training, error)
            raise GateClosed from None
        except DocumentUnreachable as error:
            await self.documents.note_unreachable(training, error)
            raise GateClosed from None

    @asynccontextmanager
    async def _unknown_budget_gate(self, certificate: OutgoingCertificate) -> AsyncIterator[None]:
        """Keep this process within what may become unknown.

        The claim enforces that over all processes. Without this gate, workers of one process would compete
        for claims that cannot succeed. And the claim counts the outcomes since a moment, which a wrong clock
        of Airflow could put after them; this gate counts them without a clock.
        """
        budget = self._unknown_budget
        if not await (self._stop.run_or_stop(budget.acquire()) if budget.locked() else budget.acquire()):
            raise GateClosed
        try:
            yield
        finally:
            if certificate.state is not State.UNKNOWN:
                budget.release()

    async def _claim(
        self, certificate: OutgoingCertificate, document: OpenDocument
    ) -> tuple[Claim, SendGuard, int]:
        """Take a certificate through the last gates, from the circuit breaker to its claim."""
        while True:
            grant = await self._rate_limit_gate()
            await self._freshness_gate(certificate, grant)
            if not self.breaker.is_closed:  # it opened while the source was read
                self._unused_grants.append(grant)
                continue
            known_attempt, claimed_at = self._context.watermark.highest, Instant.now()
            claim = await self._context.ledger.claim(
                certificate.queued,
                lease_seconds=self.attempts.lease_seconds,
                document_sha256=document.sha256,
                document_size=document.size,
                max_unknown=self._max_unknown,
                run_limit=self._run_limit,
                known_attempt=known_attempt,
            )
            if isinstance(claim, Claim):
                return claim, SendGuard(grant, claimed_at, self.attempts.lease_seconds), known_attempt
            self._unused_grants.append(grant)
            await self._handle_refused_claim(claim, known_attempt)

    async def _rate_limit_gate(self) -> Grant:
        """Wait for the circuit breaker and the rate limit; reuse a grant that another worker did not need."""
        while not self._stop:
            if not self.breaker.is_closed:
                await self._stop.run_or_stop(self.breaker.wait_until_closed())
            elif self._unused_grants:
                grant = self._unused_grants.pop()
                if not grant.has_expired:
                    return grant
            elif isinstance(answer := await self._context.limiter.ask(), Grant):
                self._unused_grants.append(answer)  # the breaker may have opened meanwhile
            else:
                await self._stop.run_or_stop(asyncio.sleep(answer))
        raise GateClosed

    async def _freshness_gate(self, certificate: OutgoingCertificate, grant: Grant) -> None:
        """Read the source row again if that was long ago."""
        if asyncio.get_running_loop().time() - certificate.read_at <= FRESH_SECONDS:
            return
        is_current = bool(await self._source.read([certificate.queued]))
        if self._stop or not is_current:
            self._unused_grants.append(grant)
            raise GateClosed

    async def _handle_refused_claim(self, refusal: NotClaimed, known_attempt: int) -> None:
        """Return if the claim should be tried again."""
        if refusal is NotClaimed.NO_CAPACITY:
            await self._stop.run_or_stop(self._wait_for_capacity())
            return
        if refusal is NotClaimed.TAKEN:
            self._stats.taken_by_others += 1
        elif refusal is NotClaimed.RUN_LIMIT_REACHED:
            self._stop.trigger(run_limit_reached(self._run_limit))
        else:
            behind = LedgerBehind(await self._context.ledger.highest_attempt(), known_attempt)
            self._stop.trigger(str(behind), error=behind)
        raise GateClosed

    async def _wait_for_capacity(self) -> None:
        """Wait until fewer than ``max_unknown`` deliveries of the site are unknown or in flight."""
        ledger, clock = self._context.ledger, asyncio.get_running_loop().time
        async with self._polling_capacity:
            began = logged_at = clock()
            while await ledger.count_unknown(in_flight=True) >= self._max_unknown:
                if clock() - logged_at >= SECONDS_BETWEEN_WARNINGS:
                    logged_at = clock()
                    log.warning(
                        "A certificate has waited %.0f s: %d of site %s are unknown or in flight, as many as "
                        "may be over all runs. It is sent once there are fewer, or stays in the queue",
                        logged_at - began,
                        self._max_unknown,
                        self._context.site.name,
                    )
                self._stats.swept += await ledger.sweep_expired_leases()
                await self.stop_if_too_many_unknown()
                await asyncio.sleep(CAPACITY_POLL_SECONDS)

    async def stop_if_too_many_unknown(self) -> None:
        """Stop the run once its budget is used up, or as many are unknown over all runs."""
        own, unknown = self._stats.outcomes[State.UNKNOWN], await self._context.ledger.count_unknown()
        if own >= self._unknown_left or unknown >= self._max_unknown:
            message = too_many_unknown(max(own, unknown))
            self._stop.trigger(message, error=TooManyUnknown(message))


def too_many_unknown(number: int) -> str:
    """Return a message about unknown outcomes, with the remedy."""
    return (
        f"{number} outcomes of the last hours are unknown, as many as may be: look for the certificates in "
        "Springest and resolve them (`bin/springest review list --state unknown`), then clear the task. Or "
        "trigger springest_deliver: a run that a person triggers starts counting at 0"
    )
