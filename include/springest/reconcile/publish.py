"""Work out what became of every delivery, and publish it for analysts, in one transaction.

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

from include.springest.errors import SpringestError
from include.springest.reconcile.matching import match
from include.springest.site import Site
from include.springest.warehouse.schema import publication, reconciled_delivery, snapshot
from include.springest.warehouse.statements import read_sql

log = logging.getLogger(__name__)

_PUBLISH: Final = text(read_sql(__file__, "publish"))
_LOST: Final = text(read_sql(__file__, "count_lost"))
TRIES: Final = 3


class ConservationBroken(SpringestError):
    """Source rows and verdicts do not add up; nothing was published, and the last good state stays."""


@dataclass(frozen=True, slots=True)
class PublishReport:
    """What was published.

    :param became_visible: deliveries that a snapshot proved to be there.
    :param became_absent: deliveries of which it was found out that Springest lacks them.
    :param written: verdicts that are new or changed.
    :param statuses: all of the site's deliveries by ``verification_status``.
    :param told: deliveries without proof of which something is told, by kind; see ``pairing.Kind``.
    """

    became_visible: int
    became_absent: int
    written: int
    statuses: Mapping[str, int]
    told: Mapping[str, int] = field(default_factory=dict)


def publish(engine: Engine, *, site: Site, run_id: str) -> PublishReport:
    """Work out and publish the site's verdicts.

    :raises ConservationBroken: some staged source row has no verdict.
    """
    with engine.begin() as connection:
        key = func.hashtextextended(f"springest.publish:{site.name}", 0)
        connection.execute(select(func.pg_advisory_xact_lock(key)))
        matched = match(connection, site)
        written = _publish(connection, site)
        _note_publication(connection, site.name, run_id)
        statuses = _statuses(connection, site.name)
    return PublishReport(matched.proven, matched.absent, written, statuses, matched.told)


def _publish(connection: Connection, site: Site) -> int:
    """Write the verdicts, and make sure that no source row is without one.

    A run that finishes staging in between is seen by the check and not by the verdicts: then both are done
    again.
    """
    verified = [word.lower() for word in site.verified_statuses]
    written, lost = 0, None
    for _ in range(TRIES):
        written += len(connection.execute(_PUBLISH, {"site": site.name, "verified_statuses": verified}).all())
        lost = connection.execute(_LOST, {"site": site.name}).first()
        if lost is None:
            return written
    run, rows, verdicts = lost or ("", 0, 0)
    raise ConservationBroken(
        f"run {run} counted {rows} completed trainings in the source and {verdicts} have a verdict: "
        "clear the run's stage task, then this one; nothing was published"
    )


def _note_publication(connection: Connection, site: str, run_id: str) -> None:
    last = (
        select(func.max(snapshot.c.snapshot_id))
        .where(snapshot.c.site == site, snapshot.c.finished_at.is_not(None))
        .scalar_subquery()
    )
    noted = insert(publication).values(
        site=site, run_id=run_id, snapshot_id=last, reconciled_at=func.clock_timestamp()
    )
    changed = {name: noted.excluded[name] for name in ("run_id", "snapshot_id", "reconciled_at")}
    connection.execute(noted.on_conflict_do_update(index_elements=["site"], set_=changed))


def _statuses(connection: Connection, site: str) -> dict[str, int]:
    counted = connection.execute(
        select(reconciled_delivery.c.verification_status, func.count())
        .where(reconciled_delivery.c.site == site)
        .group_by(reconciled_delivery.c.verification_status)
        .order_by(reconciled_delivery.c.verification_status)
    )
    return {str(status): int(number) for status, number in counted}
