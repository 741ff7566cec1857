"""What people decide, over a real PostgreSQL: what stands, what is refused, what happens at the same time."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, date, datetime, timedelta
from threading import Barrier
from typing import Any

import pytest
from sqlalchemy import Engine, create_engine, text
from sqlalchemy.exc import IntegrityError

from springest.delivery.claims import Claim, NotClaimed, Outcome
from springest.delivery.repository import SendingLedger
from springest.errors import DecisionRefused
from springest.redaction import Redactor
from springest.review.decisions import Choice, Decided, Decisions
from springest.review.rules import ReleaseRules
from springest.staging import repository as ledger
from springest.states import DecisionKind, Event, State
from tests.component.ground import DAY, NOT_LISTED, Ground, ago, row

MakeWorker = Callable[..., SendingLedger]
Take = Callable[..., Awaitable[Claim | None]]
LATE = Outcome(Event.ACCEPTED_WITH_ID, http_status=201, springest_certificate_id=77)


@pytest.fixture
def ground(warehouse: Engine) -> Ground:
    return Ground(warehouse)


LISTED = ReleaseRules(listed_is_verified=True)


def doubtful(ground: Ground, name: str = "T1", **values: Any) -> str:
    """What an engineer finds at nine: sent at night, and nobody knows what became of it."""
    return ground.delivery("unknown", name, sent=ago(hours=7), reason="answer_timeout", **values)


# --- release


def test_an_unknown_that_a_fresh_complete_snapshot_lacks_is_released(ground: Ground) -> None:
    """The next morning, not after two weeks; who, when, why and on what ground is kept."""
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
    assert kept.evidence["reason"] == "answer_timeout"


@pytest.mark.parametrize(
    ("snapshot", "said"),
    [
        (None, "there is no complete snapshot"),
        ({"complete": False}, "there is no complete snapshot"),
        ({"minutes_ago": 90}, "more than 60 minutes ago: trigger springest_reconcile"),
        ({"minutes_ago": 425}, "more than 60 minutes ago"),
    ],
)
def test_a_release_without_a_fresh_complete_snapshot_is_refused(
    ground: Ground, snapshot: dict[str, Any] | None, said: str
) -> None:
    key = doubtful(ground)
    if snapshot is not None:
        ground.snapshot(**snapshot)
    with pytest.raises(DecisionRefused, match=said):
        ground.decide(key, "release")
    assert ground.of(key).state == "unknown"
    assert ground.decisions() == []


def test_a_snapshot_that_began_right_after_the_post_may_lack_what_is_still_being_stored(
    ground: Ground,
) -> None:
    key = ground.delivery("unknown", sent=ago(minutes=20))
    ground.snapshot(minutes_ago=10)
    with pytest.raises(DecisionRefused, match="too early to lack what was sent"):
        ground.decide(key, "release")
    ground.snapshot(minutes_ago=2)
    assert ground.decide(key, "release").state is State.READY


def test_a_snapshot_says_nothing_of_a_certification_that_is_not_listed(ground: Ground) -> None:
    """Its certificates are not shown, so none of them is missed."""
    key = doubtful(ground, certification_id=NOT_LISTED)
    ground.snapshot()
    with pytest.raises(DecisionRefused, match=r"certification 105 that was posted later.*admin"):
        ground.decide(key, "release", rows=[row(certification_id=NOT_LISTED)])


def test_a_listed_certification_is_no_evidence_where_unverified_ones_may_be_listed(ground: Ground) -> None:
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
def test_a_certificate_that_was_posted_later_and_is_shown_is_evidence(
    ground: Ground, shown: dict[str, int], evident: bool
) -> None:
    """Its certification is verified, and that of the one in doubt with it. Moments are minutes ago."""
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


def test_an_id_that_is_not_shown_is_confirmed_while_nothing_shows_that_its_certification_is_verified(
    ground: Ground,
) -> None:
    ground.listed_is_verified = False
    keys = [doubtful(ground, name=name) for name in ("T1", "T2")]
    number = ground.snapshot()
    assert ground.decide(keys[0], "confirm", 58).state is State.ACCEPTED
    ground.shown(9, number, valid_from=DAY + timedelta(days=9))
    with pytest.raises(DecisionRefused, match="certification 102 is verified: check the number"):
        ground.decide(keys[1], "confirm", 59)


def test_a_person_may_release_without_evidence_and_it_is_kept_as_such(ground: Ground) -> None:
    key = doubtful(ground)
    ground.decide(key, "release", without_evidence=True)
    (kept,) = ground.decisions()
    assert (kept.without_evidence, kept.evidence["missing"]) == (True, ["snapshot"])


def test_the_override_is_not_noted_where_nothing_was_overridden(ground: Ground) -> None:
    key = doubtful(ground)
    ground.snapshot()
    ground.decide(key, "release", without_evidence=True)
    assert not ground.decisions()[0].without_evidence


@pytest.mark.parametrize("without_evidence", [False, True])
@pytest.mark.parametrize(
    "shown",
    [
        {},
        {"learner_ref": row().learner_ref},
        {"certification_id": None, "valid_from": None},
        {"valid_until": date(2029, 11, 2)},
        {"learner_ref": row().learner_ref, "created_at": ago(days=20)},
        {"created_at": ago(hours=7)},
    ],
)
def test_what_could_be_it_and_is_shown_stands_in_the_way_of_every_release(
    ground: Ground, shown: dict[str, Any], without_evidence: bool
) -> None:
    """That can't be overridden."""
    key = doubtful(ground)
    ground.shown(41, ground.snapshot(), **shown)
    with pytest.raises(DecisionRefused, match="Springest shows certificate 41, which could be it"):
        ground.decide(key, "release", without_evidence=without_evidence)
    assert ground.of(key).state == "unknown"


def test_a_partial_snapshot_may_show_what_stands_in_the_way(ground: Ground) -> None:
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
def test_what_can_not_be_it_does_not_stand_in_the_way(ground: Ground, shown: dict[str, Any]) -> None:
    key = doubtful(ground)
    ground.shown(41, ground.snapshot(), **shown)
    assert ground.decide(key, "release").state is State.READY


def test_a_certificate_of_another_delivery_does_not_stand_in_the_way(ground: Ground) -> None:
    key = doubtful(ground)
    ground.delivery("accepted", "T2")
    ground.shown(7, ground.snapshot())
    assert ground.decide(key, "release").state is State.READY


def test_one_that_another_delivery_is_said_to_be_and_whose_owner_is_this_learner_stands_in_the_way(
    ground: Ground,
) -> None:
    """A person confirmed T2 wrongly; then Springest named the owner."""
    key = doubtful(ground)
    ground.delivery("visible", "T2", email="another@example.com", match_method="person")
    ground.shown(7, ground.snapshot(), learner_ref=row().learner_ref)
    with pytest.raises(DecisionRefused, match="certificate 7"):
        ground.decide(key, "release")


@pytest.mark.parametrize(
    ("rows", "said"),
    [
        ([], "the source no longer has it"),
        ([row(), row(booking_id=3)], "two rows of it that differ"),
        ([row(email="somebody-else@example.com", booking_id=5)], r"another one .*\(email, booking_id\)"),
    ],
)
def test_a_release_needs_the_row_as_it_was_staged(ground: Ground, rows: list[Any], said: str) -> None:
    key = doubtful(ground)
    ground.snapshot()
    with pytest.raises(DecisionRefused, match=said):
        ground.decide(key, "release", rows=rows, without_evidence=True)
    assert ground.decisions() == []


def test_a_row_that_was_only_touched_is_released(ground: Ground) -> None:
    key = doubtful(ground)
    ground.snapshot()
    ground.decide(key, "release", rows=[row(updated_at=datetime(2026, 11, 9, tzinfo=UTC))])
    assert ground.decisions()[0].evidence["row"].startswith("touched")


def test_what_is_missing_or_gone_is_released_without_its_old_id(ground: Ground) -> None:
    """Springest confirmed that it lost it. The id stays in the decision; a new POST will tell a new one."""
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
    assert [one.evidence["springest_certificate_id"] for one in ground.decisions()] == [7, 8]


def test_what_may_have_been_sent_before_a_restoration_counts_as_sent_then(ground: Ground) -> None:
    """The ledger knows no attempt of it, and can't."""
    key = ground.delivery("unknown", reason="ledger_restored", certification_id=NOT_LISTED)
    ground.restored()
    ground.snapshot(minutes_ago=30)
    with pytest.raises(DecisionRefused, match="too early to lack what was sent") as refused:
        ground.decide(key, "release", rows=[row(certification_id=NOT_LISTED)])
    assert "may not be verified yet" in str(refused.value)


# --- duplicates


def test_a_released_duplicate_is_sent_although_it_is_checked_again(ground: Ground) -> None:
    """Both are meant. Only another certificate in the same row is weighed again."""
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
    assert ground.decide(key, "release", rows=[row(certification_id=NOT_LISTED)]).state is State.READY


# --- confirm


def test_an_unknown_is_confirmed_by_an_id_that_springest_shows(ground: Ground) -> None:
    key = doubtful(ground, needs_review=True, review_reason="changed_after_sending(email)")
    ground.shown(41, ground.snapshot(minutes_ago=300))
    ground.decide(key, "confirm", 41)
    found, (kept,) = ground.of(key), ground.decisions()
    assert (found.state, found.springest_certificate_id, found.match_method) == ("visible", 41, "person")
    assert (found.needs_review, found.review_reason) == (True, "changed_after_sending(email)")
    assert (kept.springest_certificate_id, kept.evidence["owner_agrees"]) == (41, False)


def test_an_id_that_can_not_be_shown_yet_is_accepted_and_not_more(ground: Ground) -> None:
    """Springest's admin has it; the API shows it once its certification is verified."""
    key = doubtful(ground, certification_id=NOT_LISTED)
    ground.snapshot()
    ground.decide(key, "confirm", 41)
    found = ground.of(key)
    assert (found.state, found.springest_certificate_id, found.match_method) == ("accepted", 41, "person")


@pytest.mark.parametrize(
    ("shown", "said"),
    [
        ({"certification_id": 101}, "differs in certification_id"),
        ({"valid_from": date(2026, 1, 1)}, "differs in valid_from"),
        ({"valid_until": date(2028, 1, 1)}, "differs in valid_until"),
        ({"learner_ref": "b" * 64}, "differs in learner"),
    ],
)
def test_a_certificate_that_disagrees_can_not_be_confirmed(
    ground: Ground, shown: dict[str, Any], said: str
) -> None:
    key = doubtful(ground)
    ground.shown(41, ground.snapshot(), **shown)
    with pytest.raises(DecisionRefused, match=said):
        ground.decide(key, "confirm", 41)
    assert ground.of(key).state == "unknown"


def test_a_certificate_of_another_training_can_not_be_confirmed(ground: Ground) -> None:
    key = doubtful(ground)
    ground.delivery("accepted", "T2")
    told = ground.delivery("sending", "T3")
    ground.attempt(told, outcome="accepted_with_id", springest_certificate_id=8)
    number = ground.snapshot()
    ground.shown(7, number)
    ground.shown(8, number)
    with pytest.raises(DecisionRefused, match="certificate 7 is that of training T2"):
        ground.decide(key, "confirm", 7)
    with pytest.raises(DecisionRefused, match="certificate 8 is that of training T3"):
        ground.decide(key, "confirm", 8)


def test_an_id_that_springest_should_show_and_does_not_is_a_wrong_number(ground: Ground) -> None:
    key = doubtful(ground)
    ground.snapshot()
    with pytest.raises(DecisionRefused, match="check the number"):
        ground.decide(key, "confirm", 41)


def test_a_certificate_that_is_not_shown_any_more_can_not_be_confirmed(ground: Ground) -> None:
    key = doubtful(ground)
    ground.shown(41, ground.snapshot(minutes_ago=600))
    ground.snapshot()
    with pytest.raises(DecisionRefused, match=r"last showed certificate 41 .* lacks it"):
        ground.decide(key, "confirm", 41)


@pytest.mark.parametrize("certificate_id", [None, 0, -4])
def test_a_confirmation_names_an_id(ground: Ground, certificate_id: int | None) -> None:
    with pytest.raises(DecisionRefused, match="names the certificate's id"):
        ground.decide(doubtful(ground), "confirm", certificate_id)


# --- cancel, reopen


@pytest.mark.parametrize(
    "state", ["ready", "invalid", "held", "rejected", "review", "unknown", "accepted_no_id", "vanished"]
)
def test_what_is_not_known_to_be_there_can_be_cancelled_and_reopened(ground: Ground, state: str) -> None:
    key = ground.delivery(state, needs_review=True, review_reason="duplicate")
    ground.decide(key, "cancel", reason="the learner asked for it")
    found = ground.of(key)
    assert (found.state, found.needs_review) == ("cancelled", False)
    assert found.reason_detail == "cancelled by a person: `bin/springest review show` tells who and why"
    ground.decide(key, "reopen")
    found = ground.of(key)
    assert (found.state, found.reason, found.review_reason) == ("review", "reopened", "reopened")


def test_a_wrong_confirmation_is_reopened_and_its_id_given_back(ground: Ground) -> None:
    key, other = doubtful(ground), doubtful(ground, "T2")
    number = ground.snapshot()
    ground.shown(41, number)
    ground.decide(key, "confirm", 41)
    with pytest.raises(DecisionRefused, match="is that of training T1"):
        ground.decide(other, "confirm", 41)
    ground.decide(key, "reopen")
    ground.decide(other, "confirm", 41)
    assert [ground.of(one).state for one in (key, other)] == ["review", "visible"]


@pytest.mark.parametrize("state", ["accepted", "visible"])
def test_what_springest_itself_told_can_not_be_reopened(ground: Ground, state: str) -> None:
    key = ground.delivery(state, match_method="springest_id")
    with pytest.raises(DecisionRefused, match="only a confirmation by a person can be reopened"):
        ground.decide(key, "reopen")


@pytest.mark.parametrize("state", ["sending", "accepted", "visible", "withdrawn", "cancelled"])
@pytest.mark.parametrize("decision", ["release", "confirm", "cancel"])
def test_what_nobody_can_decide_about_says_why(ground: Ground, state: str, decision: str) -> None:
    key = ground.delivery(state)
    before = ground.of(key)
    with pytest.raises(DecisionRefused, match=f"training T1 is {state}: "):
        ground.decide(key, decision, 41 if decision == "confirm" else None)
    assert ground.of(key) == before


# --- who and why


@pytest.mark.parametrize(
    "told", ["", "  \n ", "x" * 1001, "ask zoë@example.com", "a%40b.example", "s3cr3t!k"]
)
@pytest.mark.parametrize("field", ["reason", "decided_by"])
def test_a_reason_is_required_and_holds_no_address_and_no_key(ground: Ground, field: str, told: str) -> None:
    key = doubtful(ground)
    decisions = Decisions(ground.warehouse, site="default", redactor=Redactor(["s3cr3t!k"]))
    with pytest.raises(DecisionRefused) as refused:
        decisions.decide(ground.choice(key, "cancel", **{field: told}))
    assert not told.strip() or told not in str(refused.value)
    assert ground.of(key).state == "unknown"


def test_the_database_itself_refuses_an_address_in_a_reason(ground: Ground) -> None:
    key = ground.delivery("ready")
    with pytest.raises(IntegrityError, match="reason_check"), ground.warehouse.begin() as connection:
        connection.execute(
            text(
                "INSERT INTO springest.delivery_decision (delivery_key, decided_by, decision, reason,"
                " version, from_state, to_state, evidence)"
                " VALUES (:key, 'anna', 'cancel', 'a@b', 1, 'ready', 'cancelled', '{}')"
            ),
            {"key": key},
        )


# --- at the same time


def test_a_decision_about_what_moved_meanwhile_changes_nothing_and_says_what_it_is_now(
    ground: Ground,
) -> None:
    key = doubtful(ground)
    seen = ground.choice(key, "cancel")
    with ground.warehouse.begin() as connection:
        connection.execute(text("UPDATE springest.delivery SET state = 'visible', version = version + 1"))
    with pytest.raises(DecisionRefused, match="has moved since you looked: it is visible"):
        Decisions(ground.warehouse, site="default").decide(seen)
    assert (ground.of(key).state, ground.decisions()) == ("visible", [])


def test_of_two_people_who_decide_at_once_one_does(ground: Ground, warehouse_url: str) -> None:
    """One releases while the other cancels; the other is told."""
    keys = [doubtful(ground, f"T{number}") for number in range(6)]
    ground.snapshot()
    together = Barrier(2)

    def person(decision: str) -> list[str | None]:
        engine = create_engine(warehouse_url)
        choices = [ground.choice(key, decision, decided_by=decision) for key in keys]
        found = {key: [row(f"T{number}")] for number, key in enumerate(keys)}
        refusals = []
        for choice in choices:
            together.wait(timeout=30)
            done = list(Decisions(engine, site="default", rules=LISTED).decide_each([choice], found=found))
            refusals.append(done[0].refusal)
        engine.dispose()
        return refusals

    with ThreadPoolExecutor(2) as pool:
        said = list(pool.map(person, ["release", "cancel"]))
    for first, second, key in zip(*said, keys, strict=True):
        assert sorted([first is None, second is None]) == [False, True]
        assert "has moved since you looked" in str(first or second)
        assert ground.of(key).state == ("ready" if first is None else "cancelled")
    assert len(ground.decisions()) == len(keys)


@pytest.mark.parametrize("decision", ["release", "cancel", "confirm"])
async def test_the_workers_late_201_is_not_lost_whatever_was_decided_meanwhile(
    ground: Ground, worker: MakeWorker, take: Take, decision: str
) -> None:
    """Above all it stops the second POST of what was released and has not been claimed yet."""
    key = ground.delivery("ready")
    ready = worker("late")
    late = await take(ready, (await ready.queue(after=None, limit=1))[0], lease=-1)
    assert late is not None
    await worker("sweeper").sweep()
    number = ground.snapshot()
    if decision == "confirm":
        ground.shown(41, number)
    ground.decide(key, decision, 41 if decision == "confirm" else None, without_evidence=True)
    queued = await worker("other").queue(after=None, limit=1)
    assert await ready.record(late, LATE) is State.ACCEPTED
    found = ground.of(key)
    assert (found.state, found.springest_certificate_id, found.match_method) == ("accepted", 77, None)
    assert found.review_reason == ("taken_although_cancelled" if decision == "cancel" else None)
    for one in queued:  # read before the answer came: its claim comes too late
        assert await take(worker("other"), one) is NotClaimed.TAKEN
    assert await worker("other").queue(after=None, limit=1) == []


@pytest.mark.parametrize("finished", [False, True])
async def test_a_late_201_of_what_is_being_sent_again_tells_a_person_that_it_is_there_twice(
    ground: Ground, worker: MakeWorker, take: Take, finished: bool
) -> None:
    """It can't be undone, but it is not hidden; the second worker's own answer still counts."""
    key = ground.delivery("ready")
    late = await take(worker("late"), (await worker().queue(after=None, limit=1))[0], lease=-1)
    await worker("sweeper").sweep()
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
    assert found.review_reason == f"taken_twice(attempt {late.attempt_id}: certificate 77)"


async def test_an_answer_that_is_recorded_twice_tells_nobody_that_it_is_there_twice(
    ground: Ground, worker: MakeWorker, take: Take
) -> None:
    """The first commit got through and its confirmation did not."""
    key = ground.delivery("ready")
    claim = await take(worker(), (await worker().queue(after=None, limit=1))[0])
    assert await worker().record(claim, LATE) is State.ACCEPTED
    assert await worker().record(claim, LATE) is None
    assert not ground.of(key).needs_review


def test_a_decision_waits_for_staging_and_then_sees_what_it_did(ground: Ground, warehouse_url: str) -> None:
    """A duplicate is not released while staging weighs it."""
    key = ground.delivery("review", reason="duplicate")
    ground.snapshot()
    choice = ground.choice(key, "release")
    engine = create_engine(warehouse_url)
    with ThreadPoolExecutor(1) as pool:
        with ground.warehouse.begin() as staging:
            ledger.lock_site(staging, "default")
            deciding = pool.submit(
                lambda: list(
                    Decisions(engine, site="default", rules=LISTED).decide_each(
                        [choice], found={key: [row()]}
                    )
                )
            )
            _wait_until_somebody_waits(ground.warehouse)
            staging.execute(text("UPDATE springest.delivery SET state = 'withdrawn', version = version + 1"))
        (done,) = deciding.result(timeout=30)
    engine.dispose()
    assert "it is withdrawn (duplicate) now" in str(done.refusal)


def _wait_until_somebody_waits(warehouse: Engine) -> None:
    for _ in range(2_000):
        with warehouse.connect() as connection:
            waiting = connection.execute(text("SELECT count(*) FROM pg_locks WHERE NOT granted")).scalar_one()
        if waiting:
            return
    raise AssertionError("nobody waits")


def test_of_many_each_is_decided_by_itself(ground: Ground) -> None:
    """A report for each; a refusal stops none of the others."""
    keys = [doubtful(ground, "T1"), ground.delivery("visible", "T2"), doubtful(ground, "T3")]
    choices = [ground.choice(key, "cancel") for key in keys]
    unheard = Choice("0" * 64, DecisionKind.CANCEL, 1, "anna", "looked at it")
    done = list(Decisions(ground.warehouse, site="default").decide_each([*choices, unheard]))
    assert [one.state for one in done] == [State.CANCELLED, None, State.CANCELLED, None]
    assert [bool(one.refusal) for one in done] == [False, True, False, True]
    assert len(ground.decisions()) == 2
    assert all(isinstance(one, Decided) for one in done)


def test_a_delivery_of_another_site_is_not_decided_about(ground: Ground) -> None:
    key = ground.delivery("unknown", site="other")
    with pytest.raises(DecisionRefused, match="is of site other, not default"):
        ground.decide(key, "cancel")
