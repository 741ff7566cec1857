"""Compute the verdict of every delivery, and publish it for analysts.

There are two steps, so that checks can examine the verdicts in between: ``reconcile`` matches deliveries with
the certificates that Springest shows (``matching.py``), and stores new and changed verdicts as pending;
``publish_pending`` makes them the current ones and moves the versions they replace to the history, in one
transaction.

A verdict is written once, and only if it differs from the current one, so a quiet night rewrites nothing.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Final

from sqlalchemy import Connection, Engine, text

from springest.db.schema import VERSIONED_COLUMNS
from springest.db.statements import listed, load_sql
from springest.errors import PendingVerdictsLost
from springest.matching.matching import MatchReport, match
from springest.site import Site
from springest.verdicts.pending import (
    Publication,
    compute_verdicts,
    conservation,
    lock_publishing,
    mark_published,
    newest_publication,
    newest_snapshot,
    require_conservation,
    require_quality,
)

log = logging.getLogger(__name__)

_REPLACE: Final = text(
    load_sql(
        "verdicts/replace_versions",
        versioned=listed(VERSIONED_COLUMNS),
        replaced_versioned=listed(VERSIONED_COLUMNS, of="replaced"),
    )
)
_COUNT_STATUSES: Final = text(load_sql("verdicts/count_statuses"))
_PUBLICATION_TIME: Final = text(load_sql("verdicts/publication_time"))


@dataclass(frozen=True, slots=True)
class ReconcileReport:
    """Counts of a reconciliation.

    :param became_visible: deliveries that a snapshot proved to be there.
    :param became_absent: deliveries that Springest was found to lack.
    :param changed: verdicts that are new or changed and wait to be published.
    :param unproven: matches without proof, by kind; see ``inference.Kind``.
    """

    became_visible: int
    became_absent: int
    changed: int
    unproven: Mapping[str, int] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Published:
    """Counts of a publication.

    :param written: verdicts that are new or changed.
    :param versions: versions that began or ended.
    :param statuses: all of the site's deliveries by ``verification_status``.
    :param superseded_by: run that computed newer verdicts; then nothing was published for this one.
    """

    written: int
    versions: int
    statuses: Mapping[str, int]
    superseded_by: str | None = None


def reconcile(engine: Engine, *, site: Site, run_id: str) -> ReconcileReport:
    """Match the site's deliveries with the certificates shown, and compute their verdicts."""
    with engine.begin() as connection:
        lock_publishing(connection, site.name)
        matched, changed = _match_and_compute(connection, site, run_id)
    return ReconcileReport(matched.proven, matched.absent, changed, matched.unproven)


def _match_and_compute(connection: Connection, site: Site, run_id: str) -> tuple[MatchReport, int]:
    snapshot_id = newest_snapshot(connection, site.name)
    matched = match(connection, site)
    return matched, compute_verdicts(connection, site, run_id=run_id, snapshot_id=snapshot_id)


def publish_pending(engine: Engine, *, site: Site, run_id: str) -> Published:
    """Make the verdicts that the run computed the current ones, and move those they replace to the history.

    Publishing again changes nothing. A run whose verdicts were superseded publishes nothing: the newer ones
    include them.

    :raises PendingVerdictsLost: no verdicts were computed.
    :raises ConservationBroken: some staged source row has no verdict.
    :raises QualityCheckFailed: some verdict can't be right.
    """
    with engine.begin() as connection:
        lock_publishing(connection, site.name)
        newest = newest_publication(connection, site.name)
        if newest is None:
            raise PendingVerdictsLost(f"no verdicts were computed for run {run_id}: clear the reconcile task")
        superseded_by = newest.run_id if newest.run_id != run_id else None
        written, versions = 0, 0
        if superseded_by is not None:
            log.warning("Run %s computed newer verdicts: nothing is published for this one", superseded_by)
        elif newest.published_at is None:
            written, versions = _publish(connection, site, newest)
        statuses = _statuses(connection, site.name)
    return Published(written, versions, statuses, superseded_by)


def _publish(connection: Connection, site: Site, pending: Publication) -> tuple[int, int]:
    """Check again under the lock, then publish; return the numbers of verdicts and versions.

    If a run has finished staging since the verdicts were computed, its rows have no verdict: then everything
    is matched and computed again, right here.
    """
    sums = conservation(connection, site.name)
    if sums.incomplete_run is not None:
        _match_and_compute(connection, site, pending.run_id)
        pending = newest_publication(connection, site.name) or pending
        sums = conservation(connection, site.name)
    require_conservation(sums)
    at = connection.execute(_PUBLICATION_TIME, {"site": site.name}).scalar_one()
    versions = 0
    if pending.changed:
        require_quality(connection, site.name, pending.changed)
        versions = _replace(connection, pending, at)
    mark_published(connection, pending.publication_id, at)
    return pending.changed, versions


def _replace(connection: Connection, pending: Publication, at: datetime) -> int:
    """End the versions that the pending ones replace; return how many versions begin or end."""
    values = {"publication_id": pending.publication_id, "at": at}
    replaced, ended = connection.execute(_REPLACE, values).one()
    return int(pending.changed - replaced + ended)


def _statuses(connection: Connection, site: str) -> dict[str, int]:
    counted = connection.execute(_COUNT_STATUSES, {"site": site})
    return {str(status): int(number) for status, number in counted}
