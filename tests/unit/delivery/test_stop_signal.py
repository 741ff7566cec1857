"""The signal that stops a run: the first reason stays, and nothing is awaited after it."""

from __future__ import annotations

import asyncio

import pytest

from springest.delivery.stop_signal import StopSignal
from springest.errors import AccessRefused, TooManyUnknown


async def test_it_is_off_until_it_is_triggered() -> None:
    """A new signal is off, and stays on once it was triggered."""
    stop = StopSignal()
    assert not stop
    stop.trigger("enough")
    assert stop
    assert (stop.reason, stop.error, stop.immediate) == ("enough", None, False)


async def test_the_first_reason_stays_and_immediate_is_added() -> None:
    """The key was refused; a later signal only makes the stop immediate."""
    stop, refused = StopSignal(), AccessRefused("no")
    stop.trigger("the key is refused", error=refused)
    stop.trigger("too many", error=TooManyUnknown("ten"))
    stop.trigger("the task is being stopped", immediate=True)
    assert (stop.reason, stop.error, stop.immediate) == ("the key is refused", refused, True)


async def test_work_that_ends_gives_its_result() -> None:
    """Work that ends before the run stops returns its result."""

    async def work() -> int:
        await asyncio.sleep(0)
        return 7

    assert await StopSignal().run_or_stop(work()) == 7


async def test_an_error_of_the_work_reaches_its_worker() -> None:
    """An error of the work is raised to the worker that awaits it."""

    async def work() -> int:
        raise ValueError("of the work")

    with pytest.raises(ValueError, match="of the work"):
        await StopSignal().run_or_stop(work())


@pytest.mark.parametrize("before", [True, False])
async def test_a_stop_ends_the_wait_and_cancels_the_work(before: bool) -> None:
    """When the run stops, waiting ends and the work is asked to stop."""
    stop, cancelled = StopSignal(), asyncio.Event()

    async def work() -> int:
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            cancelled.set()
            raise
        return 7

    if before:
        stop.trigger("enough")
    waiting = asyncio.create_task(stop.run_or_stop(work()))
    for _ in range(3):
        await asyncio.sleep(0)
    stop.trigger("enough")
    assert await waiting is None
    assert cancelled.is_set()
    assert asyncio.all_tasks() == {asyncio.current_task()}


async def test_a_cancelled_worker_cancels_its_work() -> None:
    """Cancelling a worker cancels the work that it awaits."""
    stop = StopSignal()
    waiting = asyncio.create_task(stop.run_or_stop(asyncio.Event().wait()))
    await asyncio.sleep(0)
    waiting.cancel()
    with pytest.raises(asyncio.CancelledError):
        await waiting
    assert asyncio.all_tasks() == {asyncio.current_task()}


async def test_every_waiter_is_woken() -> None:
    """Every worker that waits for the signal is woken."""
    stop = StopSignal()
    waiting = [asyncio.create_task(stop.wait()) for _ in range(3)]
    await asyncio.sleep(0)
    stop.trigger("enough")
    await asyncio.gather(*waiting)
