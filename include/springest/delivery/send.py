"""Bring one certificate to its attempt: open its document, wait for a turn and for the server to be well."""

from __future__ import annotations

import asyncio
import logging
from typing import Final

from springest.delivery.attempts import Attempts, Leaving
from springest.delivery.breaker import Breaker
from springest.delivery.claims import Claim, NotClaimed, Queued
from springest.delivery.context import Parts
from springest.delivery.freshness import FRESH_SECONDS, SourceCheck
from springest.delivery.opening import Opening
from springest.delivery.send_limit import limit_reached
from springest.delivery.slow_start import SlowStart
from springest.delivery.stops import Halt, too_many_unknown
from springest.delivery.tally import Tally
from springest.documents.errors import StoreHealth
from springest.documents.opener import DocumentError, DocumentUnreachable, OpenDocument
from springest.errors import DocumentsUnreachable, LedgerBehind, TooManyUnknown
from springest.rate_limit.limiter import Grant
from springest.source.contract import CompletedTraining
from springest.states import State
from springest.suspend_clock import Moment

log = logging.getLogger(__name__)

LEASE_MARGIN_SECONDS: Final = 60.0
"""How much longer than the longest POST a lease lasts."""
ROOM_SECONDS: Final = 0.5
"""Between two looks whether others have less under way."""
SECONDS_BETWEEN_WARNINGS: Final = 60.0
"""How often a run that waits for others says so."""


class Sender:
    """Sends certificates, and draws the consequences for the run.

    :param at_once: POSTs under way at once. More than that may have their documents opened already.
    :param may_become_unknown: outcomes that the run may still leave unknown. As many are under way at most,
        so that an outage in the middle of a night can't make more.
    :param max_unknown: outcomes that all processes and runs together may leave unknown.
    :param source: looks at rows again that waited long for their turn.
    :param limit: certificates that the run may send in all its tries; ``None`` for any number.
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
        source: SourceCheck,
        limit: int | None = None,
        lease_margin: float = LEASE_MARGIN_SECONDS,
    ) -> None:
        self._parts = parts
        self._halt = halt
        self._breaker = breaker
        self._tally = tally
        self.slow_start = SlowStart()
        self._may_become_unknown, self._max_unknown = may_become_unknown, max_unknown
        self._limit = limit
        self._source = source
        self._doubt = asyncio.Semaphore(may_become_unknown)
        self._under_way = asyncio.Semaphore(at_once)
        self._looking_for_room = asyncio.Lock()
        self._opening = Opening(parts.documents.open, most=at_once)
        self._stores = StoreHealth()
        self._not_read: dict[str, tuple[CompletedTraining, DocumentUnreachable]] = {}
        self._unused: list[Grant] = []
        self.attempts = Attempts(
            parts,
            halt=halt,
            breaker=breaker,
            tally=tally,
            max_unknown=max_unknown,
            limit=limit,
            lease_seconds=parts.site.timeouts.total + lease_margin,
        )

    def give_up_opening(self) -> None:
        """Wait for no document any more: its file system may be stuck."""
        self._opening.give_up()

    async def send(self, queued: Queued, training: CompletedTraining, looked_up: float) -> bool:
        """Send one certificate, unless the run halts before its claim.

        :param looked_up: when its row was, by the event loop's clock.
        :returns: whether the server may have been sent it.
        """
        certification_id = training.certification_id or 0
        if not self.slow_start.enter_at_once(certification_id) and not await self._halt.unless(
            self.slow_start.enter(certification_id)
        ):
            return False
        became: State | None = None
        try:
            became = await self._open_and_send(queued, training, looked_up)
        finally:
            await self.slow_start.leave(certification_id, became)
        return became not in (None, State.READY)

    async def _open_and_send(
        self, queued: Queued, training: CompletedTraining, looked_up: float
    ) -> State | None:
        try:
            if (document := await self._document(queued, training)) is not None:
                with document:
                    return await self._send(queued, training, document, looked_up)
        except DocumentError as error:
            await self._set_aside(training, error)
        except DocumentUnreachable as error:
            await self._note_unreachable(training, error)
        return None

    async def set_aside_what_was_not_read(self) -> None:
        """Set the certificates aside whose documents could not be read while others of their store could."""
        for training, error in self._not_read.values():
            await self._set_aside(training, error.as_defect())
        self._not_read.clear()

    async def _set_aside(self, training: CompletedTraining, error: DocumentError) -> None:
        await asyncio.to_thread(self._parts.stager.set_aside, training, error, run_id=self._parts.run_id)
        self._tally.set_aside += 1

    async def _note_unreachable(self, training: CompletedTraining, error: DocumentUnreachable) -> None:
        """Remember a document that could not be read; stop when it is its store that fails."""
        log.warning("Training %s: %s", training.training_id, error)
        self._not_read[training.delivery_key] = training, error
        store = self._parts.documents.root_of(training.certificate_uri or "")
        self._stores.went_badly(store, training.delivery_key, error)
        if error.whole_store or (self._stores.failing() and not await self._is_well(store)):
            self._halt.throw(error.detail, error=DocumentsUnreachable(error.detail))

    async def _is_well(self, store: str) -> bool:
        """Return whether a document of the store that could be read earlier in this run still can be."""
        witness = self._stores.witness(store)
        if witness is None:
            return False
        try:
            if (document := await self._opening.open(witness)) is not None:
                document.close()
        except DocumentUnreachable:
            return False
        except DocumentError:
            pass  # the store answered
        self._stores.went_well(store)
        return True

    async def _document(self, queued: Queued, training: CompletedTraining) -> OpenDocument | None:
        """Open the document; ``None`` when the run halts first."""
        if training.certificate_uri is None:
            raise DocumentError(
                "certificate_uri_missing", "certificate_uri is empty: say where the document is"
            )
        uri = training.certificate_uri
        document = await self._opening.open(uri, queued.document_checked)
        if document is not None:
            self._stores.went_well(self._parts.documents.root_of(uri), uri)
            if document.repaired:
                log.warning(
                    "Training %s: its document is accepted although %s",
                    training.training_id,
                    document.repaired,
                )
        return document

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
            known, lease_began = self._parts.high_water.highest, Moment.now()
            claim = await self.attempts.claim(queued, document, known)
            if isinstance(claim, Claim):
                leaving = Leaving(turn, lease_began, self.attempts.lease_seconds)
                return await self.attempts.post(claim, training, document, leaving, asked_after=known)
            self._unused.append(turn)
            if claim is NotClaimed.TAKEN:
                self._tally.taken_by_others += 1
                return None
            await self._wait_or_stop(claim, known)
        return None

    async def _wait_or_stop(self, reason: NotClaimed, known: int) -> None:
        """Wait for room, or halt the run because there will be none.

        :param known: the highest attempt that this process knows of.
        """
        if reason is NotClaimed.FORGOTTEN:
            behind = LedgerBehind(await self._parts.ledger.highest_attempt(), known)
            self._halt.throw(str(behind), error=behind)
        elif reason is NotClaimed.LIMIT_REACHED:
            self._halt.throw(limit_reached(self._limit))
        else:
            await self._halt.unless(self._room())

    async def _room(self) -> None:
        """Wait until fewer are under way or in doubt, in all processes together, than may become unknown."""
        ledger, clock = self._parts.ledger, asyncio.get_running_loop().time
        async with self._looking_for_room:
            began = said_at = clock()
            if await ledger.in_doubt(under_way=True) >= self._max_unknown:
                log.info("Others have %d under way or in doubt, as many as there may be", self._max_unknown)
            while await ledger.in_doubt(under_way=True) >= self._max_unknown:
                if clock() - said_at >= SECONDS_BETWEEN_WARNINGS:
                    said_at = clock()
                    log.warning(
                        "This run has waited %.0f s for other runs of site %s: all of them together may have "
                        "%d under way or in doubt, and the others use each place again at once. It goes on "
                        "when they end or leave room; nothing of its queue is lost",
                        said_at - began,
                        self._parts.site.name,
                        self._max_unknown,
                    )
                self._tally.swept += await ledger.sweep()  # what a dead worker had under way
                await self._stop_at_too_many_unknown()
                await asyncio.sleep(ROOM_SECONDS)

    @property
    def _may_claim(self) -> bool:
        return self._breaker.is_closed and not self._halt

    async def _is_fresh(self, queued: Queued, looked_up: float) -> bool:
        """Return whether the source still says what it did, after a long wait for the turn."""
        if asyncio.get_running_loop().time() - looked_up <= FRESH_SECONDS:
            return True
        return bool(await self._source.current([queued]))

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
