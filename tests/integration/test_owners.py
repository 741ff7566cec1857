"""Asking whose a certificate is, over a real source, a real warehouse and a real server."""

from __future__ import annotations

import pytest
from sqlalchemy import insert, update

from demo.source_database import learner
from sandbox.faults import Fault, Kind
from sandbox.profiles import AnswerBody, EmailFilter, Profile
from sandbox.store import NewCertificate
from springest.db.schema import filter_support
from springest.snapshot.owners import OwnersReport
from tests.factories import add_delivery

NO_ID = AnswerBody.NO_ID


@pytest.fixture
def class_of_three(make_world):
    """Three learners with the same certification and dates; Springest returns neither ids nor owners."""

    def make(email_filter=EmailFilter.EXACT, **extra):
        world = make_world(**extra)
        world.sandbox.state.profile = Profile(answer_body=NO_ID, email_filter=email_filter)
        trainings = [world.training() for _ in range(3)]
        world.complete(*trainings)
        world.catalogue()
        world.stage()
        world.deliver()
        world.snapshot()
        world.publish()
        return world

    return make


def verdicts(world):
    return world.rows(
        "SELECT verification_status, match_method, count(*) FROM springest.certificate_reconciliation"
        " GROUP BY 1, 2"
    )


def asked_for(world):
    return [request for request in world.sandbox.store.requests() if request.method == "GET"]


def test_an_owner_filter_resolves_a_tie_by_proof(class_of_three):
    """Each learner's list contains one certificate: that proves its owner, and the verdict names the
    method.
    """
    world = class_of_three()
    assert verdicts(world) == [("ambiguous", "set_complete", 3)]
    report = world.owners()
    # One question that must have no answer, three about learners, two about parts of the first address.
    assert report == OwnersReport(asked=3, certificates=3, requests=6)
    world.publish()
    assert verdicts(world) == [("verified", "owner", 3)]
    own = world.rows(
        "SELECT delivery.learner_ref = remote.learner_ref, match_evidence"
        " FROM springest.certificate_reconciliation AS delivery"
        " JOIN springest.remote_certificate AS remote USING (springest_certificate_id)"
    )
    assert all(is_same for is_same, _ in own)
    assert all("listed it for this learner's address" in evidence for _, evidence in own)
    assert world.rows("SELECT filter, is_honoured FROM springest.filter_support") == [("email", True)]


def test_known_owners_stay_and_nobody_is_queried_twice(class_of_three):
    """Owners stay known when a later list names none, and no learner is queried again."""
    world = class_of_three()
    world.owners()
    world.publish()
    before = world.rows("SELECT xmin, * FROM springest.verdict ORDER BY delivery_id")
    world.snapshot("next")
    assert world.owners("next") == OwnersReport()
    world.publish("next")
    assert world.rows("SELECT xmin, * FROM springest.verdict ORDER BY delivery_id") == before


@pytest.mark.parametrize("email_filter", [EmailFilter.IGNORED, EmailFilter.PART])
def test_a_filter_that_ignores_the_email_is_not_believed(class_of_three, email_filter):
    """A site that ignores the filter, or matches a part of the e-mail address, is noticed and not
    believed.
    """
    world = class_of_three(email_filter)
    report = world.owners()
    assert (report.asked, report.certificates) == (0, 0)
    world.publish()
    assert verdicts(world) == [("ambiguous", "set_complete", 3)]
    assert world.rows("SELECT is_honoured FROM springest.filter_support") == [(False,)]
    requests = len(asked_for(world))
    assert world.owners("next") == OwnersReport()
    assert len(asked_for(world)) == requests


def test_a_filter_that_contradicts_an_id_is_not_believed(class_of_three):
    """However it behaved before: nothing of that run is stored."""
    world = class_of_three()
    world.owners()
    [(number,)] = world.rows("SELECT min(springest_certificate_id) FROM springest.remote_certificate")
    with world.warehouse.begin() as connection:
        connection.exec_driver_sql("DELETE FROM springest.owner_lookup")
        connection.exec_driver_sql("UPDATE springest.remote_certificate SET learner_ref = NULL")
    add_delivery(world.warehouse, "accepted", "other", springest_certificate_id=number, learner_ref="another")
    assert world.owners("next").certificates == 0
    assert world.rows("SELECT count(learner_ref) FROM springest.remote_certificate") == [(0,)]
    assert world.rows("SELECT is_honoured, evidence FROM springest.filter_support") == [
        (False, "it returned a certificate of one learner for another")
    ]


@pytest.mark.parametrize("extra", [{"owner_reads_per_run": 0}, {"list_filters": False}])
def test_owner_queries_can_be_switched_off(class_of_three, extra):
    """With the setting off no owner is queried."""
    world = class_of_three(**extra)
    before = len(asked_for(world))
    assert world.owners() == OwnersReport()
    assert len(asked_for(world)) == before


def test_owner_queries_keep_their_budget(class_of_three):
    """The next run continues with the other learners."""
    world = class_of_three(owner_reads_per_run=4)
    assert world.owners() == OwnersReport(asked=1, certificates=1, requests=4)
    assert world.owners("next") == OwnersReport(asked=2, certificates=2, requests=3)


def test_a_manual_upload_beside_ours_stays_a_tie(class_of_three):
    """Both are the learner's, so it is unknown which of them was sent."""
    world = class_of_three()
    ours = world.sandbox.store.certificates()[0]
    world.sandbox.store.store(NewCertificate(ours.certification_id, ours.email, ours.valid_from))
    world.snapshot()
    world.owners()
    world.publish()
    assert sorted(verdicts(world)) == [("ambiguous", None, 1), ("verified", "owner", 2)]


def test_an_error_of_the_server_keeps_the_owners_known_so_far(class_of_three):
    """Owners that were returned before the server failed are stored."""
    world = class_of_three()
    world.owners()
    with world.warehouse.begin() as connection:
        connection.exec_driver_sql("DELETE FROM springest.owner_lookup")
        connection.exec_driver_sql("UPDATE springest.remote_certificate SET learner_ref = NULL")
    world.sandbox.state.faults.add(Fault(Kind.STATUS, status=500, skip=2, method="GET"))
    assert world.owners("next").asked == 1


def test_a_learner_with_a_changed_email_is_not_queried(class_of_three):
    """Their reference no longer fits the source's e-mail address."""
    world = class_of_three()
    with world.source.begin() as connection:
        connection.execute(update(learner).values(email="somebody.else@example.com"))
    before = len(asked_for(world))
    world.owners()
    assert len(asked_for(world)) == before + 1


def test_a_filter_that_stopped_working_is_noticed_first(make_world):
    """The remembered test is days old; somebody else's certificate is not taken for the learner's."""
    world = make_world()
    world.sandbox.state.profile = Profile(answer_body=NO_ID)
    training = world.training()
    world.complete(training)
    world.sandbox.state.faults.add(Fault(Kind.STATUS, status=500))
    world.catalogue()
    world.stage()
    world.deliver()
    world.sandbox.store.store(
        NewCertificate(training.certification_id, "manual@example.com", training.valid_from.isoformat())
    )
    world.snapshot()
    world.publish()
    with world.warehouse.begin() as connection:
        kept = {"site": "default", "filter": "email", "is_honoured": True, "evidence": "kept"}
        connection.execute(insert(filter_support).values(kept))
    world.sandbox.state.profile = Profile(answer_body=NO_ID, email_filter=EmailFilter.IGNORED)
    world.owners()
    world.publish()
    assert verdicts(world) == [("ambiguous", None, 1)]
    assert world.rows("SELECT filter, is_honoured FROM springest.filter_support") == [("email", False)]
