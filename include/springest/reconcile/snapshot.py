"""Take a snapshot: read the whole list of certificates that Springest shows, and keep it with its evidence.

Rows are gathered beside the table and merged at the end, in one statement with the snapshot's own row: a
snapshot that dies half-way changes nothing, and an older one never overwrites what a newer one saw.
"""

from __future__ import annotations

import logging
from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final

from psycopg import AsyncConnection as DriverConnection
from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

from include.springest.api.client import SpringestClient
from include.springest.api.models import Certificate
from include.springest.api.paging import Evidence
from include.springest.identity import Pseudonyms
from include.springest.warehouse.erasure import HOLD_ERASURE, RELEASE_ERASURE, TOMBSTONES, Forgotten
from include.springest.warehouse.statements import read_sql

log = logging.getLogger(__name__)

FLUSHED_ROWS: Final = 5_000
"""Rows held in memory before they go to the database."""

_GATHERED: Final = read_sql(__file__, "gathered_table")
_COPY: Final = (
    "COPY pg_temp.gathered (springest_certificate_id, certification_id, valid_from, valid_until, "
    "springest_status, created_at, learner_ref) FROM STDIN"
)
_MERGE: Final = text(read_sql(__file__, "merge_snapshot"))
_OWNERS: Final = text("SELECT DISTINCT learner_ref FROM pg_temp.gathered WHERE learner_ref IS NOT NULL")
_FORGET: Final = text(
    "UPDATE pg_temp.gathered SET learner_ref = NULL WHERE learner_ref = ANY(CAST(:refs AS text[]))"
)
_BEGIN: Final = text(
    "INSERT INTO springest.snapshot (site, run_id) VALUES (:site, :run_id) RETURNING snapshot_id, started_at"
)


@dataclass(frozen=True, slots=True)
class SnapshotReport:
    """A finished snapshot.

    :param rows: different certificates seen.
    :param complete: whether nothing can have been missed.
    :param requests: GETs it took.
    """

    snapshot_id: int
    started_at: datetime
    rows: int
    complete: bool
    requests: int


async def take_snapshot(
    engine: AsyncEngine, client: SpringestClient, *, site: str, run_id: str, pseudonyms: Pseudonyms
) -> SnapshotReport:
    """Read the list and store it.

    :param pseudonyms: turns owners' addresses into references before they touch the database.
    :raises ApiError: a page could not be read; nothing is stored.
    """
    async with engine.execution_options(isolation_level="AUTOCOMMIT").connect() as connection:
        snapshot_id, started_at = (await connection.execute(_BEGIN, {"site": site, "run_id": run_id})).one()
        evidence = await _gather(await _driver(connection), client, pseudonyms)
        async with _nobody_forgotten(connection, pseudonyms):
            merged = await connection.execute(
                _MERGE,
                {"site": site, "snapshot_id": snapshot_id, "started_at": started_at, **_told(evidence)},
            )
            rows = int(merged.scalar_one())
    log.info("Snapshot %d: %d certificates, complete: %s", snapshot_id, rows, evidence.complete)
    return SnapshotReport(snapshot_id, started_at, rows, evidence.complete, evidence.requests)


@asynccontextmanager
async def _nobody_forgotten(connection: AsyncConnection, pseudonyms: Pseudonyms) -> AsyncIterator[None]:
    """Take learners who were forgotten out of what was gathered, and let nobody be forgotten meanwhile."""
    await connection.execute(HOLD_ERASURE)
    try:
        forgotten = Forgotten(pseudonyms, frozenset((await connection.execute(TOMBSTONES)).scalars()))
        if forgotten:
            owners = (await connection.execute(_OWNERS)).scalars()
            await connection.execute(_FORGET, {"refs": [one for one in owners if forgotten.covers(one)]})
        yield
    finally:
        await connection.execute(RELEASE_ERASURE)


async def _driver(connection: AsyncConnection) -> DriverConnection[Any]:
    driver = (await connection.get_raw_connection()).driver_connection
    if driver is None:
        raise RuntimeError("the warehouse connection is closed")
    return driver  # type: ignore[no-any-return]


async def _gather(driver: DriverConnection[Any], client: SpringestClient, pseudonyms: Pseudonyms) -> Evidence:
    await driver.execute(_GATHERED)
    pages = client.certificates()
    held: list[tuple[Any, ...]] = []
    async for page in pages:
        held.extend(_values(certificate, pseudonyms) for certificate in page.items)
        if len(held) >= FLUSHED_ROWS:
            await _copy(driver, held)
            held.clear()
    await _copy(driver, held)
    return pages.evidence


async def _copy(driver: DriverConnection[Any], rows: Iterable[tuple[Any, ...]]) -> None:
    async with driver.cursor() as cursor, cursor.copy(_COPY) as copy:
        for row in rows:
            await copy.write_row(row)


def _values(certificate: Certificate, pseudonyms: Pseudonyms) -> tuple[Any, ...]:
    return (
        certificate.id,
        certificate.certification_id,
        certificate.valid_from,
        certificate.valid_until,
        certificate.status,
        certificate.created_at if certificate.created_at_has_zone else None,
        pseudonyms.learner_ref(certificate.user_email) if certificate.user_email else None,
    )


def _told(evidence: Evidence) -> dict[str, Any]:
    names = ("complete", "first_total", "last_total", "distinct_ids", "rewinds", "requests")
    return {name: getattr(evidence, name) for name in names}
