"""The switch that ends a run: thrown once, its first reason stays, and nobody waits beyond it."""

from __future__ import annotations

import asyncio

import pytest

from springest.delivery.stops import Halt
from springest.errors import AccessRefused, TooManyUnknown


async def test_it_is_off_until_it_is_thrown() -> None:
    """A new switch is off, and stays on once it was thrown."""
    halt = Halt()
    assert not halt
    halt.throw("enough")
    assert halt
    assert (halt.why, halt.error, halt.at_once) == ("enough", None, False)


async def test_the_first_reason_stays_and_the_hurry_is_added() -> None:
    """The key was refused; that the process is told to end as well does not make it a good end."""
    halt, refused = Halt(), AccessRefused("no")
    halt.throw("the key is refused", error=refused)
    halt.throw("too many", error=TooManyUnknown("ten"))
    halt.throw("the task is being stopped", at_once=True)
    assert (halt.why, halt.error, halt.at_once) == ("the key is refused", refused, True)


async def test_work_that_ends_gives_its_result() -> None:
    """Work that ends before the run stops returns its result."""

    async def work() -> int:
        await asyncio.sleep(0)
        return 7

    assert await Halt().unless(work()) == 7


async def test_an_error_of_the_work_reaches_its_worker() -> None:
    """An error of the work is raised to the worker that awaits it."""

    async def work() -> int:
        raise ValueError("mine")

    with pytest.raises(ValueError, match="mine"):
        await Halt().unless(work())


@pytest.mark.parametrize("before", [True, False])
async def test_a_stop_ends_the_wait_and_cancels_the_work(before: bool) -> None:
    """When the run stops, waiting ends and the work is asked to stop."""
    halt, cancelled = Halt(), asyncio.Event()

    async def work() -> int:
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            cancelled.set()
            raise
        return 7

    if before:
        halt.throw("enough")
    waiting = asyncio.create_task(halt.unless(work()))
    for _ in range(3):
        await asyncio.sleep(0)
    halt.throw("enough")
    assert await waiting is None
    assert cancelled.is_set()
    assert asyncio.all_tasks() == {asyncio.current_task()}


async def test_a_cancelled_worker_cancels_its_work() -> None:
    """Cancelling a worker cancels the work that it awaits."""
    halt = Halt()
    waiting = asyncio.create_task(halt.unless(asyncio.Event().wait()))
    await asyncio.sleep(0)
    waiting.cancel()
    with pytest.raises(asyncio.CancelledError):
        await waiting
    assert asyncio.all_tasks() == {asyncio.current_task()}


async def test_every_waiter_is_woken() -> None:
    """Every worker that waits for the switch is woken."""
    halt = Halt()
    waiting = [asyncio.create_task(halt.wait()) for _ in range(3)]
    await asyncio.sleep(0)
    halt.throw("enough")
    await asyncio.gather(*waiting)
