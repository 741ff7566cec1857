"""A warehouse to decide over: deliveries of known rows, attempts, snapshots, certificates, a catalogue."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from functools import partial
from typing import Any

from sqlalchemy import Engine, text

from springest.db.schema import ledger_restoration
from springest.review.decisions import Decided, Decisions, RequestedDecision
from springest.review.rules import ReleaseRules
from springest.source.contract import CompletedTraining
from springest.states import DecisionKind
from tests import factories
from tests.factories import ago, source_row

NOT_LISTED = 105


class Ground:
    """Writes what the world looked like, and decides as a person."""

    def __init__(self, warehouse: Engine) -> None:
        self.warehouse = warehouse
        self.listed_is_verified = True
        self.attempt = partial(factories.add_attempt, warehouse)
        factories.approve_run(warehouse)
        factories.list_certification(warehouse, since=ago(days=90), last=ago(hours=3))

    def delivery(self, state: str, name: str = "T1", *, sent: datetime | None = None, **values: Any) -> str:
        """A delivery; ``sent`` gives it an attempt whose outcome was lost."""
        changes = {key: values.pop(key) for key in ("certification_id", "email") if key in values}
        training = source_row(name, **changes)
        content = ("delivery_key", "row_version", "document_ref", "completed_at", "learner_ref")
        content += ("certification_id", "valid_from")
        lease = {"lease_until": ago(minutes=-5)} if state == "sending" else {}
        known = {field: getattr(training, field) for field in content} | lease
        key = factories.add_delivery(
            self.warehouse, state, name, **{**known, "match_method": None, "sent_at": sent, **values}
        )
        if sent:
            self.attempt(key, started_at=sent)
        return key

    def snapshot(self, *, minutes_ago: float = 5, **values: Any) -> int:
        moment = ago(minutes=minutes_ago)
        given = {"started_at": moment, "finished_at": moment, **values}
        return factories.add_snapshot(self.warehouse, given.pop("started_at"), **given)

    def shown(self, certificate_id: int, number: int, **values: Any) -> None:
        """Springest showed a certificate in that snapshot."""
        with self.warehouse.connect() as connection:
            seen = connection.execute(
                text("SELECT started_at FROM springest.snapshot WHERE snapshot_id = :number"),
                {"number": number},
            ).scalar_one()
        seen_at = {"first_seen_at": seen, "recorded_at": seen}
        factories.add_certificate(self.warehouse, certificate_id, snapshot_id=number, **{**seen_at, **values})

    def restored(self) -> None:
        row = {"settled_by": "anna", "reason": "disk", "found_attempt_id": 1, "highest_attempt_id": 9}
        factories.add_rows(self.warehouse, ledger_restoration, {**row, "deliveries": 1})

    def of(self, key: str) -> Any:
        with self.warehouse.connect() as connection:
            statement = text("SELECT * FROM springest.delivery WHERE delivery_key = :key")
            return connection.execute(statement, {"key": key}).one()

    def decisions(self) -> list[Any]:
        with self.warehouse.connect() as connection:
            return list(connection.execute(text("SELECT * FROM springest.delivery_decision ORDER BY 1")))

    def choice(
        self, key: str, decision: str, certificate_id: int | None = None, **values: Any
    ) -> RequestedDecision:
        given = {"version": self.of(key).version, "decided_by": "anna", "reason": "looked at it", **values}
        return RequestedDecision(
            key, DecisionKind(decision), springest_certificate_id=certificate_id, **given
        )

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
            rows = [source_row(self.of(key).training_id)]
        choice = self.choice(key, decision, certificate_id, **values)
        rules = ReleaseRules(listed_is_verified=self.listed_is_verified)
        return Decisions(self.warehouse, site="default", rules=rules).decide(choice, rows=rows)
