"""Send one certificate: open its document, wait for a turn, claim it, POST it, record what became of it.

Dying anywhere leaves a state from which nothing is sent again by itself: before the claim nothing has left,
after it the lease runs out into ``unknown``.
"""

from __future__ import annotations

import asyncio
import logging
from contextlib import suppress
from dataclasses import dataclass
from typing import Final, TypeVar, cast

from tenacity import (
    AsyncRetrying,
    before_sleep_log,
    retry_if_exception_type,
    stop_after_delay,
    wait_exponential,
)

from include.springest.api.client import SpringestClient
from include.springest.api.models import CertificateUpload
from include.springest.delivery.breaker import Breaker
from include.springest.delivery.freshness import FRESH_SECONDS, still_current
from include.springest.delivery.high_water import HighWater
from include.springest.delivery.opening import Opening
from include.springest.delivery.outcomes import RULES, Consequence, Rule, answered, failed, rule_of
from include.springest.delivery.slow_start import SlowStart
from include.springest.delivery.stops import (
    AccessRefused,
    DocumentsUnreachable,
    Halt,
    LedgerBehind,
    TooManyUnknown,
    too_many_unknown,
)
from include.springest.delivery.tally import Tally
from include.springest.documents import DocumentError, DocumentStore, DocumentUnreachable, OpenDocument
from include.springest.elapsed import Moment
from include.springest.errors import ApiError, Throttled, TooLate
from include.springest.ledger.sending import Claim, NotClaimed, Outcome, Queued, SendingLedger
from include.springest.ledger.states import Event, State
from include.springest.limiter import Grant, RateLimiter
from include.springest.site import Site
from include.springest.source.contract import CompletedTraining
from include.springest.staging.stage import Stager
from include.springest.warehouse.lane import DATABASE_ERRORS

log = logging.getLogger(__name__)
T = TypeVar("T")

LEASE_MARGIN_SECONDS: Final = 60.0
"""How much longer than the longest POST a lease lasts."""
RECORDING_SECONDS: Final = 45.0
"""How long recording an outcome is tried while the warehouse does not answer."""
ROOM_SECONDS: Final = 0.5
"""Between two looks whether others have less under way."""
THREE: Final = 3
STOPPED: Final = Outcome(
    Event.NOT_TAKEN, reason="worker_stopped", detail="the task was stopped before the first byte"
)
NOT_KEPT: Final = Outcome(
    Event.NOT_TAKEN,
    reason="attempt_not_kept",
    detail="the attempt could not be noted outside the warehouse: nothing was sent",
)


@dataclass(frozen=True, slots=True)
class Parts:
    """What a run works with.

    :param run_id: the Airflow run.
    """

    site: Site
    run_id: str
    ledger: SendingLedger
    limiter: RateLimiter
    client: SpringestClient
    stager: Stager
    documents: DocumentStore
    high_water: HighWater


class _Leaving:
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

        :raises TooLate: the turn is over.
        """
        if self.turn.is_over:
            raise TooLate("too much time passed between the turn and the first byte: nothing was sent")

    def complete(self) -> None:
        """Let the last bytes leave.

        :raises TooLate: the lease is over.
        """
        if self._lease_began.age >= self._lease_seconds:
            raise TooLate("the lease was over before the body's last bytes left: they were kept back")
        self.is_handed_over = True


class Sender:
    """Sends certificates, and draws the consequences for the run.

    :param at_once: POSTs under way at once. More than that may have their documents opened already.
    :param may_become_unknown: outcomes that the run may still leave unknown. As many are under way at most,
        so that an outage in the middle of a night can't make more.
    :param max_unknown: outcomes that all processes and runs together may leave unknown.
    :param lease_margin: seconds that a lease lasts longer than the longest POST.
    """

    def __init__(
        self,
        parts: Parts,
        *,
        halt: Halt,
        breaker: Breaker,
        tally: Tally,
        at_once: int,
        may_become_unknown: int,
        max_unknown: int,
        lease_margin: float = LEASE_MARGIN_SECONDS,
    ) -> None:
        self._parts = parts
        self._halt = halt
        self._breaker = breaker
        self._tally = tally
        self.slow_start = SlowStart()
        self._may_become_unknown, self._max_unknown = may_become_unknown, max_unknown
        self._doubt = asyncio.Semaphore(may_become_unknown)
        self._under_way = asyncio.Semaphore(at_once)
        self._looking_for_room = asyncio.Lock()
        self._lease_seconds = parts.site.timeouts.total + lease_margin
        self._opening = Opening(parts.documents.open, most=at_once)
        self._unused: list[Grant] = []
        self._in_trouble: dict[str, set[str]] = {}
        self._bodies: dict[asyncio.Task[None], _Leaving] = {}

    def abort_unfinished_bodies(self) -> None:
        """Break off every POST whose body has not left in full: Springest can't take those."""
        for worker, body in list(self._bodies.items()):
            if not body.is_handed_over:
                worker.cancel()

    def give_up_opening(self) -> None:
        """Wait for no document any more: its file system may be stuck."""
        self._opening.give_up()

    async def send(self, queued: Queued, training: CompletedTraining, looked_up: float) -> None:
        """Send one certificate, unless the run halts before its claim.

        :param looked_up: when its row was, by the event loop's clock.
        """
        certification_id = training.certification_id or 0
        if not self.slow_start.enter_at_once(certification_id) and not await self._halt.unless(
            self.slow_start.enter(certification_id)
        ):
            return
        became: State | None = None
        try:
            became = await self._open_and_send(queued, training, looked_up)
        finally:
            await self.slow_start.leave(certification_id, became)

    async def _open_and_send(
        self, queued: Queued, training: CompletedTraining, looked_up: float
    ) -> State | None:
        try:
            if (document := await self._document(training)) is not None:
                with document:
                    return await self._send(queued, training, document, looked_up)
        except DocumentError as error:
            await asyncio.to_thread(self._parts.stager.set_aside, training, error, run_id=self._parts.run_id)
            self._tally.set_aside += 1
        except DocumentUnreachable as error:
            log.warning("%s", error)
            self._note_trouble("document_unreachable", queued.delivery_key, str(error))
        return None

    async def _document(self, training: CompletedTraining) -> OpenDocument | None:
        """Open the document; ``None`` when the run halts first."""
        if training.certificate_uri is None:
            raise DocumentError(
                "certificate_uri_missing", "certificate_uri is empty: say where the document is"
            )
        return await self._opening.open(training.certificate_uri)

    async def _send(
        self, queued: Queued, training: CompletedTraining, document: OpenDocument, looked_up: float
    ) -> State | None:
        became: State | None = None
        async with self._under_way:
            if self._doubt.locked():
                if await self._halt.unless(self._doubt.acquire()) is None:
                    return None
            else:
                await self._doubt.acquire()
            try:
                became = await self._claim_and_post(queued, training, document, looked_up)
            finally:
                if became is not State.UNKNOWN:
                    self._doubt.release()
        if became is State.UNKNOWN:
            await self._stop_at_too_many_unknown()
        return became

    async def _stop_at_too_many_unknown(self) -> None:
        """Ask the ledger as well: other processes, of this run or another, may have left some."""
        own = self._tally.outcomes[State.UNKNOWN]
        if own >= self._may_become_unknown or await self._parts.ledger.in_doubt() >= self._max_unknown:
            message = too_many_unknown(self._max_unknown)
            self._halt.throw(message, error=TooManyUnknown(message))

    async def _claim_and_post(
        self, queued: Queued, training: CompletedTraining, document: OpenDocument, looked_up: float
    ) -> State | None:
        while (turn := await self._turn()) is not None:
            if not await self._is_fresh(queued, looked_up):
                self._unused.append(turn)
                return None
            if not self._may_claim:  # the breaker opened while the source was asked
                self._unused.append(turn)
                continue
            asked_after, lease_began = self._parts.high_water.highest, Moment.now()
            claim = await self._claim(queued, document)
            if isinstance(claim, Claim):
                leaving = _Leaving(turn, lease_began, self._lease_seconds)
                return await self._post_claimed(claim, training, document, leaving, asked_after=asked_after)
            self._unused.append(turn)
            if claim is NotClaimed.TAKEN:
                self._tally.taken_by_others += 1
                return None
            await self._halt.unless(self._room())
        return None

    async def _room(self) -> None:
        """Wait until fewer are under way or in doubt, in all processes together, than may become unknown."""
        ledger = self._parts.ledger
        async with self._looking_for_room:
            while await ledger.in_doubt(under_way=True) >= self._max_unknown:
                self._tally.swept += await ledger.sweep()  # what a dead worker had under way
                await self._stop_at_too_many_unknown()
                await asyncio.sleep(ROOM_SECONDS)

    async def _post_claimed(
        self,
        claim: Claim,
        training: CompletedTraining,
        document: OpenDocument,
        leaving: _Leaving,
        *,
        asked_after: int,
    ) -> State | None:
        try:
            await self._parts.high_water.note(claim.attempt_id, asked_after=asked_after)
        except BaseException as error:
            await self._record(claim, NOT_KEPT)
            if isinstance(error, LedgerBehind):
                self._halt.throw(str(error), error=error)
                return State.READY
            raise
        if self._halt.at_once:
            return await self._record(claim, STOPPED)
        if leaving.turn.is_void:
            late = TooLate("more than five seconds passed between the turn and the request: nothing was sent")
            return await self._record(claim, failed(late, RULES[TooLate]))
        return await self._post(claim, training, document, leaving)

    @property
    def _may_claim(self) -> bool:
        return self._breaker.is_closed and not self._halt

    async def _claim(self, queued: Queued, document: OpenDocument) -> Claim | NotClaimed:
        """Claim one certificate; who is cancelled meanwhile leaves no claim behind."""
        claiming = asyncio.ensure_future(
            self._parts.ledger.claim(
                queued,
                lease_seconds=self._lease_seconds,
                document_sha256=document.sha256,
                document_size=document.size,
                most_in_doubt=self._max_unknown,
            )
        )
        try:
            return await _finished(claiming)
        except asyncio.CancelledError:
            if claiming.done() and not claiming.cancelled() and isinstance(claim := claiming.result(), Claim):
                await self._record(claim, STOPPED)
            raise

    async def _is_fresh(self, queued: Queued, looked_up: float) -> bool:
        """Tell whether the source still says what it did, after a long wait for the turn."""
        if asyncio.get_running_loop().time() - looked_up <= FRESH_SECONDS:
            return True
        parts = self._parts
        current = await still_current(
            parts.stager, [queued], cutover=parts.site.cutover_date, run_id=parts.run_id
        )
        self._tally.restaged += not current
        return bool(current)

    async def _turn(self) -> Grant | None:
        """Return a turn: one whose certificate another worker had taken, while it is valid, or a new one.

        None is given while the breaker is open: what it lets through would be claimed.

        :returns: ``None`` when the run halts first.
        """
        while not self._halt:
            if not self._breaker.is_closed:
                await self._halt.unless(self._breaker.wait())
                continue
            if self._unused:
                turn = self._unused.pop()
                if not turn.is_void:
                    return turn
                continue
            answer = await self._parts.limiter.ask()
            if isinstance(answer, Grant):
                self._unused.append(answer)
                continue
            await self._halt.unless(self._parts.limiter.pause(answer))
        return None

    async def _post(
        self, claim: Claim, training: CompletedTraining, document: OpenDocument, leaving: _Leaving
    ) -> State | None:
        worker = cast("asyncio.Task[None]", asyncio.current_task())
        self._bodies[worker] = leaving
        try:
            answer = await self._parts.client.post_certificate(_upload(training, document), departure=leaving)
        except BaseException as error:  # whatever it is, the ledger is told what it means
            rule = rule_of(
                error,
                body_handed_over=leaving.is_handed_over,
                throttled_takes_nothing=self._parts.site.throttled_takes_nothing,
            )
            became = await self._record(claim, failed(error, rule))
            await self._draw_consequences(claim.delivery_key, error, rule)
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
        async for attempt in AsyncRetrying(
            retry=retry_if_exception_type(DATABASE_ERRORS),
            stop=stop_after_delay(RECORDING_SECONDS),
            wait=wait_exponential(multiplier=0.2, max=5),
            before_sleep=before_sleep_log(log, logging.WARNING),
            reraise=True,
        ):
            with attempt:
                await self._parts.ledger.record(claim, outcome)

    async def _draw_consequences(self, key: str, error: BaseException, rule: Rule) -> None:
        if isinstance(error, Throttled):
            await self._parts.limiter.freeze(error.retry_after)
        if rule.consequence is Consequence.STOP:
            self._halt.throw(str(error), error=AccessRefused(str(error)))
        elif rule.consequence is Consequence.STOP_AFTER_THREE:
            self._note_trouble(rule.reason, key, str(error))
        elif rule.consequence is Consequence.PAUSE:
            self._breaker.went_badly()
        elif isinstance(error, ApiError):  # an answer, and not a document that changed
            self._breaker.went_well()

    def _note_trouble(self, reason: str, key: str, message: str) -> None:
        """Stop when three different certificates had the same trouble: it is not theirs."""
        keys = self._in_trouble.setdefault(reason, set())
        keys.add(key)
        if len(keys) >= THREE:
            kind = DocumentsUnreachable if reason == "document_unreachable" else AccessRefused
            self._halt.throw(message, error=kind(message))


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
