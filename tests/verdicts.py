"""Publish in one step, and check that what is published is what would be computed from nothing."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from sqlalchemy import Engine, text

from springest.site import Site
from springest.verdicts.pending import compute_verdicts, lock_publishing
from springest.verdicts.publish import publish_pending, reconcile


@dataclass(frozen=True, slots=True)
class PublishReport:
    """Counts of both steps; see ``ReconcileReport`` and ``Published``."""

    became_visible: int
    became_absent: int
    written: int
    versions: int
    statuses: Mapping[str, int]
    unproven: Mapping[str, int] = field(default_factory=dict)


def publish(engine: Engine, *, site: Site, run_id: str) -> PublishReport:
    """Compute and publish the site's verdicts, one step right after the other.

    :raises ConservationBroken: some staged source row has no verdict.
    :raises QualityCheckFailed: some verdict can't be right.
    """
    reconciled = reconcile(engine, site=site, run_id=run_id)
    published = publish_pending(engine, site=site, run_id=run_id)
    return PublishReport(
        reconciled.became_visible,
        reconciled.became_absent,
        published.written,
        published.versions,
        published.statuses,
        reconciled.unproven,
    )


def require_no_stale_verdict(warehouse: Engine, site: Site) -> None:
    """Judge every delivery as if nothing were known of its verdict, and change nothing.

    :raises AssertionError: some published verdict is another one than would be worked out.
    """
    with warehouse.connect() as connection, connection.begin() as transaction:
        lock_publishing(connection, site.name)
        unknown = "UPDATE springest.verdict SET input_hash = NULL WHERE site = :site"
        connection.execute(text(unknown), {"site": site.name})
        changed = compute_verdicts(connection, site, run_id="from nothing", snapshot_id=None)
        stale = connection.execute(
            text(
                "SELECT pending.training_id, pending.verification_status, current.verification_status"
                " FROM springest.verdict AS pending"
                " JOIN springest.publication USING (publication_id)"
                " LEFT JOIN springest.current_verdict AS current USING (delivery_id)"
                " WHERE pending.site = :site AND publication.published_at IS NULL"
            ),
            {"site": site.name},
        ).all()
        transaction.rollback()
    assert (changed, stale) == (0, [])
