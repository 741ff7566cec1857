"""Work through the queue of one site: one task, a bounded number of certificates under way at once."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from math import ceil
from typing import Final

from springest.api.client import SpringestClient
from springest.delivery.brake import Weighed, largest_night, weigh
from springest.delivery.breaker import PROBE_DELAYS, Breaker
from springest.delivery.claims import Queued
from springest.delivery.context import Parts
from springest.delivery.freshness import SourceCheck
from springest.delivery.send import LEASE_MARGIN_SECONDS, Sender
from springest.delivery.send_limit import SendLimit
from springest.delivery.stops import Halt, too_large, too_many_unknown
from springest.delivery.tally import DeliverReport, Tally
from springest.errors import (
    DocumentsUnreachable,
    RunTooLarge,
    SpringestUnreachable,
    TooManyUnknown,
    WorkerStopped,
)
from springest.rate_limit.limiter import SECONDS_AN_HOUR
from springest.source.contract import CompletedTraining
from springest.states import State

log = logging.getLogger(__name__)

PASSES: Final = 3
"""Times the queue is gone through, for what came back to it meanwhile."""
SECONDS_TO_ANSWER: Final = 3.0
"""How long what is under way may still be answered when the process is about to be killed."""
PROGRESS_SECONDS: Final = 15.0

Item = tuple[Queued, CompletedTraining, float]
"""A delivery, its source row, and when that was looked up, by the event loop's clock."""


@dataclass(frozen=True, slots=True)
class DeliverSettings:
    """How a run delivers.

    :param concurrency: certificates under way at once.
    :param batch: deliveries looked up in the source together; few, so that they are fresh when sent.
    :param max_unknown: outcomes that may be unknown or under way at once, of all runs of the last hours.
    :param expected: certificates that a person said to expect, for a night larger than others.
    :param limit: certificates that the run may send, all its tries together; ``None`` for any number.
    :param seconds: how long the run may take; what is left then stays in the queue.
    :param night_seconds: how long a night is, when that is more than what this try has left of it.
    :param probe_delays: seconds before each probe of a server in trouble.
    :param lease_margin: seconds that a lease lasts longer than the longest POST.
    """

    concurrency: int = 10
    batch: int = 50
    max_unknown: int = 10
    expected: int = 0
    limit: int | None = None
    seconds: float = 6 * 3600.0
    night_seconds: float | None = None
    probe_delays: Sequence[float] = PROBE_DELAYS
    lease_margin: float = LEASE_MARGIN_SECONDS


class Deliverer:
    """One run over one site's queue.

    :param parts: what it works with.
    """

    def __init__(self, parts: Parts, *, settings: DeliverSettings | None = None) -> None:
        self._parts = parts
        self._settings = settings or DeliverSettings()
        self._came_back = False
        self.halt = Halt()
        self._limit = SendLimit(self.halt)
        self.tally = Tally()
        self._source = SourceCheck(parts, self.tally)

    def stop_at_once(self) -> None:
        """Stop because the process is about to be killed."""
        why = "the worker was stopped; the rest stays in the queue, and the next try continues"
        self.halt.throw(why, error=WorkerStopped(why), at_once=True)

    async def run(self) -> DeliverReport:
        """Work through the queue.

        :returns: what was done and what is left.
        :raises DeliveryStopped: nothing more can be sent; see the subclasses.
        :raises ConfigurationError: the site's connection leads to another account than what was staged.
        """
        # A timer of its own: nothing that may hang or fail stands between it and the end.
        deadline = asyncio.get_running_loop().call_later(
            self._settings.seconds, self.halt.throw, "the run's time is over"
        )
        try:
            return await self._run()
        finally:
            deadline.cancel()

    async def _pass_gates(self) -> int:
        """Make sure that this run may send at all; a dry run passes the same gates.

        :returns: outcomes that the run may still leave unknown.
        """
        await self._parts.high_water.check(self._parts.ledger.highest_attempt)
        await asyncio.to_thread(self._parts.stager.keep_to_site)
        await self._brake()
        await self._sweep()
        await self._begin_limit()
        return await self._unknown_left()

    async def _run(self) -> DeliverReport:
        may_become_unknown = await self._pass_gates()
        breaker = Breaker(
            probe=lambda: _probe(self._parts.client),
            give_up=self._give_up,
            delays=self._settings.probe_delays,
        )
        sender = Sender(
            self._parts,
            halt=self.halt,
            breaker=breaker,
            tally=self.tally,
            at_once=self._settings.concurrency,
            may_become_unknown=may_become_unknown,
            max_unknown=self._settings.max_unknown,
            limit=self._settings.limit,
            source=self._source,
            lease_margin=self._settings.lease_margin,
        )
        watch = asyncio.create_task(self._watch())
        try:
            async with self._parts.ledger.kept(), self._parts.limiter.kept():
                await self._work_through(sender)
                await self._set_aside_failed(sender)
        finally:
            sender.give_up_opening()
            watch.cancel()
            await asyncio.gather(watch, return_exceptions=True)
            await self._parts.high_water.keep()
            await breaker.close()
        self._say_what_is_in_doubt(sender.slow_start.closed_in_doubt)
        report = await self._report()
        if self.halt.error is not None:
            raise self.halt.error
        return report

    async def _begin_limit(self) -> None:
        """Find out how much is left of the run's limit; what earlier tries sent counts."""
        if (most := self._settings.limit) is not None:
            self._limit = SendLimit(self.halt, most, used=await self._parts.ledger.sent_by_run())

    async def _work_through(self, sender: Sender) -> None:
        for _ in range(PASSES):
            if not self.halt:
                await self._pass(sender)
            if not self._came_back:
                return

    async def _set_aside_failed(self, sender: Sender) -> None:
        """Set aside what could not be read for its own sake, once it is known that nothing larger failed."""
        if not self.halt.at_once and not isinstance(self.halt.error, DocumentsUnreachable):
            await sender.set_aside_what_was_not_read()
            await self._source.set_aside_refused()

    def _say_what_is_in_doubt(self, certifications: Sequence[int]) -> None:
        """End with an error when nothing of a certification got through and doubt is left."""
        if certifications:
            message = (
                f"of certification {', '.join(map(str, certifications))} nothing was answered well, and what "
                "became of the first ones can't be known: look at them in certificate_reconciliation"
            )
            self.halt.throw(message, error=TooManyUnknown(message))

    async def _brake(self) -> None:
        """Hold back a run that staged far more than usual; each run is checked separately.

        :raises RunTooLarge: this run is too large, or a person expects less than what waits.
        """
        run_id, expected = self._parts.run_id, self._settings.expected
        usual = largest_night(await self._parts.ledger.nights())
        weighed: Weighed | None = None

        def choose(waiting: Mapping[str, int]) -> Collection[str]:
            nonlocal weighed
            weighed = weigh(waiting, run_id=run_id, usual=usual, expected=expected)
            return weighed.accepted

        while await self._parts.ledger.release(choose) is None and not self.halt:
            log.warning("Another process is staging this run right now: nothing is sent before it is whole")
            await self.halt.unless(asyncio.sleep(PROGRESS_SECONDS))
        if weighed is None or not weighed.too_large:
            return
        if not weighed.accepted:
            raise RunTooLarge(f"nothing was sent: {too_large(weighed.too_large, usual=usual)}")
        log.warning("Not sent: %s", too_large(weighed.too_large, usual=usual))

    async def _sweep(self) -> None:
        self.tally.swept = await self._parts.ledger.sweep()
        if self.tally.swept:
            log.warning("%d deliveries that dead workers left behind are unknown now", self.tally.swept)

    async def _unknown_left(self) -> int:
        already = await self._parts.ledger.in_doubt()
        if already >= self._settings.max_unknown:
            message = too_many_unknown(already)
            self.halt.throw(message, error=TooManyUnknown(message))
        return max(self._settings.max_unknown - already, 0)

    async def _pass(self, sender: Sender) -> None:
        """Go through the queue once."""
        self._came_back = False
        not_taken, restaged = self.tally.outcomes[State.READY], self.tally.restaged
        # Twice as many as are under way: the others look rows up and open documents meanwhile.
        at_hand = 2 * self._settings.concurrency
        line: asyncio.Queue[Item | None] = asyncio.Queue(at_hand)
        workers = [asyncio.create_task(self._work(line, sender)) for _ in range(at_hand)]
        try:
            await self.halt.unless(self._fill(line, ends=len(workers)))
        except BaseException as error:  # cancelled as well: nobody may wait for what is brought no more
            self.halt.throw(f"the queue can't be read on: {type(error).__name__}")
            raise
        finally:
            if self.halt:
                _end(line, len(workers))
            await self._finish(workers, sender)
        self._came_back |= self.tally.outcomes[State.READY] > not_taken or self.tally.restaged > restaged

    async def _finish(self, workers: Sequence[asyncio.Task[None]], sender: Sender) -> None:
        """Let what is under way be answered; no document is opened any more once the run halts.

        When the process is about to be killed, unfinished bodies are broken off and answers get a short time.
        """
        stopping = asyncio.create_task(self._stop(workers, sender))
        try:
            await asyncio.wait(workers)
        except asyncio.CancelledError:
            for worker in workers:  # each still says what became of its certificate
                worker.cancel()
            await asyncio.gather(*workers, return_exceptions=True)
            raise
        finally:
            stopping.cancel()
            await asyncio.gather(stopping, return_exceptions=True)
        for worker in workers:
            if not worker.cancelled():
                worker.result()

    async def _stop(self, workers: Sequence[asyncio.Task[None]], sender: Sender) -> None:
        await self.halt.wait()
        sender.give_up_opening()
        await self.halt.wait_until_at_once()
        sender.attempts.abort_unfinished_bodies()
        await asyncio.sleep(SECONDS_TO_ANSWER)
        for worker in workers:
            worker.cancel()

    async def _work(self, line: asyncio.Queue[Item | None], sender: Sender) -> None:
        try:
            while (item := await self._limit.next(line)) is not None and not self.halt:
                sent = True  # unless it is known not to be
                try:
                    sent = await sender.send(*item)
                finally:
                    await self._limit.leave(sent=sent)
        except Exception as error:
            self.halt.throw(f"sending failed: {type(error).__name__}")
            raise

    async def _fill(self, line: asyncio.Queue[Item | None], *, ends: int) -> None:
        after = None
        while batch := await self._parts.ledger.queue(after=after, limit=self._settings.batch):
            after = batch[-1].order
            for item in await self._current(batch):
                await line.put(item)
        for _ in range(ends):
            await line.put(None)

    async def _current(self, batch: Sequence[Queued]) -> list[Item]:
        """Return the items whose source row is unchanged; stage the others again."""
        now = asyncio.get_running_loop().time()
        return [(queued, training, now) for queued, training in await self._source.current(batch)]

    async def _watch(self) -> None:
        """Keep the highest attempt and say how it goes, every so often."""
        while True:
            await asyncio.sleep(PROGRESS_SECONDS)
            await self._parts.high_water.keep()
            await self._say_how_it_goes()

    async def _say_how_it_goes(self) -> None:
        try:
            waiting = (await self._parts.ledger.length()).ready
        except Exception as error:  # noqa: BLE001 - only the telling fails; the next time may work
            log.warning("The warehouse does not report the length of the queue: %s", type(error).__name__)
            return
        log.info(
            "%s; %d left, %s; %d requests by this process, of the %d an hour that all may make together",
            self.tally.describe(),
            waiting,
            self._how_long(waiting),
            self._parts.limiter.granted,
            self._parts.site.requests_per_hour,
        )

    def _how_long(self, waiting: int) -> str:
        """Say how long the queue takes: in hours of sending, and in nights when it is more than one."""
        seconds = waiting * self._parts.limiter.pace.interval
        told = f"{seconds / SECONDS_AN_HOUR:.1f} hours of sending at the site's pace"
        night = self._settings.night_seconds or self._settings.seconds
        return told if seconds <= night else f"{told}, {ceil(seconds / night)} nights as long as this one"

    def _give_up(self, error: Exception) -> None:
        message = f"Springest does not answer as it should: {error}"
        self.halt.throw(message, error=SpringestUnreachable(message))

    async def _report(self) -> DeliverReport:
        left = (await self._parts.ledger.length()).ready
        self.tally.requests = self._parts.limiter.granted
        report = DeliverReport.of(
            self.tally, left=left, seconds_each=self._parts.limiter.pace.interval, stopped_by=self.halt.why
        )
        log.info("%s; %d left in the queue", self.tally.describe(), left)
        if left:
            log.warning("%d stay in the queue: %s", left, self._how_long(left))
        return report


def _end(line: asyncio.Queue[Item | None], workers: int) -> None:
    """Let no worker wait for what is brought no more."""
    while not line.empty():
        line.get_nowait()
    for _ in range(workers):
        line.put_nowait(None)


async def _probe(client: SpringestClient) -> None:
    """Ask for one certificate: the cheapest question that shows Springest to be well."""
    async for _ in client.certificates(size=1):
        return
