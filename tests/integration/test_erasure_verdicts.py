"""What is known of a certificate is known as well after a learner was erased, and no more than that."""

from __future__ import annotations

from typing import Any

import pytest

from sandbox.faults import Fault, Kind
from sandbox.store import NewCertificate
from springest.privacy.erasure import erase_learner, lift_erasure
from springest.review.decisions import Decisions, RequestedDecision
from springest.review.rules import ReleaseRules
from springest.states import DecisionKind
from tests.factories import PSEUDONYMS
from tests.integration.conftest import World
from tests.integration.erased import everything, ref_of

VERDICTS = (
    "SELECT training_id, verification_status, match_method, review_reason, springest_certificate_id"
    " FROM springest.certificate_reconciliation ORDER BY 1"
)
VERSIONS = "SELECT count(*) FROM springest.certificate_reconciliation_history"
PRIVATE = "zoë.private@example.org"


@pytest.fixture
def world(make_world: Any) -> World:
    """A site that names owners."""
    return make_world(profile="owner_shown")  # type: ignore[no-any-return]


def erase_all(world: World, *references: str) -> None:
    for reference in references:
        erase_learner(world.warehouse, PSEUDONYMS, learner_ref=reference)


def shown_under(world: World, address: str) -> None:
    """Springest names another owner of all that it has."""
    world.sandbox.store._run("UPDATE certificate SET email = ?", (address,))


def upload(world: World, address: str) -> None:
    """Somebody else uploads one with the facts of ours."""
    world.sandbox.store.store(NewCertificate(102, address, "2026-11-02"))


def send(world: World) -> None:
    """The first night up to its delivery."""
    world.catalogue()
    world.stage("first")
    world.deliver("first")


@pytest.mark.parametrize("whose", ["the owner's", "the learner's", "the owner's, then the learner's"])
@pytest.mark.parametrize("proven", [True, False], ids=["proven before", "never proven"])
def test_an_owner_that_disagreed_still_does(world, whose, proven):
    """Springest shows the learner's id under another name: that either is erased makes it no proof."""
    owner, learner = world.training(), world.training()
    world.complete(learner)
    if proven:
        world.night("proven")
    else:
        send(world)
    shown_under(world, owner.learner.email)
    world.night("before")
    before = world.rows(VERDICTS), world.rows(VERSIONS)
    assert before[0][0][1:4] == ("ambiguous", None, "disagrees(learner)")
    refs = {"the owner's": [ref_of(owner)], "the learner's": [ref_of(learner)]}.get(
        whose, [ref_of(owner), ref_of(learner)]
    )
    erase_all(world, *refs)
    for night in ("after", "later"):
        world.night(night)
        assert (world.rows(VERDICTS), world.rows(VERSIONS)) == before
        for reference in refs:
            assert reference not in everything(world)


def test_an_erased_owner_who_agreed_still_agrees(world):
    """No proof is withdrawn, and no version is added."""
    erased, lost = world.training(), world.training()
    world.complete(erased, lost)
    world.sandbox.state.faults.add(Fault(Kind.CLOSE_AFTER_STORING))
    world.night("before")
    before = world.rows(VERDICTS), world.rows(VERSIONS)
    assert sorted(row.match_method for row in before[0]) == ["owner", "springest_id"]
    erase_all(world, ref_of(erased), ref_of(lost))
    world.night("after")
    assert (world.rows(VERDICTS), world.rows(VERSIONS)) == before


@pytest.mark.parametrize("somebody_else_too", [False, True])
def test_a_returning_learner_contradicts_no_certificate(world, somebody_else_too):
    """Erased data stays erased: Springest names the learner again, and nothing becomes a contradiction."""
    erased, kept = world.training(), world.training()
    world.complete(erased, kept)
    world.night("before")
    before = world.rows(VERDICTS), world.rows(VERSIONS)
    erase_all(world, ref_of(erased), *([ref_of(kept)] * somebody_else_too))
    world.night("after")
    assert lift_erasure(world.warehouse, PSEUDONYMS, learner_ref=ref_of(erased))
    for night in ("back", "later"):
        world.snapshot(night)
        world.owners(night)
        world.publish(night)
        assert (world.rows(VERDICTS), world.rows(VERSIONS)) == before
        assert ref_of(erased) not in everything(world)


def test_another_address_of_the_learner_goes_too_and_stays_away(world):
    """Springest keeps the certificate under an address that the source does not know."""
    erased = world.training()
    world.complete(erased)
    send(world)
    shown_under(world, PRIVATE)
    world.snapshot("first")
    world.publish("first")
    private = PSEUDONYMS.learner_ref(PRIVATE)
    assert private in everything(world)
    erase_all(world, ref_of(erased))
    assert private not in everything(world)
    world.night("second")
    assert private not in everything(world)
    assert world.rows(VERDICTS)[0].review_reason == "disagrees(learner)"


def test_two_certificates_of_one_learner_are_still_two(world):
    """Which of them was sent from here can't be told before, and not after either."""
    erased = world.training()
    world.complete(erased)
    world.sandbox.state.faults.add(Fault(Kind.CLOSE_AFTER_STORING))
    world.night("first")
    upload(world, erased.learner.email)
    world.night("second")
    before = world.rows(VERDICTS)
    assert before[0][1:4] == ("ambiguous", None, "shown_twice")
    erase_all(world, ref_of(erased))
    world.night("third")
    world.night("fourth")
    assert world.rows(VERDICTS) == before


def test_an_erased_owners_certificate_is_no_candidate(world):
    """Somebody else's upload, for another learner, is no candidate once that learner is erased."""
    ours = world.training()
    world.complete(ours)
    world.sandbox.state.faults.add(Fault(Kind.STATUS, status=500))
    send(world)
    upload(world, "other@example.com")
    world.night("second")
    before = world.rows(VERDICTS)
    assert before[0][1:4] == ("unknown", None, "outcome_unknown")
    erase_all(world, PSEUDONYMS.learner_ref("other@example.com"))
    world.night("third")
    assert world.rows(VERDICTS) == before


def test_two_erased_learners_are_not_confused(make_world):
    """Nobody else uploads, by the setting, and the only candidate's owner is erased, as the learner is."""
    world = make_world(profile="owner_shown", exclusive_uploader=True)
    ours = world.training()
    world.complete(ours)
    world.sandbox.state.faults.add(Fault(Kind.STATUS, status=500))
    send(world)
    upload(world, "other@example.com")
    world.night("second")
    erase_all(world, PSEUDONYMS.learner_ref("other@example.com"), ref_of(ours))
    world.night("third")
    [verdict] = world.rows(VERDICTS)
    assert verdict[1:] == ("ambiguous", None, "tie", None)


def test_an_erased_confirmation_stays_proof_without_its_text(world):
    """The owner agrees, so it stays a proof.

    A person's text may be about the learner; analysts never saw it.
    """
    erased = world.training()
    world.complete(erased)
    world.sandbox.state.faults.add(Fault(Kind.CLOSE_AFTER_STORING))
    send(world)
    world.snapshot("first")
    [(key, version)] = world.rows("SELECT delivery_key, version FROM springest.delivery")
    [certificate] = world.sandbox.store.certificates()
    words = "her mother says that it is there"
    choice = RequestedDecision(key, DecisionKind.CONFIRM, version, "anna.jansen", words, certificate.id)
    rows = world.stager.look_up([erased.training_id]).get(key, [])
    Decisions(world.warehouse, site="default", rules=ReleaseRules(listed_is_verified=True)).decide(
        choice, rows=rows
    )
    world.night("second")
    before = world.rows(VERDICTS)
    assert before[0][1:3] == ("verified", "person")
    published = str(world.rows("SELECT * FROM springest.certificate_reconciliation"))
    assert "anna.jansen" not in published
    assert words not in published
    erase_all(world, ref_of(erased))
    world.night("third")
    assert world.rows(VERDICTS) == before
    assert words not in everything(world)


def test_a_conflict_lists_both_values(world):
    """The sent and the shown value are there for a person to check by hand."""
    erased = world.training()
    world.complete(erased)
    send(world)
    world.sandbox.store._run(
        "UPDATE certificate SET certification_id = 101, valid_from = '2026-10-31', valid_until = '2029-01-01'"
    )
    shown_under(world, "other@example.com")
    world.snapshot("first")
    world.publish("first")
    [(evidence, certificate_id)] = world.rows(
        "SELECT match_evidence, springest_certificate_id FROM springest.certificate_reconciliation"
    )
    assert evidence == (
        f"Springest shows certificate {certificate_id}, which is its id, with other values: "
        "certification 101 where 102 was sent, first day 2026-10-31 where 2026-11-02 was sent, "
        "last day 2029-01-01 where none was sent, another learner as its owner"
    )
