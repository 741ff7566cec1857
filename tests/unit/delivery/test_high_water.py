"""The highest attempt is kept outside the warehouse before its first byte; a ledger behind it is noticed."""

from __future__ import annotations

import asyncio
import threading

import pytest

from springest.delivery.high_water import HighWater
from springest.errors import ConfigurationError, LedgerBehind


class Keeper:
    """Keeps a number; may be slow, or fail."""

    def __init__(self, number: int | None = None) -> None:
        self.number = number
        self.written: list[int] = []
        self.is_broken = False
        self.may_write = threading.Event()
        self.may_write.set()

    def read(self) -> int | None:
        return self.number

    def write(self, attempt_id: int) -> None:
        assert self.may_write.wait(10)
        if self.is_broken:
            raise ConnectionError("the API server is away")
        self.number = attempt_id
        self.written.append(attempt_id)


async def _begun(keeper: Keeper, *, at: int = 0, others: tuple[Keeper, ...] = ()) -> HighWater:
    async def highest() -> int:
        return at

    one = HighWater(keeper, others=others)
    await one.check(highest)
    return one


async def _note(one: HighWater, attempt_id: int) -> None:
    await one.note(attempt_id, asked_after=one.highest)


async def test_every_attempt_is_kept_before_its_first_byte_may_leave() -> None:
    keeper = Keeper()
    one = await _begun(keeper)
    for attempt_id in (1, 2, 3):
        await _note(one, attempt_id)
        assert keeper.number == attempt_id


async def test_those_that_wait_meanwhile_are_kept_together() -> None:
    keeper = Keeper()
    one = await _begun(keeper)
    keeper.may_write.clear()
    noting = [asyncio.create_task(one.note(number, asked_after=0)) for number in range(1, 9)]
    await asyncio.sleep(0.05)
    assert not any(task.done() for task in noting)
    keeper.may_write.set()
    await asyncio.gather(*noting)
    assert keeper.written == [8]


async def test_what_is_not_kept_is_not_sent_and_the_next_one_is_tried() -> None:
    keeper = Keeper()
    one = await _begun(keeper)
    keeper.is_broken = True
    with pytest.raises(ConnectionError, match="away"):
        await _note(one, 1)
    keeper.is_broken = False
    await _note(one, 2)
    assert keeper.number == 2


async def test_a_number_that_comes_a_second_time_is_not_kept() -> None:
    keeper = Keeper()
    one = await _begun(keeper, at=3)
    await _note(one, 9)
    with pytest.raises(LedgerBehind):
        await one.note(9, asked_after=one.highest)
    assert keeper.written == [9]


@pytest.mark.parametrize(("own", "other"), [(7, None), (None, 7), (2, 7)])
async def test_a_ledger_that_is_behind_any_site_is_refused(own: int | None, other: int | None) -> None:
    with pytest.raises(LedgerBehind) as caught:
        await _begun(Keeper(own), at=6, others=(Keeper(other),))
    assert (caught.value.in_ledger, caught.value.kept) == (6, 7)
    await _begun(Keeper(own), at=7, others=(Keeper(other),))


async def test_a_run_beside_this_one_that_kept_less_later_is_put_right() -> None:
    keeper = Keeper()
    one = await _begun(keeper)
    await _note(one, 5)
    keeper.number = 4
    await one.keep()
    assert keeper.number == 5
    keeper.number = 9
    await one.keep()
    assert keeper.number == 9


async def test_a_failure_to_keep_at_the_end_is_told_and_stops_nothing(
    caplog: pytest.LogCaptureFixture,
) -> None:
    keeper = Keeper()
    one = await _begun(keeper, at=3)
    keeper.is_broken = True
    await one.keep()
    assert "not kept outside the warehouse: ConnectionError" in caplog.text


class HiddenKeeper(Keeper):
    """Writes to one place, and is read from a copy in another."""

    def __init__(self, copy: int | None) -> None:
        super().__init__()
        self.copy = copy

    def __str__(self) -> str:
        return "the Variable springest_highest_attempt"

    def read(self) -> int | None:
        return self.copy


@pytest.mark.parametrize("copy", [None, 0, 3])
async def test_what_is_written_and_not_read_stops_the_run(copy: int | None) -> None:
    """With an old copy, a restored ledger would not look behind."""
    one = await _begun(HiddenKeeper(copy), at=5)
    for attempt_id in (6, 7):
        with pytest.raises(ConfigurationError, match=rf"set to {attempt_id} and is read as {copy}: .*Remove"):
            await _note(one, attempt_id)


async def test_a_run_beside_this_one_may_write_between_writing_and_reading() -> None:
    class WrittenBeside(Keeper):
        def write(self, attempt_id: int) -> None:
            super().write(attempt_id)
            self.number = attempt_id - 1

    one = await _begun(WrittenBeside(4), at=4)
    await _note(one, 6)


async def test_what_is_written_is_read_back_once_a_run() -> None:
    keeper = Keeper(4)
    one = await _begun(keeper, at=4)
    await _note(one, 5)
    keeper.read = None  # type: ignore[assignment, method-assign]
    await _note(one, 6)
    assert keeper.written == [5, 6]
