"""Candidates: verdicts that are new or changed, kept beside the published ones until their checks pass.

There is one set for each site. Working it out again replaces it, and publishing empties it, so a set that
was superseded can't be published over a newer one.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Final

from sqlalchemy import Connection, delete, func, select, text, update

from springest.db.schema import SAID, candidate_set, publication, reconciled_candidate
from springest.db.statements import listed, load_sql
from springest.errors import ConservationBroken, PendingVerdictsLost, QualityCheckFailed
from springest.privacy.erasure import PUBLISH_LOCK
from springest.site import Site

_PARTS: Final = {name: load_sql(f"verdicts/verdict_{name}") for name in ("facts", "basis")}
_FIND_UNJUDGED: Final = text(load_sql("verdicts/find_unjudged", **_PARTS))
_FORGET_UNJUDGED: Final = text("DROP TABLE IF EXISTS pg_temp.unjudged")
_JUDGE: Final = text(load_sql("verdicts/judge", **_PARTS))
_DROP_UNCHANGED: Final = text(
    load_sql(
        "verdicts/drop_unchanged",
        published=listed(SAID, of="published"),
        candidate=listed(SAID, of="candidate"),
    )
)
_NOW: Final = text("SELECT clock_timestamp()")
_CONSERVATION: Final = text(load_sql("verdicts/conservation"))
_NEWEST_SNAPSHOT: Final = text(load_sql("verdicts/newest_snapshot"))
_NOTE: Final = text(load_sql("verdicts/note_candidates"))
_FAILED: Final = text(load_sql("verdicts/failed_checks"))
_MEMORY: Final = text("SET LOCAL work_mem = '64MB'")
_ANALYZE: Final = text(
    "ANALYZE springest.reconciled_candidate (site, delivery_key, verification_status, match_method, "
    "springest_certificate_id)"
)
TRIES: Final = 3
FILLED_COLUMNS: Final = (
    "delivery_key",
    "site",
    "training_id",
    "issue_no",
    "delivery_state",
    "verification_status",
    "needs_review",
)
"""What every verdict must say."""
TABLE_CHECKS: Final = (
    "accepted_values",
    "known_delivery",
    "known_certificate",
    "verified_has_proof",
    "dates_in_order",
    "review_has_reason",
    "history_without_gaps",
    "conservation",
)
"""Checks of ``springest.failed_check`` besides those that columns have (``unique``, ``not_null``)."""
SHOWN_FAILURES: Final = 10


@dataclass(frozen=True, slots=True)
class Conservation:
    """Whether source rows and verdicts add up.

    :param incomplete_run: first run of which they do not, with its two numbers.
    """

    source_rows: int
    verdict_rows: int
    incomplete_run: str | None
    incomplete_source_rows: int | None
    incomplete_verdicts: int | None


@dataclass(frozen=True, slots=True)
class CandidateSet:
    """The verdicts that were worked out last.

    :param changed: how many are new or changed.
    :param last_run_id: run that published last.
    :param outdated: the site was published since they were worked out.
    """

    run_id: str
    built_at: datetime
    snapshot_id: int | None
    changed: int
    published_at: datetime | None
    last_run_id: str | None
    outdated: bool


def lock_publishing(connection: Connection, site: str) -> None:
    """Wait for other reconciliations of the site; the lock ends with the transaction.

    Whole tables are joined from here on: the transaction gets memory for it.
    """
    connection.execute(_MEMORY)
    connection.execute(PUBLISH_LOCK, {"site": site})


def newest_snapshot(connection: Connection, site: str) -> int | None:
    """Return the newest snapshot that is finished, if any; to be asked for before matching.

    One that ends while deliveries are matched may be missed: the verdicts don't rest on it.
    """
    number: int | None = connection.execute(_NEWEST_SNAPSHOT, {"site": site}).scalar_one()
    return number


def judge(connection: Connection, site: Site, *, run_id: str, snapshot_id: int | None) -> int:
    """Work out the site's verdicts and keep those that are new or changed; return how many.

    :param snapshot_id: the newest snapshot that the matching knew for certain.

    Only those are judged anew whose verdict was made from something else than what is there now. A run that
    finishes staging in between is seen by the sum and not by the verdicts: then both are done again.
    """
    verified = sorted(word.lower() for word in site.verified_statuses)
    now = connection.execute(_NOW).scalar_one()
    values = {
        "site": site.name,
        "verified_statuses": verified,
        "rules": _rules(verified),
        "now": now,
        "today": now.astimezone(UTC).date(),
    }
    changed, sums = 0, None
    for _ in range(TRIES):
        clear(connection, site.name)
        changed = _judge_anew(connection, values)
        sums = conservation(connection, site.name)
        if sums.incomplete_run is None:
            break
    assert sums is not None  # noqa: S101 - there is a first try
    noted = {name: getattr(sums, name) for name in ("source_rows", "verdict_rows", "incomplete_run")}
    of_run = {"site": site.name, "run_id": run_id, "snapshot_id": snapshot_id, "changed": changed}
    connection.execute(_NOTE, {**of_run, **noted})
    return changed


def _judge_anew(connection: Connection, values: Mapping[str, Any]) -> int:
    """Make candidates of the verdicts that are new or changed; return how many."""
    connection.execute(_FORGET_UNJUDGED)
    if not connection.execute(_FIND_UNJUDGED, values).rowcount:
        return 0
    connection.exec_driver_sql("ANALYZE pg_temp.unjudged")
    judged = connection.execute(_JUDGE, values).rowcount
    # The planner should know how many there are; a role that does not own the table is let off.
    connection.execute(_ANALYZE)
    unchanged: int = connection.execute(_DROP_UNCHANGED, values).scalar_one()
    return judged - unchanged


def _rules(verified: list[str]) -> int:
    """Return what verdicts are made by, as a number of 64 bits with a sign."""
    rules = "\n".join([str(_JUDGE), *verified])
    return int.from_bytes(hashlib.sha256(rules.encode()).digest()[:8], signed=True)


def conservation(connection: Connection, site: str) -> Conservation:
    """Compare the source's counts with the verdicts, published ones and candidates together."""
    return Conservation(**connection.execute(_CONSERVATION, {"site": site}).mappings().one())


def require_conservation(sums: Conservation) -> None:
    """Refuse sums that do not add up.

    :raises ConservationBroken: some staged source row has no verdict.
    """
    if sums.incomplete_run is not None:
        raise ConservationBroken(
            f"run {sums.incomplete_run} counted {sums.incomplete_source_rows} completed trainings in the "
            f"source and {sums.incomplete_verdicts} have a verdict: clear the run's stage task, then the "
            "reconcile task; nothing was published"
        )


def require_quality(connection: Connection, site: str) -> None:
    """Refuse candidates that fail a check.

    :raises QualityCheckFailed: some do; the text names the rows and the remedies.
    """
    failed = connection.execute(_FAILED, {"site": site, "shown": SHOWN_FAILURES + 1}).all()
    if failed:
        raise QualityCheckFailed(describe_failures([tuple(row) for row in failed]))


def describe_failures(failed: list[tuple[str, str | None, str | None, str, str]]) -> str:
    """Say which rows failed which check, and what to do.

    :param failed: (check, delivery key, training, what was found, remedy) of each.
    """
    lines = [
        f"{check}: {f'training {training} (delivery {key}) ' if key else ''}{found}: {remedy}"
        for check, key, training, found, remedy in failed[:SHOWN_FAILURES]
    ]
    more = ["and more: see springest.failed_check"] if len(failed) > SHOWN_FAILURES else []
    return "\n".join(["nothing was published, since the verdicts failed their checks:", *lines, *more])


def load_set(connection: Connection, site: str) -> CandidateSet | None:
    """Return the site's last set; ``None`` when there never was one."""
    rows = connection.execute(
        select(
            candidate_set.c.run_id,
            candidate_set.c.built_at,
            candidate_set.c.snapshot_id,
            candidate_set.c.changed,
            candidate_set.c.published_at,
            publication.c.run_id.label("last_run_id"),
            func.coalesce(publication.c.reconciled_at > candidate_set.c.built_at, False).label("outdated"),
        )
        .outerjoin_from(candidate_set, publication, publication.c.site == candidate_set.c.site)
        .where(candidate_set.c.site == site)
    ).mappings()
    found = rows.one_or_none()
    return CandidateSet(**found) if found is not None else None


def require_whole(connection: Connection, site: str, changed: int) -> None:
    """Make sure that the set still has all of its rows: a crash of the server empties the table.

    :raises PendingVerdictsLost: it has not.
    """
    counted = (
        select(func.count()).select_from(reconciled_candidate).where(reconciled_candidate.c.site == site)
    )
    if connection.execute(counted).scalar_one() != changed:
        raise PendingVerdictsLost(
            "the verdicts that were to be published are gone, as after a crash of the warehouse: "
            "clear the reconcile task"
        )


def clear(connection: Connection, site: str) -> None:
    """Drop the site's candidates."""
    connection.execute(delete(reconciled_candidate).where(reconciled_candidate.c.site == site))


def note_published(connection: Connection, site: str, at: datetime) -> None:
    """Write down that the set is published, and empty it."""
    clear(connection, site)
    connection.execute(update(candidate_set).where(candidate_set.c.site == site).values(published_at=at))
