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
from tests.integration.questions import ask_as_reader

ROWS = 30


@pytest.fixture
def made(make_world: Callable[..., World]) -> tuple[World, tuple[Night, ...]]:
    """Three nights: some are verified after the first; in the last, one response is lost, one is a page."""
    world = make_world(send_unlisted=list(PENDING))
    for certification in CERTIFICATIONS:
        world.sandbox.store.remove_certification(certification.id)
        world.sandbox.store.add_certification(
            Certification(
                certification.id,
                certification.name,
                requires_valid_until=certification.requires_valid_until,
                verified=certification.verified,
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
            for certification in CERTIFICATIONS:
                if certification.verified_between:
                    world.sandbox.store.verify(certification.id)
    return world, some


def test_every_question_has_its_answer_on_nights_of_the_demo(
    made: tuple[World, tuple[Night, ...]], roles: RoleNames
) -> None:
    """As a reader, and the answers are those of the institute's own books."""
    world, some = made
    sent = [training for night in some for training in night.trainings if training.expected is Expected.SENT]
    assert reason_failures(world.warehouse, some) == []
    stored = world.sandbox.store.certificates()
    assert delivery_failures(some, stored) == ["2 certificates are missing"]
    answers = ask_as_reader(world, roles, training_id=sent[0].training_id, days=90)
    by_number = {name[:2]: rows for name, rows in answers.items()}
    of = Counter(delivery.certification_id for delivery in sent)
    waiting = {result.certification_id: result for result in by_number["01"]}
    assert set(waiting) == {107, 999}
    assert waiting[107].sent in {of[107], of[107] - 1, of[107] - 2}  # whose answers were lost
    failed = Counter(result.delivery_reason for result in by_number["02"])
    rows = {(training.training_id, str(training.expected)) for night in some for training in night.trainings}
    bad = Counter(expected for _, expected in rows)
    assert (failed.pop("response_lost"), failed.pop("invalid_response")) == (1, 1)
    assert failed == {
        kind: number for kind, number in bad.items() if kind not in {Expected.SENT, Expected.SAME_ROW_AGAIN}
    }
    assert {result.certification_id for result in by_number["03"]} == set(of) - {107}
    assert [result.training_id for result in by_number["04"]] == [sent[0].training_id]
    assert by_number["05"] == []  # none ends within 90 days
    assert {result.verification_status for result in by_number["06"]} == {"unknown", "held"}
    assert sum(result.certificates for result in by_number["07"]) == len(
        {training.training_id for night in some for training in night.trainings}
    )
    verified_later = [result for result in by_number["08"] if result.was == "awaiting_verification"]
    first = [training for training in some[0].trainings if training.expected is Expected.SENT]
    assert len(verified_later) == sum(training.certification_id in {105, 106} for training in first)
    assert {result.certification_id for result in by_number["09"]} == {107, 999}
    assert by_number["10"][0].is_fresh
    assert all(result.lost == 0 for result in by_number["11"])
