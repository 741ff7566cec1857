"""People's decisions over a real PostgreSQL: accepted, refused, and concurrent ones."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, date, datetime, timedelta
from threading import Barrier
from typing import Any

import pytest
from sqlalchemy import Engine, create_engine, text
from sqlalchemy.exc import IntegrityError

from springest.db.schema import approved_run
from springest.delivery.claims import Claim, NotClaimed, Outcome
from springest.delivery.repository import DeliveryRepository
from springest.errors import DecisionRefused
from springest.redaction import Redactor
from springest.review.decisions import Decided, Decisions, RequestedDecision
from springest.review.rules import ReleaseRules
from springest.staging import repository as ledger
from springest.states import DecisionKind, Event, State
from tests.component.review.ground import NOT_LISTED, Ground
from tests.factories import DAY, add_rows, ago, source_row

MakeWorker = Callable[..., DeliveryRepository]
Take = Callable[..., Awaitable[Claim | None]]
LATE = Outcome(Event.ACCEPTED_WITH_ID, http_status=201, springest_certificate_id=77)


@pytest.fixture
def ground(warehouse: Engine) -> Ground:
    return Ground(warehouse)


LISTED = ReleaseRules(listed_is_verified=True)


def doubtful(ground: Ground, name: str = "T1", **values: Any) -> str:
    """An engineer's morning case: a certificate sent at night whose outcome is unknown."""
    return ground.delivery("unknown", name, sent=ago(hours=7), reason="response_timeout", **values)


# --- release


def test_an_unknown_that_a_fresh_snapshot_lacks_is_released(ground: Ground) -> None:
    """It can be released the next morning, not after two weeks; the ledger keeps who, when, why and the
    evidence.
    """
    key = doubtful(ground)
    number = ground.snapshot()
    decided = ground.decide(key, "release")
    found, (kept,) = ground.of(key), ground.decisions()
    assert (decided.state, found.state, found.reason, found.version) == (State.READY, "ready", "released", 2)
    assert found.reason_detail.startswith("released to be sent by a person: ")
    assert (kept.decision, kept.decided_by, kept.reason, kept.version) == (
        "release",
        "anna",
        "looked at it",
        1,
    )
    assert (kept.from_state, kept.to_state, kept.without_evidence) == ("unknown", "ready", False)
    assert (kept.evidence["snapshot_id"], kept.evidence["row"]) == (number, "unchanged")
    assert kept.evidence["reason"] == "response_timeout"


@pytest.mark.parametrize(
    ("snapshot", "message"),
    [
        (None, "there is no complete snapshot"),
        ({"complete": False}, "there is no complete snapshot"),
        ({"minutes_ago": 90}, "more than 60 minutes ago: trigger springest_reconcile"),
        ({"minutes_ago": 425}, "more than 60 minutes ago"),
    ],
)
def test_a_release_without_a_fresh_complete_snapshot_is_refused(
    ground: Ground, snapshot: dict[str, Any] | None, message: str
) -> None:
    """A release needs a complete snapshot that is fresh."""
    key = doubtful(ground)
    if snapshot is not None:
        ground.snapshot(**snapshot)
    with pytest.raises(DecisionRefused, match=message):
        ground.decide(key, "release")
    assert ground.of(key).state == "unknown"
    assert ground.decisions() == []


def test_a_snapshot_right_after_the_post_is_no_evidence(ground: Ground) -> None:
    """A snapshot that began right after the POST may lack a certificate that is still being stored."""
    key = ground.delivery("unknown", sent=ago(minutes=20))
    ground.snapshot(minutes_ago=10)
    with pytest.raises(DecisionRefused, match="too soon after the attempt"):
        ground.decide(key, "release")
    ground.snapshot(minutes_ago=2)
    assert ground.decide(key, "release").state is State.READY


def test_absence_of_an_unlisted_certification_is_no_evidence(ground: Ground) -> None:
    """Its certificates are not shown, so none of them is missing."""
    key = doubtful(ground, certification_id=NOT_LISTED)
    ground.snapshot()
    with pytest.raises(DecisionRefused, match=r"certification 105 that was posted later.*admin"):
        ground.decide(key, "release", rows=[source_row(certification_id=NOT_LISTED)])


def test_being_listed_is_no_evidence_of_verification(ground: Ground) -> None:
    """Springest's page says both of its list: releasing on it sent certificates twice."""
    ground.listed_is_verified = False
    key = doubtful(ground)
    ground.snapshot()
    with pytest.raises(DecisionRefused, match=r"no certificate of certification 102 that was posted later"):
        ground.decide(key, "release")


@pytest.mark.parametrize(
    ("shown", "evident"),
    [
        ({"answered": 30}, True),
        ({"answered": 50}, False),
        ({"created_at": 40 - 28 * 60}, True),
        ({"created_at": 30}, False),
        ({}, False),
        ({"answered": 30, "certification_id": 103}, False),
        ({"answered": 30, "number": 0}, False),
    ],
    ids=["posted later", "posted earlier", "created later by any clock", "clocks may differ",
         "nothing is known", "of another certification", "not shown any more"],
)  # fmt: skip
def test_a_later_certificate_that_is_shown_is_evidence(
    ground: Ground, shown: dict[str, int], evident: bool
) -> None:
    """Its certification is verified, and so is that of the unknown one. Moments are minutes ago."""
    ground.listed_is_verified = False
    key = ground.delivery("unknown", sent=ago(minutes=40))
    numbers = [ground.snapshot(minutes_ago=20), ground.snapshot()]
    created_at = ago(minutes=shown["created_at"]) if "created_at" in shown else None
    ground.shown(
        9,
        numbers[shown.get("number", 1)],
        valid_from=DAY + timedelta(days=9),
        created_at=created_at,
        certification_id=shown.get("certification_id", 102),
    )
    if "answered" in shown:
        late = ground.delivery("visible", "T2", springest_certificate_id=9)
        ground.attempt(
            late,
            started_at=ago(minutes=shown["answered"]),
            outcome="accepted_with_id",
            springest_certificate_id=9,
        )
    if evident:
        assert ground.decide(key, "release").state is State.READY
    else:
        with pytest.raises(DecisionRefused, match="posted later"):
            ground.decide(key, "release")


def test_an_id_not_shown_can_be_confirmed_before_verification(ground: Ground) -> None:
    """An id that is not shown can be confirmed as long as nothing shows that its certification is
    verified.
    """
    ground.listed_is_verified = False
    keys = [doubtful(ground, name=name) for name in ("T1", "T2")]
    number = ground.snapshot()
    assert ground.decide(keys[0], "confirm", 58).state is State.ACCEPTED
    ground.shown(9, number, valid_from=DAY + timedelta(days=9))
    with pytest.raises(DecisionRefused, match="certification 102 is verified: check the id"):
        ground.decide(keys[1], "confirm", 59)


def test_a_release_without_evidence_is_recorded_as_such(ground: Ground) -> None:
    """A person can waive the evidence, and the ledger records the waiver."""
    key = doubtful(ground)
    ground.decide(key, "release", without_evidence=True)
    (kept,) = ground.decisions()
    assert (kept.without_evidence, kept.evidence["missing"]) == (True, ["snapshot"])


def test_a_waiver_that_waived_nothing_is_not_recorded(ground: Ground) -> None:
    """The waiver is not recorded if there was evidence."""
    key = doubtful(ground)
    ground.snapshot()
    ground.decide(key, "release", without_evidence=True)
    assert not ground.decisions()[0].without_evidence


@pytest.mark.parametrize("without_evidence", [False, True])
@pytest.mark.parametrize(
    "shown",
    [
        {},
        {"learner_ref": source_row().learner_ref},
        {"certification_id": None, "valid_from": None},
        {"valid_until": date(2029, 11, 2)},
        {"learner_ref": source_row().learner_ref, "created_at": ago(days=20)},
        {"created_at": ago(hours=7)},
    ],
)
def test_a_shown_candidate_blocks_every_release(
    ground: Ground, shown: dict[str, Any], without_evidence: bool
) -> None:
    """No option overrides that."""
    key = doubtful(ground)
    ground.shown(41, ground.snapshot(), **shown)
    with pytest.raises(DecisionRefused, match="Springest shows certificate 41, which may be this one"):
        ground.decide(key, "release", without_evidence=without_evidence)
    assert ground.of(key).state == "unknown"


def test_a_candidate_in_a_partial_snapshot_blocks_a_release(ground: Ground) -> None:
    """A candidate counts, whether or not the snapshot that showed it was complete."""
    key = doubtful(ground)
    ground.snapshot(minutes_ago=10)
    ground.shown(41, ground.snapshot(minutes_ago=3, complete=False))
    with pytest.raises(DecisionRefused, match="certificate 41"):
        ground.decide(key, "release")


@pytest.mark.parametrize(
    "shown",
    [
        {"certification_id": 101},
        {"valid_from": date(2026, 11, 3)},
        {"learner_ref": "b" * 64},
        {"created_at": ago(days=20)},
    ],
)
def test_an_impossible_candidate_does_not_block_a_release(ground: Ground, shown: dict[str, Any]) -> None:
    """A shown certificate that cannot be this one does not block a release."""
    key = doubtful(ground)
    ground.shown(41, ground.snapshot(), **shown)
    assert ground.decide(key, "release").state is State.READY


def test_another_deliverys_certificate_blocks_no_release(ground: Ground) -> None:
    """A certificate that belongs to another delivery does not block a release."""
    key = doubtful(ground)
    ground.delivery("accepted", "T2")
    ground.shown(7, ground.snapshot())
    assert ground.decide(key, "release").state is State.READY


def test_a_wrongly_confirmed_certificate_of_this_learner_blocks(ground: Ground) -> None:
    """A person confirmed T2 wrongly; then Springest named the owner, and T1 cannot be released."""
    key = doubtful(ground)
    ground.delivery("visible", "T2", email="another@example.com", match_method="person")
    ground.shown(7, ground.snapshot(), learner_ref=source_row().learner_ref)
    with pytest.raises(DecisionRefused, match="certificate 7"):
        ground.decide(key, "release")


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        ([], "the source no longer has it"),
        ([source_row(), source_row(booking_id=3)], "two different rows for it"),
        (
            [source_row(email="somebody-else@example.com", booking_id=5)],
            r"changed since .*\(email, booking_id\)",
        ),
    ],
)
def test_a_release_needs_the_row_as_it_was_staged(ground: Ground, rows: list[Any], message: str) -> None:
    """A release is refused if the source row changed since it was staged."""
    key = doubtful(ground)
    ground.snapshot()
    with pytest.raises(DecisionRefused, match=message):
        ground.decide(key, "release", rows=rows, without_evidence=True)
    assert ground.decisions() == []


def test_a_row_that_was_only_touched_is_released(ground: Ground) -> None:
    """A row of which only `updated_at` changed can be released."""
    key = doubtful(ground)
    ground.snapshot()
    ground.decide(key, "release", rows=[source_row(updated_at=datetime(2026, 11, 9, tzinfo=UTC))])
    assert ground.decisions()[0].evidence["row"].startswith("touched")


def test_releasing_a_missing_certificate_drops_its_id(ground: Ground) -> None:
    """Springest confirmed that it lost it. The id stays in the decision; a new POST gets another."""
    missing = ground.delivery(
        "review", reason="missing", sent=ago(days=3), springest_certificate_id=7, match_method=None
    )
    gone = ground.delivery(
        "vanished",
        "T2",
        reason="vanished",
        sent=ago(days=9),
        springest_certificate_id=8,
        match_method="owner",
    )
    ground.snapshot()
    for key in (missing, gone):
        ground.decide(key, "release")
        found = ground.of(key)
        assert (found.state, found.springest_certificate_id, found.match_method) == ("ready", None, None)
    assert [decision.evidence["springest_certificate_id"] for decision in ground.decisions()] == [7, 8]


def test_a_post_lost_by_a_restore_counts_as_sent_then(ground: Ground) -> None:
    """The ledger has no attempt of it, and cannot have one."""
    key = ground.delivery("unknown", reason="ledger_restored", certification_id=NOT_LISTED)
    ground.restored()
    ground.snapshot(minutes_ago=30)
    with pytest.raises(DecisionRefused, match="too soon after the attempt") as refused:
        ground.decide(key, "release", rows=[source_row(certification_id=NOT_LISTED)])
    assert "may not be verified yet" in str(refused.value)


# --- duplicates


def test_a_released_duplicate_is_sent_despite_a_new_check(ground: Ground) -> None:
    """Both are intended. Only another certificate in the same row is compared again."""
    ground.delivery("accepted", "T0", email="t1@example.com")
    key = ground.delivery("review", reason="duplicate", needs_review=True, review_reason="duplicate")
    ground.snapshot()
    ground.decide(key, "release")
    found = ground.of(key)
    assert (found.state, found.duplicate_released, found.needs_review) == ("ready", True, False)


def test_a_duplicate_that_was_never_sent_needs_no_listing(ground: Ground) -> None:
    """Nothing of it can be there, so nothing of it can be hidden."""
    key = ground.delivery("review", reason="duplicate", certification_id=NOT_LISTED)
    ground.shown(41, ground.snapshot(), certification_id=NOT_LISTED)
    assert ground.decide(key, "release", rows=[source_row(certification_id=NOT_LISTED)]).state is State.READY


# --- confirm


def test_an_unknown_is_confirmed_by_an_id_that_springest_shows(ground: Ground) -> None:
    """Confirming an unknown delivery with a shown id makes it `visible`."""
    key = doubtful(ground, needs_review=True, review_reason="changed_after_sending(email)")
    ground.shown(41, ground.snapshot(minutes_ago=300))
    ground.decide(key, "confirm", 41)
    found, (kept,) = ground.of(key), ground.decisions()
    assert (found.state, found.springest_certificate_id, found.match_method) == ("visible", 41, "person")
    assert (found.needs_review, found.review_reason) == (True, "changed_after_sending(email)")
    assert (kept.springest_certificate_id, kept.evidence["owner_agrees"]) == (41, False)


def test_confirming_an_id_not_shown_yet_makes_it_accepted(ground: Ground) -> None:
    """Springest's admin has it; the API shows it once its certification is verified."""
    key = doubtful(ground, certification_id=NOT_LISTED)
    ground.snapshot()
    ground.decide(key, "confirm", 41)
    found = ground.of(key)
    assert (found.state, found.springest_certificate_id, found.match_method) == ("accepted", 41, "person")


@pytest.mark.parametrize(
    ("shown", "message"),
    [
        ({"certification_id": 101}, "differs in certification_id"),
        ({"valid_from": date(2026, 1, 1)}, "differs in valid_from"),
        ({"valid_until": date(2028, 1, 1)}, "differs in valid_until"),
        ({"learner_ref": "b" * 64}, "differs in learner"),
    ],
)
def test_a_certificate_with_other_data_cannot_be_confirmed(
    ground: Ground, shown: dict[str, Any], message: str
) -> None:
    """A certificate whose certification, dates or owner differ cannot be confirmed."""
    key = doubtful(ground)
    ground.shown(41, ground.snapshot(), **shown)
    with pytest.raises(DecisionRefused, match=message):
        ground.decide(key, "confirm", 41)
    assert ground.of(key).state == "unknown"


def test_another_trainings_certificate_cannot_be_confirmed(ground: Ground) -> None:
    """An id that another delivery has cannot be confirmed."""
    key = doubtful(ground)
    ground.delivery("accepted", "T2")
    sending = ground.delivery("sending", "T3")
    ground.attempt(sending, outcome="accepted_with_id", springest_certificate_id=8)
    number = ground.snapshot()
    ground.shown(7, number)
    ground.shown(8, number)
    with pytest.raises(DecisionRefused, match="certificate 7 belongs to training T2"):
        ground.decide(key, "confirm", 7)
    with pytest.raises(DecisionRefused, match="certificate 8 belongs to training T3"):
        ground.decide(key, "confirm", 8)


def test_an_id_that_should_be_shown_and_is_not_is_refused(ground: Ground) -> None:
    """If the certification is verified, an id that is not shown is wrong."""
    key = doubtful(ground)
    ground.snapshot()
    with pytest.raises(DecisionRefused, match="check the id"):
        ground.decide(key, "confirm", 41)


def test_a_certificate_that_is_gone_cannot_be_confirmed(ground: Ground) -> None:
    """A certificate that is no longer shown cannot be confirmed."""
    key = doubtful(ground)
    ground.shown(41, ground.snapshot(minutes_ago=600))
    ground.snapshot()
    with pytest.raises(DecisionRefused, match=r"last showed certificate 41 .* does not have it"):
        ground.decide(key, "confirm", 41)


@pytest.mark.parametrize("certificate_id", [None, 0, -4])
def test_a_confirmation_needs_an_id(ground: Ground, certificate_id: int | None) -> None:
    """A confirmation without an id is refused."""
    with pytest.raises(DecisionRefused, match="needs the certificate's id"):
        ground.decide(doubtful(ground), "confirm", certificate_id)


# --- cancel, reopen


@pytest.mark.parametrize(
    "state", ["ready", "invalid", "held", "rejected", "review", "unknown", "accepted_no_id", "vanished"]
)
def test_unproven_deliveries_can_be_cancelled_and_reopened(ground: Ground, state: str) -> None:
    """Every delivery that Springest is not known to have can be cancelled, and reopened."""
    key = ground.delivery(state, needs_review=True, review_reason="duplicate")
    ground.decide(key, "cancel", reason="the learner asked for it")
    found = ground.of(key)
    assert (found.state, found.needs_review) == ("cancelled", False)
    assert found.reason_detail == "cancelled by a person: see `bin/springest review show` for name and reason"
    ground.decide(key, "reopen")
    found = ground.of(key)
    assert (found.state, found.reason, found.review_reason) == ("review", "reopened", "reopened")


def test_reopening_a_confirmation_frees_its_id(ground: Ground) -> None:
    """A wrong confirmation can be reopened; its id is free for another delivery."""
    key, second = doubtful(ground), doubtful(ground, "T2")
    number = ground.snapshot()
    ground.shown(41, number)
    ground.decide(key, "confirm", 41)
    with pytest.raises(DecisionRefused, match="belongs to training T1"):
        ground.decide(second, "confirm", 41)
    ground.decide(key, "reopen")
    ground.decide(second, "confirm", 41)
    assert [ground.of(each).state for each in (key, second)] == ["review", "visible"]


@pytest.mark.parametrize("state", ["accepted", "visible"])
def test_an_id_from_springest_cannot_be_reopened(ground: Ground, state: str) -> None:
    """A delivery whose id comes from Springest's response cannot be reopened."""
    key = ground.delivery(state, match_method="springest_id")
    with pytest.raises(DecisionRefused, match="only a person's confirmation can be reopened"):
        ground.decide(key, "reopen")


@pytest.mark.parametrize("state", ["sending", "accepted", "visible", "withdrawn", "cancelled"])
@pytest.mark.parametrize("decision", ["release", "confirm", "cancel"])
def test_a_state_without_decisions_is_refused_with_the_reason(
    ground: Ground, state: str, decision: str
) -> None:
    """The refusal says why nobody can decide in this state."""
    key = ground.delivery(state)
    before = ground.of(key)
    with pytest.raises(DecisionRefused, match=f"training T1 is {state}: "):
        ground.decide(key, decision, 41 if decision == "confirm" else None)
    assert ground.of(key) == before


# --- who and why


@pytest.mark.parametrize(
    "message", ["", "  \n ", "x" * 1001, "ask zoë@example.com", "a%40b.example", "s3cr3t!k"]
)
@pytest.mark.parametrize("field", ["reason", "decided_by"])
def test_a_reason_is_required_and_has_no_email_or_key(ground: Ground, field: str, message: str) -> None:
    """A decision needs a reason without an e-mail address or API key."""
    key = doubtful(ground)
    decisions = Decisions(ground.warehouse, site="default", redactor=Redactor(["s3cr3t!k"]))
    with pytest.raises(DecisionRefused) as refused:
        decisions.decide(ground.choice(key, "cancel", **{field: message}))
    assert not message.strip() or message not in str(refused.value)
    assert ground.of(key).state == "unknown"


@pytest.mark.parametrize("column", ["approved_by", "approval_reason"])
def test_a_constraint_refuses_an_email_in_an_approval(ground: Ground, column: str) -> None:
    """As in a decision."""
    values = {"site": "default", "run_id": "large", "approved_by": "anna", "approval_reason": "x"}
    with pytest.raises(IntegrityError, match=f"{column}_check"):
        add_rows(ground.warehouse, approved_run, {**values, column: "ask eve@example.com"})


def test_a_constraint_refuses_an_email_in_a_reason(ground: Ground) -> None:
    """The table's constraint refuses a reason that contains an e-mail address."""
    key = ground.delivery("ready")
    with pytest.raises(IntegrityError, match="reason_check"), ground.warehouse.begin() as connection:
        connection.execute(
            text(
                "INSERT INTO springest.delivery_decision (delivery_id, decided_by, decision, reason,"
                " version, from_state, to_state, evidence)"
                " SELECT delivery_id, 'anna', 'cancel', 'a@b', 1, 'ready', 'cancelled', '{}'"
                " FROM springest.delivery WHERE delivery_key = :key"
            ),
            {"key": key},
        )


# --- at the same time


def test_a_decision_on_an_old_version_is_refused(ground: Ground) -> None:
    """It changes nothing, and the refusal names the present state."""
    key = doubtful(ground)
    seen = ground.choice(key, "cancel")
    with ground.warehouse.begin() as connection:
        connection.execute(text("UPDATE springest.delivery SET state = 'visible', version = version + 1"))
    with pytest.raises(DecisionRefused, match="has changed since you looked: it has been visible"):
        Decisions(ground.warehouse, site="default").decide(seen)
    assert (ground.of(key).state, ground.decisions()) == ("visible", [])


def test_one_of_two_concurrent_decisions_wins(ground: Ground, warehouse_url: str) -> None:
    """One person releases while another cancels; the loser gets a refusal."""
    keys = [doubtful(ground, f"T{number}") for number in range(6)]
    ground.snapshot()
    together = Barrier(2)

    def person(decision: str) -> list[str | None]:
        engine = create_engine(warehouse_url)
        choices = [ground.choice(key, decision, decided_by=decision) for key in keys]
        found = {key: [source_row(f"T{number}")] for number, key in enumerate(keys)}
        refusals = []
        for choice in choices:
            together.wait(timeout=30)
            done = list(Decisions(engine, site="default", rules=LISTED).decide_each([choice], found=found))
            refusals.append(done[0].refusal)
        engine.dispose()
        return refusals

    with ThreadPoolExecutor(2) as pool:
        results = list(pool.map(person, ["release", "cancel"]))
    for first, second, key in zip(*results, keys, strict=True):
        assert sorted([first is None, second is None]) == [False, True]
        assert "has changed since you looked" in str(first or second)
        assert ground.of(key).state == ("ready" if first is None else "cancelled")
    assert len(ground.decisions()) == len(keys)


@pytest.mark.parametrize("decision", ["release", "cancel", "confirm"])
async def test_a_late_201_counts_whatever_was_decided(
    ground: Ground, worker: MakeWorker, take: Take, decision: str
) -> None:
    """Above all it prevents the second POST of a delivery that was released and not claimed yet."""
    key = ground.delivery("ready")
    ready = worker("late")
    late = await take(ready, (await ready.queue(after=None, limit=1))[0], lease=-1)
    assert late is not None
    await worker("sweeper").sweep_expired_leases()
    number = ground.snapshot()
    if decision == "confirm":
        ground.shown(41, number)
    ground.decide(key, decision, 41 if decision == "confirm" else None, without_evidence=True)
    queued = await worker("other").queue(after=None, limit=1)
    assert await ready.record(late, LATE) is State.ACCEPTED
    found = ground.of(key)
    assert (found.state, found.springest_certificate_id, found.match_method) == ("accepted", 77, None)
    assert found.review_reason == ("stored_although_cancelled" if decision == "cancel" else None)
    for item in queued:  # read before the answer came: its claim comes too late
        assert await take(worker("other"), item) is NotClaimed.TAKEN
    assert await worker("other").queue(after=None, limit=1) == []


@pytest.mark.parametrize("finished", [False, True])
async def test_a_late_201_while_sending_again_is_flagged_as_twice(
    ground: Ground, worker: MakeWorker, take: Take, finished: bool
) -> None:
    """It cannot be undone, but a person sees that Springest may have two; the second worker's own response
    still counts.
    """
    key = ground.delivery("ready")
    late = await take(worker("late"), (await worker().queue(after=None, limit=1))[0], lease=-1)
    await worker("sweeper").sweep_expired_leases()
    ground.decide(key, "release", without_evidence=True)
    again = await take(worker("other"), (await worker().queue(after=None, limit=1))[0])
    second = Outcome(Event.ACCEPTED_WITH_ID, http_status=201, springest_certificate_id=78)
    assert late is not None
    assert again is not None
    if finished:
        assert await worker("other").record(again, second) is State.ACCEPTED
    assert await worker("late").record(late, LATE) is None
    if not finished:
        assert await worker("other").record(again, second) is State.ACCEPTED
    found = ground.of(key)
    assert (found.state, found.springest_certificate_id, found.needs_review) == ("accepted", 78, True)
    assert found.review_reason == f"stored_twice(attempt {late.attempt_id}: certificate 77)"


async def test_an_outcome_recorded_twice_is_not_flagged_as_twice(
    ground: Ground, worker: MakeWorker, take: Take
) -> None:
    """The first commit succeeded and its confirmation was lost."""
    key = ground.delivery("ready")
    claim = await take(worker(), (await worker().queue(after=None, limit=1))[0])
    assert await worker().record(claim, LATE) is State.ACCEPTED
    assert await worker().record(claim, LATE) is None
    assert not ground.of(key).needs_review


def test_a_decision_waits_for_staging_and_sees_its_result(ground: Ground, warehouse_url: str) -> None:
    """A duplicate is not released while staging compares it."""
    key = ground.delivery("review", reason="duplicate")
    ground.snapshot()
    choice = ground.choice(key, "release")
    engine = create_engine(warehouse_url)
    with ThreadPoolExecutor(1) as pool:
        with ground.warehouse.begin() as staging:
            ledger.lock_staging(staging, "default")
            deciding = pool.submit(
                lambda: list(
                    Decisions(engine, site="default", rules=LISTED).decide_each(
                        [choice], found={key: [source_row()]}
                    )
                )
            )
            _wait_until_somebody_waits(ground.warehouse)
            staging.execute(text("UPDATE springest.delivery SET state = 'withdrawn', version = version + 1"))
        (done,) = deciding.result(timeout=30)
    engine.dispose()
    assert "it has been withdrawn (duplicate) since" in str(done.refusal)


def _wait_until_somebody_waits(warehouse: Engine) -> None:
    for _ in range(2_000):
        with warehouse.connect() as connection:
            waiting = connection.execute(text("SELECT count(*) FROM pg_locks WHERE NOT granted")).scalar_one()
        if waiting:
            return
    raise AssertionError("nobody waits")


def test_each_of_many_is_decided_separately(ground: Ground) -> None:
    """Each has a report; a refusal stops none of the others."""
    keys = [doubtful(ground, "T1"), ground.delivery("visible", "T2"), doubtful(ground, "T3")]
    choices = [ground.choice(key, "cancel") for key in keys]
    unheard = RequestedDecision("0" * 64, DecisionKind.CANCEL, 1, "anna", "looked at it")
    done = list(Decisions(ground.warehouse, site="default").decide_each([*choices, unheard]))
    assert [result.state for result in done] == [State.CANCELLED, None, State.CANCELLED, None]
    assert [bool(result.refusal) for result in done] == [False, True, False, True]
    assert len(ground.decisions()) == 2
    assert all(isinstance(result, Decided) for result in done)


def test_a_delivery_of_another_site_cannot_be_decided(ground: Ground) -> None:
    """A decision for one site finds no delivery of another."""
    key = ground.delivery("unknown", site="other")
    with pytest.raises(DecisionRefused, match="belongs to site other, not default"):
        ground.decide(key, "cancel")
