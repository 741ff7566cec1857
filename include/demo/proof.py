"""Checks the demo's results: sums, and the server's own record of received requests."""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date
from pathlib import Path

from sqlalchemy import Engine, text

from demo.nights import Expected, Night
from demo.source_database import count_completed
from sandbox.store import StoredCertificate

_BY_STATUS = text("""
SELECT verdict.verification_status, count(*)
FROM springest.staged_row AS seen
JOIN springest.delivery USING (delivery_id)
JOIN springest.certificate_reconciliation AS verdict USING (delivery_key)
WHERE seen.run_id = :run_id AND (verdict.completed_at AT TIME ZONE 'UTC')::date = :day
GROUP BY verdict.verification_status
""")
_REASONS = text("""
SELECT training_id, delivery_reason
FROM springest.certificate_reconciliation
WHERE delivery_reason IS NOT NULL
""")


@dataclass(frozen=True, slots=True)
class NightSum:
    """One night's sum.

    :param completed: the source's own count.
    :param statuses: its rows by verification status.
    """

    day: date
    completed: int
    statuses: Counter[str]

    @property
    def adds_up(self) -> bool:
        """Whether every completed training has a status."""
        return self.completed == self.statuses.total()


def night_sums(source: Engine, warehouse: Engine, nights: Sequence[Night], *, run_id: str) -> list[NightSum]:
    """Count the results of each night, over the rows that a run saw."""
    sums = []
    with warehouse.connect() as connection:
        for night in nights:
            rows = connection.execute(_BY_STATUS, {"run_id": run_id, "day": night.day})
            statuses = Counter({str(status): int(number) for status, number in rows})
            sums.append(NightSum(night.day, count_completed(source, night.day), statuses))
    return sums


def delivery_failures(nights: Sequence[Night], stored: Sequence[StoredCertificate]) -> list[str]:
    """Compare the server's record with the expected certificates: each one once, with the right bytes."""
    expected = Counter(
        (
            training.learner.email or "",
            training.certification_id,
            training.valid_from.isoformat(),
            hashlib.sha256(Path(training.certificate_uri).read_bytes()).hexdigest(),
        )
        for night in nights
        for training in night.trainings
        if training.expected is Expected.SENT
    )
    found = Counter(
        (certificate.email, certificate.certification_id, certificate.valid_from, certificate.sha256)
        for certificate in stored
    )
    missing, extra = expected - found, found - expected
    return [f"{missing.total()} certificates are missing"] * bool(missing) + [
        f"{extra.total()} certificates are too many, or have other bytes"
    ] * bool(extra)


def reason_failures(warehouse: Engine, nights: Sequence[Night]) -> list[str]:
    """Compare the reasons in the reconciled table with the defects of the rows."""
    with warehouse.connect() as connection:
        reasons = {training: str(reason) for training, reason in connection.execute(_REASONS)}
    good = {Expected.SENT, Expected.SAME_ROW_AGAIN}
    return [
        f"{training.training_id} should be set aside for {training.expected}, "
        f"and says {reasons.get(training.training_id)}"
        for night in nights
        for training in night.trainings
        if training.expected not in good and reasons.get(training.training_id) != training.expected
    ]
