"""Work out what became of every delivery, and publish it for analysts, in one transaction.

Deliveries are matched with what Springest shows by proof: the id that its answer told, or the owner where the
site tells it. Absence counts only where it means something: in two complete snapshots a day apart, of a
certification that is listed. A verdict is written only when it differs from the last one, so a quiet night
rewrites nothing.
"""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from sqlalchemy import Connection, Engine, func, select, text
from sqlalchemy.dialects.postgresql import insert

from include.springest.errors import SpringestError
from include.springest.ledger.decisions import hold_released
from include.springest.ledger.states import Event, sources_of
from include.springest.site import Site
from include.springest.warehouse.schema import publication, reconciled_delivery, snapshot
from include.springest.warehouse.statements import read_sql

log = logging.getLogger(__name__)

_MARK_VISIBLE: Final = text(read_sql(__file__, "mark_visible"))
_MATCH_OWNERS: Final = text(read_sql(__file__, "match_owners"))
_SETTLE_ABSENT: Final = text(read_sql(__file__, "settle_absent"))
_REVIEW_OLD_DOUBTS: Final = text(read_sql(__file__, "review_old_doubts"))
_PUBLISH: Final = text(read_sql(__file__, "publish"))
_LOST: Final = text(read_sql(__file__, "count_lost"))
TRIES: Final = 3
SNAPSHOTS_APART_HOURS: Final = 24
"""How far apart two complete snapshots must be for what both lack to be gone."""
STORED_BY_HOURS: Final = 1
"""How long after its POST a certificate may still be stored; only later snapshots can lack it."""
CLOCK_HOURS: Final = 26
"""How much earlier than the POST ``created_at`` may be: a zone mistaken, and clocks that differ."""
UNKNOWN_FOR_LONG_DAYS: Final = 14


class ConservationBroken(SpringestError):
    """Source rows and verdicts do not add up; nothing was published, and the last good state stays."""


@dataclass(frozen=True, slots=True)
class PublishReport:
    """What was published.

    :param became_visible: deliveries that a snapshot proved to be there.
    :param became_absent: deliveries of which it was found out that Springest lacks them.
    :param written: verdicts that are new or changed.
    :param statuses: all of the site's deliveries by ``verification_status``.
    """

    became_visible: int
    became_absent: int
    written: int
    statuses: Mapping[str, int]


def publish(engine: Engine, *, site: Site, run_id: str) -> PublishReport:
    """Work out and publish the site's verdicts.

    :raises ConservationBroken: some staged source row has no verdict.
    """
    with engine.begin() as connection:
        key = func.hashtextextended(f"springest.publish:{site.name}", 0)
        connection.execute(select(func.pg_advisory_xact_lock(key)))
        proven = _prove(connection, site.name)
        absent = _settle_absent(connection, site.name)
        written = _publish(connection, site)
        _note_publication(connection, site.name, run_id)
        statuses = _statuses(connection, site.name)
    return PublishReport(proven, absent, written, statuses)


def _prove(connection: Connection, site: str) -> int:
    """Mark what Springest shows, and return how many there were."""
    by_id = connection.execute(
        _MARK_VISIBLE, {"site": site, "states": [state.value for state in sources_of(Event.SEEN)]}
    )
    by_owner = connection.execute(_MATCH_OWNERS, {"site": site, "clock_hours": CLOCK_HOURS})
    return by_id.rowcount + by_owner.rowcount


def _settle_absent(connection: Connection, site: str) -> int:
    """Hand to a person what Springest lacks and what was in doubt for too long; return how many it lacks."""
    lacked = connection.execute(
        _SETTLE_ABSENT,
        {"site": site, "apart_hours": SNAPSHOTS_APART_HOURS, "stored_by_hours": STORED_BY_HOURS},
    ).all()
    hold_released(connection, site)
    connection.execute(_REVIEW_OLD_DOUBTS, {"site": site, "days": UNKNOWN_FOR_LONG_DAYS})
    for reason, number in sorted(Counter(reason for _, reason in lacked).items()):
        log.warning("%d certificates are %s at Springest: see certificate_reconciliation", number, reason)
    return len(lacked)


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
