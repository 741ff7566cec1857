"""Matches without proof, over a real PostgreSQL: they change no state and can be taken back."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, date, datetime, timedelta
from typing import Any

import pytest
from sqlalchemy import Engine, event, text

from springest.matching import matching
from tests.component.conftest import Deliver, Post, Scan, Show
from tests.component.published import publish_all, verdict
from tests.factories import DAY, MOMENT, SITE
from tests.verdicts import PublishReport, publish

ONLY_US = replace(SITE, exclusive_uploader=True)
LEARNER = "a" * 64


@pytest.fixture(autouse=True)
def _recent_doubts(monkeypatch: pytest.MonkeyPatch) -> None:
    """The tests' times are long ago on the database's clock: no unknown outcome counts as too old."""
    monkeypatch.setattr(matching, "UNKNOWN_FOR_LONG_DAYS", 36_500)


def publish_only_us(warehouse: Engine) -> PublishReport:
    return publish(warehouse, site=ONLY_US, run_id="night")


def change(warehouse: Engine, statement: str) -> None:
    with warehouse.begin() as connection:
        connection.execute(text(statement))


def test_a_review_without_a_reason_does_not_stop_the_matching(
    warehouse: Engine, deliver: Deliver, show: Show
) -> None:
    """A row that was changed by hand, beside one whose certificate is shown."""
    deliver("review", "T0", reason=None, certification_id=103)
    deliver("unknown", "T1", reason="response_lost")
    show(created_at=MOMENT + timedelta(seconds=2))
    publish_only_us(warehouse)
    assert verdict(warehouse, "T1").verification_status == "inferred"


@pytest.mark.parametrize("state", ["unknown", "accepted_no_id", "review"])
def test_the_only_possible_post_is_inferred(
    warehouse: Engine, deliver: Deliver, show: Show, state: str
) -> None:
    """The only POST that can have created a certificate is inferred; its delivery keeps its state."""
    deliver(state, reason="response_lost")
    show(created_at=MOMENT + timedelta(seconds=2))
    assert publish_only_us(warehouse).became_visible == 0
    row = verdict(warehouse)
    assert (row.delivery_state, row.verification_status, row.match_method, row.springest_certificate_id) == (
        state,
        "inferred",
        "inferred",
        7,
    )
    assert row.match_evidence.startswith("no proof: ")
    assert "the POST of 2026-11-02 00:00:00 UTC" in row.match_evidence
    assert row.last_seen_at == MOMENT
    assert row.needs_review == (state == "review")
    assert publish_only_us(warehouse).written == 0


def test_quiet_nights_rewrite_no_match(warehouse: Engine, deliver: Deliver, show: Show) -> None:
    """A night without changes rewrites no match."""
    deliver("unknown", "T1")
    deliver("unknown", "T2", certification_id=103)
    show(7, created_at=MOMENT)
    show(8, certification_id=103)
    publish_only_us(warehouse)

    def rows() -> Any:
        with warehouse.connect() as connection:
            statement = text("SELECT ctid::text, xmin::text, * FROM springest.delivery_match ORDER BY 3")
            return connection.execute(statement).all()

    before = rows()
    publish_only_us(warehouse)
    assert len(before) == 2
    assert rows() == before


@pytest.mark.parametrize("named", [False, True], ids=["by the list", "by the answer to the POST"])
def test_later_proof_replaces_an_inference(
    warehouse: Engine, deliver: Deliver, show: Show, named: bool
) -> None:
    """A proof replaces an inferred match."""
    deliver("unknown")
    show(created_at=MOMENT)
    publish_only_us(warehouse)
    if named:
        change(warehouse, "UPDATE springest.delivery SET state = 'accepted', springest_certificate_id = 7")
    else:
        change(warehouse, f"UPDATE springest.remote_certificate SET learner_ref = '{LEARNER}'")  # noqa: S608
    assert publish_only_us(warehouse).became_visible == 1
    row = verdict(warehouse)
    assert (row.verification_status, row.match_method) == ("verified", "springest_id" if named else "owner")
    with warehouse.connect() as connection:
        assert connection.execute(text("SELECT count(*) FROM springest.delivery_match")).scalar_one() == 0


def test_a_surplus_certificate_withdraws_an_inference(
    warehouse: Engine, deliver: Deliver, show: Show
) -> None:
    """If more certificates are shown than were sent, the inference is withdrawn."""
    deliver("unknown")
    show(7, created_at=MOMENT)
    publish_only_us(warehouse)
    show(8, created_at=MOMENT)
    publish_only_us(warehouse)
    row = verdict(warehouse)
    assert (row.verification_status, row.match_method, row.springest_certificate_id) == (
        "ambiguous",
        None,
        None,
    )
    assert (row.review_reason, row.needs_review) == ("more_shown_than_sent", True)
    assert "somebody else uploads, or one was stored twice; it may be any of 7, 8" in row.match_evidence


@pytest.mark.parametrize("complete", [True, False])
def test_only_complete_snapshots_withdraw_a_match(
    warehouse: Engine, deliver: Deliver, show: Show, scan: Scan, complete: bool
) -> None:
    """A match with a certificate that is no longer shown is withdrawn by complete snapshots only."""
    deliver("unknown")
    show(created_at=MOMENT)
    publish_only_us(warehouse)
    for days in (1, 2):
        scan(MOMENT + timedelta(days=days), complete=complete)
    publish_only_us(warehouse)
    assert verdict(warehouse).verification_status == ("unknown" if complete else "inferred")


def test_an_inferred_one_with_an_unknown_status_is_ambiguous(
    warehouse: Engine, deliver: Deliver, show: Show
) -> None:
    """An inferred certificate with an unexpected status is `ambiguous`."""
    deliver("unknown")
    show(created_at=MOMENT, springest_status="on hold")
    publish_only_us(warehouse)
    row = verdict(warehouse)
    assert (row.verification_status, row.springest_status, row.review_reason) == (
        "ambiguous",
        "on hold",
        "status_not_foreseen",
    )


def test_an_earlier_post_of_a_released_delivery_can_match(
    warehouse: Engine, deliver: Deliver, show: Show, post: Post
) -> None:
    """T1 was released by a person and is verified by its second POST's id; the first outcome was lost."""
    again = MOMENT + timedelta(hours=3)
    key = deliver("visible", "T1", sent_at=again)
    post(key, started_at=MOMENT)
    post(key, "accepted_with_id", springest_certificate_id=7, started_at=again)
    deliver("unknown", "T2", sent_at=MOMENT + timedelta(minutes=1))
    show(7, created_at=again)
    show(8, created_at=MOMENT)
    publish_only_us(warehouse)
    row = verdict(warehouse, "T2")
    assert (row.verification_status, row.springest_certificate_id) == ("ambiguous", None)
    assert "2 POSTs can have made them" in row.match_evidence


def test_a_later_post_than_the_one_with_the_id_can_match(
    warehouse: Engine, deliver: Deliver, show: Show, post: Post
) -> None:
    """T1 was released and sent again, with a lost outcome; then the first POST's response came after all."""
    again = MOMENT + timedelta(hours=3)
    key = deliver("accepted", "T1")
    post(key, "accepted_with_id", springest_certificate_id=7, started_at=MOMENT)
    post(key, started_at=again)
    deliver("unknown", "T2", sent_at=again, learner_ref="b" * 64)
    show(7, created_at=MOMENT)
    show(8, created_at=again, recorded_at=again + timedelta(hours=1))
    publish_only_us(warehouse)
    row = verdict(warehouse, "T2")
    assert (row.verification_status, row.springest_certificate_id) == ("ambiguous", None)
    assert "2 POSTs can have made them" in row.match_evidence


@pytest.mark.parametrize("method", ["person", "springest_id"])
def test_an_owner_outweighs_a_contradicting_id(
    warehouse: Engine,
    deliver: Deliver,
    show: Show,
    scan: Scan,
    list_certification: Callable[..., None],
    method: str,
) -> None:
    """T1 has the id 7, and Springest names T2's learner: T2 is not absent, and neither is verified."""
    last = MOMENT + timedelta(days=4)
    deliver("visible", "T1", match_method=method)
    deliver("unknown", "T2", learner_ref="b" * 64)
    show(7, learner_ref="b" * 64, created_at=MOMENT, recorded_at=last)
    list_certification(since=MOMENT - timedelta(days=9), last=last)
    scan(MOMENT + timedelta(days=2))
    scan(last)
    assert publish_all(warehouse).became_absent == 0
    assert {verdict(warehouse, name).verification_status for name in ("T1", "T2")} <= {"ambiguous", "unknown"}
    change(
        warehouse,
        "UPDATE springest.delivery SET state = 'unknown', springest_certificate_id = NULL,"
        " match_method = NULL WHERE training_id = 'T1'",
    )
    publish_all(warehouse)
    row = verdict(warehouse, "T2")
    assert (row.verification_status, row.springest_certificate_id) == ("verified", 7)


def test_two_certificates_of_one_learner_prove_neither(
    warehouse: Engine, deliver: Deliver, show: Show
) -> None:
    """In whichever order they appear: ours was stored late, and somebody uploaded the same by hand."""
    deliver("unknown")
    show(7, learner_ref=LEARNER, created_at=MOMENT + timedelta(hours=9))
    publish_all(warehouse)
    assert verdict(warehouse).verification_status == "verified"
    show(8, learner_ref=LEARNER, created_at=MOMENT + timedelta(minutes=50))
    publish_all(warehouse)
    row = verdict(warehouse)
    assert (row.verification_status, row.match_method, row.review_reason) == (
        "ambiguous",
        None,
        "shown_twice",
    )
    assert "2 certificates of this learner" in row.match_evidence
    assert "(7, 8)" in row.match_evidence
    assert publish_all(warehouse).written == 0


def test_a_certificate_shown_before_the_post_is_no_proof(
    warehouse: Engine, deliver: Deliver, show: Show
) -> None:
    """This holds whatever the other clock says."""
    deliver("unknown", sent_at=MOMENT + timedelta(hours=1))
    show(learner_ref=LEARNER)
    assert publish_all(warehouse).became_visible == 0


def test_an_id_with_another_learner_as_owner_is_no_proof(
    warehouse: Engine, deliver: Deliver, show: Show
) -> None:
    """An id proves nothing if Springest names another learner as the owner."""
    deliver("accepted")
    show(learner_ref="b" * 64)
    assert publish_all(warehouse).became_visible == 0
    assert verdict(warehouse).delivery_state == "accepted"
    assert verdict(warehouse).review_reason == "disagrees(learner)"


def test_an_absent_delivery_becomes_a_tie_once_one_fits(
    warehouse: Engine,
    deliver: Deliver,
    show: Show,
    scan: Scan,
    list_certification: Callable[..., None],
) -> None:
    """Once a certificate fits, a delivery that seemed absent no longer looks safe to release."""
    deliver("unknown")
    list_certification(since=MOMENT - timedelta(days=9), last=MOMENT + timedelta(days=3))
    scan(MOMENT + timedelta(days=1))
    scan(MOMENT + timedelta(days=2))
    publish_all(warehouse)
    assert "looks safe" in verdict(warehouse).delivery_reason_detail
    show(9, recorded_at=MOMENT + timedelta(days=3), created_at=MOMENT)
    publish_all(warehouse)
    row = verdict(warehouse)
    assert (row.delivery_reason, row.verification_status) == ("tie", "ambiguous")
    assert "do not release it before somebody has looked at 9" in row.delivery_reason_detail


def test_certificates_that_nobody_claims_are_shown(warehouse: Engine, deliver: Deliver, show: Show) -> None:
    """Certificates matched by id or by inference are not among them."""
    deliver("accepted", "T1", springest_certificate_id=1)
    deliver("unknown", "T2", certification_id=103)
    deliver("unknown", "T3", certification_id=104)
    show(1)
    show(2, certification_id=103, created_at=MOMENT)
    show(3, certification_id=104, created_at=MOMENT)
    show(4, certification_id=104, created_at=MOMENT)
    show(5, valid_from=date(2020, 1, 1), created_at=datetime(2020, 1, 1, tzinfo=UTC))
    publish_only_us(warehouse)
    with warehouse.connect() as connection:
        unmatched = connection.execute(
            text("SELECT springest_certificate_id FROM springest.unmatched_remote_certificate ORDER BY 1")
        )
        assert unmatched.scalars().all() == [3, 4, 5]


@pytest.mark.parametrize("certification_id", [102, 103])
def test_the_clock_is_measured_only_to_compare_times(
    warehouse: Engine, deliver: Deliver, show: Show, certification_id: int
) -> None:
    """Measuring it reads the whole ledger, which most nights need not do."""
    deliver("unknown")
    show(certification_id=certification_id)
    measured: list[str] = []

    def note(_connection: Any, _cursor: Any, statement: str, *_: Any) -> None:
        if "remote.created_at - delivery.sent_at" in statement:
            measured.append(statement)

    event.listen(warehouse, "before_cursor_execute", note)
    publish_only_us(warehouse)
    event.remove(warehouse, "before_cursor_execute", note)
    assert len(measured) == (1 if certification_id == 102 else 0)


def test_ids_calibrate_the_clock_and_separate_two_posts(
    warehouse: Engine, deliver: Deliver, show: Show
) -> None:
    """Springest's clock is two hours ahead; two POSTs three hours apart would otherwise be a tie."""
    for number in range(1, 7):
        at = MOMENT + timedelta(hours=number - 2)
        deliver("accepted", f"C{number}", sent_at=at, springest_certificate_id=number, certification_id=110)
        show(number, certification_id=110, created_at=at + timedelta(hours=2))
    deliver("unknown", "T1", sent_at=MOMENT)
    deliver("unknown", "T2", sent_at=MOMENT + timedelta(hours=3), learner_ref="b" * 64)
    later = MOMENT + timedelta(days=1)
    show(8, created_at=MOMENT + timedelta(hours=5, seconds=2), recorded_at=later, first_seen_at=later)
    publish_only_us(warehouse)
    assert verdict(warehouse, "T1").verification_status == "unknown"
    assert verdict(warehouse, "T2").springest_certificate_id == 8


def test_another_day_is_no_candidate(warehouse: Engine, deliver: Deliver, show: Show) -> None:
    """A certificate with another first day of validity is no candidate."""
    deliver("unknown")
    show(valid_from=DAY + timedelta(days=1), created_at=MOMENT)
    publish_only_us(warehouse)
    assert verdict(warehouse).verification_status == "unknown"


def test_a_persons_word_takes_no_post_out(
    warehouse: Engine, deliver: Deliver, show: Show, post: Post
) -> None:
    """T1 was confirmed to be 7; if that was wrong, 8 is T1's and not T2's."""
    key = deliver("visible", "T1", match_method="person")
    post(key, started_at=MOMENT)
    deliver("unknown", "T2", learner_ref="b" * 64)
    show(7, created_at=MOMENT)
    show(8, created_at=MOMENT)
    publish_only_us(warehouse)
    assert verdict(warehouse, "T2").springest_certificate_id is None


@pytest.mark.parametrize("shown", [1, 2])
def test_a_certificate_of_an_earlier_post_is_the_deliverys(
    warehouse: Engine, deliver: Deliver, show: Show, post: Post, shown: int
) -> None:
    """It was released and sent again three days later, and neither outcome is known; two of it are a tie."""
    again = MOMENT + timedelta(days=3)
    key = deliver("unknown", sent_at=again)
    for at in (MOMENT, again):
        post(key, started_at=at, certification_id=102, valid_from=DAY)
    for number, at in list(enumerate((MOMENT, again), start=7))[:shown]:
        show(number, created_at=at, first_seen_at=again, recorded_at=again)
    publish_only_us(warehouse)
    row = verdict(warehouse)
    if shown == 1:
        assert (row.verification_status, row.springest_certificate_id) == ("inferred", 7)
    else:
        assert (row.verification_status, row.springest_certificate_id) == ("ambiguous", None)
        assert "(7, 8)" in row.match_evidence
    assert publish_only_us(warehouse).written == 0
