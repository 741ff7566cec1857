"""One attempt: claim a certificate, POST it, record what became of it, and what that means for the run.

Dying anywhere leaves a state from which nothing is sent again automatically: before the claim nothing was
sent, after it the lease runs out into ``unknown``.
"""

from __future__ import annotations

import asyncio
import logging
from contextlib import suppress
from typing import Final, TypeVar, cast

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
from springest.delivery.claims import GIVEN_BACK, Claim, NotClaimed, Outcome, Queued
from springest.delivery.context import Parts
from springest.delivery.outcomes import RULES, Consequence, Rule, answered, failed, rule_of
from springest.delivery.stops import Halt
from springest.delivery.tally import Tally
from springest.documents.opener import DocumentError, OpenDocument
from springest.errors import (
    AccessRefused,
    ApiError,
    ConfigurationError,
    DeadlinePassed,
    DocumentsUnreachable,
    LedgerBehind,
    Throttled,
)
from springest.rate_limit.limiter import Grant
from springest.source.contract import CompletedTraining
from springest.states import Event, State
from springest.suspend_clock import Moment

log = logging.getLogger(__name__)
T = TypeVar("T")

RECORDING_SECONDS: Final = 45.0
"""How long recording an outcome is tried while the warehouse does not answer."""
THREE: Final = 3
NOT_KEPT: Final = Outcome(
    Event.NOT_TAKEN,
    reason="attempt_not_kept",
    detail="the attempt could not be noted outside the warehouse: nothing was sent",
)


class Leaving:
    """One body on its way out: begun while its turn holds, completed while its lease does, or not at all.

    A process or a machine may be suspended anywhere. Once its lease is over, somebody may have decided that
    its certificate is sent again.

    :param lease_began: a moment before the claim.
    """

    def __init__(self, turn: Grant, lease_began: Moment, lease_seconds: float) -> None:
        self.turn = turn
        self._lease_began, self._lease_seconds = lease_began, lease_seconds
        self.is_handed_over = False

    def begin(self) -> None:
        """Let the first byte leave.

        :raises DeadlinePassed: the turn is over.
        """
        if self.turn.is_over:
            raise DeadlinePassed("too much time passed between the turn and the first byte: nothing was sent")

    def complete(self) -> None:
        """Let the last bytes leave.

        :raises DeadlinePassed: the lease is over.
        """
        if self._lease_began.age >= self._lease_seconds:
            raise DeadlinePassed("the lease was over before the body's last bytes left: they were kept back")
        self.is_handed_over = True


class Troubles:
    """Stops a run when three different certificates had the same trouble: it is not theirs."""

    def __init__(self, halt: Halt) -> None:
        self._halt = halt
        self._keys: dict[str, set[str]] = {}

    def note(self, reason: str, key: str, message: str) -> None:
        """Note a certificate's trouble."""
        keys = self._keys.setdefault(reason, set())
        keys.add(key)
        if len(keys) >= THREE:
            kind = DocumentsUnreachable if reason == "document_unreachable" else AccessRefused
            self._halt.throw(message, error=kind(message))


class Attempts:
    """Makes a run's attempts, and draws the consequences for it.

    :param max_unknown: outcomes that all processes and runs together may leave unknown.
    :param limit: certificates that the run may send in all its tries; ``None`` for any number.
    :param lease_seconds: how long a claimed certificate is this process's.
    """

    def __init__(
        self,
        parts: Parts,
        *,
        halt: Halt,
        breaker: Breaker,
        tally: Tally,
        max_unknown: int,
        lease_seconds: float,
        limit: int | None = None,
    ) -> None:
        self._parts = parts
        self._halt = halt
        self._breaker = breaker
        self._tally = tally
        self._max_unknown, self._limit = max_unknown, limit
        self.lease_seconds = lease_seconds
        self.troubles = Troubles(halt)
        self._bodies: dict[asyncio.Task[None], Leaving] = {}

    def abort_unfinished_bodies(self) -> None:
        """Break off every POST whose body has not left in full: Springest can't take those."""
        for worker, body in list(self._bodies.items()):
            if not body.is_handed_over:
                worker.cancel()

    async def claim(self, queued: Queued, document: OpenDocument, known: int) -> Claim | NotClaimed:
        """Claim one certificate; who is cancelled meanwhile leaves no claim behind.

        :param known: the highest attempt that this process knows of.
        """
        return await self._parts.ledger.claim(
            queued,
            lease_seconds=self.lease_seconds,
            document_sha256=document.sha256,
            document_size=document.size,
            most_in_doubt=self._max_unknown,
            most_by_run=self._limit,
            known_attempt=known,
        )

    async def post(
        self,
        claim: Claim,
        training: CompletedTraining,
        document: OpenDocument,
        leaving: Leaving,
        *,
        asked_after: int,
    ) -> State | None:
        """Make the POST that was claimed, and record what became of it.

        :param asked_after: the highest attempt that was known when it was claimed.
        :returns: the state that the delivery is in now.
        :raises DocumentError: the document is not what was checked; nothing was taken.
        """
        try:
            await self._parts.high_water.note(claim.attempt_id, asked_after=asked_after)
        except BaseException as error:
            await self._record(claim, NOT_KEPT)
            if isinstance(error, LedgerBehind | ConfigurationError):
                self._halt.throw(str(error), error=error)
                return State.READY
            raise
        if self._halt.at_once:
            return await self._record(claim, GIVEN_BACK)
        if leaving.turn.is_void:
            late = DeadlinePassed(
                "more than five seconds passed between the turn and the request: nothing was sent"
            )
            return await self._record(claim, failed(late, RULES[DeadlinePassed]))
        return await self._make(claim, training, document, leaving)

    async def _make(
        self, claim: Claim, training: CompletedTraining, document: OpenDocument, leaving: Leaving
    ) -> State | None:
        worker = cast("asyncio.Task[None]", asyncio.current_task())
        self._bodies[worker] = leaving
        try:
            answer = await self._parts.client.post_certificate(_upload(training, document), departure=leaving)
        except BaseException as error:  # any error becomes an outcome in the ledger
            rule = rule_of(
                error,
                body_handed_over=leaving.is_handed_over,
                throttled_takes_nothing=self._parts.site.throttled_takes_nothing,
            )
            # First of all: nobody may claim while this one is being recorded.
            self._draw_consequences(claim.delivery_key, error, rule)
            became = await self._record(claim, failed(error, rule))
            if isinstance(error, Throttled):
                await self._parts.limiter.freeze(error.retry_after)
            if isinstance(error, DocumentError) or not isinstance(error, Exception):
                raise
            return became
        finally:
            del self._bodies[worker]
        self._breaker.went_well()
        became = await self._record(claim, answered(answer))
        await self._parts.limiter.answered_well()
        return became

    async def _record(self, claim: Claim, outcome: Outcome) -> State:
        """Record an outcome, however long the warehouse takes to answer; a cancelled task still does."""
        await _finished(asyncio.ensure_future(self._record_patiently(claim, outcome)))
        self._tally.outcomes[outcome.state] += 1
        return outcome.state

    async def _record_patiently(self, claim: Claim, outcome: Outcome) -> None:
        with suppress(*DATABASE_ERRORS):
            await self._parts.ledger.record(claim, outcome)
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
                    await self._parts.ledger.record(claim, outcome)
        except DATABASE_ERRORS:
            log.error(  # noqa: TRY400 - the error itself is raised
                "The outcome of attempt %d could not be recorded: %s, HTTP status %s, certificate %s. Its "
                "delivery becomes unknown when the lease is over; where a certificate is named here, "
                "`bin/springest review confirm` with its id resolves it",
                claim.attempt_id,
                outcome.event,
                outcome.http_status,
                outcome.springest_certificate_id,
            )
            raise

    def _draw_consequences(self, key: str, error: BaseException, rule: Rule) -> None:
        if rule.consequence is Consequence.STOP:
            self._halt.throw(str(error), error=AccessRefused(str(error)))
        elif rule.consequence is Consequence.STOP_AFTER_THREE:
            self.troubles.note(rule.reason, key, str(error))
        elif rule.consequence is Consequence.PAUSE:
            self._breaker.went_badly()
        elif isinstance(error, ApiError):  # an answer, and not a document that changed
            self._breaker.went_well()


async def _finished(work: asyncio.Future[T]) -> T:
    """Return what comes of it; who is cancelled meanwhile waits for its end all the same."""
    try:
        return await asyncio.shield(work)
    except asyncio.CancelledError:
        await asyncio.wait((work,))
        if not work.cancelled() and (error := work.exception()) is not None:
            raise error from None
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
