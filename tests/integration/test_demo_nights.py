"""The questions of analysts, on the warehouse that several nights of the demo's institute leave behind."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from datetime import UTC, date, datetime

import pytest

from demo import source_database
from demo.documents import render_all
from demo.nights import CERTIFICATIONS, PENDING, Expected, Night, nights
from demo.proof import delivery_failures, reason_failures
from sandbox.faults import Fault, FaultBody, Kind
from sandbox.store import Certification
from springest.db.roles import RoleNames
from tests.integration.conftest import World
from tests.integration.test_questions import ask_as_reader

ROWS = 30


@pytest.fixture
def made(make_world: Callable[..., World]) -> tuple[World, tuple[Night, ...]]:
    """Three nights: some are verified after the first; in the last, one response is lost, one is a page."""
    world = make_world(send_unlisted=list(PENDING))
    for one in CERTIFICATIONS:
        world.sandbox.store.remove_certification(one.id)
        world.sandbox.store.add_certification(
            Certification(
                one.id, one.name, requires_valid_until=one.requires_valid_until, verified=one.verified
            )
        )
    some = nights(7, first=date(2026, 11, 2), count=3, rows=ROWS, root=str(world.folder))
    for number, night in enumerate(some):
        render_all(night.trainings, world.folder)
        source_database.add(world.source, night.trainings, now=datetime.now(UTC))
        if number == 2:
            world.sandbox.state.faults.add(Fault(Kind.CLOSE_BEFORE_STORING))
            world.sandbox.state.faults.add(Fault(Kind.STATUS, status=200, body=FaultBody.XHTML))
        world.night(f"night {number}")
        if number == 0:
            for one in CERTIFICATIONS:
                if one.verified_between:
                    world.sandbox.store.verify(one.id)
    return world, some


def test_every_question_has_its_answer_on_nights_of_the_demo(
    made: tuple[World, tuple[Night, ...]], roles: RoleNames
) -> None:
    """As a reader, and the answers are those of the institute's own books."""
    world, some = made
    sent = [one for night in some for one in night.trainings if one.expected is Expected.SENT]
    assert reason_failures(world.warehouse, some) == []
    stored = world.sandbox.store.certificates()
    assert delivery_failures(some, stored) == ["2 certificates are missing"]
    answers = ask_as_reader(world, roles, training_id=sent[0].training_id, days=90)
    told = {name[:2]: rows for name, rows in answers.items()}
    of = Counter(one.certification_id for one in sent)
    waiting = {one.certification_id: one for one in told["01"]}
    assert set(waiting) == {107, 999}
    assert waiting[107].sent in {of[107], of[107] - 1, of[107] - 2}  # whose answers were lost
    failed = Counter(one.delivery_reason for one in told["02"])
    rows = {(one.training_id, str(one.expected)) for night in some for one in night.trainings}
    bad = Counter(expected for _, expected in rows)
    assert (failed.pop("answer_lost"), failed.pop("unreadable_answer")) == (1, 1)
    assert failed == {
        kind: number for kind, number in bad.items() if kind not in {Expected.SENT, Expected.SAME_ROW_AGAIN}
    }
    assert {one.certification_id for one in told["03"]} == set(of) - {107}
    assert [one.training_id for one in told["04"]] == [sent[0].training_id]
    assert told["05"] == []  # none ends within 90 days
    assert {one.verification_status for one in told["06"]} == {"unknown", "held"}
    assert sum(one.certificates for one in told["07"]) == len(
        {one.training_id for night in some for one in night.trainings}
    )
    verified_later = [one for one in told["08"] if one.was == "awaiting_verification"]
    first = [one for one in some[0].trainings if one.expected is Expected.SENT]
    assert len(verified_later) == sum(one.certification_id in {105, 106} for one in first)
    assert {one.certification_id for one in told["09"]} == {107, 999}
    assert told["10"][0].is_fresh
    assert all(one.lost == 0 for one in told["11"])
