"""The morning's questions: what is asked, what is suggested, and what becomes of the answers."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import closing

import pytest
from airflow.sdk.definitions.param import ParamsDict
from sqlalchemy import make_url, text

from sandbox.faults import Fault, Kind
from springest.db.engines import warehouse_engine
from springest.db.locks import Lock, lock_key
from springest.errors import DecisionRefused, SourceError
from springest.redaction import Redactor
from springest.review.agenda import Agenda, make_agenda, needing_decisions
from springest.review.answers import (
    Answer,
    Applied,
    FindRows,
    apply_answers,
    apply_approvals,
    read_answer,
    read_approval,
)
from springest.review.approvals import has_approved_unsent, large_runs
from springest.review.decisions import Decisions
from springest.review.rules import ReleaseRules
from springest.source.contract import CompletedTraining
from springest.states import DecisionKind
from springest_provider.review_form import Asked, make_form, read_form
from tests.integration.conftest import World

APPROVING = lock_key(Lock.APPROVE, "'default'")
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


def answer(
    world: World,
    agenda: Agenda,
    answers: Mapping[str, object],
    why: str = "looked",
    *,
    find_rows: FindRows | None = None,
) -> list[Applied]:
    """Answer through the form, as the operator does."""
    form = make_form(agenda, site=world.name, refused={}, redactor=Redactor(world.site.secrets))
    asked = Asked.of(form.asked.as_dict())
    fields = {named: name for name, (_, _, named, _) in asked.deliveries.items()}
    fields |= {run: name for name, (run, _, _) in asked.runs.items()}
    read = read_form(asked, {fields[named]: answer for named, answer in answers.items()})
    names = [training for _, _, training, _ in asked.deliveries.values()]
    redactor = Redactor(world.site.secrets)
    return [
        *apply_answers(
            _decisions(world),
            read.deliveries,
            by="anna",
            reason=why,
            find_rows=find_rows or (lambda _: world.stager.look_up(names)),
        ),
        *apply_approvals(
            world.warehouse, read.runs, site=world.name, by="anna", reason=why, redactor=redactor
        ),
    ]


def test_nothing_is_asked_while_nothing_needs_a_decision(world: World) -> None:
    """A night that went well, and a row that only its source can mend."""
    world.complete(world.training(), world.training(certificate_uri="/etc/hostname"))
    world.night()
    assert not agenda(world)


def test_a_shown_certificate_is_suggested_to_be_confirmed(world: World) -> None:
    """A release is not offered, and the form contains no personal data."""
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
    assert "Your answer was refused:** `training T0001 has" in form.body


def test_a_source_that_is_down_refuses_the_releases_alone(world: World) -> None:
    """The other answers are applied, whatever their order."""
    names = [_lost(world, Kind.CLOSE_BEFORE_STORING) for _ in range(3)]
    world.snapshot()

    def is_down(_keys: Sequence[str]) -> dict[str, list[CompletedTraining]]:
        raise SourceError("no connection")

    answers = dict(zip(names, ("release", "cancel", "release without evidence"), strict=True))
    applied = {item.label: item for item in answer(world, agenda(world), answers, find_rows=is_down)}
    first, second, third = (applied[f"training {name}"] for name in names)
    assert (second.became, second.refusal) == ("cancelled", None)
    for release in (first, third):
        assert "a release needs its row, and the source can't be read now: no connection" in str(
            release.refusal
        )
    assert [world.states()[name][0] for name in names] == ["unknown", "cancelled", "unknown"]


def test_a_locked_delivery_stops_no_other(world: World, warehouse_url: str) -> None:
    """Another session has one of three; and a locked one is shown in the form all the same."""
    names = [_lost(world, Kind.CLOSE_BEFORE_STORING) for _ in range(3)]
    impatient = make_url(warehouse_url).update_query_dict({"options": "-c lock_timeout=100"})
    with closing(world.warehouse.connect()) as holder:
        world.warehouse = warehouse_engine(impatient)
        holder.execute(
            text("SELECT 1 FROM springest.delivery WHERE training_id = :name FOR UPDATE"), {"name": names[1]}
        )
        asked = agenda(world)
        applied = answer(world, asked, dict.fromkeys(names, "cancel"))
    world.warehouse.dispose()
    assert [item.became for item in applied] == ["cancelled", None, "cancelled"]
    assert "another session has locked it" in str(applied[1].refusal)


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
    world.stage("next")
    assert world.deliver("next").accepted == 0
    [approved] = answer(world, asked, {"night": "approve"}, why="the yearly import")
    assert approved.became == "approved"
    assert has_approved_unsent(world.warehouse, site="default")
    assert large_runs(world.warehouse, site="default") == []
    [again] = answer(world, asked, {"night": "approve"})
    assert "run night has no certificates left to approve" in str(again.refusal)
    world.stage("last")
    assert not has_approved_unsent(world.warehouse, site="default")  # what has staged sends it
    assert world.deliver("last").accepted == 5
    assert world.rows(
        "SELECT approved_by, approval_reason FROM springest.approved_run WHERE run_id = 'night'"
    ) == [("anna", "the yearly import")]


def test_an_approval_that_waits_in_vain_comes_back(world: World, warehouse_url: str, monkeypatch) -> None:
    """Another session approves: the answer is refused with the reason, and raises nothing."""
    monkeypatch.setattr("springest.delivery.volume.ALWAYS_ALLOWED", 1)
    world.complete(world.training(), world.training())
    world.catalogue()
    world.stage("night")
    asked = agenda(world)
    impatient = make_url(warehouse_url).update_query_dict({"options": "-c lock_timeout=100"})
    with closing(world.warehouse.connect()) as holder:
        world.warehouse = warehouse_engine(impatient)
        holder.execute(text(f"SELECT pg_advisory_xact_lock({APPROVING})"))
        [applied] = answer(world, asked, {"night": "approve"})
    world.warehouse.dispose()
    assert "another session has locked it" in str(applied.refusal)


def test_an_approval_is_about_the_certificates_that_were_shown(world: World, monkeypatch) -> None:
    """Another one in place of one of them, or a changed one, is refused, though their number is the same."""
    monkeypatch.setattr("springest.delivery.volume.ALWAYS_ALLOWED", 3)
    trainings = [world.training() for _ in range(5)]
    world.complete(*trainings[:4])
    world.catalogue()
    world.stage("night")
    asked = agenda(world)
    with world.warehouse.begin() as connection:
        connection.execute(
            text("UPDATE springest.delivery SET state = 'cancelled' WHERE training_id = :name"),
            {"name": trainings[0].training_id},
        )
    world.complete(trainings[4])
    world.stage("other")
    with world.warehouse.begin() as connection:
        connection.execute(text("UPDATE springest.delivery SET staged_run_id = 'night'"))
    [swapped] = answer(world, asked, {"night": "approve"})
    assert "run night has changed: it has 4 certificates now, which are not the 4" in str(swapped.refusal)
    asked = agenda(world)
    with world.warehouse.begin() as connection:
        connection.execute(
            text("UPDATE springest.delivery SET version = version + 1 WHERE training_id = :name"),
            {"name": trainings[4].training_id},
        )
    [changed] = answer(world, asked, {"night": "approve"})
    assert "look again" in str(changed.refusal).lower()
    [approved] = answer(world, agenda(world), {"night": " Approve "})
    assert approved.became == "approved"


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
    """In any case and with any spacing."""
    assert read_answer(given) == answer


@pytest.mark.parametrize("given", ["confirm", "confirm 0", "confirm x", "confirm 47 11", "yes", "4711"])
def test_what_is_not_understood_is_refused(given: str) -> None:
    """It is never taken for a decision."""
    for read in (read_answer, read_approval):
        with pytest.raises(DecisionRefused, match="is not understood"):
            read(given)


@pytest.mark.parametrize("given", [0, 5, 1.5, True, False, [], ["release"], {}, {"a": {"b": 1}}])
def test_an_answer_that_is_not_a_text_is_refused(given: object) -> None:
    """Answers come over the REST API as well; none of them is taken for waiting."""
    for read in (read_answer, read_approval):
        with pytest.raises(DecisionRefused, match="is not a text"):
            read(given)
