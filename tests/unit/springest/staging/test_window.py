"""Which rows a run reads: a missed night is caught up, a repeated one reads the same rows."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
from sqlalchemy import Engine, insert, text

from include.springest.errors import ConfigurationError
from include.springest.identity import Pseudonyms
from include.springest.source.reader import Window
from include.springest.staging.learner_secret import keep_to_secret
from include.springest.staging.window import Mode, PlannedWindow, close_window, plan_window
from include.springest.warehouse.schema import delivery, run_training

DAY = timedelta(days=1)
BACKFILL = Window(datetime(2026, 1, 1, tzinfo=UTC), datetime(2026, 2, 1, tzinfo=UTC))


def plan(
    warehouse: Engine, run_id: str, asked: Window | None = None, *, site: str = "default"
) -> PlannedWindow:
    with warehouse.begin() as connection:
        return plan_window(connection, site=site, run_id=run_id, asked=asked, look_back=DAY)


def close(warehouse: Engine, run_id: str, planned: PlannedWindow, *, rows: int = 0) -> None:
    with warehouse.begin() as connection:
        close_window(connection, planned, site="default", run_id=run_id, source_count=rows)


def watermark(warehouse: Engine) -> datetime | None:
    with warehouse.connect() as connection:
        return connection.execute(
            text("SELECT watermark FROM springest.stage_watermark")
        ).scalar_one_or_none()


def test_the_first_night_reads_back_as_far_as_the_look_back(warehouse: Engine) -> None:
    planned = plan(warehouse, "first")
    assert planned.mode is Mode.WATERMARK
    assert planned.window.end - planned.window.start == DAY
    assert abs(planned.window.end - datetime.now(UTC)) < timedelta(seconds=30)


def test_the_next_night_reads_on_from_the_last_one_less_the_look_back(warehouse: Engine) -> None:
    """However many nights were missed in between."""
    first = plan(warehouse, "first")
    close(warehouse, "first", first)
    second = plan(warehouse, "second")
    assert second.window.start == first.window.end - DAY
    assert second.window.end > first.window.end


def test_a_night_that_died_before_its_end_moves_nothing(warehouse: Engine) -> None:
    plan(warehouse, "first")
    assert watermark(warehouse) is None


def test_a_run_that_is_repeated_reads_the_same_window(warehouse: Engine) -> None:
    """So that its rows count the same; what changed since belongs to the next night."""
    planned = plan(warehouse, "first")
    close(warehouse, "first", planned)
    assert plan(warehouse, "first") == planned
    close(warehouse, "first", planned)
    assert watermark(warehouse) == planned.window.end


def test_repeating_an_old_night_does_not_move_the_watermark_back(warehouse: Engine) -> None:
    first = plan(warehouse, "first")
    close(warehouse, "first", first)
    second = plan(warehouse, "second")
    close(warehouse, "second", second)
    close(warehouse, "first", first)
    assert watermark(warehouse) == second.window.end


def test_a_backfill_reads_what_was_asked_and_leaves_the_watermark(warehouse: Engine) -> None:
    planned = plan(warehouse, "backfill", BACKFILL)
    assert planned == PlannedWindow(Mode.INTERVAL, BACKFILL)
    close(warehouse, "backfill", planned)
    assert watermark(warehouse) is None
    assert plan(warehouse, "backfill", BACKFILL) == planned
    assert plan(warehouse, "backfill") == planned


def test_a_run_that_is_asked_for_something_else_reads_that(warehouse: Engine) -> None:
    close(warehouse, "run", plan(warehouse, "run", BACKFILL))
    other = Window(BACKFILL.start, BACKFILL.end + DAY)
    assert plan(warehouse, "run", other) == PlannedWindow(Mode.INTERVAL, other)


def test_sites_have_watermarks_of_their_own(warehouse: Engine) -> None:
    first = plan(warehouse, "first")
    close(warehouse, "first", first)
    elsewhere = plan(warehouse, "first", site="other")
    assert elsewhere.window.end - elsewhere.window.start == DAY


def test_rows_that_a_repeated_run_no_longer_has_are_not_counted_for_it(warehouse: Engine) -> None:
    key = "1" * 64
    row = {
        "delivery_key": key,
        "site": "default",
        "training_id": "T1",
        "issue_no": 1,
        "state": "ready",
        "row_version": "0" * 64,
        "staged_run_id": "run",
    }
    seen = [
        {"site": "default", "run_id": run, "row_no": number, "delivery_key": key}
        for run in ("run", "other")
        for number in (1, 2, 3)
    ]
    with warehouse.begin() as connection:
        connection.execute(insert(delivery).values(row))
        connection.execute(insert(run_training), seen)
    close(warehouse, "run", plan(warehouse, "run", BACKFILL), rows=1)
    with warehouse.connect() as connection:
        counted = connection.execute(
            text("SELECT run_id, count(*) FROM springest.run_training GROUP BY run_id ORDER BY run_id")
        ).all()
    assert [tuple(one) for one in counted] == [("other", 3), ("run", 1)]


def test_a_second_learner_secret_is_refused_and_the_first_one_stays(warehouse: Engine) -> None:
    """With another one, every learner would look like somebody new."""
    mine, other = Pseudonyms("the first secret, long enough"), Pseudonyms("another secret, long enough")
    for _ in range(2):
        with warehouse.begin() as connection:
            keep_to_secret(connection, mine)
    with pytest.raises(ConfigurationError, match=mine.fingerprint) as caught, warehouse.begin() as connection:
        keep_to_secret(connection, other)
    assert "secret, long enough" not in str(caught.value)
    with warehouse.begin() as connection:
        keep_to_secret(connection, mine)
