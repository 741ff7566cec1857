"""Approve a run that the volume check refused: a person agrees to send the certificates that were shown."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Final

from sqlalchemy import Engine, text

from springest.db.statements import load_sql
from springest.delivery import repository as sending
from springest.delivery.volume import max_run_size
from springest.errors import DecisionRefused
from springest.redaction import Redactor
from springest.review.audit_text import clean, clean_login

_DIGEST: Final = (
    "encode(sha256(convert_to(string_agg("
    "delivery.delivery_key || ' ' || delivery.version, ',' ORDER BY delivery.delivery_key), 'UTF8')), 'hex')"
)
"""Hash of a run's certificates and their versions: it differs if one is added, removed or changed."""
_TOO_LARGE: Final = text(load_sql("review/runs_too_large", digest=_DIGEST))
_SEEN: Final = text(
    f"SELECT count(*) AS certificates, {_DIGEST} AS digest FROM springest.delivery"  # noqa: S608
    " WHERE site = :site AND indexed_state = 'ready' AND staged_run_id = :run_id"
)
_APPROVED_NOT_SENT: Final = text(load_sql("review/approved_not_sent"))
_RECENT_RUN_SIZES: Final = text(load_sql("delivery/recent_run_sizes"))
_APPROVE: Final = text(
    "INSERT INTO springest.approved_run (site, run_id, approved_by, approval_reason)"
    " VALUES (:site, :run_id, :by, :reason)"
)


@dataclass(frozen=True, slots=True)
class SeenRun:
    """A run as a person saw it.

    :param certificates: number of its certificates in the queue.
    :param digest: hash of these certificates and their versions.
    """

    certificates: int
    digest: str


@dataclass(frozen=True, slots=True)
class LargeRun:
    """A staged run that the volume check refuses.

    :param certificates: number of its certificates in the queue.
    :param digest: hash of these certificates and their versions.
    :param usual: number of certificates that a run may have without approval.
    :param certifications: number of their certifications.
    :param window_start: start of its window in the source; ``None`` if staging was not completed.
    """

    run_id: str
    certificates: int
    digest: str
    usual: int
    certifications: int
    staged_at: datetime
    window_start: datetime | None
    window_end: datetime | None

    @property
    def seen(self) -> SeenRun:
        """The description that a person sees."""
        return SeenRun(self.certificates, self.digest)


def large_runs(engine: Engine, *, site: str) -> list[LargeRun]:
    """Return the runs that wait for a person to approve them, oldest first."""
    with engine.connect() as connection:
        # The sizes of the last runs take all attempts to read, and on most days no run is large.
        large = connection.execute(_TOO_LARGE, {"site": site, "usual": max_run_size(())}).mappings().all()
        if not large:
            return []
        values = {"site": site, "run_id": "", "last": sending.RECENT_RUNS}
        usual = max_run_size(connection.execute(_RECENT_RUN_SIZES, values).scalars().all())
        return [LargeRun(**row, usual=usual) for row in large if row["certificates"] > usual]


def has_approved_unsent(engine: Engine, *, site: str) -> bool:
    """Return whether an approved run still has unsent certificates, and no other run has staged since.

    Any run that stages afterwards sends them as well.
    """
    with engine.connect() as connection:
        return bool(connection.execute(_APPROVED_NOT_SENT, {"site": site}).scalar_one())


def approve_run(
    engine: Engine,
    *,
    site: str,
    run_id: str,
    seen: SeenRun,
    by: str,
    reason: str,
    redactor: Redactor | None = None,
) -> None:
    """Approve a run, so that the next delivering run sends it.

    :param seen: the run as the person saw it.
    :param by: login of the person.
    :param reason: the person's reason.
    :raises DecisionRefused: the run has changed, or login or reason can't be stored; nothing was changed.
    """
    by = clean_login(by, redactor)
    reason = clean(reason, "the reason", redactor)
    values = {"site": site, "run_id": run_id}
    with engine.begin() as connection:
        if run_id not in connection.execute(sending.UNAPPROVED_RUNS, values).scalars().all():
            raise DecisionRefused(f"run {run_id} is being staged right now: look again when it has finished")
        [counted] = connection.execute(sending.COUNT_UNAPPROVED, {"site": site, "run_ids": [run_id]}).all()
        if not counted.deliveries:
            raise DecisionRefused(f"run {run_id} has no certificates left to approve")
        now = SeenRun(**connection.execute(_SEEN, values).mappings().one())
        if now != seen:
            raise DecisionRefused(
                f"run {run_id} has changed: it has {now.certificates:,} certificates now, which are not the "
                f"{seen.certificates:,} that were shown. Look again"
            )
        connection.execute(_APPROVE, {**values, "by": by, "reason": reason})
