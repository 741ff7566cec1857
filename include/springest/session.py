"""A client for Springest whose GETs use the rate limiter in the warehouse."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any

from sqlalchemy import URL
from sqlalchemy.ext.asyncio import AsyncEngine

from springest.api.client import SpringestClient
from springest.db.engines import async_warehouse_engine
from springest.rate_limit.limiter import RateLimiter, ReadGate
from springest.site import Site, fingerprint


@dataclass(frozen=True, slots=True)
class SiteSession:
    """An open client and an open warehouse.

    :param limiter: the rate limit that all processes with the same key share; GETs wait for it automatically.
    """

    engine: AsyncEngine
    limiter: RateLimiter
    client: SpringestClient


@asynccontextmanager
async def open_session(
    warehouse_url: URL | str, site: Site, *, key: str | None = None, at_once: int = 4
) -> AsyncIterator[SiteSession]:
    """Open a session; it is closed when the context ends.

    :param key: API key whose rate limit applies; the one for certificates by default.
    :param at_once: concurrent requests.
    """
    engine = async_warehouse_engine(warehouse_url, pool_size=at_once + 4, max_overflow=4)
    row: dict[str, Any] = {
        "host": site.host,
        "key_fingerprint": fingerprint(key) if key else site.key_fingerprint,
        "requests_per_hour": site.requests_per_hour,
    }
    limiter = RateLimiter(engine, **row)
    gate = ReadGate(limiter, RateLimiter.for_reads(engine, **row))
    try:
        async with SpringestClient(site, max_connections=at_once, gate=gate) as client:
            yield SiteSession(engine, limiter, client)
    finally:
        await engine.dispose()
