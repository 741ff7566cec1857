"""A ledger to send from: deliveries that wait, and workers that claim them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from sqlalchemy import Engine, func
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.ext.asyncio import AsyncEngine

from include.springest.identity import delivery_key
from include.springest.ledger.claims import Queued
from include.springest.ledger.sending import SendingLedger
from include.springest.warehouse.schema import delivery, released_run, stage_watermark

MANY = 1_000_000
AddDelivery = Callable[..., str]
MakeWorker = Callable[..., SendingLedger]


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
            connection.execute(insert(released_run).values(run).on_conflict_do_nothing())
            begun = {"site": site, "watermark": func.now(), "run_id": "night"}
            connection.execute(insert(stage_watermark).values(begun).on_conflict_do_nothing())
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
