"""Puts deliveries, certificates, snapshots and a catalogue into a real warehouse; makes workers."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime
from functools import partial
from typing import Any

import pytest
from sqlalchemy import Engine
from sqlalchemy.ext.asyncio import AsyncEngine

from springest.db.schema import delivery
from springest.delivery.claims import Queued
from springest.delivery.repository import DeliveryRepository
from tests import factories

Deliver = Callable[..., str]
Show = Callable[..., None]
Post = Callable[..., None]
Scan = Callable[..., int]
MANY = 1_000_000
AddDelivery = Callable[..., str]
MakeWorker = Callable[..., DeliveryRepository]


@pytest.fixture
def deliver(warehouse: Engine) -> Deliver:
    """Put a delivery into the ledger in some state; returns its key."""
    return partial(factories.add_delivery, warehouse)


@pytest.fixture
def show(warehouse: Engine) -> Show:
    """Let Springest show a certificate, as a snapshot has found it."""
    return partial(factories.add_certificate, warehouse)


@pytest.fixture
def post(warehouse: Engine) -> Post:
    """Record a POST of a delivery."""
    return partial(factories.add_attempt, warehouse)


@pytest.fixture
def scan(warehouse: Engine) -> Scan:
    """Take a snapshot that shows nothing new; returns its number."""
    return partial(factories.add_snapshot, warehouse)


@pytest.fixture
def see_again(warehouse: Engine) -> Callable[[int, datetime], None]:
    """Let a later snapshot show a certificate again."""
    return partial(factories.see_again, warehouse)


@pytest.fixture
def list_certification(warehouse: Engine) -> Callable[..., None]:
    """Put a certification into the catalogue."""
    return partial(factories.list_certification, warehouse)


@pytest.fixture
def add_delivery(warehouse: Engine) -> AddDelivery:
    """Put a delivery of an approved run into the ledger; returns its key."""

    def add(training_id: str, *, state: str = "ready", **values: Any) -> str:
        row = factories.delivery_row(state, training_id, **values)
        factories.approve_run(warehouse, row["staged_run_id"], site=row["site"])
        factories.add_rows(warehouse, delivery, row)
        return str(row["delivery_key"])

    return add


@pytest.fixture
def worker(async_warehouse: AsyncEngine) -> MakeWorker:
    """Make a worker's view of the ledger."""

    def make(
        name: str = "one", *, run_id: str = "night", site: str = "default", **values: Any
    ) -> DeliveryRepository:
        return DeliveryRepository(async_warehouse, site=site, run_id=run_id, worker=name, **values)

    return make


@pytest.fixture
def take() -> Callable[..., Any]:
    """Claim a delivery as a worker does."""

    async def claim(
        ledger: DeliveryRepository, queued: Queued, *, lease: float = 60, most: int = MANY, known: int = 0
    ) -> Any:
        return await ledger.claim(
            queued,
            lease_seconds=lease,
            document_sha256="a" * 64,
            document_size=4,
            max_unknown=most,
            known_attempt=known,
        )

    return claim
