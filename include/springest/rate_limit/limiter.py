"""The rate limiter: one row in the warehouse that every process with the same key draws from.

It is the generic cell rate algorithm (GCRA, ITU-T I.371) on the database's clock. Grants are given by one
statement in one commit, only when they are due, and never returned to the row. The commit does not wait for
the disk: a power cut may lose the grants of the last second, which the unused share of the limit covers many
times. A ``Retry-After`` of the server freezes the same row for all processes.
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

from springest.db.batching import Rows, StatementBatcher, for_driver
from springest.db.statements import load_sql
from springest.site import DEFAULT_TIMEOUTS
from springest.suspend_clock import Instant

SECONDS_PER_HOUR: Final = 3_600
SHARE_USED: Final = 0.95
"""Share of the site's limit; the rest is left to other clients of the same key."""
SHARE_OF_READS: Final = 0.2
MAX_BURST: Final = 20
GRANT_VALID_SECONDS: Final = 5.0
"""A grant expires after this, so that a suspended process cannot collect grants and use them all at once."""
SEND_WINDOW_SECONDS: Final = GRANT_VALID_SECONDS + DEFAULT_TIMEOUTS.connect
"""Longest time from a grant to the first byte of its request, which may have to connect first."""
MIN_WAIT: Final = 0.005
MAX_WAIT: Final = 30.0
"""Seconds after which a waiting caller asks again, so that it notices the end of a freeze."""
FIRST_FREEZE: Final = 60
MAX_FREEZE: Final = SECONDS_PER_HOUR
"""Bounds of a freeze without ``Retry-After``, in seconds."""
MAX_RETRY_AFTER: Final = 24 * SECONDS_PER_HOUR

_CREATE_ROW: Final = text(
    "INSERT INTO springest.rate_limit (host, key_fingerprint) VALUES (:host, :key_fingerprint)"
    " ON CONFLICT DO NOTHING"
)
_GRANT: Final = for_driver(load_sql("rate_limit/grant"))
_FREEZE: Final = text(load_sql("rate_limit/freeze"))
_RESET: Final = text(
    "UPDATE springest.rate_limit SET freeze_seconds = 0"
    " WHERE host = :host AND key_fingerprint = :key_fingerprint AND freeze_seconds > 0"
)


@dataclass(frozen=True, slots=True)
class Pace:
    """The pace of single requests under a limit of requests per hour.

    :param interval: seconds between two requests at a steady pace.
    :param burst: requests that may be made at once after a pause.
    """

    interval: float
    burst: int

    @property
    def tolerance(self) -> float:
        """Seconds by which a request may come before its regular time."""
        return self.interval * (self.burst - 1)

    def seconds_for(self, requests: int, *, ahead: float = 0.0, frozen: float = 0.0) -> float:
        """Return how long this many requests take when no other process makes any.

        :param ahead: seconds of the steady pace that earlier requests have used in advance.
        :param frozen: seconds until the end of a freeze.
        """
        last = max(ahead, frozen) + (requests - 1) * self.interval - self.tolerance
        return max(frozen, last, 0.0) if requests else 0.0

    def requests_within(self, seconds: float, *, ahead: float = 0.0, frozen: float = 0.0) -> int:
        """Return how many requests can be made in that time; the inverse of ``seconds_for``."""
        if seconds < frozen:
            return 0
        return max(0, floor((seconds - max(ahead, frozen) + self.tolerance) / self.interval + 1e-9) + 1)

    @classmethod
    def under(cls, requests_per_hour: int) -> Pace:
        """Return the pace that keeps every sliding hour under the limit.

        One hour at the steady pace, the burst, and requests that start late stay together below
        ``requests_per_hour``. For 4,000 the result is 3,800 an hour and a burst of 20.
        """
        steady = requests_per_hour * SHARE_USED
        late = steady * SEND_WINDOW_SECONDS / SECONDS_PER_HOUR
        burst = max(1, min(MAX_BURST, int(requests_per_hour - steady - late)))
        return cls(interval=SECONDS_PER_HOUR / steady, burst=burst)


class RateLimiter:
    """Gives grants from the shared row.

    :param engine: engine of the warehouse.
    :param host: host of the site; with the fingerprint, the key of the row.
    :param key_fingerprint: fingerprint of the API key.
    :param requests_per_hour: the site's limit for this key.
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
            "max_freeze": MAX_RETRY_AFTER,
        }
        self._sleep = sleep
        self._row_exists = False
        self._may_have_backoff = False
        self._grants: StatementBatcher[Instant, Grant | float] = StatementBatcher(
            engine, _GRANT, parameters=self._parameters, answers=self._answers
        )
        self.granted = 0

    @classmethod
    def for_reads(
        cls, engine: AsyncEngine, *, host: str, key_fingerprint: str, requests_per_hour: int
    ) -> RateLimiter:
        """Return the limiter of a key's GETs, which has a row of its own."""
        share = max(1, int(requests_per_hour * SHARE_OF_READS))
        return cls(engine, host=f"{host} (reads)", key_fingerprint=key_fingerprint, requests_per_hour=share)

    async def acquire(self) -> Grant:
        """Wait for a grant, to be used within ``GRANT_VALID_SECONDS``."""
        while not isinstance(answer := await self.ask(), Grant):
            await self._sleep(answer)
        return answer

    async def ask(self) -> Grant | float:
        """Ask once for a grant, without waiting for it.

        :returns: the grant, or the seconds after which to ask again.
        """
        if not self._row_exists:
            await self._create_row()
        answer = await self._grants.ask(Instant.now())
        if isinstance(answer, Grant):
            self.granted += 1
            return answer
        return max(MIN_WAIT, min(answer, MAX_WAIT))

    @asynccontextmanager
    async def hold_connection(self) -> AsyncIterator[None]:
        """Keep one connection for grants during the context."""
        async with self._grants.kept():
            yield

    async def freeze(self, retry_after: float | None) -> None:
        """Give no grants for a time.

        :param retry_after: seconds; ``None`` for 60 s, and twice as long each further time.
        """
        seconds = None if retry_after is None else min(max(retry_after, 0.0), MAX_RETRY_AFTER)
        self._may_have_backoff = True
        await self._create_row()
        async with self._engine.connect() as connection:
            await connection.execute(
                _FREEZE,
                {**self._row, "retry_after": seconds, "first_freeze": FIRST_FREEZE, "max_freeze": MAX_FREEZE},
            )

    async def reset_backoff(self) -> None:
        """Let the next freeze start at 60 s again: the server responded normally."""
        if self._may_have_backoff:
            self._may_have_backoff = False
            async with self._engine.connect() as connection:
                await connection.execute(_RESET, self._row)

    def _parameters(self, asked: Sequence[Instant]) -> dict[str, Any]:
        return {**self._values, "wanted": len(asked)}

    def _answers(self, asked: Sequence[Instant], rows: Rows) -> list[Grant | float]:
        """Give the grants in the order of the calls; the other calls wait, each one interval longer."""
        [row] = rows
        return [
            Grant(instant)
            if place < row.granted
            else row.seconds_to_next + (place - row.granted) * self.pace.interval
            for place, instant in enumerate(asked)
        ]

    async def _create_row(self) -> None:
        async with self._engine.connect() as connection:
            await connection.execute(_CREATE_ROW, self._row)
        self._row_exists = True


class ReadGate:
    """Lets GETs through: each needs a grant of the key, and all together use at most a fifth of them.

    So reading a long list cannot hold up certificates.

    :param limiter: the limiter of the key, shared with POSTs.
    :param reads: the limiter of its GETs; see ``RateLimiter.for_reads``.
    """

    def __init__(self, limiter: RateLimiter, reads: RateLimiter) -> None:
        self._limiter = limiter
        self._reads = reads

    async def __call__(self, _method: str) -> None:
        """Wait for a grant."""
        await self._reads.acquire()
        await self._limiter.acquire()


@dataclass(frozen=True, slots=True)
class Grant:
    """Permission for one request.

    :param asked_at: when it was asked for; it is not older than the grant itself.
    """

    asked_at: Instant

    @property
    def has_expired(self) -> bool:
        """Whether no request may be started with it any more."""
        return self.asked_at.age >= GRANT_VALID_SECONDS

    @property
    def is_past_send_window(self) -> bool:
        """Whether the first byte of its request may not be sent any more."""
        return self.asked_at.age >= SEND_WINDOW_SECONDS
