"""Work out what became of every delivery, and publish it for analysts.

In two steps, so that checks can look at the verdicts in between: ``reconcile`` matches, judges, and keeps
what is new or changed as candidates; ``publish_candidates`` makes them, and their history, what analysts
read, in one transaction.

Deliveries are matched with what Springest shows first (``matching.py``). A verdict is written only when it
differs from the last one, so a quiet night rewrites nothing.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final

from sqlalchemy import Connection, Engine, func, select, text
from sqlalchemy.dialects.postgresql import insert

from springest.db.schema import SAID, VERSIONED, publication, reconciled_delivery
from springest.db.statements import listed, load_sql
from springest.errors import PendingVerdictsLost
from springest.matching.matching import MatchReport, match
from springest.site import Site
from springest.verdicts.pending import (
    CandidateSet,
    conservation,
    judge,
    load_set,
    lock_publishing,
    newest_snapshot,
    note_published,
    require_conservation,
    require_quality,
    require_whole,
)

log = logging.getLogger(__name__)

_WRITE_VERDICTS: Final = text(
    load_sql(
        "verdicts/write_verdicts",
        said=listed(SAID),
        candidate_said=listed(SAID, of="candidate"),
        versioned=listed(VERSIONED),
        candidate_versioned=listed(VERSIONED, of="candidate"),
        published_versioned=listed(VERSIONED, of="published"),
    )
)
_MOMENT: Final = text(load_sql("verdicts/moment"))


@dataclass(frozen=True, slots=True)
class ReconcileReport:
    """What was worked out.

    :param became_visible: deliveries that a snapshot proved to be there.
    :param became_absent: deliveries of which it was found out that Springest lacks them.
    :param changed: verdicts that are new or changed and wait to be published.
    :param told: deliveries without proof of which something is told, by kind; see ``pairing.Kind``.
    """

    became_visible: int
    became_absent: int
    changed: int
    told: Mapping[str, int] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Published:
    """What was published.

    :param written: verdicts that are new or changed.
    :param versions: versions that were added to the history.
    :param statuses: all of the site's deliveries by ``verification_status``.
    :param superseded_by: run that worked out newer verdicts; then nothing was published for this one.
    """

    written: int
    versions: int
    statuses: Mapping[str, int]
    superseded_by: str | None = None


@dataclass(frozen=True, slots=True)
class PublishReport:
    """What both steps did; see ``ReconcileReport`` and ``Published``."""

    became_visible: int
    became_absent: int
    written: int
    versions: int
    statuses: Mapping[str, int]
    told: Mapping[str, int] = field(default_factory=dict)


def publish(engine: Engine, *, site: Site, run_id: str) -> PublishReport:
    """Work out and publish the site's verdicts, one step right after the other.

    :raises ConservationBroken: some staged source row has no verdict.
    :raises QualityCheckFailed: some verdict can't be right.
    """
    worked_out = reconcile(engine, site=site, run_id=run_id)
    published = publish_candidates(engine, site=site, run_id=run_id)
    return PublishReport(
        worked_out.became_visible,
        worked_out.became_absent,
        published.written,
        published.versions,
        published.statuses,
        worked_out.told,
    )


def reconcile(engine: Engine, *, site: Site, run_id: str) -> ReconcileReport:
    """Match the site's deliveries with what Springest shows, and work out their verdicts."""
    with engine.begin() as connection:
        lock_publishing(connection, site.name)
        matched, changed = _work_out(connection, site, run_id)
    return ReconcileReport(matched.proven, matched.absent, changed, matched.told)


def _work_out(connection: Connection, site: Site, run_id: str) -> tuple[MatchReport, int]:
    snapshot_id = newest_snapshot(connection, site.name)
    matched = match(connection, site)
    return matched, judge(connection, site, run_id=run_id, snapshot_id=snapshot_id)


def publish_candidates(engine: Engine, *, site: Site, run_id: str) -> Published:
    """Make the verdicts that the run worked out what analysts read, and add their versions to the history.

    Doing it again publishes nothing more. A run whose verdicts were superseded publishes nothing: the newer
    ones say all that they said.

    :raises PendingVerdictsLost: the run's verdicts are gone.
    :raises ConservationBroken: some staged source row has no verdict.
    :raises QualityCheckFailed: some verdict can't be right.
    """
    with engine.begin() as connection:
        lock_publishing(connection, site.name)
        known = load_set(connection, site.name)
        if known is None:
            raise PendingVerdictsLost(
                f"no verdicts were worked out for run {run_id}: clear the reconcile task"
            )
        newer = _newer_run(known, run_id)
        if newer is not None:
            log.warning("Run %s worked out newer verdicts: nothing is published for this one", newer)
        written, versions = 0, 0
        if newer is None and known.published_at is None:
            written, versions = _publish(connection, site, known)
        statuses = _statuses(connection, site.name)
    return Published(written, versions, statuses, superseded_by=newer)


def _newer_run(known: CandidateSet, run_id: str) -> str | None:
    """Return the run whose verdicts stand instead of the run's own, if any."""
    if known.run_id != run_id:
        return known.run_id
    return known.last_run_id if known.published_at is None and known.outdated else None


def _publish(connection: Connection, site: Site, known: CandidateSet) -> tuple[int, int]:
    """Check once more what nobody can change from here on, then write verdicts and versions.

    A run that finished staging since the verdicts were worked out has rows without one: then they are matched
    and worked out again, right here.
    """
    require_whole(connection, site.name, known.changed)
    sums = conservation(connection, site.name)
    if sums.incomplete_run is not None:
        _work_out(connection, site, known.run_id)
        known, sums = load_set(connection, site.name) or known, conservation(connection, site.name)
    require_conservation(sums)
    if known.changed:
        require_quality(connection, site.name)
    here = {"site": site.name, "at": connection.execute(_MOMENT, {"site": site.name}).scalar_one()}
    versions = 0
    if known.changed:
        versions = connection.execute(_WRITE_VERDICTS, here).scalar_one()
    note_published(connection, site.name, here["at"])
    noted = {"run_id": known.run_id, "snapshot_id": known.snapshot_id, "reconciled_at": here["at"]}
    upsert = insert(publication).values(site=site.name, **noted)
    connection.execute(upsert.on_conflict_do_update(index_elements=["site"], set_=noted))
    return known.changed, versions


def _statuses(connection: Connection, site: str) -> dict[str, int]:
    counted = connection.execute(
        select(reconciled_delivery.c.verification_status, func.count())
        .where(reconciled_delivery.c.site == site)
        .group_by(reconciled_delivery.c.verification_status)
        .order_by(reconciled_delivery.c.verification_status)
    )
    return {str(status): int(number) for status, number in counted}
