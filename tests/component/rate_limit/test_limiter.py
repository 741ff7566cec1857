"""The shared rate limit: arithmetic that keeps every sliding hour, and one row that everybody draws from."""

from __future__ import annotations

import asyncio
import math
from collections.abc import Callable

import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from sqlalchemy import Engine, text
from sqlalchemy.ext.asyncio import AsyncEngine

from springest.rate_limit.limiter import (
    FIRST_FREEZE,
    GRANT_VALID_SECONDS,
    MAX_BURST,
    MAX_FREEZE,
    MAX_RETRY_AFTER,
    MAX_WAIT,
    MIN_WAIT,
    SECONDS_PER_HOUR,
    SEND_WINDOW_SECONDS,
    Grant,
    Pace,
    RateLimiter,
    ReadGate,
)
from springest.suspend_clock import Instant

MakeLimiter = Callable[..., RateLimiter]
SLOWLY = 10
"""Requests an hour at which no second turn comes while a test runs."""


@given(cap=st.integers(1, 100_000))
@example(1)
@example(19)
@example(20)
@example(21)
@example(412)
@example(4_000)
def test_no_sliding_hour_exceeds_the_cap(cap: int) -> None:
    """Requests of an hour were granted in it or shortly before: the burst, and one per interval."""
    pace = Pace.under(cap)
    grants = pace.burst + math.floor((SECONDS_PER_HOUR + SEND_WINDOW_SECONDS) / pace.interval)
    assert grants <= cap


@given(cap=st.integers(1, 100_000), waits=st.lists(st.floats(0, 3), max_size=60))
def test_no_sliding_hour_of_a_simulated_crowd_exceeds_the_cap(cap: int, waits: list[float]) -> None:
    """The grant rule itself, played through: as greedy as it can be after pauses of any length."""
    pace = Pace.under(cap)
    now, due, grants = 0.0, 0.0, []
    for wait in waits:
        now += wait * pace.interval
        while due <= now + pace.tolerance:
            due = max(due, now) + pace.interval
            grants.append(now)
    window = SECONDS_PER_HOUR + SEND_WINDOW_SECONDS
    assert all(sum(start <= grant < start + window for grant in grants) <= cap for start in grants)


@given(cap=st.integers(400, 100_000))
def test_a_long_queue_uses_nearly_all_of_the_limit(cap: int) -> None:
    """The steady pace uses 95 % of the hourly limit."""
    assert SECONDS_PER_HOUR / Pace.under(cap).interval >= 0.95 * cap * 0.999


def test_the_default_limit_has_the_documented_pace() -> None:
    """The default limit gives the interval and burst that the documentation names."""
    pace = Pace.under(4_000)
    assert (round(SECONDS_PER_HOUR / pace.interval), pace.burst) == (3_800, MAX_BURST)


@pytest.fixture
def slept() -> list[float]:
    """How long the limiters of this test asked to sleep."""
    return []


@pytest.fixture
def limiter(async_warehouse: AsyncEngine, slept: list[float]) -> MakeLimiter:
    async def sleep(seconds: float) -> None:
        slept.append(seconds)
        await asyncio.sleep(0)

    def make(
        requests_per_hour: int = SLOWLY, *, host: str = "springest.example.com", key: str = "a"
    ) -> RateLimiter:
        return RateLimiter(
            async_warehouse, host=host, key_fingerprint=key, requests_per_hour=requests_per_hour, sleep=sleep
        )

    return make


async def ask(limiter: RateLimiter) -> Grant | None:
    """Ask once; return the grant if one is due."""
    answer = await limiter.ask()
    return answer if isinstance(answer, Grant) else None


def row(warehouse: Engine) -> tuple[int, float | None, int]:
    """Return turns granted, seconds that the freeze still lasts, and its length."""
    with warehouse.connect() as connection:
        granted, left, length = connection.execute(
            text(
                "SELECT granted, extract(epoch FROM frozen_until - clock_timestamp()), freeze_seconds"
                " FROM springest.rate_limit"
            )
        ).one()
    return granted, None if left is None else float(left), length


async def thaw(engine: AsyncEngine) -> None:
    """Let the freeze be over."""
    async with engine.begin() as connection:
        await connection.execute(text("UPDATE springest.rate_limit SET frozen_until = clock_timestamp()"))


async def test_a_burst_is_granted_at_once_and_no_more(warehouse: Engine, limiter: MakeLimiter) -> None:
    """The burst is granted at once, and the next grant waits."""
    own = limiter(4_000)
    grants = [await ask(own) for _ in range(MAX_BURST)]
    assert all(grant is not None and not grant.has_expired for grant in grants)
    assert await ask(own) is None
    assert (own.granted, row(warehouse)[0]) == (MAX_BURST, MAX_BURST)


async def test_limiters_of_one_key_share_one_row(warehouse: Engine, limiter: MakeLimiter) -> None:
    """Two processes get together what one would get."""
    first, two = limiter(4_000), limiter(4_000)
    grants = await asyncio.gather(*(ask(each) for each in (first, two) for _ in range(MAX_BURST)))
    assert sum(grant is not None for grant in grants) == first.granted + two.granted == row(warehouse)[0]
    assert MAX_BURST <= row(warehouse)[0] <= MAX_BURST + 2


async def test_each_key_and_host_has_its_own_limit(limiter: MakeLimiter) -> None:
    """Another key or another host has its own row."""
    for own in (limiter(), limiter(key="b"), limiter(host="other.example.com")):
        assert await ask(own) is not None
        assert await ask(own) is None


async def test_a_turn_is_waited_for_as_long_as_it_takes(async_warehouse: AsyncEngine) -> None:
    """Time is put forward by what was asked to be slept."""
    slept: list[float] = []

    async def sleep(seconds: float) -> None:
        slept.append(seconds)
        async with async_warehouse.begin() as connection:
            await connection.execute(
                text(
                    "UPDATE springest.rate_limit"
                    " SET theoretical_arrival = theoretical_arrival - make_interval(secs => :seconds)"
                ),
                {"seconds": seconds},
            )

    own = RateLimiter(
        async_warehouse,
        host="springest.example.com",
        key_fingerprint="a",
        requests_per_hour=600,
        sleep=sleep,
    )
    for _ in range(MAX_BURST + 1):
        await own.acquire()
    assert slept
    assert sum(slept) <= own.pace.interval + MIN_WAIT


async def test_a_long_wait_is_looked_at_again_now_and_then(async_warehouse: AsyncEngine) -> None:
    """A freeze that somebody lifts is noticed."""
    waits: list[float] = []

    async def lifted_meanwhile(seconds: float) -> None:
        waits.append(seconds)
        await thaw(async_warehouse)

    own = RateLimiter(
        async_warehouse,
        host="springest.example.com",
        key_fingerprint="a",
        requests_per_hour=SLOWLY,
        sleep=lifted_meanwhile,
    )
    await own.freeze(3_000)
    assert await own.acquire() is not None
    assert waits == [MAX_WAIT]


async def test_a_freeze_stops_every_user_of_the_row(limiter: MakeLimiter) -> None:
    """A freeze stops every limiter that shares the row."""
    first, two = limiter(4_000), limiter(4_000)
    await first.acquire()
    await first.freeze(30)
    assert await ask(first) is None
    assert await ask(two) is None


async def test_a_freeze_can_precede_the_first_grant(warehouse: Engine, limiter: MakeLimiter) -> None:
    """A freeze is kept even if nothing was granted yet."""
    own = limiter()
    await own.freeze(30)
    assert await ask(own) is None
    assert row(warehouse)[0] == 0


@pytest.mark.parametrize(
    ("seconds", "lasts"),
    [
        (7.5, 7.5),
        (0, 0),
        (-5, 0),
        (6 * MAX_FREEZE, 6 * MAX_FREEZE),
        (10 * MAX_RETRY_AFTER, MAX_RETRY_AFTER),
        (None, FIRST_FREEZE),
    ],
)
async def test_a_freeze_lasts_as_long_as_the_server_asks(
    warehouse: Engine, limiter: MakeLimiter, seconds: float | None, lasts: float
) -> None:
    """Within reason: nothing negative, and nothing beyond the longest freeze."""
    await limiter().freeze(seconds)
    left = row(warehouse)[1]
    assert left is not None
    assert lasts - 2 < left <= lasts


async def test_a_shorter_freeze_does_not_shorten_a_longer_one(
    warehouse: Engine, limiter: MakeLimiter
) -> None:
    """Of two freezes, the longer counts."""
    own = limiter()
    await own.freeze(300)
    await own.freeze(5)
    left = row(warehouse)[1]
    assert left is not None
    assert left > 290


async def test_freezes_without_a_time_double_up_to_an_hour(
    warehouse: Engine, async_warehouse: AsyncEngine, limiter: MakeLimiter
) -> None:
    """Freezes without `Retry-After` double up to an hour, and start short again after a good response."""
    own = limiter()
    lengths = []
    for _ in range(8):
        await own.freeze(None)
        lengths.append(row(warehouse)[2])
        await thaw(async_warehouse)
    assert lengths == [60, 120, 240, 480, 960, 1920, 3600, 3600]
    await own.reset_backoff()
    await own.freeze(None)
    assert row(warehouse)[2] == FIRST_FREEZE


async def test_several_answers_of_one_outage_freeze_once(warehouse: Engine, limiter: MakeLimiter) -> None:
    """Eight requests under way that are all throttled are one reason to wait, not eight doublings."""
    first, two = limiter(), limiter()
    await asyncio.gather(*(each.freeze(None) for each in (first, two) for _ in range(4)))
    granted, left, length = row(warehouse)
    assert (granted, length) == (0, FIRST_FREEZE)
    assert left is not None
    assert left <= FIRST_FREEZE


async def test_a_good_response_without_a_freeze_runs_no_statement(
    warehouse: Engine, limiter: MakeLimiter
) -> None:
    """Unless something was frozen, a good response writes nothing."""
    await limiter().reset_backoff()
    with warehouse.connect() as connection:
        assert connection.execute(text("SELECT count(*) FROM springest.rate_limit")).scalar_one() == 0


async def test_a_grant_expires_after_five_seconds(limiter: MakeLimiter) -> None:
    """A grant expires five seconds after it was made."""
    grant = await limiter().acquire()
    assert grant is not None
    assert not grant.has_expired
    assert Grant(_ago(GRANT_VALID_SECONDS)).has_expired
    assert not Grant(_ago(GRANT_VALID_SECONDS)).is_past_send_window
    assert Grant(_ago(SEND_WINDOW_SECONDS)).is_past_send_window


async def test_the_time_that_a_machine_slept_counts() -> None:
    """An event loop's clock stands still while the machine is suspended."""
    now = Instant.now()
    assert Grant(Instant(now.monotonic, now.boottime - GRANT_VALID_SECONDS)).has_expired
    assert Grant(Instant(now.monotonic, now.boottime - SEND_WINDOW_SECONDS)).is_past_send_window


def _ago(seconds: float) -> Instant:
    now = Instant.now()
    return Instant(now.monotonic - seconds, now.boottime)


async def test_reads_take_a_fifth_of_the_cap_and_turns_of_the_same_row(
    warehouse: Engine, async_warehouse: AsyncEngine
) -> None:
    """After the reads' own burst is gone, a POST still gets its turn at once."""
    row = {"host": "api.example.com", "key_fingerprint": "f" * 16, "requests_per_hour": 100}
    limiter = RateLimiter(async_warehouse, **row)
    reads = RateLimiter.for_reads(async_warehouse, **row)
    assert reads.pace == Pace.under(20)
    await ReadGate(limiter, reads)("GET")
    assert await ask(reads) is None
    assert await ask(limiter) is not None
    with warehouse.connect() as connection:
        granted = connection.execute(
            text("SELECT host, granted FROM springest.rate_limit ORDER BY host")
        ).all()
    assert [tuple(row) for row in granted] == [("api.example.com", 2), ("api.example.com (reads)", 1)]


async def test_times_too_far_ahead_are_reduced(warehouse: Engine, limiter: MakeLimiter) -> None:
    """After the clock was set back, no grant is due a year from now, and no freeze lasts that long."""
    shared = limiter()
    await shared.acquire()
    with warehouse.begin() as connection:
        connection.execute(
            text("UPDATE springest.rate_limit SET theoretical_arrival = now() + interval '1 year'")
        )
    waits = await shared.ask()
    assert isinstance(waits, float)
    assert waits <= shared.pace.interval
    with warehouse.begin() as connection:
        connection.execute(text("UPDATE springest.rate_limit SET frozen_until = now() + interval '1 year'"))
    assert isinstance(await shared.ask(), float)
    with warehouse.connect() as connection:
        left = connection.execute(
            text("SELECT extract(epoch FROM frozen_until - clock_timestamp()) FROM springest.rate_limit")
        ).scalar_one()
    assert MAX_RETRY_AFTER - SECONDS_PER_HOUR < left <= MAX_RETRY_AFTER
