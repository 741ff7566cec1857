"""Absence from Springest, over a real PostgreSQL: it is reported only if it is conclusive."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, date, datetime, timedelta
from typing import Any

import pytest
from sqlalchemy import Engine

from tests.component.conftest import Deliver, Post, Scan, Show
from tests.component.published import publish_all, verdict
from tests.factories import MOMENT

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
    """The tests' times are long ago on the database's clock: no unknown outcome counts as too old."""
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
def test_absence_in_two_complete_snapshots_needs_a_person(
    warehouse: Engine, deliver: Deliver, state: str, status: str, reason: str, remedy: str
) -> None:
    """A certificate missing in two complete snapshots goes to `review` with the evidence."""
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
def test_a_certificate_never_stored_is_not_missing(warehouse: Engine, deliver: Deliver, state: str) -> None:
    """Deliveries that Springest never stored do not become missing."""
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
def test_an_uninformative_absence_changes_nothing(
    warehouse: Engine,
    deliver: Deliver,
    scan: Scan,
    list_certification: Certified,
    state: str,
    snapshots: list[tuple[datetime, bool]],
    listed: tuple[datetime, datetime] | None,
) -> None:
    """An absence that is no evidence changes no delivery."""
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
        ({"answered": 1, "recorded_at": FIRST}, False),
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
def test_absence_counts_beside_a_later_one_that_is_shown(
    warehouse: Engine,
    deliver: Deliver,
    show: Show,
    post: Post,
    shown: dict[str, Any],
    counts: bool,
) -> None:
    """A certification is verified as a whole. The hours are those between the two POSTs."""
    deliver("unknown")
    hours = shown.pop("answered", None)
    show(9, **{"valid_from": date(2026, 10, 1), "first_seen_at": FIRST, "recorded_at": SECOND, **shown})
    if hours is not None:
        key = deliver("visible", "T2", springest_certificate_id=9, valid_from=date(2026, 10, 1))
        post(key, "accepted_with_id", springest_certificate_id=9, started_at=SENT + timedelta(hours=hours))
    report = publish_all(warehouse, catalogue_lists_verified_only=False)
    assert report.became_absent == int(counts)
    if counts:
        assert "both show certificate 9 of its certification" in verdict(warehouse).delivery_reason_detail


@pytest.mark.usefixtures("two_scans")
def test_another_sites_snapshots_prove_nothing(warehouse: Engine, deliver: Deliver, scan: Scan) -> None:
    """Snapshots of another site are no evidence."""
    deliver("accepted", sent_at=FIRST)
    scan(SECOND + timedelta(days=1), site="other")
    assert publish_all(warehouse).became_absent == 0


@pytest.mark.usefixtures("two_scans")
def test_a_shown_certificate_is_not_missing(warehouse: Engine, deliver: Deliver, show: Show) -> None:
    """A certificate that Springest shows is not missing."""
    deliver("accepted")
    show(recorded_at=SECOND)
    assert publish_all(warehouse).became_absent == 0
    assert verdict(warehouse).verification_status == "verified"


@pytest.mark.usefixtures("two_scans")
def test_a_certificate_shown_with_other_data_is_not_missing(
    warehouse: Engine, deliver: Deliver, show: Show
) -> None:
    """A certificate that is shown under its id with other data is not missing."""
    deliver("accepted")
    show(recorded_at=SECOND, certification_id=103)
    assert publish_all(warehouse).became_absent == 0
    assert verdict(warehouse).verification_status == "ambiguous"


@pytest.mark.parametrize(
    "shown",
    [
        {},
        {"learner_ref": None, "certification_id": None, "valid_from": None},
        {"valid_until": date(2030, 1, 1)},
    ],
    ids=["alike", "nothing is known", "another end"],
)
@pytest.mark.usefixtures("two_scans")
def test_an_unknown_is_not_absent_while_a_candidate_is_shown(
    warehouse: Engine, deliver: Deliver, show: Show, shown: dict[str, Any]
) -> None:
    """While a possible certificate is shown, an unknown delivery is not absent."""
    deliver("unknown")
    show(9, recorded_at=FIRST, **shown)
    assert publish_all(warehouse).became_absent == 0


@pytest.mark.parametrize(
    "shown",
    [
        {"learner_ref": "b" * 64},
        {"certification_id": 103},
        {"valid_from": date(2026, 11, 3)},
        {"recorded_at": FIRST - timedelta(minutes=1)},
    ],
    ids=["another learner", "another certification", "other dates", "gone before"],
)
@pytest.mark.usefixtures("two_scans")
def test_an_impossible_candidate_does_not_prevent_absence(
    warehouse: Engine, deliver: Deliver, show: Show, shown: dict[str, Any]
) -> None:
    """A shown certificate that cannot be this one does not prevent absence."""
    deliver("unknown")
    show(9, **{"recorded_at": SECOND, **shown})
    assert publish_all(warehouse).became_absent == 1


@pytest.mark.usefixtures("two_scans")
def test_the_certificate_of_another_delivery_is_no_candidate(
    warehouse: Engine, deliver: Deliver, show: Show
) -> None:
    """A certificate that another delivery has by its id cannot be this one."""
    deliver("unknown", "T1")
    deliver("visible", "T2", springest_certificate_id=9)
    show(9, recorded_at=SECOND)
    assert publish_all(warehouse).became_absent == 1


@pytest.mark.usefixtures("two_scans")
def test_a_missing_certificate_that_appears_is_visible(
    warehouse: Engine, deliver: Deliver, show: Show
) -> None:
    """A missing delivery whose id is shown again becomes `visible`."""
    deliver("accepted")
    publish_all(warehouse)
    show(recorded_at=SECOND + timedelta(days=1))
    assert publish_all(warehouse).became_visible == 1
    row = verdict(warehouse)
    assert (row.verification_status, row.delivery_reason, row.needs_review) == ("verified", None, False)


@pytest.mark.usefixtures("two_scans")
def test_absence_in_two_snapshots_is_vanished_until_seen(
    warehouse: Engine, deliver: Deliver, show: Show, see_again: Callable[[int, datetime], None]
) -> None:
    """A visible certificate missing in two complete snapshots is `vanished` until it is seen again."""
    deliver("accepted")
    show(recorded_at=FIRST - timedelta(hours=2))
    assert publish_all(warehouse).became_absent == 1
    row = verdict(warehouse)
    assert (row.verification_status, row.review_reason, row.needs_review) == ("vanished", "vanished", True)
    assert "certificate 7 was shown until 2026-11-02 22:00 UTC" in row.delivery_reason_detail
    assert publish_all(warehouse).written == 0
    see_again(7, SECOND + timedelta(days=1))
    assert publish_all(warehouse).became_visible == 1
    assert verdict(warehouse).verification_status == "verified"


@pytest.mark.usefixtures("two_scans")
def test_a_missing_one_shown_with_other_data_is_not_missing(
    warehouse: Engine, deliver: Deliver, show: Show, scan: Scan
) -> None:
    """It is neither proof nor absence: the verdict lists the differences until it is gone again."""
    deliver("accepted")
    publish_all(warehouse)
    assert verdict(warehouse).verification_status == "missing"
    third = SECOND + timedelta(days=1)
    scan(third)
    show(recorded_at=third, first_seen_at=third, valid_from=date(2026, 11, 3))
    assert publish_all(warehouse).became_visible == 0
    row = verdict(warehouse)
    assert (row.delivery_state, row.verification_status) == ("accepted", "ambiguous")
    assert row.review_reason == "disagrees(valid_from)"
    assert publish_all(warehouse).written == 0


@pytest.mark.usefixtures("two_scans")
def test_a_vanished_one_shown_with_other_data_is_visible(
    warehouse: Engine, deliver: Deliver, show: Show, see_again: Callable[[int, datetime], None], scan: Scan
) -> None:
    """A vanished certificate that is shown again with other data is no longer `vanished`."""
    deliver("visible", valid_from=date(2026, 11, 1))
    show(recorded_at=FIRST - timedelta(hours=2))
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


def test_one_snapshot_without_it_is_not_enough_to_vanish(
    warehouse: Engine, deliver: Deliver, show: Show, scan: Scan
) -> None:
    """A certificate that only the last snapshot lacks has not vanished."""
    deliver("visible")
    scan(FIRST)
    scan(SECOND)
    show(recorded_at=FIRST)
    assert publish_all(warehouse).became_absent == 0


def test_an_old_unknown_needs_a_person_or_evidence(
    warehouse: Engine,
    deliver: Deliver,
    scan: Scan,
    list_certification: Certified,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """An unknown outcome that is too old goes to `review`, and evidence still resolves it."""
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
