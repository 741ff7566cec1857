"""The morning's questions: what is asked, what is suggested, and what becomes of the answers."""

from __future__ import annotations

from collections.abc import Mapping

import pytest
from airflow.sdk.definitions.param import ParamsDict
from sqlalchemy import text

from sandbox.faults import Fault, Kind
from springest.errors import DecisionRefused
from springest.redaction import Redactor
from springest.review.agenda import (
    Agenda,
    Answer,
    Applied,
    apply_answers,
    apply_approvals,
    make_agenda,
    needing_decisions,
    read_answer,
)
from springest.review.approvals import approve_run, large_runs
from springest.review.decisions import Decisions
from springest.review.rules import ReleaseRules
from springest.states import DecisionKind
from springest_provider.operators.review import login_of
from springest_provider.review_form import WHY, Asked, make_form, read_form
from tests.integration.conftest import World

LATER = (
    "UPDATE springest.delivery_attempt SET started_at = started_at - interval '1 hour'",
    "UPDATE springest.delivery SET sent_at = sent_at - interval '1 hour'",
    "UPDATE springest.certification SET listed_since = now() - interval '9 days'",
)


def _decisions(world: World) -> Decisions:
    rules = ReleaseRules(listed_is_verified=True)
    return Decisions(world.warehouse, site=world.name, rules=rules, redactor=Redactor(world.site.secrets))


def agenda(world: World, most: int = 25) -> Agenda:
    waiting = needing_decisions(world.warehouse, site=world.name)
    rows = world.stager.look_up([delivery.training_id for delivery in waiting])
    return make_agenda(world.warehouse, _decisions(world), waiting, site=world.name, rows=rows, most=most)


def _lost(world: World, kind: Kind) -> str:
    """Deliver a certificate whose response is lost, an hour ago."""
    training = world.training()
    world.complete(training)
    world.catalogue()
    world.stage()
    world.sandbox.state.faults.add(Fault(kind))
    world.deliver()
    with world.warehouse.begin() as connection:
        for statement in LATER:
            connection.execute(text(statement))
    return training.training_id


def answer(world: World, agenda: Agenda, answers: Mapping[str, str], why: str = "looked") -> list[Applied]:
    """Answer through the form, as the operator does."""
    form = make_form(agenda, site=world.name, refused={}, redactor=Redactor(world.site.secrets))
    asked = Asked.of(form.asked.as_dict())
    fields = {named: name for name, (_, _, named, _) in asked.deliveries.items()}
    fields |= {run: name for name, (run, _) in asked.runs.items()}
    given = {fields[named]: answer for named, answer in answers.items()} | {WHY: why}
    read, approvals, reason = read_form(asked, given)
    labels = {key: label for key, _, _, label in asked.deliveries.values()}
    rows = world.stager.look_up([training for _, _, training, _ in asked.deliveries.values()])
    redactor = Redactor(world.site.secrets)
    return [
        *apply_answers(_decisions(world), read, labels, by="anna", reason=reason, rows=rows),
        *apply_approvals(
            world.warehouse, approvals, site=world.name, by="anna", reason=reason, redactor=redactor
        ),
    ]


def test_nothing_is_asked_while_nothing_needs_a_decision(world: World) -> None:
    """A night that went well, and a row that only its source can mend."""
    world.complete(world.training(), world.training(certificate_uri="/etc/hostname"))
    world.night()
    assert not agenda(world)


def test_a_shown_certificate_is_suggested_to_be_confirmed(world: World) -> None:
    """And a release is not offered; the form says nothing personal."""
    name = _lost(world, Kind.CLOSE_AFTER_STORING)
    [certificate] = world.sandbox.store.certificates()
    world.snapshot()
    asked = agenda(world)
    [item] = asked.items
    assert (item.suggestion, item.answers) == (
        f"confirm {certificate.id}",
        (f"confirm {certificate.id}", "cancel"),
    )
    form = make_form(asked, site="default", refused={}, redactor=Redactor(world.site.secrets))
    assert "1 certificate to decide" in form.subject
    assert name in form.body
    assert "@" not in form.body
    params = ParamsDict(dict(form.params))
    assert params["delivery_1"] == "wait"
    assert params.validate()
    [applied] = answer(world, asked, {name: f"Confirm  #{certificate.id}"})
    assert (applied.became, applied.refusal) == ("visible", None)
    assert not agenda(world)


def test_a_missing_certificate_is_suggested_to_be_released(world: World) -> None:
    """Once the evidence is complete; until then the form says what is missing."""
    name = _lost(world, Kind.CLOSE_BEFORE_STORING)
    [item] = agenda(world).items
    assert item.suggestion == "wait"
    assert "no complete snapshot" in str(item.missing)
    world.snapshot()
    asked = agenda(world)
    assert (asked.items[0].suggestion, asked.items[0].missing) == ("release", None)
    [applied] = answer(world, asked, {name: "release"})
    assert applied.became == "ready"
    assert world.rows("SELECT decided_by, decision FROM springest.delivery_decision") == [("anna", "release")]


def test_a_refused_answer_says_why_and_stops_no_other(world: World) -> None:
    """No reason given, not understood, moved meanwhile; the good one among them is applied."""
    name = _lost(world, Kind.CLOSE_BEFORE_STORING)
    world.snapshot()
    asked = agenda(world)
    [nameless] = answer(world, asked, {name: "cancel"}, why="")
    assert "the reason is empty" in str(nameless.refusal)
    [vague] = answer(world, asked, {name: "send it!"})
    assert "'send it!' is not understood" in str(vague.refusal)
    assert "confirm 4711" in str(vague.refusal)
    [done] = answer(world, asked, {name: "cancel"})
    assert done.became == "cancelled"
    [late] = answer(world, asked, {name: "release"})
    assert "since you looked" in str(late.refusal)
    form = make_form(asked, site="default", refused={late.subject: str(late.refusal)}, redactor=Redactor(()))
    assert "Your answer was refused:** training T0001 has" in form.body


def test_waiting_and_an_empty_answer_change_nothing(world: World) -> None:
    """The default of each field."""
    name = _lost(world, Kind.CLOSE_BEFORE_STORING)
    assert answer(world, agenda(world), {}) == []
    assert answer(world, agenda(world), {name: "wait"}) == []
    assert world.states() == {name: ("unknown", "response_lost")}


def test_a_form_holds_the_oldest_and_counts_the_others(world: World) -> None:
    """One that is full comes again with the rest."""
    for _ in range(3):
        _lost(world, Kind.CLOSE_BEFORE_STORING)
    asked = agenda(world, most=2)
    assert (len(asked.items), asked.more) == (2, 1)
    form = make_form(asked, site="default", refused={}, redactor=Redactor(()))
    assert "3 certificates to decide" in form.subject
    assert "1 more follow" in form.body


def test_a_large_run_is_sent_once_its_number_is_approved(world: World, monkeypatch) -> None:
    """Not a larger number than was shown, not without a reason, and not by a run in between."""
    monkeypatch.setattr("springest.delivery.volume.ALWAYS_ALLOWED", 3)
    world.complete(*(world.training() for _ in range(5)))
    world.catalogue()
    world.stage("night")
    with pytest.raises(Exception, match="5 certificates of run night"):
        world.deliver("night")
    asked = agenda(world)
    [run] = asked.runs
    assert (run.run_id, run.certificates, run.usual, run.certifications) == ("night", 5, 3, 1)
    [refused] = answer(world, asked, {"night": "approve"}, why=" ")
    assert "the reason is empty" in str(refused.refusal)
    with pytest.raises(DecisionRefused, match="has 5 certificates now, and 4 were agreed to"):
        approve_run(world.warehouse, site="default", run_id="night", certificates=4, by="anna", reason="x")
    world.stage("next")
    assert world.deliver("next").accepted == 0
    [approved] = answer(world, asked, {"night": "approve"}, why="the yearly import")
    assert approved.became == "approved"
    assert large_runs(world.warehouse, site="default") == []
    [again] = answer(world, asked, {"night": "approve"})
    assert "nothing of run night waits" in str(again.refusal)
    assert world.deliver("next").accepted == 5
    assert world.rows(
        "SELECT approved_by, approval_reason FROM springest.approved_run WHERE run_id = 'night'"
    ) == [("anna", "the yearly import")]


@pytest.mark.parametrize(
    ("given", "answer"),
    [
        ("", None),
        (" WAIT ", None),
        ("confirm 4711", Answer(DecisionKind.CONFIRM, 4711)),
        ("Release without  evidence", Answer(DecisionKind.RELEASE, without_evidence=True)),
        ("reopen", Answer(DecisionKind.REOPEN)),
    ],
)
def test_answers_are_read_as_people_write_them(given: str, answer: Answer | None) -> None:
    """Whatever the case and the spaces."""
    assert read_answer(given) == answer


@pytest.mark.parametrize("given", ["confirm", "confirm 0", "confirm x", "confirm 47 11", "yes", "4711"])
def test_what_is_not_understood_is_refused(given: str) -> None:
    """It is never taken for a decision."""
    with pytest.raises(DecisionRefused, match="is not understood"):
        read_answer(given)


def test_a_login_is_kept_without_its_domain() -> None:
    """Decisions are kept for ever, and hold no address."""
    assert login_of({"id": "3", "name": "anna"}) == "anna"
    assert login_of({"id": "3", "name": "anna@example.com"}) == "anna"
    assert login_of({"id": "3", "name": None}) == "3"
