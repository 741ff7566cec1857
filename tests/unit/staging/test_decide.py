"""Staging of a row: its checks, its comparison with the ledger, and the changes it must never make."""

from __future__ import annotations

from datetime import UTC, date, datetime
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from springest.errors import IllegalTransition
from springest.source.contract import CompletedTraining, Defect
from springest.staging.decide import (
    CONFLICT,
    HOLDS_CERTIFICATE,
    NOTHING,
    Action,
    CatalogueEntry,
    Change,
    CheckResult,
    Holder,
    Known,
    check,
    decide,
    duplicate_of,
    find_duplicate,
    identity,
    is_before_cutover,
    may_be_restaged,
    needs_check,
)
from springest.states import POSSIBLY_STORED, Event, State
from tests.factories import source_row

LISTED = CatalogueEntry(listed=True)
STRICT = CatalogueEntry(listed=True, requires_valid_until=True)
UNLISTED = CatalogueEntry(listed=False)
PENDING = CatalogueEntry(listed=False, may_send_unlisted=True)
READY = CheckResult(Event.CHECKED_READY)
HELD = CheckResult(Event.CHECKED_HELD, "certification_not_listed", "have it verified")
INVALID = CheckResult(Event.CHECKED_INVALID, "email_malformed", "correct it")
DUPLICATE = duplicate_of("T0")
OPEN = {State.READY, State.INVALID, State.HELD, State.REJECTED, State.WITHDRAWN}


def row(**changes: Any) -> CompletedTraining:
    return source_row(**{"email": "zoë@example.com", "valid_until": date(2028, 11, 2), **changes})


def known(state: State, *, of: CompletedTraining | None = None, **changes: Any) -> Known:
    """A delivery in the ledger that was staged from a row; from an unchanged one if none is given."""
    training = of or row()
    values: dict[str, Any] = {
        "delivery_key": training.delivery_key,
        "training_id": training.training_id,
        "state": state,
        "version": 1,
        "row_version": training.row_version,
        "reason": None,
        "learner_ref": training.learner_ref,
        "certification_id": training.certification_id,
        "booking_id": training.booking_id,
        "valid_from": training.valid_from,
        "valid_until": training.valid_until,
        "document_ref": training.document_ref,
        "catalogue_ref": LISTED.ref,
        "ever_sent": state in POSSIBLY_STORED,
        **changes,
    }
    return Known(**values)


@pytest.mark.parametrize(
    ("training", "catalogue", "document", "expected"),
    [
        (row(), LISTED, None, (Event.CHECKED_READY, None)),
        (row(), PENDING, None, (Event.CHECKED_READY, None)),
        (row(), UNLISTED, None, (Event.CHECKED_HELD, "certification_not_listed")),
        (row(valid_until=None), LISTED, None, (Event.CHECKED_READY, None)),
        (row(valid_until=None), STRICT, None, (Event.CHECKED_INVALID, "valid_until_required")),
        (row(valid_until="soon"), STRICT, None, (Event.CHECKED_INVALID, "valid_until_unreadable")),
        (row(email="zoe"), LISTED, None, (Event.CHECKED_INVALID, "email_malformed")),
        (row(email="zoe"), UNLISTED, None, (Event.CHECKED_INVALID, "email_malformed")),
        (row(), UNLISTED, Defect("document_empty", "render"), (Event.CHECKED_INVALID, "document_empty")),
        (row(), LISTED, Defect("document_empty", "render"), (Event.CHECKED_INVALID, "document_empty")),
    ],
)
def test_the_checks_of_a_row(
    training: CompletedTraining,
    catalogue: CatalogueEntry,
    document: Defect | None,
    expected: tuple[Event, str | None],
) -> None:
    """Each check of a row has the state and the reason of its line."""
    verdict = check(training, catalogue, document)
    assert (verdict.event, verdict.reason) == expected


def test_all_defects_are_in_one_reason() -> None:
    """All defects of a row are reported together."""
    verdict = check(row(email="zoe", valid_until=None), STRICT, Defect("document_empty", "render it again"))
    assert verdict.detail is not None
    assert all(part in verdict.detail for part in ("email", "render it again", "requires valid_until"))
    assert verdict.detail.count("valid_until") == 1


@pytest.mark.parametrize("state", [None, *State])
@pytest.mark.parametrize(
    "verdict", [READY, HELD, INVALID, DUPLICATE, CONFLICT], ids=lambda verdict: str(verdict.event)
)
def test_only_unsent_states_accept_a_checked_row(state: State | None, verdict: CheckResult) -> None:
    """A checked row is written only where Springest cannot have the certificate.

    This is the whole table of checked transitions, the last guard even if a row was checked by mistake.
    """
    after = {
        Event.CHECKED_READY: State.READY,
        Event.CHECKED_HELD: State.HELD,
        Event.CHECKED_INVALID: State.INVALID,
        Event.DUPLICATE_FOUND: State.REVIEW,
    }[verdict.event]
    before = None if state is None else known(state, row_version="0" * 64)
    if state is None or state in OPEN | {State.REVIEW}:
        decision = decide(before, row(), verdict)
        assert decision.action is (Action.INSERT if state is None else Action.RESTAGE)
        assert (decision.state, decision.reason, decision.detail) == (after, verdict.reason, verdict.detail)
        assert decision.review_reason == (verdict.reason if after is State.REVIEW else None)
    else:
        with pytest.raises(IllegalTransition):
            decide(before, row(), verdict)


def test_the_same_verdict_on_the_same_row_writes_nothing() -> None:
    """A quiet night changes no row."""
    assert decide(known(State.READY), row(), READY) == NOTHING
    assert decide(known(State.HELD, reason=HELD.reason, reason_detail=HELD.detail), row(), HELD) == NOTHING
    assert (
        decide(known(State.INVALID, reason=INVALID.reason, reason_detail=INVALID.detail), row(), INVALID)
        == NOTHING
    )


@pytest.mark.parametrize(
    "before",
    [
        known(State.INVALID, reason="document_missing"),
        known(State.INVALID, reason=INVALID.reason, row_version="0" * 64),
        known(State.HELD, reason=HELD.reason),
    ],
)
def test_a_new_reason_or_a_new_row_is_written(before: Known) -> None:
    """An equal state with another reason, or for another row, is written."""
    assert decide(before, row(), INVALID).action is Action.RESTAGE


@pytest.mark.parametrize("state", [State.INVALID, State.HELD, State.WITHDRAWN])
def test_rows_set_aside_are_checked_every_night(state: State) -> None:
    """Invalid and held rows are checked every night."""
    assert needs_check(known(state), row(), LISTED)


@pytest.mark.parametrize("state", [State.READY, State.REJECTED])
def test_ready_and_rejected_rows_are_checked_after_a_change(state: State) -> None:
    """They are checked when the row or the catalogue changed; their document is not opened every night."""
    assert not needs_check(known(state), row(), LISTED)
    assert needs_check(known(state), row(valid_until=None), LISTED)
    assert needs_check(known(state), row(), STRICT)
    assert needs_check(known(state), row(), UNLISTED)


def test_a_new_row_is_checked() -> None:
    """A row without a delivery is checked."""
    assert needs_check(None, row(), LISTED)


def test_a_duplicate_is_checked_only_after_its_row_changed() -> None:
    """A duplicate is checked again only if its row changed and nothing was sent."""
    assert not needs_check(known(State.REVIEW), row(), LISTED)
    assert needs_check(known(State.REVIEW), row(valid_until=None), LISTED)
    assert not needs_check(known(State.REVIEW, ever_sent=True), row(valid_until=None), LISTED)


@given(
    state=st.sampled_from(sorted(POSSIBLY_STORED | {State.CANCELLED})),
    changes=st.fixed_dictionaries(
        {},
        optional={
            "email": st.sampled_from(["jo@example.com", "zoe", None]),
            "valid_from": st.sampled_from([date(2026, 1, 1), None]),
            "certificate_uri": st.sampled_from(["/other.pdf", None]),
            "certification_id": st.integers(),
        },
    ),
    catalogue=st.sampled_from([LISTED, STRICT, UNLISTED, PENDING]),
)
def test_a_possibly_stored_delivery_is_never_staged_again(
    state: State, changes: dict[str, Any], catalogue: CatalogueEntry
) -> None:
    """If Springest may have the certificate, no change leads to staging."""
    training, before = row(**changes), known(state)
    assert not may_be_restaged(before)
    assert not needs_check(before, training, catalogue)
    assert decide(before, training, None).action in {Action.NOTHING, Action.FLAG}


@pytest.mark.parametrize("state", sorted(POSSIBLY_STORED))
def test_a_row_changed_after_sending_names_its_fields(state: State) -> None:
    """The flag for a row that changed after it was sent names the changed fields."""
    changed = row(email="jo@example.com", valid_until=None, certificate_uri="/other.pdf")
    decision = decide(known(state), changed, None)
    assert decision == Change(
        Action.FLAG, review_reason="changed_after_sending(email, valid_until, document)"
    )
    assert decide(known(state, review_reason=decision.review_reason), changed, None) == NOTHING


@pytest.mark.parametrize("reason", ["stored_twice(attempt 3: certificate 7)", "stored_although_cancelled"])
def test_a_source_change_does_not_hide_a_double_certificate(reason: str) -> None:
    """The flag that Springest may have two is not overwritten by a change of the source."""
    assert decide(known(State.ACCEPTED, review_reason=reason), row(email="jo@example.com"), None) == NOTHING


def test_a_change_of_a_field_not_sent_is_not_flagged() -> None:
    """A change of a field that was not sent is not flagged."""
    assert decide(known(State.VISIBLE), row(updated_at=datetime(2026, 12, 1, tzinfo=UTC)), None) == NOTHING


def test_another_spelling_of_an_email_is_no_change() -> None:
    """An e-mail address in another spelling is not a change."""
    assert decide(known(State.VISIBLE), row(email="ZOË@example.com"), None) == NOTHING


@pytest.mark.parametrize("state", [State.READY, State.REJECTED, State.CANCELLED])
def test_a_delivery_not_sent_is_not_flagged(state: State) -> None:
    """A change of a delivery that was not sent is staged, not flagged."""
    assert decide(known(state), row(email="jo@example.com"), None) == NOTHING


def test_certification_learner_and_first_day_make_a_duplicate() -> None:
    """Two trainings are one certificate if certification, learner and first day of validity are equal."""
    equal = [
        row(),
        row(training_id="T2"),
        row(email="ZOË@example.com"),
        row(valid_until=None),
        row(issue_no=2),
    ]
    different = [row(certification_id=103), row(email="jo@example.com"), row(valid_from=date(2026, 11, 3))]
    assert len({identity(each) for each in equal}) == 1
    assert len({identity(each) for each in (*different, row())}) == 4


@pytest.mark.parametrize("column", ["certification_id", "email", "valid_from"])
def test_an_incomplete_row_is_no_duplicate(column: str) -> None:
    """A row that lacks certification, learner or first day is not compared."""
    assert identity(row(**{column: None})) is None


def test_another_issue_of_the_same_training_is_no_duplicate() -> None:
    """``issue_no`` is the only way to issue again, and this is what it is for."""
    own, second = Holder("1" * 64, "T1"), Holder("2" * 64, "T2")
    assert find_duplicate(row(issue_no=2), [own]) is None
    assert find_duplicate(row(issue_no=2), [own, second]) == second
    assert find_duplicate(row(), []) is None


def test_a_released_duplicate_stays_released() -> None:
    """Neither a change of its catalogue entry nor a touched row makes it a duplicate again; another
    certificate does.
    """
    holder = Holder("2" * 64, "T2")
    released = known(State.READY, duplicate_released=True)
    assert find_duplicate(row(), [holder], known=released) is None
    assert find_duplicate(row(booking_id=4), [holder], known=released) is None
    for changes in ({"certification_id": 103}, {"email": "x@example.com"}, {"valid_from": date(2027, 1, 1)}):
        assert find_duplicate(row(**changes), [holder], known=released) == holder


def test_the_original_of_a_released_duplicate_stays_ready() -> None:
    """Both are intended. A row that is new, or was set aside, is still compared with it."""
    released = Holder("2" * 64, "T2", duplicate_released=True)
    assert find_duplicate(row(), [released], known=known(State.READY)) is None
    assert find_duplicate(row(), [released, Holder("3" * 64, "T3")], known=known(State.READY)) is not None
    assert find_duplicate(row(), [released], known=known(State.HELD)) == released
    assert find_duplicate(row(), [released], known=None) == released
    changed = row(valid_from=date(2027, 1, 1))
    assert find_duplicate(changed, [released], known=known(State.READY)) == released


def test_a_duplicate_names_the_training_it_repeats() -> None:
    """The reason detail of a duplicate names the other training."""
    assert DUPLICATE.reason == "duplicate"
    assert "training T0" in str(DUPLICATE.detail)


def test_a_possibly_stored_delivery_holds_its_certificate() -> None:
    """``ready`` and every state in which Springest may have the certificate make an equal one a duplicate."""
    assert POSSIBLY_STORED | {State.READY} == HOLDS_CERTIFICATE


def test_every_catalogue_change_changes_its_reference() -> None:
    """Each difference in a catalogue entry changes its reference, so that a rejected delivery is checked
    again.
    """
    entries = {LISTED.ref, STRICT.ref, UNLISTED.ref, CatalogueEntry(True, requires_valid_until=False).ref}
    assert len(entries) == 4


CUTOVER = date(2026, 11, 3)


def test_a_training_before_the_cutover_is_always_held() -> None:
    """It is held whatever its other defects: its certificate may be at Springest long after its document and
    its certification are gone.
    """
    verdict = check(row(), UNLISTED, Defect("document_missing", "gone"), cutover=CUTOVER)
    assert (verdict.event, verdict.reason) == (Event.CHECKED_HELD, "before_cutover")
    assert "2026-11-03" in (verdict.detail or "")


@pytest.mark.parametrize(
    ("changes", "before"),
    [
        ({}, True),
        ({"completed_at": datetime(2026, 11, 2, 23, 59, tzinfo=UTC)}, True),
        ({"completed_at": datetime(2026, 11, 3, tzinfo=UTC)}, False),
        ({"completed_at": None}, False),
        ({"email": None}, False),
        ({"certification_id": None}, False),
    ],
)
def test_the_cutover_compares_days_of_recognisable_trainings(changes: dict[str, Any], before: bool) -> None:
    """A training is before the cutover by the day of its completion, and if it can be recognised at
    Springest.
    """
    assert is_before_cutover(CUTOVER, row(**changes)) == before
    assert not is_before_cutover(None, row(**changes))


def test_a_later_cutover_takes_ready_rows_out_of_the_queue() -> None:
    """A `cutover_date` set after staging holds the `ready` deliveries before it."""
    ready = known(State.READY)
    assert not needs_check(ready, row(), LISTED)
    assert needs_check(ready, row(), LISTED, cutover=CUTOVER)
    assert not needs_check(known(State.ACCEPTED), row(), LISTED, cutover=CUTOVER)
    decision = decide(ready, row(), check(row(), LISTED, None, cutover=CUTOVER))
    assert (decision.action, decision.state) == (Action.RESTAGE, State.HELD)
