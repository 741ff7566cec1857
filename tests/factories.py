"""Builds what tests start from: trainings, source rows, deliveries, snapshots and more.

Ledger rows are inserted as they are, without the project's own code, so that a test can begin in any state.
Keyword arguments replace single columns; all else has a default that satisfies the constraints.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any

from sqlalchemy import Engine, func, insert, select, text
from sqlalchemy.dialects.postgresql import insert as upsert

from demo.nights import Training
from demo.pdf import make_pdf
from demo.people import Learner
from springest.db.schema import (
    approved_run,
    certification,
    delivery,
    delivery_attempt,
    delivery_decision,
    remote_certificate,
    snapshot,
    stage_watermark,
    staged_row,
    staging_run,
)
from springest.identity import Pseudonyms, delivery_key
from springest.site import Site
from springest.source.contract import CompletedTraining, read_row

DAY = date(2026, 11, 2)
MOMENT = datetime(2026, 11, 2, tzinfo=UTC)
SECRET = "a secret for tests only, long enough"
PSEUDONYMS = Pseudonyms(SECRET)
SITE = Site.from_connection(name="default", host="https://springest.example.com", password="k" * 20, extra={})
PDF = make_pdf()
NEVER_SENT = {"ready", "held", "invalid", "withdrawn", "rejected"}
HAVE_AN_ID = {"accepted", "visible", "vanished"}


def ago(**time: float) -> datetime:
    """Return a moment before now."""
    return datetime.now(UTC) - timedelta(**time)


@dataclass
class MemoryKeeper:
    """Keeps the highest attempt outside the warehouse, as Airflow's Variable does."""

    number: int | None = None

    def read(self) -> int | None:
        return self.number

    def write(self, attempt_id: int) -> None:
        self.number = attempt_id


def make_training(number: int, *, folder: Path | None = None, **changes: Any) -> Training:
    """Return a good completed training; write its document into the folder, if one is given."""
    name = f"T{number:04d}"
    if folder is not None:
        path = folder / f"{name}.pdf"
        path.write_bytes(PDF + name.encode())
        changes = {"certificate_uri": str(path), **changes}
    values: dict[str, Any] = {
        "training_id": name,
        "learner": Learner(number, f"Zoë {number}", f"zoë.{number}@example.com"),
        "certification_id": 102,
        "completed_at": MOMENT.replace(hour=9),
        "valid_from": DAY,
        "valid_until": None,
        "certificate_uri": f"/certificates/{name}.pdf",
        **changes,
    }
    return Training(**values)


def source_row(training_id: str = "T1", **changes: Any) -> CompletedTraining:
    """Return a training as it is read from the source."""
    values = {
        "training_id": training_id,
        "certification_id": 102,
        "email": f"{training_id.lower()}@example.com",
        "completed_at": MOMENT.replace(hour=9),
        "valid_from": DAY,
        "certificate_uri": f"/certificates/{training_id}.pdf",
        "updated_at": MOMENT.replace(hour=10),
        **changes,
    }
    return read_row(values, site="default", pseudonyms=PSEUDONYMS)


def delivery_row(
    state: str = "ready", training_id: str = "T1", *, site: str = "default", **values: Any
) -> dict[str, Any]:
    """Return a delivery's columns: one that was sent unless its state says otherwise."""
    return {
        "delivery_key": delivery_key(site=site, training_id=training_id, issue_no=1),
        "site": site,
        "training_id": training_id,
        "issue_no": 1,
        "state": state,
        "row_version": "1" * 64,
        "staged_run_id": "night",
        "certification_id": 102,
        "valid_from": DAY,
        "learner_ref": "a" * 64,
        "springest_certificate_id": 7 if state in HAVE_AN_ID else None,
        "match_method": "springest_id" if state in {"visible", "vanished"} else None,
        "lease_owner": "worker" if state == "sending" else None,
        "sent_at": None if state in NEVER_SENT else MOMENT,
        **values,
    }


def add_delivery(warehouse: Engine, state: str = "ready", training_id: str = "T1", **values: Any) -> str:
    """Put a delivery into the ledger and return its key."""
    row = delivery_row(state, training_id, **values)
    add_rows(warehouse, delivery, row)
    return str(row["delivery_key"])


def id_of(warehouse: Engine, key: str) -> int:
    """Return the number of a delivery."""
    found = select(delivery.c.delivery_id).where(delivery.c.delivery_key == key)
    with warehouse.connect() as connection:
        return int(connection.execute(found).scalar_one())


def add_attempt(warehouse: Engine, key: str, outcome: str | None = "outcome_unknown", **values: Any) -> None:
    """Record a POST of a delivery."""
    row = {"run_id": "night", "worker": "worker", "document_sha256": "a" * 64, "outcome": outcome}
    add_rows(warehouse, delivery_attempt, {"delivery_id": id_of(warehouse, key), **row, **values})


def add_decision(warehouse: Engine, key: str, decision: str, **values: Any) -> None:
    """Record a person's decision, without its effect on the delivery."""
    row = {
        "delivery_id": id_of(warehouse, key),
        "decision": decision,
        "decided_by": "anna",
        "reason": "looked at it",
    }
    row |= {"version": 1, "from_state": "review", "to_state": "ready", "evidence": {}}
    add_rows(warehouse, delivery_decision, {**row, **values})


def add_snapshot(
    warehouse: Engine, started_at: datetime = MOMENT, *, complete: bool = True, **values: Any
) -> int:
    """Record a snapshot that showed nothing, and return its number."""
    row = {"site": "default", "run_id": "night", "started_at": started_at, "finished_at": started_at}
    with warehouse.begin() as connection:
        taken = insert(snapshot).values(**{**row, "complete": complete, **values})
        snapshot_id = int(connection.execute(taken.returning(snapshot.c.snapshot_id)).scalar_one())
        connection.execute(_MARK_LACKED)
    return snapshot_id


_MARK_LACKED = text(
    "UPDATE springest.remote_certificate AS remote SET lacked_at = ("
    "SELECT min(started_at) FROM springest.snapshot"
    " WHERE snapshot.site = remote.site AND complete AND started_at > remote.recorded_at)"
)


def add_certificate(
    warehouse: Engine, certificate_id: int = 7, *, snapshot_id: int | None = None, **values: Any
) -> None:
    """Let a snapshot have shown a certificate last at ``recorded_at``: that one, or a partial one."""
    row = {
        "site": "default",
        "springest_certificate_id": certificate_id,
        "certification_id": 102,
        "valid_from": DAY,
        "springest_status": "verified",
        "first_seen_at": MOMENT,
        "recorded_at": MOMENT,
        **values,
    }
    if snapshot_id is None:
        snapshot_id = add_snapshot(warehouse, row["recorded_at"], complete=False)
    add_rows(warehouse, remote_certificate, {"first_snapshot_id": snapshot_id} | row)
    with warehouse.begin() as connection:
        connection.execute(_MARK_LACKED)


def see_again(warehouse: Engine, certificate_id: int, seen_at: datetime) -> None:
    """Let a later snapshot have shown a certificate again."""
    statement = (
        "UPDATE springest.remote_certificate SET recorded_at = :seen_at"
        " WHERE springest_certificate_id = :certificate_id"
    )
    with warehouse.begin() as connection:
        connection.execute(text(statement), {"seen_at": seen_at, "certificate_id": certificate_id})
        connection.execute(_MARK_LACKED)


def list_certification(
    warehouse: Engine, *, since: datetime, last: datetime, certification_id: int = 102, **values: Any
) -> None:
    """Put a certification into the catalogue."""
    row = {"site": "default", "certification_id": certification_id, "is_listed": True}
    seen = {"first_seen_at": since, "last_seen_at": last, "listed_since": since}
    add_rows(warehouse, certification, row | seen | values)


def approve_run(warehouse: Engine, run_id: str = "night", *, site: str = "default") -> None:
    """Let a site have begun and a run be approved, so that its deliveries are in the queue."""
    with warehouse.begin() as connection:
        approved = upsert(approved_run).values(site=site, run_id=run_id)
        connection.execute(approved.on_conflict_do_nothing())
        begun = upsert(stage_watermark).values(site=site, watermark=func.now(), run_id=run_id)
        connection.execute(begun.on_conflict_do_nothing())


def add_staging_run(
    warehouse: Engine, keys: Sequence[str] = (), *, run_id: str = "night", **values: Any
) -> None:
    """Record a run that staged these deliveries, a source row each."""
    run = {"site": "default", "run_id": run_id, "mode": "watermark", "source_count": len(keys)}
    run |= {"window_start": MOMENT, "window_end": MOMENT}
    add_rows(warehouse, staging_run, {**run, **values})
    seen = [
        {"site": "default", "run_id": run_id, "row_no": number, "delivery_id": id_of(warehouse, key)}
        for number, key in enumerate(keys, start=1)
    ]
    add_rows(warehouse, staged_row, *seen)


def add_rows(warehouse: Engine, table: Any, *rows: dict[str, Any]) -> None:
    """Insert rows as they are."""
    if rows:
        with warehouse.begin() as connection:
            connection.execute(insert(table), list(rows))
