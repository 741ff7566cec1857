"""How the end of a task's log is written."""

from __future__ import annotations

import logging

from springest.errors import ConfigurationError
from springest.review.run_report import NeedsPerson, RunCounts
from springest.states import State
from springest_provider.reporting import _attention, _counts, log_table, note_of, report
from springest_provider.run_notes import LONGEST, OURS, new_note
from springest_provider.ui.links import deliveries_url

NOTHING = RunCounts(0, 0, 0, 0, 0, 0, 0, 0)


def _needs_somebody(training_id="T1", detail=None):
    return NeedsPerson("a" * 64, training_id, 1, State.REJECTED, "rejected", detail)


def test_a_table_is_two_lines_with_aligned_columns(caplog):
    """Each event of a log is a line of its own, also in Airflow's UI."""
    caplog.set_level(logging.INFO)
    log_table({"set_aside": 1_234_567, "left": 0, "requests": "2 of 4,000/h"})
    assert caplog.messages == ["set aside  left      requests", "1,234,567     0  2 of 4,000/h"]


def test_a_result_is_reported_by_its_counts(caplog):
    """Texts and flags are no counts."""
    caplog.set_level(logging.INFO)
    result = {"listed": 3, "complete": True, "scope": "full", "snapshot_id": 7, "statuses": {"verified": 2}}
    assert dict(_counts(result)) == {"listed": 3, "verified": 2}
    log_table({})
    assert caplog.messages == []


def test_no_address_and_no_control_character_reaches_the_log():
    """Springest's text and the source's numbers are other people's."""
    text = _needs_somebody("zoë@example.com", "\x1b[31mzoe@example.com is\nunknown")
    [line] = _attention([text], 1, "/deliveries?run=night")
    assert "example.com" not in line
    assert line.isprintable()
    assert "a" * 64 in line


def test_entries_beyond_the_limit_are_counted():
    """A log of thousands of lines would not be read."""
    *_, last = _attention([_needs_somebody()], 1_001, "/deliveries?run=a+run")
    assert last.startswith("1,000 more need a person: ")
    assert last.endswith("?run=a+run")


def test_a_run_without_anything_notable_has_no_note():
    """A note on each run would be read by nobody either."""
    assert note_of(NOTHING, "/deliveries") is None
    accepted = RunCounts(completed=9, staged=9, set_aside=0, sent=9, accepted=9, refused=0, unknown=0, left=3)
    assert note_of(accepted, "/deliveries") is None


def test_a_note_without_room_for_the_link_says_the_counts():
    """People's own text stays; if the new line does not fit, the old one is still removed."""
    ours = f"{OURS}3 unknown of 9 completed. https://airflow.example.com/springest/deliveries?run=night"
    for length, line in (
        (10, ours),
        (LONGEST - len(ours) - 1, ours),
        (LONGEST - len(ours), ours.rsplit(" ", 1)[0]),
    ):
        assert new_note(f"{'p' * length}\n{OURS}stale", ours) == f"{'p' * length}\n{line}"
    assert new_note(f"{'p' * (LONGEST - 20)}\n{OURS}stale", ours) == "p" * (LONGEST - 20)
    assert new_note(f"a\n{OURS}stale\nb", "") == "a\nb"
    assert new_note("", ours) == ours


def test_a_note_without_a_line_of_ours_stays_as_it_is():
    """The listener sees the runs of every DAG."""
    assert new_note("a\r\nb\n", "") == "a\r\nb\n"
    assert new_note("", "") == ""


def test_the_longest_note_fits():
    """Airflow's database takes a thousand characters, and a run's id has 250 at most."""
    most = RunCounts(*[10**9] * 8)
    note = note_of(most, deliveries_url("s" * 60, run="/" * 250))
    assert note is not None
    assert note.startswith(OURS)
    assert len(note) < LONGEST


def test_a_report_that_fails_changes_nothing_of_the_task(caplog):
    """Its site may be what the task failed for; the text of the error is in the task's own traceback."""

    def find_site():
        raise ConfigurationError("the connection springest_default is missing")

    report({"run_id": "night"}, find_site, "certificate_warehouse", {}, of_run=True)
    assert caplog.messages == ["The counts of this run can't be reported: ConfigurationError"]
