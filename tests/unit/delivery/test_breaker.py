"""The breaker: pause after three failures in a row, probe with back-off, and finally give up."""

from __future__ import annotations

import asyncio

import pytest

from springest.delivery.breaker import FAILURES_TO_OPEN, PROBE_DELAYS, Breaker
from springest.errors import SpringestError


class World:
    """A breaker with a server that is well or not, and a clock that only notes."""

    def __init__(self, *, probes: list[Exception | None]) -> None:
        self.slept: list[float] = []
        self.gave_up: list[Exception] = []
        self.sleeping = asyncio.Event()
        self.wake = asyncio.Semaphore(0)
        self._probes = iter(probes)
        self.breaker = Breaker(probe=self.probe, give_up=self.gave_up.append, sleep=self.sleep)

    async def sleep(self, seconds: float) -> None:
        self.slept.append(seconds)
        self.sleeping.set()
        await self.wake.acquire()

    async def probe(self) -> None:
        error = next(self._probes)
        if error is not None:
            raise error

    @property
    def is_open(self) -> bool:
        """Whether a worker would have to wait."""
        waiting = self.breaker.wait_until_closed()
        try:
            waiting.send(None)
        except StopIteration:
            return False
        finally:
            waiting.close()
        return True

    async def ended(self) -> None:
        """Let all probes happen, until nothing moves any more."""
        for _ in PROBE_DELAYS:
            self.wake.release()
        for _ in range(20 * len(PROBE_DELAYS)):
            await asyncio.sleep(0)


NOT_WELL = SpringestError("not well")


async def test_the_third_unknown_outcome_in_a_row_pauses_all() -> None:
    """Two unknown outcomes in a row pause no worker, the third pauses every worker."""
    world = World(probes=[None])
    for _ in range(FAILURES_TO_OPEN - 1):
        world.breaker.record_failure()
    assert not world.is_open
    world.breaker.record_failure()
    assert world.is_open
    await world.breaker.stop()


async def test_a_good_outcome_in_between_starts_the_count_again() -> None:
    """A good outcome between two failures resets the count."""
    world = World(probes=[])
    for _ in range(5):
        world.breaker.record_failure()
        world.breaker.record_failure()
        world.breaker.record_success()
    assert not world.is_open


async def test_a_successful_probe_resumes_every_worker() -> None:
    """After a successful probe every paused worker continues."""
    world = World(probes=[None])
    for _ in range(FAILURES_TO_OPEN):
        world.breaker.record_failure()
    waiting = [asyncio.create_task(world.breaker.wait_until_closed()) for _ in range(3)]
    await world.ended()
    assert all(task.done() for task in waiting)
    assert (world.slept, world.gave_up) == ([PROBE_DELAYS[0]], [])


async def test_after_a_recovery_it_takes_three_failures_again() -> None:
    """The breaker starts to count from zero after it recovered."""
    world = World(probes=[None, None])
    for _ in range(FAILURES_TO_OPEN):
        world.breaker.record_failure()
    await world.ended()
    world.breaker.record_failure()
    assert not world.is_open


async def test_probes_back_off_and_the_last_error_is_raised() -> None:
    """The delay between probes grows; when the breaker gives up it raises the last probe's error."""
    last = SpringestError("the last one")
    world = World(probes=[*[NOT_WELL] * (len(PROBE_DELAYS) - 1), last])
    for _ in range(FAILURES_TO_OPEN):
        world.breaker.record_failure()
    await world.ended()
    assert world.slept == list(PROBE_DELAYS) == sorted(PROBE_DELAYS)
    assert world.gave_up == [last]
    assert world.is_open


async def test_a_good_probe_after_a_failed_one_resumes() -> None:
    """One failed probe does not end the run."""
    world = World(probes=[NOT_WELL, NOT_WELL, None])
    for _ in range(FAILURES_TO_OPEN):
        world.breaker.record_failure()
    await world.ended()
    assert not world.is_open
    assert world.slept == list(PROBE_DELAYS[:3])


@pytest.mark.parametrize("error", [RuntimeError("a mistake of ours"), OSError()])
async def test_an_unforeseen_probe_error_leaves_nobody_waiting(error: Exception) -> None:
    """If a probe raises an unforeseen error, the paused workers get it instead of waiting for ever."""
    world = World(probes=[error] * len(PROBE_DELAYS))
    for _ in range(FAILURES_TO_OPEN):
        world.breaker.record_failure()
    await world.ended()
    assert [str(error) for error in world.gave_up] == [f"the probe failed: {type(error).__name__}"]


async def test_outcomes_during_a_probe_start_no_second_probe() -> None:
    """Failures of requests that were already under way start no second series of probes."""
    world = World(probes=[None])
    for _ in range(10):
        world.breaker.record_failure()
    await world.sleeping.wait()
    world.breaker.record_failure()
    await world.ended()
    assert len(world.slept) == 1
    assert not world.is_open


async def test_closing_ends_a_running_probe() -> None:
    """Closing the breaker cancels its running probe."""
    world = World(probes=[None])
    for _ in range(FAILURES_TO_OPEN):
        world.breaker.record_failure()
    await world.sleeping.wait()
    await world.breaker.stop()
    assert world.gave_up == []
    assert asyncio.all_tasks() == {asyncio.current_task()}


async def test_closing_an_untripped_breaker_does_nothing() -> None:
    """A breaker that never tripped can be closed."""
    await World(probes=[]).breaker.stop()
