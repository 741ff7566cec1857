"""The times in a run's context."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from types import SimpleNamespace

import pytest

from springest.errors import ConfigurationError
from springest.source.window import Window
from springest_provider.run_context import (
    begin_moment,
    requested_window,
    seconds_to_deliver_until,
    unknown_since,
    whole_number,
    whole_numbers,
    yes_or_no,
)

START, END = datetime(2026, 11, 2, tzinfo=UTC), datetime(2026, 11, 3, tzinfo=UTC)


def _context(run_type, start=START, end=END):
    return {"dag_run": SimpleNamespace(run_type=run_type, data_interval_start=start, data_interval_end=end)}


@pytest.mark.parametrize("run_type", ["scheduled", "manual", "asset_triggered"])
def test_nightly_runs_read_on_from_the_watermark(run_type):
    """Only then is a missed night caught up."""
    assert requested_window(_context(run_type), start="", end=None) is None


def test_a_backfill_reads_its_interval():
    """Any interval, in any order."""
    assert requested_window(_context("backfill"), start="", end="") == Window(START, END)


def test_a_person_may_ask_for_a_window():
    """It goes before everything else."""
    start, end = "2026-01-01T00:00:00+00:00", "2026-01-02T00:00:00+01:00"
    asked = requested_window(_context("manual"), start=start, end=end)
    assert asked is not None
    assert asked.start == datetime(2026, 1, 1, tzinfo=UTC)


@pytest.mark.parametrize(
    ("start", "end"), [("2026-01-01T00:00:00+00:00", ""), ("2026-01-01", "2026-01-02"), ("soon", "later")]
)
def test_half_a_window_or_one_without_a_zone_is_refused(start, end):
    """A guess would read the wrong rows."""
    with pytest.raises(ConfigurationError, match="window_"):
        requested_window(_context("manual"), start=start, end=end)


def test_a_backfill_without_an_interval_is_refused():
    """A plain cron schedule would give a window of no length."""
    with pytest.raises(ConfigurationError, match="data intervals"):
        requested_window(_context("backfill", None, None), start=None, end=None)


@pytest.mark.parametrize(
    ("time_of_day", "hours"), [("06:00", 5), ("01:00", 24), ("00:59", 23 + 59 / 60), (" 23:30 ", 22.5)]
)
def test_the_deadline_is_the_next_time_the_clock_shows_it(time_of_day, hours):
    """A run that begins at one may deliver until six, a manual one at seven until the next morning."""
    now = datetime(2026, 11, 2, 1, tzinfo=UTC)
    assert seconds_to_deliver_until(time_of_day, since=now, now=now) == pytest.approx(hours * 3600)


@pytest.mark.parametrize(
    ("hour", "minute", "hours"), [(1, 0, 5), (5, 30, 0.5), (6, 0, 0), (6, 5, 0), (23, 0, 0)]
)
def test_a_later_try_has_the_deadline_of_its_run(hour, minute, hours):
    """One that begins after it does nothing, rather than go on until the next day's."""
    began = datetime(2026, 11, 2, 1, tzinfo=UTC)
    now = began.replace(hour=hour, minute=minute)
    assert seconds_to_deliver_until("06:00", since=began, now=now) == pytest.approx(hours * 3600)


def test_a_run_that_began_in_the_future_begins_now():
    """Clocks differ between machines."""
    now = datetime(2026, 11, 2, 5, 59, 59, tzinfo=UTC)
    assert seconds_to_deliver_until("06:00", since=now + timedelta(seconds=3), now=now) == pytest.approx(1)


@pytest.mark.parametrize(("run_type", "since"), [("manual", START), ("scheduled", None), ("backfill", None)])
def test_a_manual_run_counts_unknowns_from_its_start(run_type, since):
    """The person who triggers it has seen the earlier ones; a schedule and a backfill have not."""
    context = _context(run_type)
    context["dag_run"].start_date = START
    assert unknown_since(context) == since


def test_a_deadline_that_is_no_time_is_refused():
    """It names the field and an example."""
    with pytest.raises(ConfigurationError, match="deliver_until"):
        seconds_to_deliver_until("six", since=None)


@pytest.mark.parametrize(
    ("began", "time_of_day", "hours"),
    [
        ("2026-07-01T00:00+00:00", "06:00", 5),  # summer: an hour before UTC
        ("2026-12-01T00:00+00:00", "06:00", 6),
        ("2026-10-25T00:00+00:00", "06:00", 6),  # the night in which 01:00 to 02:00 comes twice
        ("2026-10-24T23:30+00:00", "01:45", 1.25),  # the first of the two
        ("2026-10-25T00:50+00:00", "01:45", 24.91667),  # after it, between the two
        ("2026-03-29T00:00+00:00", "06:00", 5),  # the night in which it is skipped
        ("2026-03-29T00:00+00:00", "01:30", 1.5),
    ],
)
def test_the_deadline_is_in_the_zone_of_the_site(began, time_of_day, hours):
    """Even in the two nights a year in which the clocks change."""
    now = datetime.fromisoformat(began)
    seconds = seconds_to_deliver_until(time_of_day, since=now, now=now, time_zone="Europe/London")
    assert seconds / 3600 == pytest.approx(hours, abs=1e-4)


def test_an_unknown_zone_is_refused_by_name():
    """A mistyped zone must not be UTC."""
    with pytest.raises(ConfigurationError, match="time_zone"):
        seconds_to_deliver_until("06:00", since=None, time_zone="Europe/Londn")


@pytest.mark.parametrize(
    ("value", "number"), [(None, None), ("", None), ("None", None), (" 600 ", 600), (600, 600), ("0", 0)]
)
def test_the_size_that_a_person_expects(value, number):
    """A template that renders to nothing expects nothing."""
    assert whole_number("expected_certificates", value) == number


@pytest.mark.parametrize("value", ["many", "-1", "1.5"])
def test_an_expectation_that_is_no_number_is_refused(value):
    """Guessing would let a wrong night through."""
    with pytest.raises(ConfigurationError, match="expected_certificates"):
        whole_number("expected_certificates", value)


def test_a_limit_of_zero_is_refused():
    """Read as "no limit", it would send everything."""
    with pytest.raises(ConfigurationError, match="limit must be a whole number of at least 1, is '0'"):
        whole_number("limit", "0", least=1)


def test_a_run_that_begins_a_site_needs_a_moment():
    """The moment needs a zone, and a window does not begin a site."""
    assert begin_moment("", asked=None) is None
    assert begin_moment("2026-11-02T00:00:00Z", asked=None) == START
    with pytest.raises(ConfigurationError, match="begin_from must be a time with a time zone"):
        begin_moment("2026-11-02", asked=None)
    with pytest.raises(ConfigurationError, match="a window, not both"):
        begin_moment("2026-11-02T00:00:00Z", asked=Window(START, END))


@pytest.mark.parametrize(
    ("value", "numbers"),
    [("", None), ("[]", None), (None, None), ('["101", "102"]', [101, 102]), ([7], [7]), ("[3]", [3])],
)
def test_certifications_are_given_as_a_list_of_numbers(value, numbers):
    """As Airflow's form gives them, one a line, or as its API does."""
    assert whole_numbers("certification_ids", value) == numbers


@pytest.mark.parametrize("value", ["101", "101, 102", '["a"]', "[0]", '{"a": 1}', "[1.5]"])
def test_a_list_that_is_none_is_refused(value):
    """To send all instead would be a surprise."""
    with pytest.raises(ConfigurationError, match="certification_ids must be"):
        whole_numbers("certification_ids", value)


@pytest.mark.parametrize(("value", "answer"), [(True, True), ("True", True), ("false", False), (None, False)])
def test_a_dry_run_is_asked_for_clearly(value, answer):
    """As a template renders it."""
    assert yes_or_no("dry_run", value) is answer


@pytest.mark.parametrize("value", ["", "yes", "1", "ture"])
def test_a_dry_run_is_never_taken_for_a_real_one(value):
    """A value that is neither true nor false stops the run."""
    with pytest.raises(ConfigurationError, match="dry_run must be true or false"):
        yes_or_no("dry_run", value)
