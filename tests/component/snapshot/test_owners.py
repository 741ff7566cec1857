"""Proof by owner: where the site names the learner, a delivery without an id can be proven, never guessed."""

from __future__ import annotations

from collections.abc import Callable
from datetime import date, timedelta
from typing import Any

import pytest
from sqlalchemy import Engine

from tests.component.conftest import Deliver, Post, Scan, Show
from tests.component.published import publish_all, verdict
from tests.factories import DAY, MOMENT

LEARNER = "a" * 64


@pytest.mark.parametrize(
    ("state", "values"),
    [
        ("unknown", {}),
        ("accepted_no_id", {}),
        ("review", {"reason": "absent"}),
        ("held", {"reason": "before_cutover"}),
    ],
)
def test_a_learners_only_certificate_is_their_only_delivery(
    warehouse: Engine, deliver: Deliver, show: Show, state: str, values: dict[str, Any]
) -> None:
    """The only certificate of a learner proves their only delivery."""
    deliver(state, **values)
    show(learner_ref=LEARNER)
    assert publish_all(warehouse).became_visible == 1
    row = verdict(warehouse)
    assert (row.delivery_state, row.verification_status, row.match_method, row.springest_certificate_id) == (
        "visible",
        "verified",
        "owner",
        7,
    )
    assert "names the learner as its owner" in row.match_evidence
    assert ("has no POST" in row.match_evidence) == (state == "held")
    assert (row.delivery_reason, row.needs_review) == (None, False)
    assert publish_all(warehouse).written == 0


@pytest.mark.parametrize(
    "shown",
    [
        {"learner_ref": None},
        {"learner_ref": "b" * 64},
        {"certification_id": 103},
        {"certification_id": None},
        {"valid_from": date(2026, 11, 3)},
        {"valid_from": None},
        {"valid_until": date(2030, 1, 1)},
        {"created_at": MOMENT - timedelta(days=3)},
    ],
)
def test_different_or_unknown_data_is_no_proof(
    warehouse: Engine, deliver: Deliver, show: Show, shown: dict[str, Any]
) -> None:
    """A certificate with other data, or of which too little is known, proves nothing."""
    deliver("unknown")
    show(**{"learner_ref": LEARNER, **shown})
    assert publish_all(warehouse).became_visible == 0
    assert verdict(warehouse).springest_certificate_id is None


@pytest.mark.parametrize(
    ("candidate", "proven"),
    [
        ({}, 0),
        ({"created_at": MOMENT + timedelta(hours=1)}, 0),
        ({"recorded_at": MOMENT + timedelta(days=1)}, 1),  # it was there to be asked about
        ({"valid_from": date(2026, 11, 3)}, 1),
        ({"created_at": MOMENT - timedelta(days=3)}, 1),  # it was there before
        ({"learner_ref": "b" * 64}, 1),
    ],
)
def test_a_vanished_candidate_of_unknown_owner_prevents_proof(
    warehouse: Engine, deliver: Deliver, show: Show, scan: Scan, candidate: dict[str, Any], proven: int
) -> None:
    """The learner's other certificate may have been uploaded by somebody else."""
    deliver("unknown")
    show(8, **candidate)
    scan(MOMENT + timedelta(days=1))
    show(7, learner_ref=LEARNER, owner_told_by="filter", recorded_at=MOMENT + timedelta(days=1, hours=1))
    assert publish_all(warehouse).became_visible == proven


@pytest.mark.parametrize("state", ["ready", "held", "rejected", "withdrawn", "cancelled", "sending"])
def test_only_sent_deliveries_are_matched(
    warehouse: Engine, deliver: Deliver, show: Show, state: str
) -> None:
    """Deliveries that were not sent, or are in flight, are not matched."""
    deliver(state)
    show(learner_ref=LEARNER)
    assert publish_all(warehouse).became_visible == 0


def test_an_unsent_duplicate_neither_matches_nor_blocks(
    warehouse: Engine, deliver: Deliver, show: Show
) -> None:
    """A duplicate that was never sent neither gets the certificate nor prevents the match."""
    deliver("unknown", "T1")
    deliver("review", "T2", reason="duplicate", sent_at=None)
    show(learner_ref=LEARNER)
    assert publish_all(warehouse).became_visible == 1
    assert verdict(warehouse, "T1").match_method == "owner"
    assert verdict(warehouse, "T2").match_method is None


def test_equal_certificates_or_deliveries_are_no_proof(
    warehouse: Engine, deliver: Deliver, show: Show
) -> None:
    """Two issues of one training may be alike."""
    deliver("unknown", "T1")
    show(7, learner_ref=LEARNER)
    show(8, learner_ref=LEARNER)
    deliver("unknown", "T2", learner_ref="b" * 64)
    deliver("sending", "T3", learner_ref="b" * 64, updated_at=MOMENT)
    show(9, learner_ref="b" * 64)
    assert publish_all(warehouse).became_visible == 0


def test_a_certificate_matched_by_id_is_no_candidate(warehouse: Engine, deliver: Deliver, show: Show) -> None:
    """A certificate that one delivery has by its id is no other's."""
    deliver("accepted", "T1", springest_certificate_id=7)
    deliver("unknown", "T2")
    show(7, learner_ref=LEARNER)
    assert publish_all(warehouse).became_visible == 1
    assert verdict(warehouse, "T2").verification_status == "unknown"


def test_matching_by_owner_stays_within_a_site(warehouse: Engine, deliver: Deliver, show: Show) -> None:
    """A certificate is never matched by owner with a delivery of another site."""
    deliver("unknown", valid_from=DAY)
    show(learner_ref=LEARNER, site="other")
    assert publish_all(warehouse).became_visible == 0


@pytest.fixture
def deliver_twice(deliver: Deliver, post: Post) -> Callable[[str, str], None]:
    """Put a delivery into the ledger that was released after a lost response, and lost the second one too."""

    def add(state: str, training_id: str) -> None:
        again = MOMENT + timedelta(hours=3)
        key = deliver(state, training_id, sent_at=again, reason="response_lost")
        for moment in (MOMENT, again):
            post(key, started_at=moment, certification_id=102, valid_from=DAY)

    return add


@pytest.mark.parametrize("state", ["unknown", "accepted_no_id", "review"])
@pytest.mark.parametrize("hours", [0, 3])
def test_any_post_of_a_delivery_can_explain_its_certificate(
    warehouse: Engine,
    deliver: Deliver,
    show: Show,
    deliver_twice: Callable[[str, str], None],
    state: str,
    hours: int,
) -> None:
    """Its own earlier POST is no rival; another certificate in the same block is still considered."""
    seen = MOMENT + timedelta(hours=4)
    deliver_twice(state, "T1")
    deliver("unknown", "T2", learner_ref="b" * 64, sent_at=MOMENT)
    show(7, learner_ref=LEARNER, created_at=MOMENT + timedelta(hours=hours), recorded_at=seen)
    show(8, learner_ref="c" * 64, created_at=MOMENT, recorded_at=seen)
    assert publish_all(warehouse).became_visible == 1
    row = verdict(warehouse)
    assert (row.verification_status, row.match_method, row.springest_certificate_id) == (
        "verified",
        "owner",
        7,
    )
    assert publish_all(warehouse).written == 0


def test_two_certificates_of_one_delivery_prove_neither(
    warehouse: Engine, deliver: Deliver, show: Show, deliver_twice: Callable[[str, str], None]
) -> None:
    """It was stored twice: a person must look."""
    seen = MOMENT + timedelta(hours=4)
    deliver_twice("unknown", "T1")
    for number, hours in ((7, 0), (8, 3)):
        show(number, learner_ref=LEARNER, created_at=MOMENT + timedelta(hours=hours), recorded_at=seen)
    assert publish_all(warehouse).became_visible == 0
    assert verdict(warehouse).verification_status == "ambiguous"


def test_a_certificate_of_two_possible_deliveries_is_no_proof(
    warehouse: Engine, deliver: Deliver, show: Show, deliver_twice: Callable[[str, str], None]
) -> None:
    """A certificate that two deliveries may have created proves neither, however often they were sent."""
    deliver_twice("unknown", "T1")
    deliver_twice("unknown", "T2")
    show(learner_ref=LEARNER, created_at=MOMENT, recorded_at=MOMENT + timedelta(hours=4))
    assert publish_all(warehouse).became_visible == 0
