"""Take a snapshot: read the list of certificates that Springest shows, and store it with its evidence.

Rows are collected in a temporary table and merged at the end, in one statement with the snapshot's own row.
So a snapshot that dies changes nothing, and an older one never overwrites the data of a newer one.
"""

from __future__ import annotations

import logging
from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager
from dataclasses import asdict, dataclass, replace
from datetime import datetime
from typing import Any, Final

from psycopg import AsyncConnection as DriverConnection
from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

from springest.api.client import Pages, SpringestClient
from springest.api.models import Certificate
from springest.api.paging import Evidence
from springest.db.locks import Lock, lock_key
from springest.db.statements import load_sql
from springest.identity import ERASED_OWNER, Pseudonyms
from springest.privacy.erasure import HOLD_ERASURE, RELEASE_ERASURE, TOMBSTONES, ErasedLearners
from springest.privacy.secret import keep_to_secret
from springest.snapshot.scope import Scope

log = logging.getLogger(__name__)

FLUSHED_ROWS: Final = 5_000
"""Rows held in memory before they are copied to the database."""

_GATHERED: Final = load_sql("snapshot/gathered_table")
_COPY: Final = (
    "COPY pg_temp.gathered (springest_certificate_id, certification_id, valid_from, valid_until, "
    "springest_status, created_at, learner_ref, owner_told_by) FROM STDIN (FORMAT BINARY)"
)
_TYPES: Final = ("int8", "int8", "date", "date", "text", "timestamptz", "text", "text")
"""Types of the copied columns; binary COPY needs a tenth of the time of text."""
_LOCK_KEY: Final = lock_key(Lock.SNAPSHOT, ":site")
_LOCK: Final = text(f"SELECT pg_advisory_lock({_LOCK_KEY})")
_UNLOCK: Final = text(f"SELECT pg_advisory_unlock({_LOCK_KEY})")
_MERGE: Final = text(load_sql("snapshot/merge_snapshot"))
_OWNERS: Final = text("SELECT DISTINCT learner_ref FROM pg_temp.gathered WHERE learner_ref IS NOT NULL")
_ERASE_GATHERED: Final = text(
    f"UPDATE pg_temp.gathered SET learner_ref = '{ERASED_OWNER}'"  # noqa: S608
    " WHERE learner_ref = ANY(CAST(:refs AS text[]))"
)
_ERASE_OWNERS: Final = text(load_sql("snapshot/erase_gathered_owners"))
_ANALYZE_GATHERED: Final = text("ANALYZE pg_temp.gathered")
_ANALYZE_STORED: Final = text("ANALYZE springest.remote_certificate")
"""Without statistics, the planner joins a million rows by random access, three times as slow."""
_BEGIN: Final = text(
    "INSERT INTO springest.snapshot (site, run_id) VALUES (:site, :run_id) RETURNING snapshot_id, started_at"
)


@dataclass(frozen=True, slots=True)
class SnapshotReport:
    """A finished snapshot.

    :param rows: number of distinct certificates.
    :param complete: whether no certificate can have been missed.
    :param requests: number of GETs.
    :param scope: ``full``, or ``narrowed`` by filters.
    """

    snapshot_id: int
    started_at: datetime
    rows: int
    complete: bool
    requests: int
    scope: str = "full"


@dataclass(frozen=True, slots=True)
class Begun:
    """A snapshot in progress."""

    snapshot_id: int
    started_at: datetime


@dataclass(frozen=True, slots=True)
class Reading:
    """How completely the list was read; see ``Evidence``. Totals are those of the whole list only."""

    complete: bool = False
    first_total: int | None = None
    last_total: int | None = None
    distinct_ids: int = 0
    rewinds: int = 0
    requests: int = 0

    def plus(self, evidence: Evidence) -> Reading:
        """Return the sum of this reading and another list's evidence, which is never complete."""
        return Reading(
            distinct_ids=self.distinct_ids + evidence.distinct_ids,
            rewinds=self.rewinds + evidence.rewinds,
            requests=self.requests + evidence.requests,
        )


async def take_snapshot(
    engine: AsyncEngine,
    client: SpringestClient,
    *,
    site: str,
    run_id: str,
    pseudonyms: Pseudonyms,
    scope: Scope | None = None,
    spent: int = 0,
) -> SnapshotReport:
    """Read the list and store it.

    :param pseudonyms: converts owners' addresses into references before they reach the database.
    :param scope: part of the list to read; all of it by default.
    :param spent: GETs that choosing the scope took, which are added to the count.
    :raises ApiError: a page could not be read; nothing is stored.
    :raises ConfigurationError: the learner secret is not the warehouse's; nothing is stored.
    """
    scope = scope or Scope()
    kind = "full" if scope.is_full else "narrowed"
    async with engine.execution_options(isolation_level="AUTOCOMMIT").connect() as connection:
        begun = await begin(connection, site, run_id)
        erased = await load_erased(connection, pseudonyms)
        reading = await _gather(await _driver(connection), client, erased, scope)
        reading = replace(reading, requests=reading.requests + spent)
        rows = await merge(
            connection, site, begun, reading, scope=kind, detail=scope.detail, pseudonyms=pseudonyms
        )
    log.info(
        "Snapshot %d (%s): %d certificates, complete: %s", begun.snapshot_id, kind, rows, reading.complete
    )
    return SnapshotReport(begun.snapshot_id, begun.started_at, rows, reading.complete, reading.requests, kind)


async def begin(connection: AsyncConnection, site: str, run_id: str) -> Begun:
    """Record the start of a snapshot."""
    return Begun(*(await connection.execute(_BEGIN, {"site": site, "run_id": run_id})).one())


async def load_erased(connection: AsyncConnection, pseudonyms: Pseudonyms) -> ErasedLearners:
    """Return the learners that were erased so far."""
    return ErasedLearners(pseudonyms, frozenset((await connection.execute(TOMBSTONES)).scalars()))


async def gather_rows(connection: AsyncConnection, rows: Iterable[tuple[Any, ...]]) -> None:
    """Put rows into the temporary table, replacing its content."""
    driver = await _driver(connection)
    await driver.execute(_GATHERED)
    await _copy(driver, rows)


async def merge(
    connection: AsyncConnection,
    site: str,
    begun: Begun,
    reading: Reading,
    *,
    scope: str,
    detail: str,
    pseudonyms: Pseudonyms,
) -> int:
    """Store the collected rows with their evidence; return the number of distinct certificates.

    :param pseudonyms: recognises erased learners, who are removed first.
    """
    values = {"site": site, "snapshot_id": begun.snapshot_id, "started_at": begun.started_at}
    finished = {**asdict(reading), "scope": scope, "scope_detail": detail}
    async with _without_erased_learners(connection, site, pseudonyms), _exclusively(connection, site):
        await connection.execute(_ANALYZE_GATHERED)
        rows = int((await connection.execute(_MERGE, {**values, **finished})).scalar_one())
        if scope == "full":
            await connection.execute(_ANALYZE_STORED)
        return rows


@asynccontextmanager
async def _exclusively(connection: AsyncConnection, site: str) -> AsyncIterator[None]:
    """Block other snapshots of the site, which would insert the same new rows."""
    await connection.execute(_LOCK, {"site": site})
    try:
        yield
    finally:
        await connection.execute(_UNLOCK, {"site": site})


@asynccontextmanager
async def _without_erased_learners(
    connection: AsyncConnection, site: str, pseudonyms: Pseudonyms
) -> AsyncIterator[None]:
    """Remove erased learners from the collected rows, and block erasures meanwhile."""
    await connection.execute(HOLD_ERASURE)
    try:
        await connection.run_sync(keep_to_secret, pseudonyms)
        erased = await load_erased(connection, pseudonyms)
        if erased:
            owners = (await connection.execute(_OWNERS)).scalars()
            await connection.execute(_ERASE_GATHERED, {"refs": [ref for ref in owners if erased.covers(ref)]})
        # Even after an erasure was lifted, erased owners stay erased.
        await connection.execute(_ERASE_OWNERS, {"site": site})
        yield
    finally:
        await connection.execute(RELEASE_ERASURE)


async def _driver(connection: AsyncConnection) -> DriverConnection[Any]:
    driver = (await connection.get_raw_connection()).driver_connection
    if driver is None:
        raise RuntimeError("the warehouse connection is closed")
    return driver  # type: ignore[no-any-return]


async def _gather(
    driver: DriverConnection[Any], client: SpringestClient, erased: ErasedLearners, scope: Scope
) -> Reading:
    await driver.execute(_GATHERED)
    reading = Reading()
    for filters in scope.reads:
        pages = client.certificates(**filters)
        await _gather_list(driver, pages, erased)
        reading = reading.plus(pages.evidence)
    if not scope.is_full:
        return reading
    whole = pages.evidence
    return replace(
        reading, complete=whole.complete, first_total=whole.first_total, last_total=whole.last_total
    )


async def _gather_list(
    driver: DriverConnection[Any], pages: Pages[Certificate], erased: ErasedLearners
) -> None:
    held: list[tuple[Any, ...]] = []
    async for page in pages:
        held.extend(values_of(certificate, erased) for certificate in page.items)
        if len(held) >= FLUSHED_ROWS:
            await _copy(driver, held)
            held.clear()
    await _copy(driver, held)


async def _copy(driver: DriverConnection[Any], rows: Iterable[tuple[Any, ...]]) -> None:
    async with driver.cursor() as cursor, cursor.copy(_COPY) as copy:
        copy.set_types(_TYPES)
        for row in rows:
            await copy.write_row(row)


def values_of(certificate: Certificate, erased: ErasedLearners) -> tuple[Any, ...]:
    """Return a row for the temporary table; its last two values are the owner and the owner's source."""
    number, certification, valid_from, valid_until, status, created_at, email, _ = certificate
    return (
        number,
        certification,
        valid_from,
        valid_until,
        status,
        created_at if certificate.created_at_has_zone else None,
        erased.owner(email) if email else None,
        "list" if email else None,
    )
