"""Approve a run that the volume check refused: a person agrees to its number of certificates."""

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
from springest.review.audit_text import clean

_TOO_LARGE: Final = text(load_sql("review/runs_too_large"))
_RECENT_RUN_SIZES: Final = text(load_sql("delivery/recent_run_sizes"))
_APPROVE: Final = text(
    "INSERT INTO springest.approved_run (site, run_id, approved_by, approval_reason)"
    " VALUES (:site, :run_id, :by, :reason)"
)


@dataclass(frozen=True, slots=True)
class LargeRun:
    """A staged run that the volume check refuses.

    :param certificates: how many of it wait in the queue.
    :param usual: how many a run may have without a person.
    :param certifications: how many different ones they are of.
    :param window_start: what it read of the source; ``None`` when staging did not come to its end.
    """

    run_id: str
    certificates: int
    usual: int
    certifications: int
    staged_at: datetime
    window_start: datetime | None
    window_end: datetime | None


def large_runs(engine: Engine, *, site: str) -> list[LargeRun]:
    """Return the runs that wait for a person to approve them, oldest first."""
    with engine.connect() as connection:
        values = {"site": site, "run_id": "", "last": sending.RECENT_RUNS}
        usual = max_run_size(connection.execute(_RECENT_RUN_SIZES, values).scalars().all())
        rows = connection.execute(_TOO_LARGE, {"site": site, "usual": usual}).mappings()
        return [LargeRun(**row, usual=usual) for row in rows]


def approve_run(
    engine: Engine,
    *,
    site: str,
    run_id: str,
    certificates: int,
    by: str,
    reason: str,
    redactor: Redactor | None = None,
) -> int:
    """Approve a run, so that the next delivering run sends it.

    :param certificates: the number that the person saw and agrees to.
    :param by: login of the person.
    :param reason: why, in the person's words.
    :returns: how many certificates wait.
    :raises DecisionRefused: the run has changed, or who or why can't be kept; nothing was changed.
    """
    by = clean(by, "the login of who decides", redactor)
    reason = clean(reason, "the reason", redactor)
    with engine.begin() as connection:
        runs = connection.execute(sending.UNAPPROVED_RUNS, {"site": site, "run_id": run_id}).scalars().all()
        if run_id not in runs:
            raise DecisionRefused(f"run {run_id} is being staged right now: look again once that is over")
        [row] = connection.execute(sending.COUNT_UNAPPROVED, {"site": site, "run_ids": [run_id]}).all()
        waiting = int(row[1])
        if not waiting:
            raise DecisionRefused(f"nothing of run {run_id} waits to be approved any more")
        if waiting > certificates:
            raise DecisionRefused(
                f"run {run_id} has {waiting} certificates now, and {certificates} were agreed to: look again"
            )
        connection.execute(_APPROVE, {"site": site, "run_id": run_id, "by": by, "reason": reason})
    return waiting
