"""The window that a run reads from the source, and the watermark of nightly staging."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Final

from sqlalchemy import Connection, delete, func, select
from sqlalchemy.dialects.postgresql import insert

from springest.db.schema import approved_run, stage_watermark, staged_row, staging_run
from springest.errors import ConfigurationError, SiteNotBegun
from springest.source.values import EARLIEST
from springest.source.window import Window
from springest.staging.repository import lock_staging, now

BEGINNING: Final = "begin"
"""Run id that is recorded if ``bin/springest begin``, not a run, began the site."""
WINDOW_MARGIN: Final = timedelta(seconds=1)
"""Added on both sides of a moment, since databases round their clocks differently."""
MERGE_DISTANCE: Final = timedelta(minutes=1)
"""Moments up to this far apart share a window."""


class Mode(StrEnum):
    """How a run's window is determined."""

    WATERMARK = "watermark"
    """From the watermark, less a look-back, until now; so a missed night is caught up."""
    INTERVAL = "interval"
    """The interval of a backfill or of a person's parameters; the watermark stays."""


@dataclass(frozen=True, slots=True)
class PlannedWindow:
    """A run's window and how it was determined."""

    mode: Mode
    window: Window


@dataclass(frozen=True, slots=True)
class Progress:
    """Progress of the nightly runs of a site.

    :param began_from: start of the first nightly window; no nightly run reads earlier rows.
    :param watermark: all rows that changed before it have been staged.
    """

    began_from: datetime
    watermark: datetime


def load_progress(connection: Connection, site: str) -> Progress | None:
    """Return the progress of a site; ``None`` if it has not begun."""
    first_start = select(func.min(staging_run.c.window_start)).where(
        staging_run.c.site == site, staging_run.c.mode == Mode.WATERMARK.value
    )
    row = connection.execute(
        select(stage_watermark.c.watermark, first_start.scalar_subquery().label("began_from")).where(
            stage_watermark.c.site == site
        )
    ).first()
    return None if row is None else Progress(row.began_from or row.watermark, row.watermark)


def begin_site(connection: Connection, *, site: str, begin_from: datetime) -> None:
    """Begin a site: its next nightly run reads the rows that changed at or after this moment.

    :raises ConfigurationError: the site has begun already, or the moment is in the future.
    """
    lock_staging(connection, site)
    require_not_begun(connection, site)
    _require_past(begin_from, now(connection))
    # An empty nightly window, from whose end the next run continues.
    planned = PlannedWindow(Mode.WATERMARK, Window(begin_from, begin_from))
    close_window(connection, planned, site=site, run_id=BEGINNING, source_count=0)


def require_not_begun(connection: Connection, site: str) -> None:
    """Refuse to begin a site a second time.

    :raises ConfigurationError: the site has begun already.
    """
    if (progress := load_progress(connection, site)) is not None:
        raise _already_begun(site, progress)


def plan_window(
    connection: Connection,
    *,
    site: str,
    run_id: str,
    asked: Window | None,
    look_back: timedelta,
    begin_from: datetime | None = None,
    is_pilot: bool = False,
) -> PlannedWindow:
    """Return the window of a run.

    A run that staged before keeps its window, so that a repeated run counts the same rows; later changes
    belong to the next night. The volume check applies to the run again.

    :param asked: the interval of a backfill, or a person's window; ``None`` for a nightly run.
    :param look_back: how far before the watermark to read again, for rows that were committed late.
    :param begin_from: start of the first nightly window, for a site that has not begun.
    :param is_pilot: read the last ``look_back`` of a site that has not begun, without beginning it.
    :raises SiteNotBegun: the site has not begun, and no parameter gives a window or begins it.
    :raises ConfigurationError: the site has begun from another moment than ``begin_from``, or that is in the
        future.
    """
    connection.execute(
        delete(approved_run).where(approved_run.c.site == site, approved_run.c.run_id == run_id)
    )
    earlier = connection.execute(
        select(staging_run.c.mode, staging_run.c.window_start, staging_run.c.window_end).where(
            staging_run.c.site == site, staging_run.c.run_id == run_id
        )
    ).first()
    if earlier is not None and asked in (None, Window(earlier.window_start, earlier.window_end)):
        return PlannedWindow(Mode(earlier.mode), Window(earlier.window_start, earlier.window_end))
    if asked is not None:
        return PlannedWindow(Mode.INTERVAL, asked)
    end = now(connection)
    progress = load_progress(connection, site)
    if progress is None:
        return _first_window(site, end, look_back=look_back, begin_from=begin_from, is_pilot=is_pilot)
    if begin_from not in (None, progress.began_from):
        raise _already_begun(site, progress)
    return PlannedWindow(
        Mode.WATERMARK, Window(max(progress.watermark - look_back, progress.began_from), end)
    )


def _first_window(
    site: str, end: datetime, *, look_back: timedelta, begin_from: datetime | None, is_pilot: bool
) -> PlannedWindow:
    if begin_from is not None:
        _require_past(begin_from, end)
        return PlannedWindow(Mode.WATERMARK, Window(begin_from, end))
    if is_pilot:
        return PlannedWindow(Mode.INTERVAL, Window(end - look_back, end))
    raise SiteNotBegun(site)


def _require_past(begin_from: datetime, clock: datetime) -> None:
    if begin_from > clock:
        raise ConfigurationError(
            f"begin_from is {begin_from.isoformat()}, which is in the future: choose an earlier moment"
        )


def _already_begun(site: str, progress: Progress) -> ConfigurationError:
    return ConfigurationError(
        f"the site {site!r} has begun already, from {progress.began_from.isoformat()}: leave begin_from "
        "empty. To stage earlier trainings as well, trigger springest_deliver with window_start and "
        "window_end, or make a backfill"
    )


def close_window(
    connection: Connection, planned: PlannedWindow, *, site: str, run_id: str, source_count: int
) -> None:
    """Record that a run's window is staged, and move the watermark, which never moves back."""
    connection.execute(
        delete(staged_row).where(
            staged_row.c.site == site, staged_row.c.run_id == run_id, staged_row.c.row_no > source_count
        )
    )
    values = {
        "mode": planned.mode.value,
        "window_start": planned.window.start,
        "window_end": planned.window.end,
        "source_count": source_count,
    }
    connection.execute(
        insert(staging_run)
        .values(site=site, run_id=run_id, **values)
        .on_conflict_do_update(
            index_elements=["site", "run_id"], set_={**values, "committed_at": func.clock_timestamp()}
        )
    )
    if planned.mode is Mode.WATERMARK:
        _move_watermark(connection, site=site, run_id=run_id, to=planned.window.end)


def _move_watermark(connection: Connection, *, site: str, run_id: str, to: datetime) -> None:
    moved = insert(stage_watermark).values(site=site, watermark=to, run_id=run_id)
    connection.execute(
        moved.on_conflict_do_update(
            index_elements=["site"],
            set_={"watermark": to, "run_id": run_id, "updated_at": func.clock_timestamp()},
            where=stage_watermark.c.watermark < to,
        )
    )


def windows_around(moments: Iterable[datetime | None]) -> Iterator[Window]:
    """Yield windows around these moments, wide enough for any rounding; close moments share a window.

    Rows without a known moment are in every window, if the query returns them at all.
    """
    given = list(moments)
    known = sorted({moment for moment in given if moment is not None})
    if not known and given:
        known = [EARLIEST + WINDOW_MARGIN]
    while known:
        start = end = known.pop(0)
        while known and known[0] - end <= MERGE_DISTANCE:
            end = known.pop(0)
        yield Window(start - WINDOW_MARGIN, end + WINDOW_MARGIN)
