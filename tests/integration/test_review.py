"""A person's decisions in the morning, and their effect on the following nights."""

from __future__ import annotations

import re
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest
from sqlalchemy import text, update

from demo.source_database import completed_training
from sandbox.faults import Fault, Kind
from springest.errors import DecisionRefused
from springest.review.decisions import Decisions, RequestedDecision
from springest.review.rules import ReleaseRules
from springest.states import DecisionKind

AT_ONCE = ReleaseRules(settled=timedelta(0), listed_is_verified=True)
"""The nights of a test follow each other within a second."""


def decide(world, training, decision, certificate_id=None, **values):
    [(key, version)] = world.rows(
        "SELECT delivery_key, version FROM springest.delivery WHERE training_id = :name",
        name=training.training_id,
    )
    choice = RequestedDecision(
        key,
        DecisionKind(decision),
        version,
        "anna",
        "looked in Springest's admin",
        certificate_id,
        **values,
    )
    rows = world.stager.look_up([training.training_id]).get(key, [])
    return Decisions(world.warehouse, site="default", rules=AT_ONCE).decide(choice, rows=rows)


def shown(world):
    return [certificate.id for certificate in world.sandbox.store.certificates()]


@pytest.fixture
def world(make_world):
    """A site that never names an owner, so a person must decide."""
    return make_world(profile="no_filters")


def test_a_certificate_springest_lacks_is_released_and_sent(world, expected):
    """The response was lost, and so was the certificate; it is sent once."""
    training = world.training()
    world.complete(training)
    world.sandbox.state.faults.add(Fault(Kind.CLOSE_BEFORE_STORING))
    world.night("first")
    assert world.states()[training.training_id] == ("unknown", "response_lost")
    decide(world, training, "release")
    world.night("second")
    world.night("third")
    assert (world.posts, world.stored) == (2, expected(training))
    assert world.statuses()[training.training_id] == ("verified", None)


def test_a_certificate_shown_after_release_is_not_sent(world, expected):
    """Springest stored it late; the reconciliation before the next night notices."""
    world.extra["list_filters"] = False  # nobody is proven by his address
    training = world.training()
    world.complete(training)
    world.sandbox.state.faults.add(Fault(Kind.STORE_LATE))
    world.night("first")
    decide(world, training, "release")
    world.sandbox.store.release()
    world.snapshot("noon")
    world.publish("noon")
    assert world.states()[training.training_id] == ("review", "candidate_shown")
    world.night("second")
    assert (world.posts, world.stored) == (1, expected(training))
    assert world.statuses()[training.training_id][0] == "ambiguous"
    decide(world, training, "confirm", shown(world)[0])
    assert world.states()[training.training_id] == ("visible", None)


@pytest.mark.parametrize("untold", ["certification_id", "valid_from"])
def test_an_incomplete_candidate_stops_a_released_delivery(world, untold):
    """As it would prevent a release: data that the site does not show contradicts nothing."""
    world.extra["list_filters"] = False  # nobody is proven by his address
    training = world.training()
    world.complete(training)
    world.sandbox.state.faults.add(Fault(Kind.STORE_LATE))
    world.night("first")
    decide(world, training, "release")
    world.sandbox.store.release()
    world.snapshot("noon")
    with world.warehouse.begin() as connection:
        connection.execute(text(f"UPDATE springest.remote_certificate SET {untold} = NULL"))  # noqa: S608
    world.publish("noon")
    assert world.states()[training.training_id] == ("review", "candidate_shown")
    world.stage("second")
    world.deliver("second")
    assert world.posts == 1


def test_a_stored_certificate_is_confirmed_not_released(world, expected):
    """The response was lost, and the certificate was not."""
    world.extra["list_filters"] = False  # nobody is proven by his address
    training = world.training()
    world.complete(training)
    world.sandbox.state.faults.add(Fault(Kind.CLOSE_AFTER_STORING))
    world.night("first")
    [certificate_id] = shown(world)
    with pytest.raises(DecisionRefused, match=f"certificate {certificate_id}, which may be this one"):
        decide(world, training, "release", without_evidence=True)
    decide(world, training, "confirm", certificate_id)
    world.night("second")
    assert (world.posts, world.stored) == (1, expected(training))
    [verdict] = world.rows(
        "SELECT verification_status, match_method, match_evidence, needs_review"
        " FROM springest.certificate_reconciliation"
    )
    assert verdict[:2] == ("inferred", "person")
    assert re.fullmatch(r"confirmed by a person at [-0-9: ]+ UTC, decision \d+", verdict.match_evidence)
    assert not verdict.needs_review


def test_a_confirmation_is_proof_where_the_site_names_the_owner(make_world):
    """Two of the same certificate: a person says which, and Springest says whose."""
    world = make_world(profile="owner_shown")
    training = world.training()
    world.complete(training)
    world.sandbox.state.faults.add(Fault(Kind.CLOSE_AFTER_STORING))
    world.night("first")
    with world.warehouse.begin() as connection:  # as it was before the owner was told
        connection.execute(
            text(
                "UPDATE springest.delivery SET state = 'unknown', springest_certificate_id = NULL,"
                " match_method = NULL"
            )
        )
    decide(world, training, "confirm", shown(world)[0])
    world.publish()
    [verdict] = world.rows(
        "SELECT verification_status, match_method, match_evidence FROM springest.certificate_reconciliation"
    )
    assert verdict[:2] == ("verified", "person")
    assert verdict.match_evidence.endswith("Springest names the learner as its owner")


def test_an_id_from_the_admin_is_verified_once_shown(world):
    """Its certification is not verified yet, so the API can't show it."""
    training = world.training(certification_id=105)
    world.complete(training)
    world.sandbox.state.faults.add(Fault(Kind.CLOSE_AFTER_STORING))
    world.night("first")
    decide(world, training, "confirm", shown(world)[0])
    world.night("second")
    assert world.statuses()[training.training_id][0] == "awaiting_verification"
    world.sandbox.store.verify(105)
    world.night("third")
    assert world.states()[training.training_id] == ("visible", None)
    assert world.statuses()[training.training_id][0] == "inferred"


def test_a_wrong_id_from_the_admin_is_noticed_once_shown(world):
    """The certificate shown under a wrong id disagrees with what was sent."""
    training, wrong = world.training(certification_id=105), world.training(certification_id=102)
    world.complete(training, wrong)
    world.sandbox.state.faults.add(Fault(Kind.CLOSE_BEFORE_STORING, certification_id=105))
    world.catalogue()
    world.stage()
    world.deliver()
    world.sandbox.store.remove_certification(101)
    with pytest.raises(DecisionRefused, match=f"belongs to training {wrong.training_id}"):
        decide(world, training, "confirm", shown(world)[0])
    decide(world, training, "confirm", shown(world)[0] + 1)
    third = world.training(certification_id=102)
    world.complete(third)
    world.night("second")
    assert world.statuses()[training.training_id][0] == "ambiguous"
    assert world.states()[training.training_id][0] == "accepted"
    decide(world, training, "reopen")
    world.publish()
    assert world.states()[training.training_id] == ("review", "reopened")
    assert world.statuses()[third.training_id][0] in {"awaiting_verification", "verified"}


def test_a_released_duplicate_is_sent_despite_staging(world, expected):
    """Its row is touched and its certification's entry changes, and it stays a person's decision."""
    first = world.training()
    again = replace(first, training_id="again", certificate_uri=world.training().certificate_uri)
    world.complete(first)
    world.night("first")
    world.complete(again)
    world.night("second")
    assert world.states()["again"] == ("review", "duplicate")
    decide(world, again, "release")
    with world.warehouse.begin() as connection:
        connection.execute(text("UPDATE springest.delivery SET catalogue_ref = 'another'"))
    with world.source.begin() as connection:
        touching = update(completed_training).where(completed_training.c.training_id == "again")
        connection.execute(touching.values(updated_at=datetime.now(UTC) - timedelta(seconds=2)))
    world.night("third")
    world.night("fourth")
    assert world.states()["again"][0] in {"accepted", "visible"}
    assert world.posts == 2
    assert sorted(world.stored) == sorted(expected(first, again))


def test_a_released_duplicate_and_its_original_both_wait(world, expected):
    """The duplicate was released before the first was sent; the first one stays in the queue."""
    first = world.training()
    again = replace(first, training_id="zz-again", certificate_uri=world.training().certificate_uri)
    world.complete(first, again)
    world.catalogue()
    world.stage("first")
    world.snapshot()
    states = world.states()
    [waiting] = [name for name, (state, _) in states.items() if state == "review"]
    decide(world, first if waiting == first.training_id else again, "release")
    with world.warehouse.begin() as connection:
        connection.execute(text("UPDATE springest.delivery SET catalogue_ref = 'another'"))
    world.stage("second")
    world.deliver("second")
    assert world.posts == 2
    assert sorted(world.stored) == sorted(expected(first, again))


def test_a_cancelled_delivery_stays_cancelled(world):
    """This holds night after night, and if it was still in the queue."""
    waiting, held = world.training(), world.training(certification_id=999)
    world.complete(waiting, held)
    world.catalogue()
    world.stage("first")
    for training in (waiting, held):
        decide(world, training, "cancel")
    world.night("second")
    world.night("third")
    assert world.posts == 0
    assert {state for state, _ in world.states().values()} == {"cancelled"}
    assert {status for status, _ in world.statuses().values()} == {"cancelled"}


def test_no_decision_contains_an_email(world):
    """No stored decision contains an e-mail address."""
    world.extra["list_filters"] = False  # nobody is proven by his address
    training = world.training()
    world.complete(training)
    world.sandbox.state.faults.add(Fault(Kind.CLOSE_AFTER_STORING))
    world.night("first")
    decide(world, training, "confirm", shown(world)[0])
    kept = " ".join(str(tuple(row)) for row in world.rows("SELECT * FROM springest.delivery_decision"))
    assert "example.com" not in kept
    assert "zoë" not in kept
