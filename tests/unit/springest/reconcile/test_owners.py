"""Proof by owner: where the site names the learner, a delivery without an id can be proven, never guessed."""

from __future__ import annotations

from datetime import date, timedelta
from typing import Any

import pytest
from sqlalchemy import Engine

from .conftest import DAY, MOMENT, Deliver, Show
from .test_publish import publish_all, verdict

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
def test_the_only_certificate_of_a_learner_is_the_only_delivery(
    warehouse: Engine, deliver: Deliver, show: Show, state: str, values: dict[str, Any]
) -> None:
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
    assert ("cutover" in row.match_evidence) == (state == "held")
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
def test_whatever_disagrees_or_is_not_told_proves_nothing(
    warehouse: Engine, deliver: Deliver, show: Show, shown: dict[str, Any]
) -> None:
    deliver("unknown")
    show(**{"learner_ref": LEARNER, **shown})
    assert publish_all(warehouse).became_visible == 0
    assert verdict(warehouse).springest_certificate_id is None


@pytest.mark.parametrize("state", ["ready", "held", "rejected", "withdrawn", "cancelled", "sending"])
def test_what_was_not_sent_or_is_being_sent_is_not_matched(
    warehouse: Engine, deliver: Deliver, show: Show, state: str
) -> None:
    deliver(state)
    show(learner_ref=LEARNER)
    assert publish_all(warehouse).became_visible == 0


def test_a_duplicate_that_was_never_sent_neither_gets_the_certificate_nor_stands_in_its_way(
    warehouse: Engine, deliver: Deliver, show: Show
) -> None:
    deliver("unknown", "T1")
    deliver("review", "T2", reason="duplicate", sent_at=None)
    show(learner_ref=LEARNER)
    assert publish_all(warehouse).became_visible == 1
    assert verdict(warehouse, "T1").match_method == "owner"
    assert verdict(warehouse, "T2").match_method is None


def test_two_certificates_or_two_deliveries_with_the_same_facts_prove_nothing(
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


def test_a_certificate_that_another_delivery_has_by_its_id_is_nobody_elses(
    warehouse: Engine, deliver: Deliver, show: Show
) -> None:
    deliver("accepted", "T1", springest_certificate_id=7)
    deliver("unknown", "T2")
    show(7, learner_ref=LEARNER)
    assert publish_all(warehouse).became_visible == 1
    assert verdict(warehouse, "T2").verification_status == "unknown"


def test_a_certificate_that_goes_by_its_owner_is_not_matched_across_sites(
    warehouse: Engine, deliver: Deliver, show: Show
) -> None:
    deliver("unknown", valid_from=DAY)
    show(learner_ref=LEARNER, site="other")
    assert publish_all(warehouse).became_visible == 0
