"""The state table is true: every statement that moves deliveries makes the moves of the table, and no others.

Each scene puts deliveries in every state, with and without an attempt, an id and a person's word, into a
ledger of its own, and lets one thing happen to all of them. What moved is compared with ``TRANSITIONS``.
"""

from __future__ import annotations

import asyncio
import re
import secrets
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from fpdf import FPDF
from sqlalchemy import Engine, create_engine, text
from sqlalchemy.ext.asyncio import create_async_engine

from demo.postgres import EmbeddedPostgres
from springest.catalogue import Catalogue, CatalogueEntry
from springest.db.schema import (
    approved_run,
    delivery,
    delivery_decision,
    ledger_restoration,
    remote_certificate,
)
from springest.delivery.claims import Claim, Outcome, Queued
from springest.delivery.repository import DeliveryRepository
from springest.documents.opener import DocumentStore
from springest.errors import IllegalTransition
from springest.matching.matching import match
from springest.privacy.erasure import erase_learner
from springest.review import recovery as restoration
from springest.review.decisions import Decisions, RequestedDecision
from springest.site import Site
from springest.source.contract import CompletedTraining
from springest.staging.batch import Batch, BatchWriter
from springest.states import TRANSITIONS, UNSENT_REVIEW, DecisionKind, Event, State, next_state
from tests.factories import (
    DAY,
    PSEUDONYMS,
    add_attempt,
    add_rows,
    add_snapshot,
    delivery_row,
    id_of,
    list_certification,
    source_row,
)

pytestmark = pytest.mark.xdist_group("moves")  # the scenes are played once
INCLUDE = Path(__file__).parents[2] / "include" / "springest"
SITE = Site.from_connection(
    name="default",
    host="http://127.0.0.1:1",
    password="a-key-for-tests",
    extra={"catalogue_lists_verified_only": True},
)
NOW = datetime.now(UTC)
SENT = NOW - timedelta(days=3)
LISTED = {102: CatalogueEntry(listed=True)}
REASONS = {State.HELD: (None, "before_cutover"), State.REVIEW: ("tie", "missing", "unknown_for_long")}
HAS_ID = {State.ACCEPTED, State.VISIBLE, State.VANISHED}


@dataclass(frozen=True)
class Move:
    """What happened to one delivery; ``ever_sent`` is whether an attempt may have reached the server."""

    before: State | None
    after: State
    ever_sent: bool


@dataclass(frozen=True)
class Row:
    """A delivery in the ledger."""

    number: int
    state: State
    ever_sent: bool
    certificate_id: int | None
    match_method: str | None
    reason: str | None
    training: CompletedTraining

    @property
    def key(self) -> str:
        return self.training.delivery_key


def every_row(document: str) -> list[Row]:
    """Every state, with everything that the guards of statements look at."""
    rows: list[Row] = []
    for state in State:
        for ever_sent in (False, True):
            for has_id, match_method in ((False, None), (True, None), (True, "person")):
                if state in HAS_ID and not has_id:
                    continue
                for reason in REASONS.get(state, (None,)):
                    number = len(rows)
                    training = source_row(f"T{number}", certificate_uri=document)
                    certificate_id = number if has_id else None
                    rows.append(Row(number, state, ever_sent, certificate_id, match_method, reason, training))
    return rows


@dataclass
class Ledger:
    """A warehouse of its own, with a delivery of every kind."""

    engine: Engine
    document: str
    rows: list[Row] = field(init=False)

    def __post_init__(self) -> None:
        self.rows = every_row(self.document)

    def fill(self, *, sent_at: datetime = SENT) -> None:
        self.add(approved_run, {"site": "default", "run_id": "night"})
        self.add(delivery, *(self._delivery(row, sent_at) for row in self.rows))
        for row in self.rows:
            if row.ever_sent:
                self.attempt(row, sent_at)

    def _delivery(self, row: Row, sent_at: datetime) -> dict[str, Any]:
        sending = row.state is State.SENDING
        content = ("delivery_key", "row_version", "learner_ref", "document_ref")
        return delivery_row(
            row.state.value,
            row.training.training_id,
            **{name: getattr(row.training, name) for name in content},
            reason=row.reason,
            springest_certificate_id=row.certificate_id,
            match_method=row.match_method,
            sent_at=sent_at if row.ever_sent else None,
            lease_until=NOW - timedelta(minutes=1) if sending else None,
        )

    def attempt(self, row: Row, started_at: datetime) -> None:
        outcome = None if row.state is State.SENDING else "outcome_unknown"
        add_attempt(self.engine, row.key, outcome, started_at=started_at)

    def add(self, table: Any, *rows: dict[str, Any]) -> None:
        add_rows(self.engine, table, *rows)

    def list_certification(self) -> None:
        list_certification(self.engine, since=NOW - timedelta(days=90), last=NOW)

    def scan(self, started_at: datetime, *, complete: bool = True) -> int:
        return add_snapshot(self.engine, started_at, complete=complete)

    def show(self, number: int, *certificates: dict[str, Any], seen_at: datetime) -> None:
        """Let a snapshot have shown certificates; ``number`` is the snapshot's."""
        seen = {"first_snapshot_id": number, "first_seen_at": seen_at, "recorded_at": seen_at}
        alike = {"site": "default", "certification_id": 102, "valid_from": DAY, "valid_until": None}
        alike |= {"learner_ref": None, "owner_told_by": None, "springest_status": "verified"}
        self.add(remote_certificate, *({**alike, **seen, **certificate} for certificate in certificates))

    def moves(self) -> set[Move]:
        """Return deliveries that changed state, or were rewritten in place, since the ledger was filled."""
        rows = {row.key: row for row in self.rows}
        with self.engine.connect() as connection:
            found = connection.execute(
                text("SELECT delivery_key, state, version FROM springest.delivery")
            ).all()
        return {
            Move(row and row.state, State(state), bool(row and row.ever_sent))
            for row, state, version in ((rows.get(key), state, version) for key, state, version in found)
            if row is None or (state, version) != (row.state, 1)
        }

    def match(self) -> None:
        with self.engine.begin() as connection:
            match(connection, SITE)


# --- staging


def stage(ledger: Ledger, entries: dict[int, CatalogueEntry], **changes: Any) -> None:
    """Stage every row again, each changed in the source, and one new row."""
    ledger.fill()
    trainings = [
        source_row(entry.training.training_id, certificate_uri=ledger.document, **changes)
        for entry in ledger.rows
    ]
    trainings.append(source_row("new", certificate_uri=ledger.document, **changes))
    write(ledger, Batch({training.delivery_key: training for training in trainings}), entries)


def write(ledger: Ledger, batch: Batch, entries: dict[int, CatalogueEntry]) -> None:
    documents = DocumentStore.under([str(Path(ledger.document).parent)])
    writer = BatchWriter(ledger.engine, site="default", pseudonyms=PSEUDONYMS, documents=documents)
    writer.write(batch, Catalogue(SITE, entries), run_id="night")


def stage_good_rows(ledger: Ledger) -> None:
    stage(ledger, LISTED, booking_id=9)


def stage_bad_rows(ledger: Ledger) -> None:
    stage(ledger, LISTED, valid_from=None)


def stage_unlisted_rows(ledger: Ledger) -> None:
    stage(ledger, {}, booking_id=9)


def stage_duplicates(ledger: Ledger) -> None:
    holder = source_row("holder", email="one@example.com", certificate_uri=ledger.document)
    write(ledger, Batch({holder.delivery_key: holder}), LISTED)
    stage(ledger, LISTED, email="one@example.com")


def stage_after_a_restoration(ledger: Ledger) -> None:
    noted = {"settled_by": "anna", "reason": "disk", "deliveries": 0}
    ledger.add(ledger_restoration, {**noted, "found_attempt_id": 1, "highest_attempt_id": 9})
    stage(ledger, LISTED, booking_id=9)


def take_rows_back(ledger: Ledger) -> None:
    ledger.fill()
    write(ledger, Batch({}, gone=[row.key for row in ledger.rows]), LISTED)


# --- sending


def work(ledger: Ledger, does: Callable[[DeliveryRepository], Awaitable[Any]]) -> None:
    async def run() -> None:
        engine = create_async_engine(ledger.engine.url)
        try:
            await does(DeliveryRepository(engine, site="default", run_id="night", worker="worker"))
        finally:
            await engine.dispose()

    asyncio.run(run())


def claim_everything(ledger: Ledger) -> None:
    ledger.fill()

    async def claim(sending: DeliveryRepository) -> None:
        for entry in ledger.rows:
            queued = Queued(entry.key, entry.training.training_id, entry.training.row_version, 1, NOW, True)
            await sending.claim(
                queued,
                lease_seconds=60,
                document_sha256="a" * 64,
                document_size=4,
                max_unknown=1_000_000,
                known_attempt=0,
            )

    work(ledger, claim)


def record(event: Event) -> Callable[[Ledger], None]:
    """Record what became of every attempt, late where the delivery is not being sent any more."""

    def scene(ledger: Ledger) -> None:
        ledger.fill()
        with ledger.engine.connect() as connection:
            found = connection.execute(
                text(
                    "SELECT delivery_key, attempt_id FROM springest.delivery_attempt"
                    " JOIN springest.delivery USING (delivery_id)"
                )
            )
            attempts: dict[str, int] = dict(found.all())

        async def answer(sending: DeliveryRepository) -> None:
            for key, attempt_id in attempts.items():
                certificate_id = 10_000 + attempt_id if event is Event.ACCEPTED_WITH_ID else None
                outcome = Outcome(event, springest_certificate_id=certificate_id)
                await sending.record(Claim(attempt_id, key, 1, "worker"), outcome)

        work(ledger, answer)

    return scene


def sweep(ledger: Ledger) -> None:
    ledger.fill()
    work(ledger, DeliveryRepository.sweep_expired_leases)


def restore(ledger: Ledger) -> None:
    ledger.fill()
    restoration.repair(ledger.engine, kept=[1_000_000], by="anna", reason="disk")


# --- matching


def show_each(ledger: Ledger) -> None:
    """By its id, or by its owner."""
    ledger.fill()
    number = ledger.scan(NOW - timedelta(hours=1))
    certificates = [
        {
            "springest_certificate_id": 20_000 + row.number
            if row.certificate_id is None
            else row.certificate_id,
            "learner_ref": row.training.learner_ref,
            "owner_told_by": "list",
        }
        for row in ledger.rows
    ]
    ledger.show(number, *certificates, seen_at=NOW - timedelta(hours=1))
    ledger.match()


def show_each_otherwise(ledger: Ledger) -> None:
    """Under its id, with another last day."""
    ledger.fill()
    number = ledger.scan(NOW - timedelta(hours=1))
    certificates = [
        {"springest_certificate_id": row.certificate_id, "valid_until": DAY + timedelta(days=99)}
        for row in ledger.rows
        if row.certificate_id is not None
    ]
    ledger.show(number, *certificates, seen_at=NOW - timedelta(hours=1))
    ledger.match()


def lack_everything(ledger: Ledger) -> None:
    """Two complete snapshots a day apart show nothing; what is visible was shown before them."""
    ledger.fill()
    ledger.list_certification()
    before = NOW - timedelta(hours=40)
    visible = [row.certificate_id for row in ledger.rows if row.state is State.VISIBLE]
    number = ledger.scan(before, complete=False)
    ledger.show(number, *({"springest_certificate_id": number} for number in visible), seen_at=before)
    ledger.scan(NOW - timedelta(hours=30))
    ledger.scan(NOW - timedelta(hours=1))
    ledger.match()


def wait_long(ledger: Ledger) -> None:
    ledger.fill(sent_at=NOW - timedelta(days=30))
    ledger.match()


def show_what_could_be_any(ledger: Ledger) -> None:
    """After a person has released everything."""
    ledger.fill()
    decided = {"decided_by": "anna", "decision": "release", "reason": "it is not there", "version": 1}
    decided |= {"from_state": "unknown", "to_state": "ready", "evidence": {"possibly_stored": True}}
    numbers = [id_of(ledger.engine, row.key) for row in ledger.rows]
    ledger.add(delivery_decision, *({**decided, "delivery_id": number} for number in numbers))
    number = ledger.scan(NOW - timedelta(hours=1))
    ledger.show(number, {"springest_certificate_id": 20_000}, seen_at=NOW - timedelta(hours=1))
    ledger.match()


# --- people


def decide(ledger: Ledger, kind: DecisionKind, **values: Any) -> None:
    decisions = Decisions(ledger.engine, site="default")
    confirmed = kind is DecisionKind.CONFIRM
    choices = [
        RequestedDecision(
            row.key, kind, 1, "anna", "looked", 20_000 + row.number if confirmed else None, **values
        )
        for row in ledger.rows
    ]
    found = {row.key: [row.training] for row in ledger.rows}
    assert {bool(result.refusal) for result in decisions.decide_each(choices, found=found)} == {True, False}


def release(ledger: Ledger) -> None:
    ledger.fill()
    decide(ledger, DecisionKind.RELEASE, without_evidence=True)


def confirm(ledger: Ledger) -> None:
    ledger.fill()
    number = ledger.scan(NOW - timedelta(hours=1))
    shown = ({"springest_certificate_id": 20_000 + row.number} for row in ledger.rows)
    ledger.show(number, *shown, seen_at=NOW - timedelta(hours=1))
    decide(ledger, DecisionKind.CONFIRM)


def confirm_what_is_not_shown(ledger: Ledger) -> None:
    ledger.fill()
    decide(ledger, DecisionKind.CONFIRM)


def cancel(ledger: Ledger) -> None:
    ledger.fill()
    decide(ledger, DecisionKind.CANCEL)


def reopen(ledger: Ledger) -> None:
    ledger.fill()
    decide(ledger, DecisionKind.REOPEN)


def forget_everybody(ledger: Ledger) -> None:
    ledger.fill()
    for entry in ledger.rows:
        assert entry.training.learner_ref is not None
        erase_learner(ledger.engine, PSEUDONYMS, learner_ref=entry.training.learner_ref)


Scene = Callable[[Ledger], None]
SCENES: dict[Scene, set[Event]] = {
    stage_good_rows: {Event.CHECKED_READY},
    stage_bad_rows: {Event.CHECKED_INVALID},
    stage_unlisted_rows: {Event.CHECKED_HELD},
    stage_duplicates: {Event.DUPLICATE_FOUND, Event.CHECKED_READY},
    stage_after_a_restoration: {Event.LEDGER_RESTORED, Event.CHECKED_READY},
    take_rows_back: {Event.SOURCE_GONE},
    claim_everything: {Event.CLAIMED},
    **{
        record(event): {event}
        for event in (
            Event.NOT_STORED,
            Event.REFUSED,
            Event.ACCEPTED_WITH_ID,
            Event.ACCEPTED_WITHOUT_ID,
            Event.OUTCOME_UNKNOWN,
        )
    },
    sweep: {Event.OUTCOME_UNKNOWN},
    restore: {Event.LEDGER_RESTORED},
    show_each: {Event.SEEN, Event.ADOPTED},
    show_each_otherwise: {Event.SHOWN_OTHERWISE},
    lack_everything: {Event.ABSENCE_INFORMATIVE, Event.DISAPPEARED},
    wait_long: {Event.ABSENCE_INFORMATIVE},
    show_what_could_be_any: {Event.CANDIDATE_SHOWN},
    release: {Event.RELEASED},
    confirm: {Event.CONFIRMED},
    confirm_what_is_not_shown: {Event.CONFIRMED_UNSEEN},
    cancel: {Event.DROPPED},
    reopen: {Event.REOPENED},
    forget_everybody: {Event.LEARNER_ERASED},
}
Performed = dict[Scene, set[Move]]


@pytest.fixture(scope="module")
def performed(
    postgres: EmbeddedPostgres, migrated: str, tmp_path_factory: pytest.TempPathFactory
) -> Performed:
    """The moves that each scene made, in a ledger of its own."""
    document = tmp_path_factory.mktemp("documents") / "certificate.pdf"
    pdf = FPDF()
    pdf.add_page()
    pdf.output(str(document))
    made: Performed = {}
    for scene in SCENES:
        name = f"moves_{secrets.token_hex(6)}"
        engine = create_engine(postgres.create_database(name, template=migrated))
        try:
            ledger = Ledger(engine, str(document))
            scene(ledger)
            made[scene] = ledger.moves()
        finally:
            engine.dispose()
            postgres.drop_database(name)
    return made


def explained(move: Move, events: set[Event]) -> set[tuple[State | str | None, Event]]:
    """Return the entries of the table that make a move."""
    found: set[tuple[State | str | None, Event]] = set()
    for event in events:
        try:
            if next_state(move.before, event, ever_sent=move.ever_sent) is not move.after:
                continue
        except IllegalTransition:
            continue
        unsent = move.before is State.REVIEW and not move.ever_sent and event in UNSENT_REVIEW
        found.add(("review, unsent" if unsent else move.before, event))
    return found


@pytest.mark.parametrize("scene", SCENES, ids=lambda scene: "-".join(sorted(SCENES[scene])))
def test_every_statement_moves_states_as_the_table_says(performed: Performed, scene: Scene) -> None:
    """No statement moves a delivery otherwise than `TRANSITIONS` says."""
    strange = {move for move in performed[scene] if not explained(move, SCENES[scene])}
    assert not strange


def test_every_move_of_the_table_is_made_by_something(performed: Performed) -> None:
    """An entry that nothing performs says what cannot happen."""
    made = {
        entry
        for scene, moves in performed.items()
        for move in moves
        for entry in explained(move, SCENES[scene])
    }
    table: set[tuple[State | str | None, Event]] = {
        (state, event) for state, events in TRANSITIONS.items() for event in events
    }
    table |= {("review, unsent", event) for event in UNSENT_REVIEW}
    assert table == made


def test_every_statement_that_sets_a_state_is_in_a_scene() -> None:
    """A new statement needs a scene above, and its name here."""
    sets_state = re.compile(r"^ *(SET )?state = (?!ANY)", re.MULTILINE)
    found = {
        path.stem for path in INCLUDE.rglob("*.sql") if sets_state.search(path.read_text(encoding="utf-8"))
    }
    assert found == {
        "claim",
        "erase_deliveries",
        "make_queue_unknown",
        "hold_released",
        "mark_visible",
        "match_owners",
        "record_outcome",
        "review_old_doubts",
        "settle_absent",
        "shown_otherwise",
        "sweep_expired_leases",
        "write_decision",
    }
