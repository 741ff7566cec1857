"""A warehouse to decide over: deliveries of known rows, attempts, snapshots, certificates, a catalogue."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, date, datetime, timedelta
from typing import Any

from sqlalchemy import Engine, insert, text

from springest.db.schema import (
    certification,
    delivery,
    delivery_attempt,
    ledger_restoration,
    released_run,
    remote_certificate,
    snapshot,
    stage_watermark,
)
from springest.identity import Pseudonyms
from springest.review.decisions import Choice, Decided, Decisions
from springest.review.rules import ReleaseRules
from springest.source.contract import CompletedTraining, read_row
from springest.states import DecisionKind

DAY = date(2026, 11, 2)
PSEUDONYMS = Pseudonyms("a secret for tests only, long enough")
NOT_LISTED = 105


def ago(**time: float) -> datetime:
    """A moment before now."""
    return datetime.now(UTC) - timedelta(**time)


def row(name: str = "T1", **changes: Any) -> CompletedTraining:
    """What the source has for a training."""
    values = {
        "training_id": name,
        "certification_id": 102,
        "email": f"{name.lower()}@example.com",
        "completed_at": datetime(2026, 11, 2, 9, tzinfo=UTC),
        "valid_from": DAY,
        "certificate_uri": f"/certificates/{name}.pdf",
        "updated_at": datetime(2026, 11, 2, 10, tzinfo=UTC),
        **changes,
    }
    return read_row(values, site="default", pseudonyms=PSEUDONYMS)


class Ground:
    """Writes what the world looked like, and decides as a person."""

    def __init__(self, warehouse: Engine) -> None:
        self.warehouse = warehouse
        self.listed_is_verified = True
        self._add(released_run, site="default", run_id="night")
        self._add(stage_watermark, site="default", watermark=ago(hours=3), run_id="night")
        self._add(
            certification,
            site="default",
            certification_id=102,
            is_listed=True,
            first_seen_at=ago(days=90),
            last_seen_at=ago(hours=3),
            listed_since=ago(days=90),
        )

    def delivery(self, state: str, name: str = "T1", *, sent: datetime | None = None, **values: Any) -> str:
        """A delivery; ``sent`` gives it an attempt whose outcome was lost."""
        changes = {key: values.pop(key) for key in ("certification_id", "email") if key in values}
        training = row(name, **changes)
        wants_id = state in {"accepted", "visible", "vanished"}
        content = {
            field: getattr(training, field) for field in ("learner_ref", "certification_id", "valid_from")
        }
        self._add(
            delivery,
            delivery_key=training.delivery_key,
            site=values.pop("site", "default"),
            training_id=name,
            issue_no=1,
            state=state,
            row_version=training.row_version,
            document_ref=training.document_ref,
            completed_at=training.completed_at,
            staged_run_id="night",
            lease_owner="w" if state == "sending" else None,
            lease_until=ago(minutes=-5) if state == "sending" else None,
            sent_at=sent,
            **{"springest_certificate_id": 7 if wants_id else None, **content, **values},
        )
        if sent:
            self.attempt(training.delivery_key, started_at=sent)
        return training.delivery_key

    def attempt(self, key: str, **values: Any) -> None:
        given = {"outcome": "outcome_lost", **values}
        self._add(
            delivery_attempt,
            delivery_key=key,
            run_id="night",
            worker="w",
            document_sha256="a" * 64,
            **given,
        )

    def snapshot(self, *, minutes_ago: float = 5, complete: bool = True, **values: Any) -> int:
        moment = ago(minutes=minutes_ago)
        given = {"started_at": moment, "finished_at": moment, **values}
        taken = insert(snapshot).values(site="default", run_id="r", complete=complete, **given)
        with self.warehouse.begin() as connection:
            return int(connection.execute(taken.returning(snapshot.c.snapshot_id)).scalar_one())

    def shown(self, certificate_id: int, number: int, **values: Any) -> None:
        """Springest showed a certificate in that snapshot."""
        with self.warehouse.connect() as connection:
            seen = connection.execute(
                text("SELECT started_at FROM springest.snapshot WHERE snapshot_id = :number"),
                {"number": number},
            ).scalar_one()
        given = {"certification_id": 102, "valid_from": DAY, "springest_status": "verified", **values}
        self._add(
            remote_certificate,
            site="default",
            springest_certificate_id=certificate_id,
            first_snapshot_id=number,
            last_snapshot_id=number,
            first_seen_at=seen,
            last_seen_at=seen,
            **given,
        )

    def restored(self) -> None:
        self._add(
            ledger_restoration,
            settled_by="anna",
            reason="disk",
            found_attempt_id=1,
            highest_attempt_id=9,
            deliveries=1,
        )

    def of(self, key: str) -> Any:
        with self.warehouse.connect() as connection:
            statement = text("SELECT * FROM springest.delivery WHERE delivery_key = :key")
            return connection.execute(statement, {"key": key}).one()

    def decisions(self) -> list[Any]:
        with self.warehouse.connect() as connection:
            return list(connection.execute(text("SELECT * FROM springest.delivery_decision ORDER BY 1")))

    def choice(self, key: str, decision: str, certificate_id: int | None = None, **values: Any) -> Choice:
        given = {"version": self.of(key).version, "decided_by": "anna", "reason": "looked at it", **values}
        return Choice(key, DecisionKind(decision), springest_certificate_id=certificate_id, **given)

    def decide(
        self,
        key: str,
        decision: str,
        certificate_id: int | None = None,
        *,
        rows: Sequence[CompletedTraining] | None = None,
        **values: Any,
    ) -> Decided:
        if rows is None:
            rows = [row(self.of(key).training_id)]
        choice = self.choice(key, decision, certificate_id, **values)
        rules = ReleaseRules(listed_is_verified=self.listed_is_verified)
        return Decisions(self.warehouse, site="default", rules=rules).decide(choice, rows=rows)

    def _add(self, table: Any, **values: Any) -> None:
        with self.warehouse.begin() as connection:
            connection.execute(insert(table).values(**values))
