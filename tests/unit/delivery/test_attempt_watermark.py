"""The highest attempt is kept outside the warehouse before its first byte; a ledger behind it is noticed."""

from __future__ import annotations

import asyncio
import threading

import pytest

from springest.delivery.attempt_watermark import AttemptWatermark
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


async def _begun(keeper: Keeper, *, at: int = 0, others: tuple[Keeper, ...] = ()) -> AttemptWatermark:
    async def highest() -> int:
        return at

    mark = AttemptWatermark(keeper, others=others)
    await mark.verify(highest)
    return mark


async def _note(mark: AttemptWatermark, attempt_id: int) -> None:
    await mark.advance(attempt_id, known=mark.highest)


async def test_every_attempt_is_stored_before_its_first_byte() -> None:
    """The number of an attempt is stored outside the warehouse before its first byte may be sent."""
    keeper = Keeper()
    mark = await _begun(keeper)
    for attempt_id in (1, 2, 3):
        await _note(mark, attempt_id)
        assert keeper.number == attempt_id


async def test_waiting_attempts_are_stored_together() -> None:
    """Attempts that wait for one write are stored together by the next."""
    keeper = Keeper()
    mark = await _begun(keeper)
    keeper.may_write.clear()
    noting = [asyncio.create_task(mark.advance(number, known=0)) for number in range(1, 9)]
    await asyncio.sleep(0.05)
    assert not any(task.done() for task in noting)
    keeper.may_write.set()
    await asyncio.gather(*noting)
    assert keeper.written == [8]


async def test_an_attempt_that_cannot_be_stored_is_not_sent() -> None:
    """If storing the number fails, that attempt is not sent; the next attempt tries to store its own."""
    keeper = Keeper()
    mark = await _begun(keeper)
    keeper.is_broken = True
    with pytest.raises(ConnectionError, match="away"):
        await _note(mark, 1)
    keeper.is_broken = False
    await _note(mark, 2)
    assert keeper.number == 2


async def test_a_number_seen_before_is_refused() -> None:
    """A ledger that gives out a number twice has lost attempts."""
    keeper = Keeper()
    mark = await _begun(keeper, at=3)
    await _note(mark, 9)
    with pytest.raises(LedgerBehind):
        await mark.advance(9, known=mark.highest)
    assert keeper.written == [9]


@pytest.mark.parametrize(("own", "foreign"), [(7, None), (None, 7), (2, 7)])
async def test_a_ledger_that_is_behind_any_site_is_refused(own: int | None, foreign: int | None) -> None:
    """The high-water marks of all sites count, since attempts are numbered together."""
    with pytest.raises(LedgerBehind) as caught:
        await _begun(Keeper(own), at=6, others=(Keeper(foreign),))
    assert (caught.value.in_ledger, caught.value.kept) == (6, 7)
    await _begun(Keeper(own), at=7, others=(Keeper(foreign),))


async def test_a_lower_mark_of_a_concurrent_run_is_raised() -> None:
    """If a concurrent run stored a lower number later, this run raises it again."""
    keeper = Keeper()
    mark = await _begun(keeper)
    await _note(mark, 5)
    keeper.number = 4
    await mark.flush()
    assert keeper.number == 5
    keeper.number = 9
    await mark.flush()
    assert keeper.number == 9


async def test_a_failed_write_at_the_end_is_only_logged(caplog: pytest.LogCaptureFixture) -> None:
    """If the last write of the mark fails, the failure is logged and the run ends well."""
    keeper = Keeper()
    mark = await _begun(keeper, at=3)
    keeper.is_broken = True
    await mark.flush()
    assert "not stored outside the warehouse: ConnectionError" in caplog.text


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
async def test_a_mark_that_reads_back_differently_stops_the_run(copy: int | None) -> None:
    """With an old copy, a restored ledger would not look behind."""
    mark = await _begun(HiddenKeeper(copy), at=5)
    for attempt_id in (6, 7):
        with pytest.raises(ConfigurationError, match=rf"set to {attempt_id} and is read as {copy}: .*Remove"):
            await _note(mark, attempt_id)


async def test_a_concurrent_write_before_the_read_back_is_accepted() -> None:
    """A different number, which a concurrent run wrote before this run reads its own back, is no error."""

    class WrittenBeside(Keeper):
        def write(self, attempt_id: int) -> None:
            super().write(attempt_id)
            self.number = attempt_id - 1

    mark = await _begun(WrittenBeside(4), at=4)
    await _note(mark, 6)


async def test_the_mark_is_read_back_once_per_run() -> None:
    """The first write of a run is read back, the later ones are not."""
    keeper = Keeper(4)
    mark = await _begun(keeper, at=4)
    await _note(mark, 5)
    keeper.read = None  # type: ignore[assignment, method-assign]
    await _note(mark, 6)
    assert keeper.written == [5, 6]
