"""Pending verdicts: new or changed ones, stored beside the current ones until their checks pass.

They belong to the site's pending publication, of which there is at most one. Computing them again replaces
them, and publishing makes them current, so a superseded verdict can't be published over a newer one.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Final

from sqlalchemy import Connection, delete, select, text, update

from springest.db.schema import COMPUTED_COLUMNS, VERSIONED_COLUMNS, publication, verdict
from springest.db.statements import listed, load_sql
from springest.errors import ConservationBroken, QualityCheckFailed
from springest.privacy.erasure import PUBLISH_LOCK
from springest.site import Site

_FRAGMENTS: Final = {name: load_sql(f"verdicts/{name}") for name in ("facts", "inputs")}
_FIND_STALE: Final = text(load_sql("verdicts/find_stale_verdicts", **_FRAGMENTS))
_FIND_IDS_USED_TWICE: Final = text(load_sql("verdicts/find_ids_used_twice"))
_DROP_TABLES: Final = text("DROP TABLE IF EXISTS pg_temp.id_used_twice, pg_temp.stale")
_COMPUTE: Final = text(
    load_sql(
        "verdicts/compute_verdicts",
        **_FRAGMENTS,
        columns=listed(COMPUTED_COLUMNS),
        current=listed(COMPUTED_COLUMNS, of="current"),
        computed=listed(COMPUTED_COLUMNS, of="computed"),
        current_versioned=listed(VERSIONED_COLUMNS, of="current"),
        computed_versioned=listed(VERSIONED_COLUMNS, of="computed"),
    )
)
_NOW: Final = text("SELECT clock_timestamp()")
_CONSERVATION: Final = text(load_sql("verdicts/conservation"))
_NEWEST_SNAPSHOT: Final = text(load_sql("verdicts/newest_snapshot"))
_START: Final = text(load_sql("verdicts/start_publication"))
_FAILED: Final = text(load_sql("verdicts/failed_checks"))
_SETTINGS: Final = text("SET LOCAL work_mem = '64MB'; SET LOCAL default_statistics_target = 10")
"""Memory for joins of whole tables, and small samples for ANALYZE: plans depend on whether a condition holds
for a few rows or for most, which 3,000 rows show. Autovacuum takes its usual sample later."""
_ANALYZE: Final = text(
    "ANALYZE springest.verdict (publication_id, site, delivery_id, verification_status, match_method, "
    "springest_certificate_id)"
)
_JOIN_WHOLE_TABLES: Final = text("SET LOCAL enable_nestloop = off")
MANY_CHANGES: Final = 10_000
"""From so many changed verdicts on, the planner gets new statistics; fewer are looked up one by one."""
MAX_PASSES: Final = 3
FILLED_COLUMNS: Final = (
    "delivery_id",
    "site",
    "training_id",
    "issue_no",
    "delivery_state",
    "verification_status",
    "needs_review",
)
"""Columns that each verdict must fill."""
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
"""Checks of ``springest.failed_check`` besides those of single columns (``unique``, ``not_null``)."""
SHOWN_FAILURES: Final = 10


@dataclass(frozen=True, slots=True)
class Conservation:
    """Whether source rows and verdicts add up.

    :param incomplete_run: first run in which they do not, with its two numbers.
    """

    source_rows: int
    verdict_rows: int
    incomplete_run: str | None
    incomplete_source_rows: int | None
    incomplete_verdicts: int | None


@dataclass(frozen=True, slots=True)
class Publication:
    """A site's newest publication.

    :param run_id: Airflow run that computed its verdicts.
    :param changed: number of verdicts that are new or changed.
    :param published_at: ``None`` while it is pending.
    """

    publication_id: int
    run_id: str
    changed: int
    published_at: datetime | None


def lock_publishing(connection: Connection, site: str) -> None:
    """Wait for the site's other reconciliations; the lock ends with the transaction.

    The transaction gets settings for statements that join whole tables.
    """
    connection.execute(_SETTINGS)
    connection.execute(PUBLISH_LOCK, {"site": site})


def newest_snapshot(connection: Connection, site: str) -> int | None:
    """Return the newest finished snapshot, if any; call this before matching.

    One that ends while deliveries are matched may be missed: the verdicts don't depend on it.
    """
    snapshot_id: int | None = connection.execute(_NEWEST_SNAPSHOT, {"site": site}).scalar_one()
    return snapshot_id


def compute_verdicts(connection: Connection, site: Site, *, run_id: str, snapshot_id: int | None) -> int:
    """Compute the site's verdicts and store those that are new or changed as pending; return how many.

    A verdict is computed only if one of its inputs has changed. If a run finishes staging in between, its
    rows may have no verdict yet: then all of this is done again.

    :param snapshot_id: newest snapshot that the matching has certainly used.
    """
    verified = sorted(status.lower() for status in site.verified_statuses)
    started = {"site": site.name, "run_id": run_id, "snapshot_id": snapshot_id}
    publication_id: int = connection.execute(_START, started).scalar_one()
    now = connection.execute(_NOW).scalar_one()
    values = {
        "site": site.name,
        "publication_id": publication_id,
        "verified_statuses": verified,
        "rules": _rules_hash(verified),
        "now": now,
        "today": now.astimezone(UTC).date(),
    }
    changed, sums = 0, None
    for _ in range(MAX_PASSES):
        changed = _recompute(connection, values)
        sums = conservation(connection, site.name)
        if sums.incomplete_run is None:
            break
    assert sums is not None  # noqa: S101 - there is a first pass
    counted = {name: getattr(sums, name) for name in ("source_rows", "verdict_rows", "incomplete_run")}
    connection.execute(_update_publication(publication_id).values(changed=changed, **counted))
    return changed


def _recompute(connection: Connection, values: Mapping[str, Any]) -> int:
    """Replace the pending verdicts; return how many are new or changed."""
    connection.execute(delete(verdict).where(verdict.c.publication_id == values["publication_id"]))
    connection.execute(_DROP_TABLES)
    connection.execute(_FIND_IDS_USED_TWICE, values)
    if not connection.execute(_FIND_STALE, values).rowcount:
        return 0
    connection.exec_driver_sql("ANALYZE pg_temp.stale")
    changed = connection.execute(_COMPUTE, values).rowcount
    if changed >= MANY_CHANGES:  # a role that does not own the table only gets a warning
        connection.execute(_ANALYZE)
    return changed


def _update_publication(publication_id: int) -> Any:
    return update(publication).where(publication.c.publication_id == publication_id)


def _rules_hash(verified: list[str]) -> int:
    """Return a hash of the rules that verdicts are computed by: 64 bits with a sign."""
    rules = "\n".join([str(_COMPUTE), *verified])
    return int.from_bytes(hashlib.sha256(rules.encode()).digest()[:8], signed=True)


def conservation(connection: Connection, site: str) -> Conservation:
    """Compare the source's counts with the verdicts, current and pending ones together."""
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


def require_quality(connection: Connection, site: str, changed: int) -> None:
    """Refuse pending verdicts that fail a check.

    :param changed: how many are pending.
    :raises QualityCheckFailed: some do; the text names the rows and the remedies.
    """
    if changed >= MANY_CHANGES:  # the planner expects few; see failed_check.sql
        connection.execute(_JOIN_WHOLE_TABLES)
    failed = connection.execute(_FAILED, {"site": site, "shown": SHOWN_FAILURES + 1}).all()
    if failed:
        raise QualityCheckFailed(describe_failures([tuple(row) for row in failed]))


def describe_failures(failed: list[tuple[str, str | None, str | None, str, str]]) -> str:
    """Return a text that names the rows that failed, their checks and the remedies.

    :param failed: (check, delivery key, training, defect, remedy) of each.
    """
    lines = [
        f"{check}: {f'training {training} (delivery {key}) ' if training or key else ''}{found}: {remedy}"
        for check, key, training, found, remedy in failed[:SHOWN_FAILURES]
    ]
    more = ["and more: see springest.failed_check"] if len(failed) > SHOWN_FAILURES else []
    return "\n".join(["nothing was published, since the verdicts failed their checks:", *lines, *more])


def newest_publication(connection: Connection, site: str) -> Publication | None:
    """Return the site's pending publication, else its last one; ``None`` if there never was one."""
    newest = (
        select(*(publication.c[name] for name in Publication.__slots__))
        .where(publication.c.site == site)
        .order_by(publication.c.published_at.desc().nulls_first())
        .limit(1)
    )
    row = connection.execute(newest).mappings().one_or_none()
    return Publication(**row) if row is not None else None


def mark_published(connection: Connection, publication_id: int, at: datetime) -> None:
    """Make the verdicts of a publication the current ones."""
    connection.execute(_update_publication(publication_id).values(published_at=at))
