"""Which rows a run reads: a missed night is caught up, a repeated one reads the same rows."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from secrets import token_bytes
from typing import Any

import pytest
from sqlalchemy import Engine, text

from springest.db.schema import staged_row
from springest.errors import ConfigurationError, SiteNotBegun
from springest.identity import Pseudonyms
from springest.privacy.secret import keep_to_secret
from springest.source.window import Window
from springest.staging.window import Mode, PlannedWindow, begin_site, close_window, plan_window
from tests.factories import add_delivery, add_rows, id_of

DAY = timedelta(days=1)
BACKFILL = Window(datetime(2026, 1, 1, tzinfo=UTC), datetime(2026, 2, 1, tzinfo=UTC))


def plan(
    warehouse: Engine, run_id: str, asked: Window | None = None, *, site: str = "default", **first: Any
) -> PlannedWindow:
    with warehouse.begin() as connection:
        return plan_window(connection, site=site, run_id=run_id, asked=asked, look_back=DAY, **first)


def begin(warehouse: Engine, *, ago: timedelta = timedelta(days=3), site: str = "default") -> datetime:
    """Begin a site some time ago; returns from when its nights read."""
    moment = datetime.now(UTC) - ago
    with warehouse.begin() as connection:
        begin_site(connection, site=site, begin_from=moment)
    return moment


def close(warehouse: Engine, run_id: str, planned: PlannedWindow, *, rows: int = 0) -> None:
    with warehouse.begin() as connection:
        close_window(connection, planned, site="default", run_id=run_id, source_count=rows)


def watermark(warehouse: Engine) -> datetime | None:
    with warehouse.connect() as connection:
        return connection.execute(
            text("SELECT watermark FROM springest.stage_watermark")
        ).scalar_one_or_none()


def test_a_site_that_has_not_begun_stages_nothing_by_schedule(warehouse: Engine) -> None:
    """Unpausing a DAG makes a scheduled run, and nobody has said yet what may be sent."""
    with pytest.raises(SiteNotBegun, match="begin_from") as refused:
        plan(warehouse, "scheduled")
    assert "limit" in str(refused.value)
    assert watermark(warehouse) is None


def test_a_pilot_reads_its_window_and_begins_nothing(warehouse: Engine) -> None:
    """A pilot reads its own window, or the last day, and does not begin the site."""
    close(warehouse, "window", plan(warehouse, "window", BACKFILL))
    limited = plan(warehouse, "limited", is_pilot=True)
    assert limited.mode is Mode.INTERVAL
    assert limited.window.end - limited.window.start == DAY
    close(warehouse, "limited", limited)
    assert plan(warehouse, "limited", is_pilot=True) == limited
    with pytest.raises(SiteNotBegun):
        plan(warehouse, "scheduled")


def test_the_run_that_begins_a_site_reads_from_its_start(warehouse: Engine) -> None:
    """The run that begins a site reads from the moment that it was given."""
    moment = datetime.now(UTC) - timedelta(days=9)
    first = plan(warehouse, "first", begin_from=moment)
    assert (first.mode, first.window.start) == (Mode.WATERMARK, moment)
    with pytest.raises(SiteNotBegun):  # it died before it had staged everything
        plan(warehouse, "scheduled")
    close(warehouse, "first", first)
    assert plan(warehouse, "first", begin_from=moment) == first
    assert plan(warehouse, "scheduled").window.start == first.window.end - DAY


def test_no_night_reads_from_before_the_site_began(warehouse: Engine) -> None:
    """The look-back would send what was completed before the moment that a person gave."""
    moment = begin(warehouse, ago=timedelta(hours=2))
    for run_id in ("first", "second"):
        planned = plan(warehouse, run_id)
        assert planned.window.start == moment
        close(warehouse, run_id, planned)


def test_a_site_begins_once_but_not_in_the_future(warehouse: Engine) -> None:
    """A site cannot begin twice, nor in the future."""
    with pytest.raises(ConfigurationError, match="is in the future"):
        begin(warehouse, ago=-DAY)
    with pytest.raises(ConfigurationError, match="is in the future"):
        plan(warehouse, "first", begin_from=datetime.now(UTC) + DAY)
    moment = begin(warehouse)
    for again in (lambda: begin(warehouse), lambda: plan(warehouse, "late", begin_from=moment - DAY)):
        with pytest.raises(ConfigurationError, match="has begun already, from"):
            again()
    assert plan(warehouse, "same", begin_from=moment).window.start == moment


def test_a_night_starts_at_the_watermark_less_the_look_back(warehouse: Engine) -> None:
    """This holds however many nights were missed in between."""
    begin(warehouse)
    first = plan(warehouse, "first")
    close(warehouse, "first", first)
    second = plan(warehouse, "second")
    assert second.window.start == first.window.end - DAY
    assert second.window.end > first.window.end


def test_a_night_that_died_moves_no_watermark(warehouse: Engine) -> None:
    """A run that died before its window was closed does not move the watermark."""
    moment = begin(warehouse)
    plan(warehouse, "first")
    assert watermark(warehouse) == moment


def test_a_run_that_is_repeated_reads_the_same_window(warehouse: Engine) -> None:
    """So that its rows count the same; what changed since belongs to the next night."""
    begin(warehouse)
    planned = plan(warehouse, "first")
    close(warehouse, "first", planned)
    assert plan(warehouse, "first") == planned
    close(warehouse, "first", planned)
    assert watermark(warehouse) == planned.window.end


def test_repeating_an_old_night_does_not_move_the_watermark_back(warehouse: Engine) -> None:
    """A repeated night leaves a later watermark as it is."""
    begin(warehouse)
    first = plan(warehouse, "first")
    close(warehouse, "first", first)
    second = plan(warehouse, "second")
    close(warehouse, "second", second)
    close(warehouse, "first", first)
    assert watermark(warehouse) == second.window.end


def test_a_backfill_reads_its_interval_and_no_watermark_moves(warehouse: Engine) -> None:
    """A backfill reads its interval and leaves the watermark as it is."""
    planned = plan(warehouse, "backfill", BACKFILL)
    assert planned == PlannedWindow(Mode.INTERVAL, BACKFILL)
    close(warehouse, "backfill", planned)
    assert watermark(warehouse) is None
    assert plan(warehouse, "backfill", BACKFILL) == planned
    assert plan(warehouse, "backfill") == planned


def test_a_run_reads_the_window_of_its_parameters(warehouse: Engine) -> None:
    """A window in the parameters replaces the planned one."""
    close(warehouse, "run", plan(warehouse, "run", BACKFILL))
    wider = Window(BACKFILL.start, BACKFILL.end + DAY)
    assert plan(warehouse, "run", wider) == PlannedWindow(Mode.INTERVAL, wider)


def test_each_site_has_its_own_watermark(warehouse: Engine) -> None:
    """The watermark of one site does not concern another."""
    begin(warehouse)
    first = plan(warehouse, "first")
    close(warehouse, "first", first)
    with pytest.raises(SiteNotBegun, match="'other'"):
        plan(warehouse, "first", site="other")
    moment = begin(warehouse, site="other")
    assert plan(warehouse, "first", site="other").window.start == moment


def test_a_repeated_run_drops_rows_it_no_longer_has(warehouse: Engine) -> None:
    """Rows that a repeated run no longer reads are not counted for it."""
    delivery_id = id_of(warehouse, add_delivery(warehouse))
    seen = [
        {"site": "default", "run_id": run, "row_no": number, "delivery_id": delivery_id}
        for run in ("run", "other")
        for number in (1, 2, 3)
    ]
    add_rows(warehouse, staged_row, *seen)
    close(warehouse, "run", plan(warehouse, "run", BACKFILL), rows=1)
    with warehouse.connect() as connection:
        counted = connection.execute(
            text("SELECT run_id, count(*) FROM springest.staged_row GROUP BY run_id ORDER BY run_id")
        ).all()
    assert [tuple(row) for row in counted] == [("other", 3), ("run", 1)]


def test_a_second_learner_secret_is_refused(warehouse: Engine) -> None:
    """With another one, every learner would look like a new one. The first stays."""
    first = Pseudonyms("the first secret, also long enough")
    second = Pseudonyms("another secret, also long enough")
    for _ in range(2):
        with warehouse.begin() as connection:
            keep_to_secret(connection, first)
    with warehouse.connect() as connection:
        row = connection.execute(text("SELECT * FROM springest.learner_secret")).one()
    with (
        pytest.raises(ConfigurationError, match="not the one that the warehouse") as caught,
        warehouse.begin() as connection,
    ):
        keep_to_secret(connection, second)
    made = {pseudonyms.verifier(bytes.fromhex(row.salt)) for pseudonyms in (first, second)}
    for known in (first.secret, second.secret, *made):
        assert known[:8] not in str(caught.value)
    with warehouse.begin() as connection:
        keep_to_secret(connection, first)


def test_each_warehouse_keeps_another_verifier_of_the_secret(
    warehouse: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is salted, so that no table of guesses fits two warehouses."""
    monkeypatch.setattr("springest.privacy.secret.token_bytes", token_bytes)
    kept = []
    for _ in range(2):
        with warehouse.begin() as connection:
            keep_to_secret(connection, Pseudonyms("the first secret, also long enough"))
            kept.append(
                tuple(connection.execute(text("SELECT verifier, salt FROM springest.learner_secret")).one())
            )
            connection.execute(text("DELETE FROM springest.learner_secret"))
    assert len({verifier for verifier, _ in kept}) == len({salt for _, salt in kept}) == 2


def test_references_of_another_address_rule_are_refused(warehouse: Engine) -> None:
    """References made by another address rule are not mixed with new ones."""
    first = Pseudonyms("the first secret, also long enough")
    with warehouse.begin() as connection:
        keep_to_secret(connection, first)
        connection.execute(text("UPDATE springest.learner_secret SET address_rule = 7"))
    with pytest.raises(ConfigurationError, match="address rule 7"), warehouse.begin() as connection:
        keep_to_secret(connection, first)
