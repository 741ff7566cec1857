"""Puts deliveries, certificates, snapshots and a catalogue into a real warehouse; makes workers."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, date, datetime
from typing import Any

import pytest
from sqlalchemy import Engine, func, insert, text
from sqlalchemy.dialects.postgresql import insert as upsert
from sqlalchemy.ext.asyncio import AsyncEngine

from springest.db.schema import (
    certification,
    delivery,
    delivery_attempt,
    released_run,
    remote_certificate,
    snapshot,
    stage_watermark,
)
from springest.delivery.claims import Queued
from springest.delivery.repository import SendingLedger
from springest.identity import delivery_key

DAY = date(2026, 11, 2)
MOMENT = datetime(2026, 11, 2, tzinfo=UTC)
Deliver = Callable[..., str]
Show = Callable[..., None]
Scan = Callable[..., int]
MANY = 1_000_000
AddDelivery = Callable[..., str]
MakeWorker = Callable[..., SendingLedger]


@pytest.fixture
def deliver(warehouse: Engine) -> Deliver:
    """Put a delivery into the ledger in some state; returns its key."""

    def add(state: str, training_id: str = "T1", **values: Any) -> str:
        key = delivery_key(site="default", training_id=training_id, issue_no=1)
        sent = state not in {"ready", "held", "invalid", "withdrawn", "rejected"}
        row = {
            "delivery_key": key,
            "site": "default",
            "training_id": training_id,
            "issue_no": 1,
            "state": state,
            "row_version": "1" * 64,
            "staged_run_id": "night",
            "certification_id": 102,
            "valid_from": DAY,
            "learner_ref": "a" * 64,
            "springest_certificate_id": 7 if state in {"accepted", "visible", "vanished"} else None,
            "match_method": "springest_id" if state in {"visible", "vanished"} else None,
            "lease_owner": "worker" if state == "sending" else None,
            "sent_at": MOMENT if sent else None,
            **values,
        }
        with warehouse.begin() as connection:
            connection.execute(insert(delivery).values(row))
        return key

    return add


@pytest.fixture
def show(warehouse: Engine, scan: Scan) -> Show:
    """Let Springest show a certificate, as a snapshot has found it."""

    def add(certificate_id: int = 7, **values: Any) -> None:
        row = {
            "site": "default",
            "springest_certificate_id": certificate_id,
            "certification_id": 102,
            "valid_from": DAY,
            "springest_status": "verified",
            "first_seen_at": MOMENT,
            "last_seen_at": MOMENT,
            **values,
        }
        number = scan(row["last_seen_at"], complete=False)
        row |= {"first_snapshot_id": number, "last_snapshot_id": number}
        with warehouse.begin() as connection:
            connection.execute(insert(remote_certificate).values(row))

    return add


@pytest.fixture
def answer(warehouse: Engine) -> Callable[[str, int, datetime], None]:
    """Let a POST of a delivery have been answered with a certificate's id."""

    def add(key: str, certificate_id: int, started_at: datetime) -> None:
        row = {
            "delivery_key": key,
            "run_id": "night",
            "worker": "w",
            "document_sha256": "a" * 64,
            "started_at": started_at,
            "outcome": "accepted_with_id",
            "springest_certificate_id": certificate_id,
        }
        with warehouse.begin() as connection:
            connection.execute(insert(delivery_attempt).values(row))

    return add


@pytest.fixture
def scan(warehouse: Engine) -> Scan:
    """Take a snapshot that shows nothing new; returns its number."""

    def add(started_at: datetime, *, complete: bool = True, site: str = "default") -> int:
        row = {
            "site": site,
            "run_id": "night",
            "started_at": started_at,
            "finished_at": started_at,
            "complete": complete,
        }
        with warehouse.begin() as connection:
            taken = insert(snapshot).values(row).returning(snapshot.c.snapshot_id)
            return int(connection.execute(taken).scalar_one())

    return add


@pytest.fixture
def see_again(warehouse: Engine) -> Callable[[int, datetime], None]:
    """Let a later snapshot show a certificate again."""

    def see(certificate_id: int, seen_at: datetime) -> None:
        with warehouse.begin() as connection:
            connection.execute(
                text(
                    "UPDATE springest.remote_certificate SET last_seen_at = :seen_at"
                    " WHERE springest_certificate_id = :certificate_id"
                ),
                {"seen_at": seen_at, "certificate_id": certificate_id},
            )

    return see


@pytest.fixture
def list_certification(warehouse: Engine) -> Callable[..., None]:
    """Put a certification on the list of verified ones."""

    def add(*, since: datetime, last: datetime, certification_id: int = 102) -> None:
        row = {
            "site": "default",
            "certification_id": certification_id,
            "is_listed": True,
            "first_seen_at": since,
            "last_seen_at": last,
            "listed_since": since,
        }
        with warehouse.begin() as connection:
            connection.execute(insert(certification).values(row))

    return add


@pytest.fixture
def add_delivery(warehouse: Engine) -> AddDelivery:
    """Put a delivery into the ledger; returns its key."""

    def add(training_id: str, *, state: str = "ready", site: str = "default", **values: Any) -> str:
        key = delivery_key(site=site, training_id=training_id, issue_no=1)
        row = {
            "delivery_key": key,
            "site": site,
            "training_id": training_id,
            "issue_no": 1,
            "state": state,
            "row_version": "1" * 64,
            "staged_run_id": "night",
            **values,
        }
        run = {"site": row["site"], "run_id": row["staged_run_id"]}
        with warehouse.begin() as connection:
            connection.execute(insert(delivery).values(row))
            connection.execute(upsert(released_run).values(run).on_conflict_do_nothing())
            begun = {"site": site, "watermark": func.now(), "run_id": "night"}
            connection.execute(upsert(stage_watermark).values(begun).on_conflict_do_nothing())
        return key

    return add


@pytest.fixture
def worker(async_warehouse: AsyncEngine) -> MakeWorker:
    """Make a worker's view of the ledger."""

    def make(
        name: str = "one", *, run_id: str = "night", site: str = "default", **values: Any
    ) -> SendingLedger:
        return SendingLedger(async_warehouse, site=site, run_id=run_id, worker=name, **values)

    return make


@pytest.fixture
def take() -> Callable[..., Any]:
    """Claim a delivery as a worker does."""

    async def claim(
        ledger: SendingLedger, queued: Queued, *, lease: float = 60, most: int = MANY, known: int = 0
    ) -> Any:
        return await ledger.claim(
            queued,
            lease_seconds=lease,
            document_sha256="a" * 64,
            document_size=4,
            most_in_doubt=most,
            known_attempt=known,
        )

    return claim
