"""The status of a site: queue, deliveries that wait for a person, freshness of the data."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Final

from sqlalchemy import Engine, text

from springest.db.statements import load_sql
from springest.delivery.repository import RECENT_RUNS
from springest.delivery.volume import max_run_size
from springest.rate_limit.limiter import SECONDS_PER_HOUR, Pace
from springest.site import Site

_STATUS: Final = text(load_sql("review/status"))
_STATES: Final = text(load_sql("review/status_states"))
_RUNS: Final = text(load_sql("review/status_runs"))
_UNRELEASED: Final = text(load_sql("review/status_unreleased"))
_RECENT_RUN_SIZES: Final = text(load_sql("delivery/recent_run_sizes"))


@dataclass(frozen=True, slots=True)
class Run:
    """A run that staged or sent, with the outcomes of its attempts."""

    run_id: str
    staged_rows: int | None
    staged_at: datetime | None
    last_sent_at: datetime | None
    attempts: int
    accepted: int
    refused: int
    not_stored: int
    unknown: int
    under_way: int


@dataclass(frozen=True, slots=True)
class Status:
    """The status of a site.

    :param ready: certificates in the queue.
    :param hours_left: time to send them at the site's steady pace.
    :param for_a_person: deliveries that wait for a person.
    :param too_large: certificates of each run that staged more than ``usual`` and waits for a person.
    :param frozen_until: end of the freeze; ``None`` if the rate limit is open.
    :param requests_per_hour: the steady pace.
    :param watermark: source rows that changed before this time have been staged.
    :param restored_at: when this ledger was last repaired after a restore.
    """

    site: str
    host: str
    now: datetime
    ready: int
    hours_left: float
    oldest_ready: datetime | None
    states: Mapping[str, int]
    for_a_person: int
    usual: int
    too_large: Mapping[str, int]
    frozen_until: datetime | None
    requests_per_hour: float
    granted: int
    watermark: datetime | None
    runs: tuple[Run, ...]
    snapshot_id: int | None
    snapshot_finished_at: datetime | None
    snapshot_complete: bool | None
    snapshot_certificates: int | None
    complete_snapshot_finished_at: datetime | None
    reconciled_at: datetime | None
    scanned_at: datetime | None
    listed: int | None
    catalogue_complete: bool | None
    restored_at: datetime | None


def look(engine: Engine, site: Site) -> Status:
    """Return the status of a site."""
    pace = Pace.under(site.requests_per_hour)
    row = {"host": site.host, "key_fingerprint": site.key_fingerprint}
    with engine.connect() as connection:
        values = dict(connection.execute(_STATUS, {"site": site.name, **row}).mappings().one())
        states = connection.execute(_STATES, {"site": site.name}).all()
        runs = connection.execute(_RUNS, {"site": site.name}).mappings().all()
        waiting = connection.execute(_UNRELEASED, {"site": site.name}).all()
        nights = connection.execute(_RECENT_RUN_SIZES, {"site": site.name, "run_id": "", "last": RECENT_RUNS})
        usual = max_run_size(nights.scalars().all())
    frozen = values.pop("frozen_until")
    return Status(
        site=site.name,
        host=site.host,
        hours_left=values["ready"] * pace.interval / SECONDS_PER_HOUR,
        states={str(state): int(number) for state, number, _ in states},
        for_a_person=int(states[0].for_a_person) if states else 0,
        usual=usual,
        too_large={run: number for run, number in waiting if number > usual},
        frozen_until=frozen if frozen and frozen > values["now"] else None,
        requests_per_hour=SECONDS_PER_HOUR / pace.interval,
        granted=values.pop("granted") or 0,
        runs=tuple(Run(**run) for run in runs),
        **values,
    )
