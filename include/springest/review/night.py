"""Summary of a night: certificates sent, cases for a person, overdue steps."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final

from sqlalchemy import Engine, text

from springest.db.statements import load_sql
from springest.review.status import Status, look
from springest.review.waiting import Filter, Waiting, find
from springest.site import Site

_LAST_DAY: Final = text(load_sql("review/last_day"))
_UNVERIFIED: Final = text(load_sql("review/unverified"))

NIGHTLY: Final = timedelta(hours=26)
"""Nightly steps are overdue after this time, slightly more than a day."""
FULL_SNAPSHOT: Final = timedelta(days=8)
"""The whole list is read once a week at least."""
VERIFICATION: Final = timedelta(days=7)
"""Time after which somebody should ask Springest to verify the certification."""


@dataclass(frozen=True, slots=True)
class LastDay:
    """Counts of the last 24 hours.

    :param entered: certificates that were new in the queue.
    :param set_aside: new rows that can't be sent as they are.
    :param sent: POSTs that Springest may have stored or refused.
    :param became_visible: certificates that a snapshot showed for the first time.
    :param oldest_unknown: sending time of the oldest certificate with an unknown outcome; ``None``: none.
    """

    entered: int
    set_aside: int
    sent: int
    accepted: int
    refused: int
    unknown: int
    became_visible: int
    oldest_unknown: datetime | None


@dataclass(frozen=True, slots=True)
class Unverified:
    """A certification that has not been verified for long."""

    certification_id: int
    name: str | None
    certificates: int
    oldest_sent_at: datetime


@dataclass(frozen=True, slots=True)
class Night:
    """Status of a site after a night.

    :param waiting: deliveries that wait for a person, oldest first; ``status.for_a_person`` counts all.
    """

    status: Status
    last_day: LastDay
    waiting: tuple[Waiting, ...]
    unverified: tuple[Unverified, ...]

    @property
    def is_queue_growing(self) -> bool:
        """Whether certificates wait, and more were queued than sent."""
        return self.status.ready > 0 and self.last_day.entered > self.last_day.sent

    @property
    def overdue(self) -> tuple[str, ...]:
        """Overdue steps, each with the remedy."""
        return tuple(_overdue(self.status))

    @property
    def is_quiet(self) -> bool:
        """Whether there is nothing to report."""
        day = self.last_day
        return not (
            day.sent
            or day.set_aside
            or day.became_visible
            or self.status.ready
            or self.status.for_a_person
            or self.unverified
            or self.overdue
        )


def look_at_night(engine: Engine, site: Site, *, most: int = 10) -> Night:
    """Return the status of a site after a night.

    :param most: deliveries and certifications to name at most.
    """
    status = look(engine, site)
    with engine.connect() as connection:
        day = connection.execute(_LAST_DAY, {"site": site.name}).mappings().one()
        values = {"site": site.name, "patience": VERIFICATION, "most": most}
        unverified = connection.execute(_UNVERIFIED, values).mappings().all()
    return Night(
        status,
        LastDay(**day),
        tuple(find(engine, site=site.name, which=Filter(), limit=most)),
        tuple(Unverified(**row) for row in unverified),
    )


def _overdue(status: Status) -> Iterator[str]:
    if status.watermark is None:
        yield "the site has not begun: nothing is sent by schedule before a run with begin_from"
    elif status.now - status.watermark > NIGHTLY:
        yield (
            f"nothing was staged since {status.watermark:%Y-%m-%d %H:%M} UTC: check whether "
            "springest_deliver is paused or fails"
        )
    if _is_over(status, status.scanned_at, NIGHTLY):
        yield "the catalogue was not read last night: check whether springest_catalogue is paused or fails"
    if _is_over(status, status.complete_snapshot_finished_at, FULL_SNAPSHOT):
        yield (
            "no complete list of certificates was read for a week: see the log of snapshot in "
            "springest_reconcile"
        )
    if status.frozen_until is not None:
        yield f"Springest allows no request before {status.frozen_until:%H:%M} UTC"
    for run_id, certificates in status.too_large.items():
        yield (
            f"run {run_id} staged {certificates:,} certificates, more than {status.usual:,}, and waits for a "
            "person: trigger springest_deliver with expected_certificates, or cancel them"
        )


def _is_over(status: Status, moment: datetime | None, patience: timedelta) -> bool:
    return moment is None or status.now - moment > patience
