"""The first certificates of a certification go ahead of the rest."""

from __future__ import annotations

import asyncio

import pytest

from springest.delivery.slow_start import SlowStart
from springest.states import State


async def _enters(start: SlowStart, certification_id: int = 1) -> bool | None:
    """Whether a certificate gets through now; ``None`` is that it waits."""
    entering = asyncio.ensure_future(start.enter(certification_id))
    for _ in range(3):
        await asyncio.sleep(0)
    if entering.done():
        return entering.result()
    entering.cancel()
    await asyncio.gather(entering, return_exceptions=True)
    return None


async def test_five_go_ahead_and_the_sixth_waits() -> None:
    """Five certificates of a certification are sent at first; the sixth waits for their outcomes."""
    start = SlowStart()
    assert [await _enters(start) for _ in range(6)] == [True] * 5 + [None]
    assert await _enters(start, certification_id=2), "another certification has nothing to do with it"


async def test_after_five_successes_everything_is_sent() -> None:
    """Five accepted certificates open their certification."""
    start = SlowStart()
    for _ in range(5):
        await start.enter(1)
    for _ in range(5):
        await start.leave(1, State.ACCEPTED)
    assert [await _enters(start) for _ in range(20)] == [True] * 20


async def test_after_four_successes_one_is_sent_at_a_time() -> None:
    """Four successes leave room for one certificate at a time."""
    start = SlowStart()
    for _ in range(4):
        await start.enter(1)
        await start.leave(1, State.ACCEPTED_NO_ID)
    assert [await _enters(start), await _enters(start)] == [True, None]


@pytest.mark.parametrize("badly", [State.REJECTED, State.UNKNOWN])
async def test_five_refusals_without_a_success_close_it(badly: State) -> None:
    """Five refusals and no success close the certification for this run."""
    start = SlowStart()
    for _ in range(5):
        assert await start.enter(1)
        await start.leave(1, badly)
    assert await _enters(start) is False
    assert await _enters(start, certification_id=2) is True


@pytest.mark.parametrize("well", range(1, 5))
async def test_a_few_successes_do_not_open_it_to_refusals(well: int) -> None:
    """Some successes among the first five do not let thousands of refusals through."""
    start = SlowStart()
    for became in [State.ACCEPTED] * well + [State.REJECTED] * 5:
        assert await start.enter(1)
        await start.leave(1, became)
    assert await _enters(start) is False


async def test_at_most_five_refusals_happen_at_once() -> None:
    """Concurrent workers get no more than five refusals either."""
    start = SlowStart()
    for became in (State.ACCEPTED, *[State.REJECTED] * 3):
        await start.enter(1)
        await start.leave(1, became)
    assert [await _enters(start) for _ in range(3)] == [True, True, None]


async def test_refusals_after_five_successes_close_nothing() -> None:
    """Once five succeeded, refusals concern their own certificate only."""
    start = SlowStart()
    for became in [State.ACCEPTED] * 5 + [State.REJECTED] * 20:
        assert await start.enter(1)
        await start.leave(1, became)
    assert await _enters(start) is True


async def test_a_certificate_not_stored_does_not_count() -> None:
    """A certificate that was not stored counts neither as a success nor as a refusal."""
    start = SlowStart()
    for became in (State.READY, None) * 5:
        assert await start.enter(1)
        await start.leave(1, became)
    assert await _enters(start) is True
