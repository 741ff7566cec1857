"""The wire and what stands behind it, in virtual time: a Springest that counts, fails and answers late."""

from __future__ import annotations

import asyncio
import random
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass, field
from enum import Enum
from typing import Any, Final

from sandbox.cap import HOUR, SlidingHour
from springest.api.models import CertificateUpload, Page, PostResponse, SendHooks
from springest.errors import (
    ApiError,
    ConnectFailed,
    InvalidResponse,
    Redirected,
    Rejected,
    RequestNotSent,
    ResponseLost,
    ResponseTimeout,
    ServerError,
    Throttled,
    UnexpectedStatus,
)
from springest.site import DEFAULT_TIMEOUTS

PATH: Final = "/certificates.xml"
SLOW_CONNECTIONS: Final = 0.05
"""Share of requests."""
LONGEST_TO_HEED: Final = 90.0
"""Seconds until a refusal is heard and written down, and what was granted before has come."""
LONGEST_ANSWER: Final = 300.0
"""Seconds after which a client gives an answer up."""


class Fate(Enum):
    """What becomes of a POST: its error for the client, and whether the server stores the certificate."""

    WELL = (None, True)
    REFUSED_CONNECTION = (ConnectFailed, False)
    BROKEN_BODY = (RequestNotSent, False)
    REJECTED = (Rejected, False)
    FAILED = (ServerError, False)
    FAILED_AND_STORED = (ServerError, True)
    LOST = (ResponseLost, False)
    LOST_AND_STORED = (ResponseLost, True)
    SILENT = (ResponseTimeout, False)
    SILENT_AND_STORED_LATE = (ResponseTimeout, True)
    WEB_PAGE = (InvalidResponse, False)
    WEB_PAGE_AND_STORED = (InvalidResponse, True)
    SIGN_IN = (Redirected, False)
    BLOCKED_AND_STORED = (UnexpectedStatus, True)

    @property
    def error(self) -> type[ApiError] | None:
        return self.value[0]

    @property
    def stores(self) -> bool:
        return self.value[1]


TROUBLES: Final = tuple(fate for fate in Fate if fate is not Fate.WELL)
DOUBTFUL: Final = (
    Fate.FAILED,
    Fate.FAILED_AND_STORED,
    Fate.LOST,
    Fate.LOST_AND_STORED,
    Fate.SILENT,
    Fate.SILENT_AND_STORED_LATE,
    Fate.WEB_PAGE,
    Fate.WEB_PAGE_AND_STORED,
    Fate.SIGN_IN,
    Fate.BLOCKED_AND_STORED,
)


@dataclass(frozen=True, slots=True)
class Outage:
    """A time in which every request fares the same."""

    begin: float
    end: float
    fate: Fate


@dataclass
class Server:
    """What a Springest is.

    :param cap: requests that it takes in any sliding hour.
    :param latency: seconds that a request usually takes, there and back.
    :param trouble: share of POSTs that meet one of ``TROUBLES`` outside of outages.
    """

    chance: random.Random
    cap: int
    latency: float
    trouble: float = 0.0
    outages: tuple[Outage, ...] = ()
    hour: SlidingHour = field(default_factory=SlidingHour)
    arrivals: list[float] = field(default_factory=list)
    posts: list[float] = field(default_factory=list)
    over_cap: int = 0
    quiet: tuple[float, float] = (0.0, 0.0)
    """From when until when nobody should ask, as the last refusal told."""
    unheeded: int = 0
    whole: Counter[str] = field(default_factory=Counter)
    """Bodies that came whole, by learner."""
    stored: dict[int, str] = field(default_factory=dict)
    late: set[asyncio.Task[None]] = field(default_factory=set)

    def fate(self, now: float) -> Fate:
        for outage in self.outages:
            if outage.begin <= now < outage.end:
                return outage.fate
        return self.chance.choice(TROUBLES) if self.chance.random() < self.trouble else Fate.WELL

    def arrive(self, now: float) -> float | None:
        """Count a request; return in how many seconds it may come again if it is one too many."""
        self.arrivals.append(now)
        self.unheeded += self.quiet[0] <= now < self.quiet[1]
        wait = self.hour.take("key", limit=self.cap, now=now)
        self.over_cap += wait is not None
        return wait

    def store(self, email: str) -> int:
        number = 1_000 + len(self.stored)
        self.stored[number] = email
        return number

    def store_later(self, email: str, seconds: float) -> None:
        async def later() -> None:
            await asyncio.sleep(seconds)
            self.store(email)

        task = asyncio.get_running_loop().create_task(later())
        self.late.add(task)
        task.add_done_callback(self.late.discard)

    def way(self) -> float:
        """Seconds until a request is there; now and then a connection takes nearly as long as it may."""
        if self.chance.random() < SLOW_CONNECTIONS:
            return self.chance.uniform(0, DEFAULT_TIMEOUTS.connect)
        return self.some(0.3)

    def some(self, share: float) -> float:
        """A part of the latency, never twice the same."""
        return self.latency * share * self.chance.uniform(0.5, 1.5)


class Client:
    """Stands where ``SpringestClient`` does.

    :param gate: awaited before each GET.
    """

    def __init__(self, server: Server, gate: Callable[[str], Awaitable[None]]) -> None:
        self._server = server
        self._gate = gate

    async def post_certificate(
        self, upload: CertificateUpload, *, hooks: SendHooks | None = None
    ) -> PostResponse:
        now, server = asyncio.get_running_loop().time, self._server
        await asyncio.sleep(server.way())
        fate = server.fate(now())
        if fate is Fate.REFUSED_CONNECTION:
            raise _error(ConnectFailed)
        if hooks is not None:
            hooks.begin()
        wait = server.arrive(now())
        server.posts.append(now())
        if fate is Fate.BROKEN_BODY:
            raise _error(RequestNotSent)
        if hooks is not None:
            hooks.complete()
        server.whole[upload.email] += 1
        if wait is not None:
            server.quiet = (now() + LONGEST_TO_HEED, now() + min(wait, HOUR))
            await asyncio.sleep(server.some(0.7))
            raise Throttled(
                method="POST", path=PATH, detail="throttled", status=429, retry_after=min(wait + 1, HOUR)
            )
        return await self._answer(upload.email, fate)

    async def _answer(self, email: str, fate: Fate) -> PostResponse:
        server, number = self._server, None
        if fate is Fate.SILENT_AND_STORED_LATE:
            server.store_later(email, server.chance.uniform(0, 2 * LONGEST_ANSWER))
        elif fate.stores:
            number = server.store(email)
        silent = fate in {Fate.SILENT, Fate.SILENT_AND_STORED_LATE}
        await asyncio.sleep(LONGEST_ANSWER if silent else server.some(0.7))
        if fate.error is not None:
            raise _error(fate.error)
        return PostResponse(201, number, 1_000)

    async def certificates(self, *, size: int = 100) -> AsyncIterator[Page[Any]]:
        """One page is all that is asked for here."""
        await self._gate("GET")
        now, server = asyncio.get_running_loop().time, self._server
        await asyncio.sleep(server.way())
        outage = next((outage for outage in server.outages if outage.begin <= now() < outage.end), None)
        if outage is not None:
            is_page = outage.fate.error in {InvalidResponse, Redirected, UnexpectedStatus}
            raise _error(outage.fate.error if is_page else ConnectFailed, method="GET")
        if (wait := server.arrive(now())) is not None:
            raise Throttled(method="GET", path=PATH, detail="throttled", status=429, retry_after=wait)
        await asyncio.sleep(server.some(0.7))
        yield Page((), 0, 0)


def _error(kind: type[ApiError], *, method: str = "POST") -> ApiError:
    statuses = {
        ServerError: 500,
        Rejected: 422,
        InvalidResponse: 200,
        Redirected: 302,
        UnexpectedStatus: 403,
    }
    status = statuses.get(kind)
    return kind(method=method, path=PATH, detail="simulated", status=status, bytes_handed_over=1_000)
