"""A released delivery returns to review once Springest shows a candidate, over a real PostgreSQL."""

from __future__ import annotations

from collections.abc import Callable
from datetime import date, timedelta
from typing import Any

import pytest
from sqlalchemy import Connection, Engine, text

from springest.matching import matching
from springest.review.decisions import Decisions, RequestedDecision
from springest.snapshot.clock_skew import WIDE_HOURS
from springest.states import DecisionKind
from tests.component.conftest import Deliver, Scan, Show
from tests.component.published import publish_all
from tests.factories import DAY, MOMENT, add_decision

LEARNER, ANOTHER = "a" * 64, "b" * 64
LATER = MOMENT + timedelta(hours=1)
Release = Callable[..., None]


@pytest.fixture
def release(warehouse: Engine, deliver: Deliver) -> Release:
    """Put a delivery that was sent once, and released since, into the queue."""

    def add(
        training_id: str = "T1", *, possibly_stored: bool = True, decision: str = "release", **values: Any
    ) -> None:
        key = deliver("ready", training_id, **{"sent_at": MOMENT, **values})
        add_decision(warehouse, key, decision, evidence={"possibly_stored": possibly_stored})

    return add


def states(warehouse: Engine) -> list[tuple[str, str, str | None]]:
    with warehouse.connect() as connection:
        found = connection.execute(
            text("SELECT training_id, state, reason FROM springest.delivery ORDER BY training_id")
        )
        return [(row.training_id, row.state, row.reason) for row in found]


@pytest.fixture
def meanwhile(monkeypatch: pytest.MonkeyPatch) -> Callable[[Callable[[], object]], None]:
    """Run a function during matching, right before released deliveries are reviewed."""

    def arrange(happens: Callable[[], object]) -> None:
        hold = matching._review_released

        def held(connection: Connection, site: str) -> None:
            happens()
            hold(connection, site)

        monkeypatch.setattr(matching, "_review_released", held)

    return arrange


HELD = [("T1", "review", "candidate_shown")]
QUEUED = [("T1", "ready", None)]


@pytest.mark.parametrize(
    "shown",
    [
        {},
        {"certification_id": None},
        {"valid_from": None},
        {"certification_id": None, "valid_from": None},
        {"created_at": LATER},
        {"created_at": MOMENT - timedelta(hours=WIDE_HOURS - 1)},
        {"learner_ref": LEARNER, "owner_told_by": "list", "created_at": MOMENT - timedelta(days=90)},
    ],
    ids=[
        "all",
        "no certification",
        "no day",
        "neither",
        "stored later",
        "another clock",
        "the learner's, long ago",
    ],
)
def test_a_possible_certificate_stops_a_released_delivery(
    warehouse: Engine, release: Release, show: Show, shown: dict[str, Any]
) -> None:
    """Data that Springest does not show contradicts nothing."""
    release()
    show(**shown)
    publish_all(warehouse)
    assert states(warehouse) == HELD


@pytest.mark.parametrize(
    "shown",
    [
        {"certification_id": 103},
        {"valid_from": DAY + timedelta(days=1)},
        {"certification_id": None, "valid_from": DAY + timedelta(days=1)},
        {"valid_from": None, "certification_id": 103},
        {"valid_until": date(2027, 1, 1)},
        {"learner_ref": ANOTHER, "owner_told_by": "list"},
        {"created_at": MOMENT - timedelta(hours=WIDE_HOURS + 1)},
    ],
    ids=["certification", "day", "day alone", "certification alone", "last day", "learner", "long before"],
)
def test_an_impossible_candidate_stops_no_release(
    warehouse: Engine, release: Release, show: Show, shown: dict[str, Any]
) -> None:
    """A shown certificate that cannot be this one does not stop a released delivery."""
    release(valid_until=date(2027, 6, 1))
    show(**{"valid_until": date(2027, 6, 1), **shown})
    publish_all(warehouse)
    assert states(warehouse) == QUEUED


def test_a_certificate_gone_by_now_stops_no_release(
    warehouse: Engine, release: Release, show: Show, scan: Scan
) -> None:
    """A certificate that the newest complete snapshot lacks does not stop a released delivery."""
    release()
    show()
    scan(LATER)
    publish_all(warehouse)
    assert states(warehouse) == QUEUED


@pytest.mark.parametrize(
    ("state", "changes", "shown"),
    [
        ("visible", {"springest_certificate_id": 7}, {}),
        ("accepted", {"springest_certificate_id": 7}, {}),
        (
            "unknown",
            {"learner_ref": ANOTHER},
            {"learner_ref": ANOTHER, "owner_told_by": "list", "created_at": LATER},
        ),
    ],
    ids=["known before", "proven by its id now", "proven by its owner now"],
)
def test_another_deliverys_certificate_stops_no_release(
    warehouse: Engine,
    release: Release,
    deliver: Deliver,
    show: Show,
    state: str,
    changes: dict[str, Any],
    shown: dict[str, Any],
) -> None:
    """A certificate of another delivery does not stop a released one."""
    release()
    deliver(state, "T2", **changes)
    show(7, **shown)
    publish_all(warehouse)
    assert states(warehouse) == [*QUEUED, ("T2", "visible", None)]


@pytest.mark.parametrize(
    "values", [{"possibly_stored": False}, {"decision": "reopen"}], ids=["never taken", "other"]
)
def test_only_released_possible_posts_are_compared(
    warehouse: Engine, release: Release, show: Show, values: dict[str, Any]
) -> None:
    """Only a released delivery that Springest may have is compared with the certificates shown."""
    release(**values)
    show()
    publish_all(warehouse)
    assert states(warehouse) == QUEUED


def test_all_that_one_certificate_could_be_wait(warehouse: Engine, release: Release, show: Show) -> None:
    """Their evidence names the first of several candidates."""
    release("T1")
    release("T2", learner_ref=ANOTHER)
    show(8)
    show(7)
    publish_all(warehouse)
    assert states(warehouse) == [*HELD, ("T2", "review", "candidate_shown")]
    with warehouse.connect() as connection:
        details = connection.execute(text("SELECT reason_detail FROM springest.delivery")).scalars()
        assert all("shows certificate 7, which could be it" in detail for detail in details)


@pytest.mark.parametrize(
    "untold", [{"certification_id": None}, {"valid_from": None}], ids=["certification", "day"]
)
def test_unknown_data_in_the_ledger_contradicts_nothing(
    warehouse: Engine, release: Release, show: Show, untold: dict[str, None]
) -> None:
    """Data that the ledger does not have contradicts no certificate."""
    release(**untold)
    show()
    publish_all(warehouse)
    assert states(warehouse) == HELD


def test_its_own_certificate_stops_a_released_delivery(
    warehouse: Engine, release: Release, show: Show
) -> None:
    """A released delivery whose own certificate is shown is not sent."""
    release(springest_certificate_id=7, match_method="springest_id")
    show(7)
    publish_all(warehouse)
    assert states(warehouse) == HELD


def test_a_certificate_without_first_snapshot_stops_a_release(
    warehouse: Engine, release: Release, show: Show
) -> None:
    """This happens after a partial restore."""
    release()
    show()
    with warehouse.begin() as connection:
        connection.execute(text("UPDATE springest.remote_certificate SET first_snapshot_id = 999"))
    publish_all(warehouse)
    assert states(warehouse) == HELD


def test_a_corrected_confirmation_hides_neither_certificate(
    warehouse: Engine, release: Release, deliver: Deliver, show: Show, meanwhile: Callable[..., None]
) -> None:
    """It was 7 and is 8: before and after, one of them belongs to nobody and could be the released one."""
    release()
    key = deliver("visible", "T2", springest_certificate_id=7, match_method="person")
    show(7)
    show(8)

    def decide(decision: DecisionKind, certificate_id: int | None = None) -> None:
        with warehouse.connect() as connection:
            found = text("SELECT version FROM springest.delivery WHERE delivery_key = :key")
            version = connection.execute(found, {"key": key}).scalar_one()
        Decisions(warehouse, site="default").decide(
            RequestedDecision(key, decision, version, "someone", "it was the wrong one", certificate_id)
        )

    def mend() -> None:
        decide(DecisionKind.REOPEN)
        decide(DecisionKind.CONFIRM, 8)

    meanwhile(mend)
    publish_all(warehouse)
    assert states(warehouse)[:1] == HELD


def test_a_concurrent_snapshot_hides_no_certificate(
    warehouse: Engine, release: Release, show: Show, scan: Scan, meanwhile: Callable[..., None]
) -> None:
    """It lacks the possible certificate, and shows another."""
    release()
    scan(MOMENT)
    show(7)

    def store() -> None:
        scan(LATER)
        show(8, first_seen_at=LATER, recorded_at=LATER)

    meanwhile(store)
    publish_all(warehouse)
    assert states(warehouse) == HELD
