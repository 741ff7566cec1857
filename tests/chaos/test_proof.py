"""The chaos' judge: it finds nothing where all is well, and each kind of wrong where it is."""

from __future__ import annotations

from dataclasses import replace

import pytest

from sandbox.store import Request, StoredCertificate

from .proof import Attempt, Delivery, Evidence, SourceRow, failures

ROW = SourceRow("T1", "zoe@example.com", 102, "2026-11-02", "aa")
DELIVERY = Delivery("key-1", "T1", "accepted", 1001)
ATTEMPT = Attempt(1, "key-1", 10.0, "accepted_with_id", "aa", 1001)
STORED = StoredCertificate(
    certification_id=102, email="zoe@example.com", valid_from="2026-11-02", sha256="aa", id=1001
)
POST = Request(1, 11.0, "POST", "/certificates.xml", "certificates", 201, "aa")
BROKEN_OFF = replace(POST, id=2, at=9.0, answered=None, sha256=None)
GIVEN_BACK = replace(
    ATTEMPT, attempt_id=0, started_at=8.0, outcome="not_stored", springest_certificate_id=None
)
WELL = Evidence(1, [ROW], [DELIVERY], [ATTEMPT], [STORED], [POST])
IN_DOUBT = replace(
    WELL,
    deliveries=[replace(DELIVERY, state="unknown", springest_certificate_id=None)],
    attempts=[replace(ATTEMPT, outcome="outcome_unknown", springest_certificate_id=None)],
)


@pytest.mark.parametrize(
    "evidence",
    [
        WELL,
        IN_DOUBT,
        replace(IN_DOUBT, stored=[]),
        replace(IN_DOUBT, stored=[], posts=[]),
        replace(WELL, attempts=[GIVEN_BACK, ATTEMPT], posts=[BROKEN_OFF, POST]),
        replace(
            WELL,
            deliveries=[replace(DELIVERY, state="rejected", springest_certificate_id=None)],
            attempts=[replace(ATTEMPT, outcome="refused")],
            posts=[replace(POST, answered=422)],
            stored=[],
        ),
    ],
    ids=["sent", "in doubt and there", "in doubt and not there", "never came", "broke off before", "refused"],
)
def test_an_uncertain_story_is_no_violation(evidence):
    """An unknown outcome is allowed, and so is a POST that broke off and was repeated."""
    assert failures(evidence) == []


@pytest.mark.parametrize(
    ("check", "evidence"),
    [
        ("stored_twice", replace(WELL, stored=[STORED, replace(STORED, id=1002)])),
        (
            "unknown_certificate",
            replace(WELL, stored=[STORED, replace(STORED, id=1002, email="ann@example.com")]),
        ),
        ("unknown_certificate", replace(WELL, stored=[STORED, replace(STORED, id=1002, sha256="bb")])),
        ("received_twice", replace(WELL, posts=[POST, replace(POST, id=2, answered=None)])),
        ("received_twice", replace(IN_DOUBT, posts=[POST, replace(POST, id=2, answered=500)], stored=[])),
        ("unexplained", replace(WELL, attempts=[])),
        ("unexplained", replace(WELL, attempts=[replace(ATTEMPT, started_at=11.5)])),
        ("unexplained", replace(WELL, posts=[BROKEN_OFF, POST])),
        ("unexplained", replace(WELL, attempts=[replace(ATTEMPT, sha256="bb")])),
        (
            "unexplained",
            replace(WELL, attempts=[replace(GIVEN_BACK, started_at=9.5), ATTEMPT], posts=[BROKEN_OFF, POST]),
        ),
        ("unaccounted", replace(WELL, source_count=2)),
        ("unaccounted", replace(WELL, source_count=2, rows=[ROW, replace(ROW, training_id="T2")])),
        ("unaccounted", replace(WELL, deliveries=[DELIVERY, replace(DELIVERY, training_id="T2")])),
        ("unfinished", replace(WELL, deliveries=[replace(DELIVERY, state="ready")], stored=[])),
        ("unfinished", replace(WELL, deliveries=[replace(DELIVERY, state="sending")], stored=[])),
        ("unfinished", replace(WELL, deliveries=[replace(DELIVERY, state="rejected")], stored=[])),
        ("accepted_but_not_stored", replace(WELL, stored=[])),
        ("accepted_but_not_stored", replace(WELL, stored=[replace(STORED, id=1002)])),
        ("accepted_but_not_stored", replace(WELL, stored=[replace(STORED, email="ann@example.com")])),
        ("stored_but_not_accepted", replace(WELL, deliveries=[replace(DELIVERY, state="rejected")])),
        ("sent_twice", replace(WELL, attempts=[ATTEMPT, replace(ATTEMPT, attempt_id=2)])),
        ("sent_twice", replace(WELL, attempts=[ATTEMPT, replace(ATTEMPT, attempt_id=2, outcome=None)])),
    ],
)
def test_each_kind_of_wrong_is_found(check, evidence):
    """A judge that can't say no would prove nothing."""
    assert any(failure.startswith(f"{check}: ") for failure in failures(evidence))
