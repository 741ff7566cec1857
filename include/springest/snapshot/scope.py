"""Choose the part of the list that a snapshot reads: all of it, or only the part that can be new.

A long list takes many GETs. If the site supports filters, most nights need only certificates created since
the last snapshot, and those of certifications that may have been verified since. Such a partial snapshot
confirms and never denies. So the whole list is read every week, and whenever a delivery needs evidence that
only complete snapshots have.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date, datetime, timedelta
from typing import Any, Final

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncEngine

from springest.db.statements import load_sql
from springest.snapshot.clock_skew import LATER_BY_HOURS, STORED_BY_HOURS
from springest.snapshot.filters import Filter, Filters

_FACTS: Final = text(load_sql("snapshot/scope_facts", shown_posts=load_sql("snapshot/shown_posts")))
WHOLE_EVERY: Final = timedelta(days=7)
SHORT_LIST: Final = 2_000
"""Rows up to which the whole list is read every time, which takes about twenty GETs."""
MOST_CERTIFICATIONS: Final = 20
CREATED_BEFORE: Final = timedelta(days=2)
"""Overlap with the last snapshot, since clocks differ and the time zone of a day is not known."""


@dataclass(frozen=True, slots=True)
class Scope:
    """The part of the list that a snapshot reads.

    :param why: the reason, for people.
    :param created_from: read only certificates created since; ``None``: all of them.
    :param certification_ids: certifications whose certificates are read in full as well.
    """

    why: str = "requested"
    created_from: date | None = None
    certification_ids: tuple[int, ...] = ()

    @property
    def is_full(self) -> bool:
        """Whether the whole list is read."""
        return self.created_from is None

    @property
    def reads(self) -> list[dict[str, Any]]:
        """The filters of each list to read."""
        if self.is_full:
            return [{}]
        by_certification = [{"certification_id": number} for number in self.certification_ids]
        return [{"created_from": self.created_from}, *by_certification]

    @property
    def detail(self) -> str:
        """The text that is stored with the snapshot."""
        read = "; ".join(f"{name} {value}" for span in self.reads for name, value in span.items())
        return f"{read} ({self.why})" if read else self.why


@dataclass(frozen=True, slots=True)
class Facts:
    """Facts that determine the scope.

    :param complete_at: start of the last complete snapshot; ``any_at``: of the last finished one.
    :param total: rows of the list at that time.
    :param awaits_missing: a certificate should be shown and is not; ``awaits_vanished``: one was shown and is
        not any more.
    :param may_be_verified: listed certifications that may have been verified since the last snapshot and for
        which deliveries wait.
    """

    complete_at: datetime | None
    any_at: datetime | None
    now: datetime
    total: int | None
    awaits_missing: bool
    awaits_vanished: bool
    may_be_verified: tuple[int, ...]


def why_whole(facts: Facts) -> str | None:
    """Return why the whole list must be read; ``None`` if a part suffices."""
    if facts.complete_at is None or facts.any_at is None:
        return "there is no complete snapshot yet"
    if facts.now - facts.complete_at >= WHOLE_EVERY:
        return f"the last complete snapshot is {WHOLE_EVERY.days} days old"
    if (facts.total or 0) <= SHORT_LIST:
        return "the list is short"
    if facts.awaits_missing:
        return "a certificate that should be shown is not, which only complete snapshots prove"
    if facts.awaits_vanished:
        return "a certificate that was shown is not, which only complete snapshots prove"
    if len(facts.may_be_verified) > MOST_CERTIFICATIONS:
        return "many certifications may have been verified"
    return None


async def plan(engine: AsyncEngine, filters: Filters) -> Scope:
    """Return the scope of a site's next snapshot.

    :raises ApiError: testing a filter failed.
    """
    async with engine.connect() as connection:
        values = {
            "site": filters.site.name,
            "stored_by_hours": STORED_BY_HOURS,
            "later_by_hours": LATER_BY_HOURS,
            "lists_verified_only": filters.site.catalogue_lists_verified_only,
        }
        row = (await connection.execute(_FACTS, values)).one()
    complete_at, any_at, now, total, awaits_missing, awaits_vanished, may_be_verified = row
    facts = Facts(complete_at, any_at, now, total, awaits_missing, awaits_vanished, tuple(may_be_verified))
    why = why_whole(facts)
    if why is None and not await filters.is_honoured(Filter.CREATED_FROM):
        why = "the site does not support created_from"
    if why is None and facts.may_be_verified and not await filters.is_honoured(Filter.CERTIFICATION_ID):
        why = "certifications may have been verified, and the site does not support certification_id"
    if why is not None or facts.any_at is None:
        return Scope(why or "")
    since = (facts.any_at - CREATED_BEFORE).date()
    return Scope("new since the last snapshot", since, facts.may_be_verified)
