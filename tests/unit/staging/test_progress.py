"""How far a long staging is, in the task's log."""

from __future__ import annotations

import logging

import pytest

from springest.staging.progress import ProgressLog


@pytest.fixture
def log(caplog: pytest.LogCaptureFixture) -> pytest.LogCaptureFixture:
    """The log, with all its levels."""
    caplog.set_level(logging.INFO)
    return caplog


def test_a_long_step_is_logged_with_an_estimate(log: pytest.LogCaptureFixture) -> None:
    """The first batch, one every 15 seconds, and the last."""
    now = 100.0
    progress = ProgressLog(1_000, "rows staged", clock=lambda: now)
    for _ in range(10):
        now += 6
        progress.advance(100)
    assert log.messages == [
        "100 of 1000 rows staged, about 0:00:54 left",
        "400 of 1000 rows staged, about 0:00:36 left",
        "700 of 1000 rows staged, about 0:00:18 left",
        "1000 of 1000 rows staged",
    ]


def test_a_single_batch_is_one_line(log: pytest.LogCaptureFixture) -> None:
    """As in most nights."""
    ProgressLog(7, "rows staged").advance(7)
    assert log.messages == ["7 of 7 rows staged"]


def test_no_rows_are_no_line(log: pytest.LogCaptureFixture) -> None:
    """Nothing was staged."""
    ProgressLog(0, "rows staged")
    assert not log.messages


def test_rows_beyond_the_count_are_counted(log: pytest.LogCaptureFixture) -> None:
    """The caller compares both numbers."""
    progress = ProgressLog(2, "rows staged")
    progress.advance(3)
    assert progress.done == 3
    assert log.messages == ["3 of 2 rows staged"]
