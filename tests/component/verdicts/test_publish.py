"""Verdicts, over a real PostgreSQL: what each delivery is called, on what proof, and that sums add up."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta
from typing import Any

import pytest
from sqlalchemy import Engine, text

from springest.errors import ConservationBroken
from springest.states import State
from springest.verdicts import pending
from tests.component.conftest import Deliver, Show
from tests.component.published import publish_all, verdict
from tests.factories import DAY, MOMENT, add_staging_run

WITHOUT_A_REMOTE = {
    State.READY: "not_sent",
    State.INVALID: "invalid",
    State.HELD: "held",
    State.SENDING: "unknown",
    State.REJECTED: "rejected",
    State.ACCEPTED: "awaiting_verification",
    State.ACCEPTED_NO_ID: "awaiting_verification",
    State.UNKNOWN: "unknown",
    State.VISIBLE: "awaiting_verification",
    State.REVIEW: "unknown",
    State.VANISHED: "vanished",
    State.WITHDRAWN: "withdrawn",
    State.CANCELLED: "cancelled",
}


@pytest.mark.parametrize("state", list(State))
def test_every_state_has_its_verdict_when_nothing_is_shown(
    warehouse: Engine, deliver: Deliver, state: State
) -> None:
    """Each state has the verdict of its line while Springest shows nothing."""
    deliver(state.value, reason="a_reason")
    report = publish_all(warehouse)
    assert report.statuses == {WITHOUT_A_REMOTE[state]: 1}
    assert verdict(warehouse).match_method is None
    assert verdict(warehouse).needs_review == (WITHOUT_A_REMOTE[state] in {"unknown", "vanished"})


@pytest.mark.parametrize("method", ["springest_id", "owner", "person", None])
@pytest.mark.parametrize("state", list(State))
def test_verified_needs_a_proof_named_by_its_rule(
    warehouse: Engine, deliver: Deliver, show: Show, state: State, method: str | None
) -> None:
    """Every state and method, with a certificate shown under the id: a case that no rule names is never
    verified.
    """
    deliver(state.value, reason="a_reason", springest_certificate_id=7, match_method=method)
    show(7)
    publish_all(warehouse)
    row = verdict(warehouse)
    if row.verification_status == "verified":  # matching may have moved it to visible just before
        assert row.delivery_state in {"accepted", "accepted_no_id", "visible"}
        assert row.match_method in {"springest_id", "owner"}
    if state is State.VISIBLE:
        expected = {"springest_id": "verified", "owner": "verified", "person": "inferred", None: "unknown"}
        assert row.verification_status == expected[method]
        assert row.needs_review == (method is None)


def test_an_unsent_duplicate_is_held(warehouse: Engine, deliver: Deliver) -> None:
    """A duplicate that was never sent is `held` and needs a person."""
    deliver("review", reason="duplicate", sent_at=None)
    publish_all(warehouse)
    assert (verdict(warehouse).verification_status, verdict(warehouse).review_reason) == ("held", "duplicate")


def test_a_certificate_shown_under_its_id_is_verified(
    warehouse: Engine, deliver: Deliver, show: Show
) -> None:
    """The verdict names the proof."""
    deliver("accepted")
    show()
    assert publish_all(warehouse).became_visible == 1
    row = verdict(warehouse)
    assert (row.delivery_state, row.verification_status, row.match_method) == (
        "visible",
        "verified",
        "springest_id",
    )
    assert "the id in the response" in row.match_evidence
    assert (row.first_visible_at, row.needs_review) == (MOMENT, False)


def test_a_certificate_past_its_last_day_is_expired(warehouse: Engine, deliver: Deliver, show: Show) -> None:
    """A verified certificate whose `valid_until` has passed is `expired`."""
    deliver("accepted", valid_until=date(2026, 11, 3), valid_from=DAY)
    show(valid_until=date(2026, 11, 3))
    publish_all(warehouse)
    assert verdict(warehouse).verification_status == "expired"


@pytest.mark.parametrize(
    ("shown", "reason"),
    [
        ({"certification_id": 103}, "disagrees(certification_id)"),
        ({"valid_from": date(2026, 11, 3)}, "disagrees(valid_from)"),
        ({"valid_until": date(2030, 1, 1)}, "disagrees(valid_until)"),
        ({"learner_ref": "b" * 64}, "disagrees(learner)"),
        ({"springest_status": "on hold"}, "status_not_foreseen"),
    ],
)
def test_a_certificate_shown_with_other_data_is_ambiguous(
    warehouse: Engine, deliver: Deliver, show: Show, shown: dict[str, Any], reason: str
) -> None:
    """A certificate whose data differ from those sent is never `verified`."""
    deliver("accepted")
    show(**shown)
    publish_all(warehouse)
    row = verdict(warehouse)
    assert (row.verification_status, row.review_reason, row.needs_review) == ("ambiguous", reason, True)


@pytest.mark.parametrize("status", ["verified", "VERIFIED", None])
def test_a_verified_or_missing_status_counts_as_shown(
    warehouse: Engine, deliver: Deliver, show: Show, status: str | None
) -> None:
    """Springest lists certificates of verified certifications only."""
    deliver("accepted")
    show(springest_status=status)
    publish_all(warehouse)
    assert verdict(warehouse).verification_status == "verified"


def test_an_id_of_two_deliveries_proves_neither(warehouse: Engine, deliver: Deliver, show: Show) -> None:
    """If two deliveries have the same id, it proves neither."""
    deliver("accepted", "T1")
    deliver("accepted", "T2")
    show()
    assert publish_all(warehouse).became_visible == 0
    for name in ("T1", "T2"):
        assert verdict(warehouse, name).verification_status == "ambiguous"
        assert verdict(warehouse, name).match_method is None


@pytest.mark.parametrize("table", ["verdict", "delivery", "remote_certificate"])
def test_publishing_again_rewrites_no_row(
    warehouse: Engine, deliver: Deliver, show: Show, table: str
) -> None:
    """No row of the analysts' table or of the ledger is written again."""
    deliver("accepted", "T1")
    deliver("held", "T2")
    show()

    def written() -> Any:
        with warehouse.connect() as connection:
            return connection.execute(
                text(f"SELECT ctid::text, xmin::text FROM springest.{table} ORDER BY 1")  # noqa: S608
            ).all()

    assert publish_all(warehouse).written == 2
    before = written()
    again = publish_all(warehouse)
    assert (again.written, again.became_visible, written()) == (0, 0, before)


def test_a_row_without_a_verdict_stops_the_publication(warehouse: Engine, deliver: Deliver) -> None:
    """The last good state stays readable."""
    key = deliver("held")
    publish_all(warehouse)
    add_staging_run(warehouse, [key], source_count=2)
    with warehouse.begin() as connection:
        connection.execute(text("UPDATE springest.delivery SET state = 'invalid'"))
    with pytest.raises(ConservationBroken, match=r"run night counted 2 .* and 1 have a verdict"):
        publish_all(warehouse)
    assert verdict(warehouse).verification_status == "held"


def test_another_sites_deliveries_have_no_verdict_here(warehouse: Engine, deliver: Deliver) -> None:
    """Reconciling one site computes no verdict for another."""
    deliver("ready")
    with warehouse.begin() as connection:
        connection.execute(text("UPDATE springest.delivery SET site = 'other'"))
    assert publish_all(warehouse).statuses == {}
    with warehouse.connect() as connection:
        assert connection.execute(text("SELECT count(*) FROM springest.verdict")).scalar_one() == 0


DECIDED = (
    "outcome_unknown",
    "unknown_for_long",
    "absent",
    "missing",
    "vanished",
    "tie",
    "more_shown_than_sent",
    "candidate_shown",
    "duplicate",
    "reopened",
    "ledger_restored",
    "disagrees(learner)",
)
"""Reasons after which a person decides about the delivery."""
LOOKED_AT = (
    "changed_after_sending(valid_from)",
    "withdrawn_after_sending",
    "training_id_in_several_sources(lms1, lms2)",
    "shown_twice",
    "stored_twice(attempt 1: certificate 7)",
    "stored_although_cancelled",
    "status_not_foreseen",
)
"""Reasons after which it is put right elsewhere."""


def test_every_review_reason_has_an_action(warehouse: Engine, deliver: Deliver) -> None:
    """Each reason of the review list has an action, and a decision has its command."""
    for reason in ("something else", *DECIDED, *LOOKED_AT):
        deliver("review", reason, reason="absent", needs_review=True, review_reason=reason)
    publish_all(warehouse)
    with warehouse.connect() as connection:
        found = connection.execute(text("SELECT training_id, what_to_do FROM springest.delivery_review"))
        actions = {row.training_id: row.what_to_do for row in found}
    default = actions.pop("something else")
    assert actions.keys() == {*DECIDED, *LOOKED_AT}
    assert len({*actions.values(), default}) == len(actions) + 1
    assert all("bin/springest review" in actions[reason] for reason in DECIDED)


def test_a_delivery_in_flight_is_not_unknown_before_its_lease(
    warehouse: Engine, deliver: Deliver, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nobody is asked to look.

    If its worker died nothing writes to it, and it is judged again when the lease ends.
    """
    deliver("sending", sent_at=None, lease_until=datetime.now(UTC) + timedelta(hours=1))
    publish_all(warehouse)
    row = verdict(warehouse)
    assert (row.delivery_state, row.verification_status, row.needs_review) == ("sending", "not_sent", False)
    assert publish_all(warehouse).written == 0
    monkeypatch.setattr(pending, "_NOW", text("SELECT clock_timestamp() + interval '61 minutes'"))
    assert publish_all(warehouse).written == 1
    row = verdict(warehouse)
    assert (row.verification_status, row.review_reason) == ("unknown", "outcome_unknown")
