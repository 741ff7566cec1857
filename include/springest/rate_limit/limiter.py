"""The shared rate limit: one row in the warehouse that every process with the same key draws from.

It is the generic cell rate algorithm (GCRA, ITU-T I.371) on the database's clock. Turns are given in one
statement and one commit, only when they are due, and never given back. The commit does not wait for the disk:
a power cut may forget the turns of the last second, which the share left to others covers many times. The
server's wish to be left alone freezes the same row for everybody.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from math import floor
from typing import Any, Final

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncEngine

from springest.db.batching import Lane, Rows, for_driver
from springest.db.statements import load_sql
from springest.site import DEFAULT_TIMEOUTS
from springest.suspend_clock import Moment

SECONDS_AN_HOUR: Final = 3_600
SHARE_USED: Final = 0.95
"""Of the site's cap; the rest is left to other clients of the same key."""
SHARE_OF_READS: Final = 0.2
LARGEST_BURST: Final = 20
GRANT_VALID_SECONDS: Final = 5.0
"""A grant that is not used by then is void, so that a paused process cannot spend an hour's worth at once."""
LEAVES_WITHIN_SECONDS: Final = GRANT_VALID_SECONDS + DEFAULT_TIMEOUTS.connect
"""From a grant to its request's first byte, at most: used at the last moment, then waiting to connect."""
SHORTEST_WAIT: Final = 0.005
LONGEST_WAIT: Final = 30.0
"""Seconds between two looks at the row, so that a lifted freeze is noticed."""
FIRST_FREEZE: Final = 60
LONGEST_FREEZE: Final = SECONDS_AN_HOUR
"""When the server does not say for how long."""
LONGEST_TOLD_FREEZE: Final = 24 * SECONDS_AN_HOUR

_ENSURE: Final = text(
    "INSERT INTO springest.rate_limit (host, key_fingerprint) VALUES (:host, :key_fingerprint)"
    " ON CONFLICT DO NOTHING"
)
_GRANT: Final = for_driver(load_sql("rate_limit/grant_turns"))
_FREEZE: Final = text("""
UPDATE springest.rate_limit
SET freeze_seconds = CASE WHEN CAST(:told AS double precision) IS NULL
                          THEN LEAST(GREATEST(freeze_seconds * 2, :first), :longest) ELSE freeze_seconds END,
    frozen_until = GREATEST(frozen_until, clock_timestamp() + make_interval(secs =>
        COALESCE(CAST(:told AS double precision), LEAST(GREATEST(freeze_seconds * 2, :first), :longest))))
WHERE host = :host AND key_fingerprint = :key_fingerprint
  AND (CAST(:told AS double precision) IS NOT NULL
       OR frozen_until IS NULL OR frozen_until <= clock_timestamp())
""")
_THAW: Final = text(
    "UPDATE springest.rate_limit SET freeze_seconds = 0"
    " WHERE host = :host AND key_fingerprint = :key_fingerprint AND freeze_seconds > 0"
)


@dataclass(frozen=True, slots=True)
class Pace:
    """What a cap of requests an hour means for single requests.

    :param interval: seconds between two requests at a steady pace.
    :param burst: requests that may go at once after a pause.
    """

    interval: float
    burst: int

    @property
    def tolerance(self) -> float:
        """Seconds by which a request may come before its turn."""
        return self.interval * (self.burst - 1)

    def seconds_for(self, requests: int, *, ahead: float = 0.0, frozen: float = 0.0) -> float:
        """Return how long this many requests take when no other process makes any.

        :param ahead: seconds by which earlier requests have used up what comes next.
        :param frozen: seconds for which the server wants to be left alone.
        """
        last = max(ahead, frozen) + (requests - 1) * self.interval - self.tolerance
        return max(frozen, last, 0.0) if requests else 0.0

    def requests_within(self, seconds: float, *, ahead: float = 0.0, frozen: float = 0.0) -> int:
        """Return how many requests ``seconds_for`` lets go in that time."""
        if seconds < frozen:
            return 0
        return max(0, floor((seconds - max(ahead, frozen) + self.tolerance) / self.interval + 1e-9) + 1)

    @classmethod
    def under(cls, requests_per_hour: int) -> Pace:
        """Return the pace that keeps every sliding hour under the cap.

        An hour's requests at the steady pace, the burst, and what may leave late stay together below
        ``requests_per_hour``. For 4,000 it is 3,800 an hour and a burst of 20.
        """
        steady = requests_per_hour * SHARE_USED
        late = steady * LEAVES_WITHIN_SECONDS / SECONDS_AN_HOUR
        burst = max(1, min(LARGEST_BURST, int(requests_per_hour - steady - late)))
        return cls(interval=SECONDS_AN_HOUR / steady, burst=burst)


class RateLimiter:
    """Hands out turns from the shared row.

    :param engine: engine of the warehouse.
    :param host: Springest host, as the row's name.
    :param key_fingerprint: which key's allowance it is.
    :param requests_per_hour: the site's cap for that key.
    """

    def __init__(
        self,
        engine: AsyncEngine,
        *,
        host: str,
        key_fingerprint: str,
        requests_per_hour: int,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
    ) -> None:
        self._engine = engine.execution_options(isolation_level="AUTOCOMMIT")
        self._row = {"host": host, "key_fingerprint": key_fingerprint}
        self.pace = Pace.under(requests_per_hour)
        self._values = {
            **self._row,
            "interval": self.pace.interval,
            "tolerance": self.pace.tolerance,
            "longest_freeze": LONGEST_TOLD_FREEZE,
        }
        self._sleep = sleep
        self._ensured = False
        self._maybe_frozen = False
        self._grants: Lane[Moment, Grant | float] = Lane(
            engine, _GRANT, parameters=self._wanted, answers=self._granted
        )
        self.granted = 0

    @classmethod
    def of_reads(
        cls, engine: AsyncEngine, *, host: str, key_fingerprint: str, requests_per_hour: int
    ) -> RateLimiter:
        """Return the bound on the reads of a key, in a row of its own."""
        share = max(1, int(requests_per_hour * SHARE_OF_READS))
        return cls(engine, host=f"{host} (reads)", key_fingerprint=key_fingerprint, requests_per_hour=share)

    async def acquire(self, *, until: float | None = None) -> Grant | None:
        """Wait for a turn.

        :param until: moment of the event loop's clock after which no turn is wanted any more.
        :returns: the grant, to be used within ``GRANT_VALID_SECONDS``; ``None`` when ``until`` came first.
        """
        now = asyncio.get_running_loop().time
        while not isinstance(answer := await self.ask(), Grant):
            if until is not None and now() + answer >= until:
                return None
            await self.pause(answer)
        return answer

    async def pause(self, seconds: float) -> None:
        """Wait until it is time to ask again."""
        await self._sleep(seconds)

    async def ask(self) -> Grant | float:
        """Ask for a turn once, without waiting for it.

        :returns: the grant, or the seconds after which to ask again.
        """
        if not self._ensured:
            await self._ensure()
        answer = await self._grants.ask(Moment.now())
        if isinstance(answer, Grant):
            self.granted += 1
            return answer
        return max(SHORTEST_WAIT, min(answer, LONGEST_WAIT))

    @asynccontextmanager
    async def kept(self) -> AsyncIterator[None]:
        """Keep the connection for grants meanwhile."""
        async with self._grants.kept():
            yield

    def _wanted(self, asked: Sequence[Moment]) -> dict[str, Any]:
        return {**self._values, "wanted": len(asked)}

    def _granted(self, asked: Sequence[Moment], rows: Rows) -> list[Grant | float]:
        """Give out what was granted in the order of asking; the others wait, one interval behind another."""
        ((turns, seconds_to_next),) = rows
        return [
            Grant(moment) if place < turns else seconds_to_next + (place - turns) * self.pace.interval
            for place, moment in enumerate(asked)
        ]

    async def _ensure(self) -> None:
        """Make the row, unless somebody did."""
        async with self._engine.connect() as connection:
            await connection.execute(_ENSURE, self._row)
        self._ensured = True

    async def freeze(self, retry_after: float | None) -> None:
        """Let nobody send for ``retry_after`` seconds; without one, for 60 s, then twice as long."""
        told = None if retry_after is None else min(max(retry_after, 0.0), LONGEST_TOLD_FREEZE)
        self._maybe_frozen = True
        async with self._engine.connect() as connection:
            await connection.execute(_ENSURE, self._row)
            await connection.execute(
                _FREEZE, {**self._row, "told": told, "first": FIRST_FREEZE, "longest": LONGEST_FREEZE}
            )

    async def answered_well(self) -> None:
        """Note that the server answers again: the next freeze starts short."""
        if self._maybe_frozen:
            self._maybe_frozen = False
            async with self._engine.connect() as connection:
                await connection.execute(_THAW, self._row)


class ReadGate:
    """Lets GETs through: each takes a turn of the key's, and together they take a fifth of them at most.

    So a long list can't keep certificates waiting.

    :param limiter: the key's rate limit, shared with POSTs.
    :param reads: the bound on reads; see ``of_reads``.
    """

    def __init__(self, limiter: RateLimiter, reads: RateLimiter) -> None:
        self._limiter = limiter
        self._reads = reads

    async def __call__(self, _method: str) -> None:
        """Wait for a turn."""
        await self._reads.acquire()
        await self._limiter.acquire()


@dataclass(frozen=True, slots=True)
class Grant:
    """One turn.

    :param asked: when it was asked for.
    """

    asked: Moment

    @property
    def is_void(self) -> bool:
        """Whether it is too late to use it."""
        return self.asked.age >= GRANT_VALID_SECONDS

    @property
    def is_over(self) -> bool:
        """Whether not even the first byte of a request that it was used for may leave any more."""
        return self.asked.age >= LEAVES_WITHIN_SECONDS
