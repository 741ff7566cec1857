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
    start = SlowStart()
    assert [await _enters(start) for _ in range(6)] == [True] * 5 + [None]
    assert await _enters(start, certification_id=2), "another certification has nothing to do with it"


async def test_once_five_were_answered_well_everything_goes() -> None:
    start = SlowStart()
    for _ in range(5):
        await start.enter(1)
    for _ in range(5):
        await start.leave(1, State.ACCEPTED)
    assert [await _enters(start) for _ in range(20)] == [True] * 20


async def test_four_good_ones_are_not_enough_for_more_than_one_at_a_time() -> None:
    start = SlowStart()
    for _ in range(4):
        await start.enter(1)
        await start.leave(1, State.ACCEPTED_NO_ID)
    assert [await _enters(start), await _enters(start)] == [True, None]


@pytest.mark.parametrize("badly", [State.REJECTED, State.UNKNOWN])
async def test_five_bad_ones_and_no_good_one_close_it(badly: State) -> None:
    start = SlowStart()
    for _ in range(5):
        assert await start.enter(1)
        await start.leave(1, badly)
    assert await _enters(start) is False
    assert await _enters(start, certification_id=2) is True


@pytest.mark.parametrize("well", range(1, 5))
async def test_some_good_ones_among_the_first_do_not_let_thousands_of_bad_ones_through(well: int) -> None:
    start = SlowStart()
    for became in [State.ACCEPTED] * well + [State.REJECTED] * 5:
        assert await start.enter(1)
        await start.leave(1, became)
    assert await _enters(start) is False


async def test_no_more_than_five_bad_ones_get_through_at_once_either() -> None:
    start = SlowStart()
    for became in (State.ACCEPTED, *[State.REJECTED] * 3):
        await start.enter(1)
        await start.leave(1, became)
    assert [await _enters(start) for _ in range(3)] == [True, True, None]


async def test_bad_ones_after_five_good_ones_are_their_own_affair() -> None:
    start = SlowStart()
    for became in [State.ACCEPTED] * 5 + [State.REJECTED] * 20:
        assert await start.enter(1)
        await start.leave(1, became)
    assert await _enters(start) is True


async def test_what_was_not_taken_says_nothing() -> None:
    start = SlowStart()
    for became in (State.READY, None) * 5:
        assert await start.enter(1)
        await start.leave(1, became)
    assert await _enters(start) is True
