"""The overview: the last nights, cases for a person, the queue, and the time until verification."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, time
from typing import Any, Final

from fastapi import APIRouter, Request
from fastapi.responses import HTMLResponse
from sqlalchemy import Connection, RowMapping

from springest.errors import SpringestError
from springest.rate_limit.limiter import Pace
from springest.review.approvals import large_runs
from springest_provider import factories
from springest_provider.sites import load_sites
from springest_provider.ui import charts
from springest_provider.ui.filters import Filters, Page
from springest_provider.ui.listing import list_page
from springest_provider.ui.pages import render
from springest_provider.ui.queries import read_query
from springest_provider.ui.security import Reader
from springest_provider.ui.sites import Site, sites
from springest_provider.ui.warehouse import warehouse

DAYS: Final = 14
MOST_ROWS: Final = 20_000
"""Maximum number of rows that are counted for the plot while a user waits."""
SAMPLE: Final = 10_000
"""Number of certificates, the last ones sent, over which the delays are measured."""
OLDEST: Final = 8
_NIGHTS: Final = read_query("nights")
_RUNS: Final = read_query("runs")
_DELAYS: Final = read_query("delays")
_QUEUE: Final = read_query("queue")

router: Final = APIRouter()


@dataclass(frozen=True, slots=True)
class Queue:
    """
    The queue and the rate limit.

    :param cap: limit of requests per hour in the site's connection.
    :param posts: POSTs of the last hour.
    :param seconds_left: how long the queue takes at the site's steady pace.
    :param frozen_until: no request leaves before; ``None`` when they may.
    """

    ready: int
    oldest: datetime | None
    cap: int
    posts: int
    seconds_left: float
    frozen_until: datetime | None

    @property
    def share(self) -> float:
        """Return the share of the cap that the last hour's POSTs used, in per cent."""
        return min(100.0, 100 * self.posts / self.cap)


@router.get("/")
def overview(request: Request, visitor: Reader, site: str | None = None) -> HTMLResponse:
    """Show the overview."""
    with warehouse.reading() as connection:
        known = sites(connection, site)
        if known.current is None:
            return render(request, visitor, "empty.html", sites=known)
        values = {"site": known.current.site}
        nights = _nights(connection, known.current)
        person = list_page(
            connection,
            Filters(known.current.site, person=True, ascending=True),
            with_ledger=visitor.may_decide,
            rows=OLDEST,
        )
        context = {
            "nights": nights,
            "person": person,
            "delays": _delays(connection, values),
            **(_of_ledger(connection, known.current, nights) if visitor.may_decide else {}),
        }
    return render(request, visitor, "overview.html", sites=known, **_plots(nights, person), **context)


def _of_ledger(connection: Connection, site: Site, nights: Sequence[charts.Night]) -> dict[str, Any]:
    """Return the parts that only operators see."""
    return {
        "runs": _runs(connection, site, nights),
        "large": large_runs(warehouse.engine(), site=site.site),
        **_queue(connection, site),
    }


def _plots(nights: Sequence[charts.Night], person: Page) -> dict[str, Any]:
    used = [group for group in charts.GROUPS if any(night.of(group) for night in nights)]
    return {
        "bars": charts.bars(nights),
        "ticks": charts.ticks(nights),
        "height": charts.HEIGHT,
        "groups": used,
        "has_more": person.after is not None,
    }


def _nights(connection: Connection, site: Site) -> list[charts.Night]:
    rows = connection.execute(_NIGHTS, {"site": site.site, "days": DAYS, "most_rows": MOST_ROWS}).mappings()
    by_day: dict[Any, list[RowMapping]] = {}
    for row in rows:
        by_day.setdefault(row["day"], []).append(row)
    return [_night(found) for found in by_day.values()]


def _night(rows: Sequence[RowMapping]) -> charts.Night:
    first = rows[0]
    counted = {row["verdict"]: int(row["rows"]) for row in rows if row["rows"] is not None}
    sent = sum(int(row["sent"] or 0) for row in rows)
    rows_of_verdicts = counted if first["is_counted"] else None
    return charts.Night(first["day"], int(first["runs"]), int(first["completed"]), sent, rows_of_verdicts)


def _runs(connection: Connection, site: Site, nights: Sequence[charts.Night]) -> Mapping[Any, list[str]]:
    """Return the runs of each day that is shown."""
    runs: dict[Any, list[str]] = {}
    if nights:
        since = datetime.combine(nights[0].day, time(), UTC)
        for row in connection.execute(_RUNS, {"site": site.site, "since": since}):
            runs.setdefault(row.day, []).append(row.run_id)
    return runs


def _delays(connection: Connection, values: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Return the delays by certification; ``share`` and ``median_share`` are in per cent of the longest."""
    rows = connection.execute(_DELAYS, {**values, "sample": SAMPLE}).mappings().all()
    longest = max((row["most_seconds"] or 0 for row in rows), default=0) or 1
    return [
        {
            **row,
            "share": round(100 * (row["most_seconds"] or 0) / longest, 2),
            "median_share": round(100 * (row["median_seconds"] or 0) / longest, 2),
        }
        for row in rows
    ]


def _queue(connection: Connection, site: Site) -> dict[str, Any]:
    """Return the queue, or why its pace is unknown; the rest of the page is shown either way."""
    try:
        settings = factories.read_site(load_sites().find(site.site).connection)
    except SpringestError as error:
        return {"queue": None, "queue_trouble": str(error)}
    pace = Pace.under(settings.requests_per_hour)
    key = {"host": settings.host, "key_fingerprint": settings.key_fingerprint}
    row = connection.execute(_QUEUE, {"site": site.site, "cap": settings.requests_per_hour, **key}).one()
    frozen = row.frozen_until if row.frozen_until and row.frozen_until > row.now else None
    cap, seconds_left = settings.requests_per_hour, row.ready * pace.interval
    return {"queue": Queue(row.ready, row.oldest, cap, row.last_hour, seconds_left, frozen)}
