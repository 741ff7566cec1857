"""What Springest lacks, over a real PostgreSQL: absence is told only where it means something."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, date, datetime, timedelta
from typing import Any

import pytest
from sqlalchemy import Engine

from tests.component.conftest import MOMENT, Deliver, Scan, Show
from tests.component.verdicts.test_publish import publish_all, verdict

SENT = MOMENT
FIRST = SENT + timedelta(days=1)
SECOND = FIRST + timedelta(days=1)
Certified = Callable[..., None]


@pytest.fixture
def two_scans(scan: Scan, list_certification: Certified) -> None:
    """Two complete snapshots a day apart, of a certification that is listed throughout."""
    list_certification(since=SENT - timedelta(days=9), last=SECOND)
    scan(FIRST)
    scan(SECOND)


@pytest.fixture(autouse=True)
def _recent_doubts(monkeypatch: pytest.MonkeyPatch) -> None:
    """These moments are long ago for the database's clock: no doubt here is too old."""
    monkeypatch.setattr("springest.matching.matching.UNKNOWN_FOR_LONG_DAYS", 36_500)


@pytest.mark.parametrize(
    ("state", "status", "reason", "remedy"),
    [
        ("accepted", "missing", "missing", "ask Springest"),
        ("accepted_no_id", "missing", "missing", "ask Springest"),
        ("unknown", "unknown", "absent", "releasing it to be sent again looks safe"),
    ],
)
@pytest.mark.usefixtures("two_scans")
def test_what_two_complete_snapshots_lack_is_handed_to_a_person_with_the_evidence(
    warehouse: Engine, deliver: Deliver, state: str, status: str, reason: str, remedy: str
) -> None:
    deliver(state)
    assert publish_all(warehouse).became_absent == 1
    row = verdict(warehouse)
    assert (row.delivery_state, row.verification_status, row.review_reason) == ("review", status, reason)
    assert row.needs_review
    assert "of 2026-11-03 00:00 and 2026-11-04 00:00 UTC, are complete" in row.delivery_reason_detail
    assert remedy in row.delivery_reason_detail
    again = publish_all(warehouse)
    assert (again.became_absent, again.written) == (0, 0)


@pytest.mark.parametrize("state", ["ready", "sending", "held", "rejected", "withdrawn", "cancelled"])
@pytest.mark.usefixtures("two_scans")
def test_what_springest_never_had_is_not_missed(warehouse: Engine, deliver: Deliver, state: str) -> None:
    deliver(state)
    assert publish_all(warehouse).became_absent == 0


@pytest.mark.parametrize("state", ["accepted", "unknown"])
@pytest.mark.parametrize(
    ("snapshots", "listed"),
    [
        ([(FIRST, True)], (SENT, SECOND)),
        ([(FIRST, True), (SECOND, False)], (SENT, SECOND)),
        ([(FIRST, False), (SECOND, True)], (SENT, SECOND)),
        ([(FIRST, True), (SECOND - timedelta(minutes=1), True)], (SENT, SECOND)),
        ([(SENT + timedelta(minutes=9), True), (SECOND, True)], (SENT, SECOND)),
        ([(FIRST, True), (SECOND, True)], (FIRST + timedelta(hours=1), SECOND)),
        ([(FIRST, True), (SECOND, True)], (SENT, SENT)),
        ([(FIRST, True), (SECOND, True)], None),
    ],
    ids=[
        "only one",
        "the last one is partial",
        "the first one is partial",
        "less than a day apart",
        "it may have been stored after the first",
        "listed since after the first",
        "not known to be listed any more",
        "never listed",
    ],
)
def test_an_absence_that_means_nothing_changes_nothing(
    warehouse: Engine,
    deliver: Deliver,
    scan: Scan,
    list_certification: Certified,
    state: str,
    snapshots: list[tuple[datetime, bool]],
    listed: tuple[datetime, datetime] | None,
) -> None:
    deliver(state)
    for started_at, complete in snapshots:
        scan(started_at, complete=complete)
    if listed is not None:
        list_certification(since=listed[0], last=listed[1])
    assert publish_all(warehouse).became_absent == 0
    assert verdict(warehouse).delivery_state == state


@pytest.mark.parametrize("state", ["accepted", "accepted_no_id", "unknown"])
@pytest.mark.usefixtures("two_scans")
def test_being_listed_alone_is_no_evidence(warehouse: Engine, deliver: Deliver, state: str) -> None:
    """The list may hold certifications that are not verified yet: releasing on it sent certificates twice."""
    deliver(state)
    assert publish_all(warehouse, catalogue_lists_verified_only=False).became_absent == 0
    assert verdict(warehouse).delivery_state == state


@pytest.mark.parametrize(
    ("shown", "counts"),
    [
        ({"answered": 1}, True),
        ({"answered": -1}, False),
        ({"created_at": SENT + timedelta(hours=28)}, True),
        ({"created_at": SENT + timedelta(hours=26)}, False),
        ({}, False),
        ({"answered": 1, "certification_id": 103}, False),
        ({"answered": 1, "first_seen_at": SECOND}, False),
        ({"answered": 1, "last_seen_at": FIRST}, False),
    ],
    ids=[
        "posted later",
        "posted earlier",
        "created later by any clock",
        "clocks may differ",
        "nothing is known",
        "of another certification",
        "only the last snapshot shows it",
        "the last snapshot lacks it",
    ],
)
@pytest.mark.usefixtures("two_scans")
def test_an_absence_counts_beside_one_that_was_posted_later_and_is_shown(
    warehouse: Engine,
    deliver: Deliver,
    show: Show,
    answer: Callable[..., None],
    shown: dict[str, Any],
    counts: bool,
) -> None:
    """A certification is verified as a whole. The hours are those between the two POSTs."""
    deliver("unknown")
    hours = shown.pop("answered", None)
    show(9, **{"valid_from": date(2026, 10, 1), "first_seen_at": FIRST, "last_seen_at": SECOND, **shown})
    if hours is not None:
        key = deliver("visible", "T2", springest_certificate_id=9, valid_from=date(2026, 10, 1))
        answer(key, 9, SENT + timedelta(hours=hours))
    report = publish_all(warehouse, catalogue_lists_verified_only=False)
    assert report.became_absent == int(counts)
    if counts:
        assert "both show certificate 9 of its certification" in verdict(warehouse).delivery_reason_detail


@pytest.mark.usefixtures("two_scans")
def test_another_sites_snapshots_prove_nothing(warehouse: Engine, deliver: Deliver, scan: Scan) -> None:
    deliver("accepted", sent_at=FIRST)
    scan(SECOND + timedelta(days=1), site="other")
    assert publish_all(warehouse).became_absent == 0


@pytest.mark.usefixtures("two_scans")
def test_a_certificate_that_is_there_is_not_missing(warehouse: Engine, deliver: Deliver, show: Show) -> None:
    deliver("accepted")
    show(last_seen_at=SECOND)
    assert publish_all(warehouse).became_absent == 0
    assert verdict(warehouse).verification_status == "verified"


@pytest.mark.usefixtures("two_scans")
def test_one_that_is_shown_with_other_facts_is_not_missing(
    warehouse: Engine, deliver: Deliver, show: Show
) -> None:
    deliver("accepted")
    show(last_seen_at=SECOND, certification_id=103)
    assert publish_all(warehouse).became_absent == 0
    assert verdict(warehouse).verification_status == "ambiguous"


@pytest.mark.parametrize(
    "shown",
    [
        {},
        {"learner_ref": None, "certification_id": None, "valid_from": None},
        {"valid_until": date(2030, 1, 1)},
    ],
    ids=["alike", "nothing is told", "an end of its own"],
)
@pytest.mark.usefixtures("two_scans")
def test_while_something_is_shown_that_could_be_it_an_unknown_one_is_not_absent(
    warehouse: Engine, deliver: Deliver, show: Show, shown: dict[str, Any]
) -> None:
    deliver("unknown")
    show(9, last_seen_at=FIRST, **shown)
    assert publish_all(warehouse).became_absent == 0


@pytest.mark.parametrize(
    "shown",
    [
        {"learner_ref": "b" * 64},
        {"certification_id": 103},
        {"valid_from": date(2026, 11, 3)},
        {"last_seen_at": FIRST - timedelta(minutes=1)},
    ],
    ids=["another learner", "another certification", "other dates", "gone before"],
)
@pytest.mark.usefixtures("two_scans")
def test_what_is_shown_and_can_not_be_it_does_not_keep_it_from_being_absent(
    warehouse: Engine, deliver: Deliver, show: Show, shown: dict[str, Any]
) -> None:
    deliver("unknown")
    show(9, **{"last_seen_at": SECOND, **shown})
    assert publish_all(warehouse).became_absent == 1


@pytest.mark.usefixtures("two_scans")
def test_what_another_delivery_has_by_its_id_can_not_be_it(
    warehouse: Engine, deliver: Deliver, show: Show
) -> None:
    deliver("unknown", "T1")
    deliver("visible", "T2", springest_certificate_id=9)
    show(9, last_seen_at=SECOND)
    assert publish_all(warehouse).became_absent == 1


@pytest.mark.usefixtures("two_scans")
def test_one_that_was_missing_and_appears_is_visible(warehouse: Engine, deliver: Deliver, show: Show) -> None:
    deliver("accepted")
    publish_all(warehouse)
    show(last_seen_at=SECOND + timedelta(days=1))
    assert publish_all(warehouse).became_visible == 1
    row = verdict(warehouse)
    assert (row.verification_status, row.delivery_reason, row.needs_review) == ("verified", None, False)


@pytest.mark.usefixtures("two_scans")
def test_one_that_was_shown_and_is_gone_from_two_snapshots_has_vanished_until_it_is_seen_again(
    warehouse: Engine, deliver: Deliver, show: Show, see_again: Callable[[int, datetime], None]
) -> None:
    deliver("accepted")
    show(last_seen_at=FIRST - timedelta(hours=2))
    assert publish_all(warehouse).became_absent == 1
    row = verdict(warehouse)
    assert (row.verification_status, row.review_reason, row.needs_review) == ("vanished", "vanished", True)
    assert "certificate 7 was shown until 2026-11-02 22:00 UTC" in row.delivery_reason_detail
    assert publish_all(warehouse).written == 0
    see_again(7, SECOND + timedelta(days=1))
    assert publish_all(warehouse).became_visible == 1
    assert verdict(warehouse).verification_status == "verified"


@pytest.mark.usefixtures("two_scans")
def test_one_that_was_missing_and_appears_with_something_else_is_not_missing(
    warehouse: Engine, deliver: Deliver, show: Show, scan: Scan
) -> None:
    """No proof, and no absence either: its verdict says what disagrees, until it is gone again."""
    deliver("accepted")
    publish_all(warehouse)
    assert verdict(warehouse).verification_status == "missing"
    third = SECOND + timedelta(days=1)
    scan(third)
    show(last_seen_at=third, first_seen_at=third, valid_from=date(2026, 11, 3))
    assert publish_all(warehouse).became_visible == 0
    row = verdict(warehouse)
    assert (row.delivery_state, row.verification_status) == ("accepted", "ambiguous")
    assert row.review_reason == "disagrees(valid_from)"
    assert publish_all(warehouse).written == 0


@pytest.mark.usefixtures("two_scans")
def test_one_that_had_vanished_and_is_shown_with_something_else_has_not(
    warehouse: Engine, deliver: Deliver, show: Show, see_again: Callable[[int, datetime], None], scan: Scan
) -> None:
    deliver("visible", valid_from=date(2026, 11, 1))
    show(last_seen_at=FIRST - timedelta(hours=2))
    publish_all(warehouse)
    assert verdict(warehouse).verification_status == "vanished"
    see_again(7, FIRST)
    publish_all(warehouse)
    assert verdict(warehouse).verification_status == "vanished"  # an older snapshot showed it
    third = SECOND + timedelta(days=1)
    scan(third)
    see_again(7, third)
    publish_all(warehouse)
    row = verdict(warehouse)
    assert (row.delivery_state, row.verification_status) == ("visible", "ambiguous")
    assert row.review_reason == "disagrees(valid_from)"


def test_one_that_only_the_last_snapshot_lacks_has_not_vanished(
    warehouse: Engine, deliver: Deliver, show: Show, scan: Scan
) -> None:
    deliver("visible")
    scan(FIRST)
    scan(SECOND)
    show(last_seen_at=FIRST)
    assert publish_all(warehouse).became_absent == 0


def test_a_doubt_that_is_too_old_needs_a_person_and_is_still_settled_by_evidence(
    warehouse: Engine,
    deliver: Deliver,
    scan: Scan,
    list_certification: Certified,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.undo()
    now = datetime.now(UTC)
    deliver("unknown", "T1", sent_at=now - timedelta(days=15))
    deliver("unknown", "T2", sent_at=now - timedelta(days=13), certification_id=103)
    publish_all(warehouse)
    assert verdict(warehouse, "T1").review_reason == "unknown_for_long"
    assert "14 days" in verdict(warehouse, "T1").delivery_reason_detail
    assert verdict(warehouse, "T2").delivery_state == "unknown"
    list_certification(since=now - timedelta(days=9), last=now)
    scan(now - timedelta(days=2))
    scan(now)
    assert publish_all(warehouse).became_absent == 1
    assert verdict(warehouse, "T1").review_reason == "absent"
