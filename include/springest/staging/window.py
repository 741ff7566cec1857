"""Which part of the source a run reads, and up to where nightly staging has come."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum

from sqlalchemy import Connection, delete, func, select
from sqlalchemy.dialects.postgresql import insert

from include.springest.ledger.staging import now
from include.springest.source.reader import Window
from include.springest.warehouse.schema import released_run, run_training, stage_watermark, staging_run


class Mode(StrEnum):
    """How a run's window comes about."""

    WATERMARK = "watermark"
    """From where the last night came, less a look-back, up to now: a missed night is caught up."""
    INTERVAL = "interval"
    """Exactly what was asked for, by a backfill or a person; the watermark stays."""


@dataclass(frozen=True, slots=True)
class PlannedWindow:
    """A run's window and how it came about."""

    mode: Mode
    window: Window


def plan_window(
    connection: Connection, *, site: str, run_id: str, asked: Window | None, look_back: timedelta
) -> PlannedWindow:
    """Return the window of a run.

    A run that staged before keeps its window, so that running it again counts the same rows; what changed
    since then belongs to the next night. Whether what it stages is a night's work is asked anew.

    :param asked: the interval of a backfill; ``None`` for a nightly run.
    :param look_back: how far before the watermark to read again, for rows that were committed late.
    """
    connection.execute(
        delete(released_run).where(released_run.c.site == site, released_run.c.run_id == run_id)
    )
    before = connection.execute(
        select(staging_run.c.mode, staging_run.c.window_start, staging_run.c.window_end).where(
            staging_run.c.site == site, staging_run.c.run_id == run_id
        )
    ).first()
    if before is not None and asked in (None, Window(before.window_start, before.window_end)):
        return PlannedWindow(Mode(before.mode), Window(before.window_start, before.window_end))
    if asked is not None:
        return PlannedWindow(Mode.INTERVAL, asked)
    end = now(connection)
    watermark = connection.execute(
        select(stage_watermark.c.watermark).where(stage_watermark.c.site == site)
    ).scalar_one_or_none()
    return PlannedWindow(Mode.WATERMARK, Window((watermark or end) - look_back, end))


def close_window(
    connection: Connection, planned: PlannedWindow, *, site: str, run_id: str, source_count: int
) -> None:
    """Write down that a run's window is staged, and move the watermark, which only goes forward."""
    connection.execute(
        delete(run_training).where(
            run_training.c.site == site, run_training.c.run_id == run_id, run_training.c.row_no > source_count
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
