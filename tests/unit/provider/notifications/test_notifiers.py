"""Messages as people read them in an e-mail, in Slack and through a webhook."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from types import SimpleNamespace

import pytest

from springest.errors import ConfigurationError
from springest.review.night import LastDay, Night, Unverified
from springest.review.status import Status
from springest.review.waiting import Waiting
from springest.states import State
from springest_provider.notifications.message import Item, Message, Section
from springest_provider.notifications.notifiers import deadline_of, failure_of, summary_of

NOW = datetime(2026, 11, 27, 6, 35, tzinfo=UTC)
QUIET = Night(
    Status(
        site="default",
        host="example.com",
        now=NOW,
        ready=0,
        hours_left=0.0,
        oldest_ready=None,
        states={},
        for_a_person=0,
        usual=500,
        too_large={},
        frozen_until=None,
        requests_per_hour=3_800.0,
        granted=0,
        watermark=NOW - timedelta(hours=5),
        runs=(),
        snapshot_id=1,
        snapshot_finished_at=NOW,
        snapshot_complete=True,
        snapshot_certificates=0,
        complete_snapshot_finished_at=NOW,
        reconciled_at=NOW,
        scanned_at=NOW - timedelta(hours=6),
        listed=3,
        catalogue_complete=True,
        restored_at=None,
    ),
    LastDay(0, 0, 0, 0, 0, 0, 0, None),
    (),
    (),
)


def _with(night=QUIET, *, day=None, waiting=(), unverified=(), **status):
    return Night(
        replace(night.status, **status),
        replace(night.last_day, **(day or {})),
        tuple(waiting),
        tuple(unverified),
    )


def _waiting(number, **changes):
    values = {
        "delivery_key": f"{number:064x}",
        "training_id": f"T{number}",
        "issue_no": 1,
        "version": 1,
        "state": State.UNKNOWN,
        "reason": "response_timeout",
        "reason_detail": None,
        "review_reason": None,
        "certification_id": 101,
        "certification_name": "Service Desk",
        "valid_from": None,
        "springest_certificate_id": None,
        "sent_at": NOW - timedelta(days=2),
        "updated_at": NOW,
        **changes,
    }
    return Waiting(**values)


def test_nothing_to_say_is_one_line():
    """In each form."""
    message = summary_of(QUIET)
    assert message.text == "Springest (default): nothing was sent, and nothing waits"
    for form in (message.title, message.html, message.slack):
        assert len(form.splitlines()) == 1


def test_a_good_night_says_what_went_out():
    """It asks for no action."""
    message = summary_of(_with(day={"entered": 412, "sent": 412, "accepted": 412, "became_visible": 35}))
    assert message.title == "Springest (default): 412 sent"
    assert "412 sent: 412 accepted, 0 refused, 0 unknown" in message.text
    assert "35 shown by Springest for the first time" in message.text
    assert "The queue is empty" in message.text
    assert "Needs a person" not in message.text
    assert "Overdue" not in message.text


def test_what_needs_a_person_is_named_with_a_link():
    """Ten lines are read; a hundred are not."""
    message = summary_of(_with(waiting=[_waiting(1), _waiting(2, issue_no=2)], for_a_person=40))
    assert message.title == "Springest (default): 0 sent, 40 need a person"
    assert (
        f"- T1 is unknown (response_timeout) since 2026-11-25 /springest/deliveries/{1:064x}" in message.text
    )
    assert "T2 issue 2 is unknown" in message.text
    assert "- 38 more /springest/deliveries" in message.text


@pytest.mark.parametrize(("entered", "word"), [(5_000, "It grows"), (3_800, "It does not grow")])
def test_the_queue_says_whether_it_grows(entered, word):
    """More came in than went out."""
    text = summary_of(_with(day={"entered": entered, "sent": 3_800}, ready=1_200, hours_left=0.32)).text
    assert (
        f"1,200 are in the queue, 0.3 hours of sending at the site's pace. {word}: {entered:,} came in"
        in text
    )


@pytest.mark.parametrize(
    ("status", "text"),
    [
        ({"watermark": NOW - timedelta(hours=30)}, "nothing was staged since 2026-11-26 00:35 UTC"),
        ({"watermark": None}, "the site has not begun"),
        ({"scanned_at": NOW - timedelta(days=2)}, "the catalogue was not read last night"),
        ({"complete_snapshot_finished_at": None}, "no complete list of certificates was read for a week"),
        ({"frozen_until": NOW + timedelta(hours=1)}, "no request before 07:35 UTC"),
        ({"too_large": {"night": 4_000}}, "run night staged 4,000 certificates, more than 500"),
    ],
)
def test_what_is_overdue_is_said_even_if_nothing_else_is(status, text):
    """A night that did not happen is the one that must not be silent."""
    message = summary_of(_with(**status))
    assert message.title == "Springest (default): 0 sent, something is overdue"
    assert text in message.text


def test_a_certification_not_verified_for_long_is_overdue():
    """Somebody must ask Springest."""
    late = Unverified(105, "Facilitator", 34, NOW - timedelta(days=12))
    text = summary_of(_with(unverified=[late])).text
    assert (
        "Certification 105 (Facilitator): 34 certificates wait for its verification, the oldest since" in text
    )


def test_text_from_outside_is_escaped_and_redacted():
    """A training's number and a certification's name come from outside."""
    hostile = "<!channel> <script>zoë@example.com</script>\x1b[31m"
    message = Message(hostile, [Section(hostile, [Item(hostile, 'https://a.example/"<b>')])])
    for form in (message.title, message.text, message.html, message.slack):
        assert "example.com" not in form
        assert "\x1b" not in form
    assert "<!channel>" not in message.slack
    assert "<script>" not in message.html
    assert 'href="https://a.example/&quot;&lt;b&gt;"' in message.html


def _task(**changes):
    return {
        "ti": SimpleNamespace(
            dag_id="springest_deliver",
            task_id="deliver",
            run_id="night",
            log_url="https://airflow.example/log",
        ),
        **changes,
    }


def test_a_failure_says_why_and_where_to_read_on():
    """This project's errors name the remedy; the runbook has an entry for each."""
    message = failure_of(_task(exception=ConfigurationError("the connection springest_x is missing: add it")))
    assert message.title == "Springest: springest_deliver.deliver failed: ConfigurationError"
    assert "the connection springest_x is missing: add it" in message.text
    assert "entry ConfigurationError of docs/runbook.md" in message.text
    assert "https://airflow.example/log" in message.text


def test_the_text_of_an_error_of_somebody_else_is_not_passed_on():
    """A database's error may hold a row, a library's a URL with a key."""
    message = failure_of(_task(exception=ValueError("password=hunter2")))
    assert "hunter2" not in message.text
    assert "ValueError: see the end of the log" in message.text
    assert "an unknown reason" in failure_of(_task()).text


def test_a_missed_deadline_names_run_time_and_queue():
    """Airflow gives no more than these."""
    run = {"dag_id": "springest_deliver", "dag_run_id": "night"}
    context = {"dag_run": run, "deadline": {"deadline_time": NOW}}
    message = deadline_of(context, "The queue is empty", site="uk")
    assert message.title == "Springest: springest_deliver missed its deadline"
    assert "The run night had not finished by 2026-11-27 06:35:00+00:00" in message.text
    assert "The queue is empty" in message.text
    assert "/deliveries?site=uk&run=night" in message.text
    assert deadline_of({}, "The queue is empty", site="default").text
