"""A site with published verdicts of several kinds."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from sqlalchemy import Engine, text

from tests.component.published import publish_all
from tests.factories import MOMENT, add_certificate, add_delivery, add_snapshot

ODD = "Ω'\\\t\"%s\n4"
"""A training id with what SQL, CSV and JSON may trip over."""
Run = Callable[..., list[Any]]


@pytest.fixture
def certificates(warehouse: Engine) -> Engine:
    """Two shown certificates, one of which expires tomorrow, one that waits, and one that was refused."""
    for number, expires in ((1, None), (2, datetime.now(UTC).date() + timedelta(days=1))):
        own = {"springest_certificate_id": number, "learner_ref": str(number) * 64}
        add_delivery(warehouse, "visible", f"T{number}", valid_until=expires, **own)
        add_certificate(warehouse, number, valid_until=expires)
    add_delivery(warehouse, "accepted_no_id", "T3", learner_ref="3" * 64)
    add_delivery(warehouse, "rejected", ODD, reason="rejected", reason_detail="naïve {brace} \\N")
    show_all(warehouse, MOMENT + timedelta(days=1, microseconds=123_457))
    publish_all(warehouse)
    return warehouse


def show_all(warehouse: Engine, moment: datetime) -> None:
    """Take a complete snapshot that shows every certificate unchanged, and so writes none."""
    add_snapshot(warehouse, moment)
    with warehouse.begin() as connection:
        connection.execute(text("UPDATE springest.remote_certificate SET lacked_at = NULL"))


@pytest.fixture
def run(warehouse: Engine) -> Run:
    """Run a statement in the warehouse; returns its rows."""

    def execute(statement: str, **values: Any) -> list[Any]:
        with warehouse.begin() as connection:
            result = connection.execute(text(statement), values)
            return list(result.all()) if result.returns_rows else []

    return execute


@pytest.fixture
def change(warehouse: Engine, run: Run) -> Callable[[str], None]:
    """Change a delivery's state and publish, so that a version ends and another begins."""

    def publish(training_id: str) -> None:
        run("UPDATE springest.delivery SET state = 'cancelled' WHERE training_id = :name", name=training_id)
        publish_all(warehouse)

    return publish
