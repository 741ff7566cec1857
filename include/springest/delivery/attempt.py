"""One attempt: make the POST that was claimed, record its outcome, and apply the consequence to the run.

If the process dies before the claim, nothing was sent. If it dies after it, the lease expires and the
delivery becomes ``unknown``. Neither leads to a second automatic POST.
"""

from __future__ import annotations

import asyncio
import logging
from contextlib import suppress
from typing import Final, cast

from tenacity import (
    AsyncRetrying,
    before_sleep_log,
    retry_if_exception_type,
    stop_after_delay,
    wait_exponential,
)

from springest.api.models import CertificateUpload
from springest.db.batching import DATABASE_ERRORS
from springest.delivery.breaker import Breaker
from springest.delivery.claims import CLAIM_RETURNED, Claim, Outcome
from springest.delivery.context import DeliveryContext
from springest.delivery.outcomes import Consequence, Rule, outcome_of_error, outcome_of_response, rule_of
from springest.delivery.stats import DeliveryStats
from springest.delivery.stop_signal import StopSignal
from springest.documents.opener import OpenDocument
from springest.errors import (
    AccessRefused,
    ApiError,
    ConfigurationError,
    DeadlinePassed,
    DocumentError,
    DocumentsUnreachable,
    LedgerBehind,
    Throttled,
)
from springest.rate_limit.limiter import Grant
from springest.source.contract import CompletedTraining
from springest.states import Event, State
from springest.suspend_clock import Instant

log = logging.getLogger(__name__)

RECORDING_SECONDS: Final = 45.0
"""How long recording an outcome is retried while the warehouse does not respond."""
FAILURES_TO_STOP: Final = 3
WATERMARK_NOT_STORED: Final = Outcome(
    Event.NOT_STORED,
    reason="attempt_not_stored",
    detail="the attempt number could not be stored outside the warehouse: nothing was sent",
)


class SendGuard:
    """Withholds the bytes of a request whose time has passed; the process may have been suspended anywhere.

    The first byte is sent only while the grant is valid. The last bytes are sent only while the lease is:
    after it, a person may have released the delivery.

    :param claimed_at: an instant before the claim.
    """

    def __init__(self, grant: Grant, claimed_at: Instant, lease_seconds: float) -> None:
        self.grant = grant
        self._claimed_at, self._lease_seconds = claimed_at, lease_seconds
        self.is_body_sent = False

    def begin(self) -> None:
        """Called right before the first byte is sent.

        :raises DeadlinePassed: the grant has expired.
        """
        if self.grant.is_past_send_window:
            raise DeadlinePassed("the grant expired before the first byte: nothing was sent")

    def complete(self) -> None:
        """Called right before the last bytes of the body are sent.

        :raises DeadlinePassed: the lease has ended.
        """
        if self._claimed_at.age >= self._lease_seconds:
            raise DeadlinePassed("the lease ended before the last bytes of the body: they were withheld")
        self.is_body_sent = True


class RepeatedFailures:
    """Stops the run once three different certificates failed for the same reason: it is not their own."""

    def __init__(self, stop: StopSignal) -> None:
        self._stop = stop
        self._keys: dict[str, set[str]] = {}

    def add(self, reason: str, delivery_key: str, message: str) -> None:
        """Count the failure of a certificate."""
        keys = self._keys.setdefault(reason, set())
        keys.add(delivery_key)
        if len(keys) >= FAILURES_TO_STOP:
            kind = DocumentsUnreachable if reason == "document_unreachable" else AccessRefused
            self._stop.trigger(message, error=kind(message))


class AttemptRunner:
    """Makes the attempts of a run.

    :param lease_seconds: length of a claim's lease.
    """

    def __init__(
        self,
        context: DeliveryContext,
        *,
        stop: StopSignal,
        breaker: Breaker,
        stats: DeliveryStats,
        lease_seconds: float,
    ) -> None:
        self._context = context
        self._stop = stop
        self._breaker = breaker
        self._stats = stats
        self._failures = RepeatedFailures(stop)
        self._sending: dict[asyncio.Task[None], SendGuard] = {}
        self.lease_seconds = lease_seconds

    async def make(
        self,
        claim: Claim,
        training: CompletedTraining,
        document: OpenDocument,
        guard: SendGuard,
        *,
        known_attempt: int,
    ) -> State:
        """Make the POST that was claimed, and record its outcome.

        :param known_attempt: the highest attempt that was known at the time of the claim.
        :returns: the state of the delivery.
        :raises DocumentError: the document is not the one that was checked; nothing was stored.
        """
        if (not_sent := await self._reason_not_to_send(claim, guard, known_attempt)) is not None:
            return await self._record(claim, not_sent)
        worker = cast("asyncio.Task[None]", asyncio.current_task())
        self._sending[worker] = guard
        try:
            response = await self._context.client.post_certificate(_upload(training, document), hooks=guard)
        except BaseException as error:  # also a cancellation: the ledger records each of them
            state = await self._record_error(claim, error, guard)
            if isinstance(error, DocumentError) or not isinstance(error, Exception):
                raise
            return state
        finally:
            del self._sending[worker]
        self._breaker.record_success()
        state = await self._record(claim, outcome_of_response(response))
        await self._context.limiter.reset_backoff()
        return state

    def abort_unfinished_requests(self) -> None:
        """Abort each POST whose body was not sent in full: Springest cannot store those."""
        for worker, guard in list(self._sending.items()):
            if not guard.is_body_sent:
                worker.cancel()

    async def _reason_not_to_send(self, claim: Claim, guard: SendGuard, known_attempt: int) -> Outcome | None:
        """Store the attempt number outside the warehouse, and check that the POST may still begin."""
        try:
            await self._context.watermark.advance(claim.attempt_id, known=known_attempt)
        except (LedgerBehind, ConfigurationError) as error:
            self._stop.trigger(str(error), error=error)
            return WATERMARK_NOT_STORED
        except BaseException:
            await self._record(claim, WATERMARK_NOT_STORED)
            raise
        if self._stop.immediate:
            return CLAIM_RETURNED
        if guard.grant.has_expired:
            late = DeadlinePassed("more than five seconds passed between grant and request: nothing was sent")
            return outcome_of_error(late, rule_of(late, body_sent=False))
        return None

    async def _record_error(self, claim: Claim, error: BaseException, guard: SendGuard) -> State:
        rule = rule_of(
            error,
            body_sent=guard.is_body_sent,
            throttled_takes_nothing=self._context.site.throttled_takes_nothing,
        )
        # First, so that nothing is claimed while this outcome is being recorded.
        self._apply_consequence(claim.delivery_key, error, rule)
        state = await self._record(claim, outcome_of_error(error, rule))
        if isinstance(error, Throttled):
            await self._context.limiter.freeze(error.retry_after)
        return state

    def _apply_consequence(self, delivery_key: str, error: BaseException, rule: Rule) -> None:
        if rule.consequence is Consequence.STOP:
            self._stop.trigger(str(error), error=AccessRefused(str(error)))
        elif rule.consequence is Consequence.STOP_AFTER_THREE:
            self._failures.add(rule.reason, delivery_key, str(error))
        elif rule.consequence is Consequence.PAUSE:
            self._breaker.record_failure()
        elif isinstance(error, ApiError):  # a response, rather than a document that changed
            self._breaker.record_success()

    async def _record(self, claim: Claim, outcome: Outcome) -> State:
        """Record an outcome; a task that is cancelled meanwhile still waits until it is recorded."""
        recording = asyncio.ensure_future(self._record_with_retries(claim, outcome))
        try:
            await asyncio.shield(recording)
        except asyncio.CancelledError:
            await asyncio.wait((recording,))
            if not recording.cancelled() and (error := recording.exception()) is not None:
                raise error from None
            raise
        self._stats.outcomes[outcome.state] += 1
        return outcome.state

    async def _record_with_retries(self, claim: Claim, outcome: Outcome) -> None:
        with suppress(*DATABASE_ERRORS):  # without the cost of a retry loop, as nearly always
            await self._context.ledger.record(claim, outcome)
            return
        try:
            async for attempt in AsyncRetrying(
                retry=retry_if_exception_type(DATABASE_ERRORS),
                stop=stop_after_delay(RECORDING_SECONDS),
                wait=wait_exponential(multiplier=0.2, max=5),
                before_sleep=before_sleep_log(log, logging.WARNING),
                reraise=True,
            ):
                with attempt:
                    await self._context.ledger.record(claim, outcome)
        except DATABASE_ERRORS:
            log.error(  # noqa: TRY400 - the error itself is raised
                "The outcome of attempt %d could not be recorded: %s, HTTP status %s, certificate %s. Its "
                "delivery becomes unknown when the lease ends; if a certificate is named here, resolve it "
                "with `bin/springest review confirm` and this id",
                claim.attempt_id,
                outcome.event,
                outcome.http_status,
                outcome.springest_certificate_id,
            )
            raise


def _upload(training: CompletedTraining, document: OpenDocument) -> CertificateUpload:
    if training.certification_id is None or training.email is None or training.valid_from is None:
        raise DocumentError("row_incomplete", "the source row lost a required value: stage it again")
    return CertificateUpload(
        certification_id=training.certification_id,
        email=training.email,
        valid_from=training.valid_from,
        valid_until=training.valid_until,
        booking_id=training.booking_id,
        document=document,
    )
