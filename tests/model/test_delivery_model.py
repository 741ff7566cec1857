"""Random lives of many deliveries against an oracle that knows what the server got.

Workers claim, post, crash, answer late or never; leases run out; days pass; source rows appear, change and
go; nights and backfills are staged, delivered and published, snapshots are taken whole, in part or from long
ago, people release, confirm, cancel and reopen, in any order that chance finds. Whatever happens, no
certificate reaches the server twice unless a person said so, no source row is lost, and nothing is called
there that isn't.
"""

from __future__ import annotations

import asyncio
import os
from collections import Counter
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any, ClassVar

import pytest
from hypothesis import seed, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    Bundle,
    RuleBasedStateMachine,
    consumes,
    initialize,
    invariant,
    multiple,
    precondition,
    rule,
    run_state_machine_as_test,
)
from sqlalchemy import StaticPool, create_engine, delete, text, update
from sqlalchemy.ext.asyncio import create_async_engine

from demo import source_database
from demo.pdf import make_pdf
from demo.people import Learner
from demo.source_database import completed_training
from springest.api.models import Certificate, Certification, Page
from springest.api.paging import Evidence
from springest.catalogue import store_catalogue
from springest.db.schema import metadata
from springest.delivery.claims import Claim, Outcome, Queued
from springest.delivery.repository import DeliveryRepository
from springest.documents.opener import DocumentStore
from springest.errors import DecisionRefused
from springest.review.decisions import Decisions, RequestedDecision
from springest.site import Site
from springest.snapshot.snapshot import take_snapshot
from springest.source.reader import SourceReader
from springest.source.window import Window
from springest.staging.stage import Stager
from springest.staging.window import begin_site
from springest.states import DecisionKind, Event
from tests.factories import PSEUDONYMS, make_training
from tests.simulation.clock import SEARCH_PATH, VirtualClock
from tests.verdicts import publish, require_no_stale_verdict

QUERY = (Path(__file__).parents[2] / "include" / "sql" / "completed_trainings.sql").read_text(
    encoding="utf-8"
)
SITE = Site(
    name="default",
    base_url="https://api.example.com",
    api_key="key",
    certifications_api_key="key",
    send_unlisted=True,
)
TABLES = ", ".join(table.fullname for table in metadata.sorted_tables)
CERTIFICATION = 102
MANY = 1_000_000
MINUTE = 60.0
HOUR = 3600.0
DAY = 24 * HOUR

_WORKERS = st.sampled_from(["one", "two", "three"])
_FATES = st.tuples(
    st.booleans(),
    st.sampled_from(["stores", "stores", "does not store", "stores late"]),
    st.sampled_from([Event.ACCEPTED_WITH_ID, Event.OUTCOME_UNKNOWN, Event.ACCEPTED_WITHOUT_ID]),
)
"""Whether the body comes whole, what the server does with it, and what the worker hears."""
_NIGHT = st.lists(st.tuples(_FATES, st.sampled_from([True, True, False])), min_size=3, max_size=5)
"""What becomes of a night's first certificates, and whether the worker lives to record it."""
_PASSING = st.sampled_from([10 * MINUTE, HOUR, 3 * HOUR, DAY, 2 * DAY, 15 * DAY])

Facts = tuple[int, date, date | None]
"""A certificate's learner and dates; all are of one certification."""


@dataclass(frozen=True, slots=True)
class Stored:
    """A certificate at the server.

    :param key: delivery that it was posted for.
    """

    key: str
    facts: Facts
    created_at: datetime


@dataclass
class Server:
    """What the server got: bodies that came whole, and which of them it stored under which id.

    :param verified: whether the certification is verified, so that its certificates are shown.
    """

    verified: bool = True
    whole: Counter[str] = field(default_factory=Counter)
    stored: dict[int, Stored] = field(default_factory=dict)
    late: list[tuple[str, Facts]] = field(default_factory=list)

    def store(self, key: str, facts: Facts, at: datetime) -> int:
        number = 1_000 + len(self.stored)
        self.stored[number] = Stored(key, facts, at)
        return number

    def catch_up(self, at: datetime) -> None:
        """Store what was to be stored late."""
        late, self.late = self.late, []
        for key, facts in late:
            self.store(key, facts, at)

    def copies(self, key: str) -> int:
        return sum(certificate.key == key for certificate in self.stored.values())

    def shown(self, *, owners: bool) -> list[Certificate]:
        if not self.verified:
            return []
        return [
            Certificate(
                id=number,
                certification_id=CERTIFICATION,
                valid_from=certificate.facts[1],
                valid_until=certificate.facts[2],
                status="verified",
                created_at=certificate.created_at,
                user_email=_email(certificate.facts[0]) if owners else None,
            )
            for number, certificate in self.stored.items()
        ]


class Scan:
    """Stands where the client does while a snapshot is taken.

    :param part: share of the list that is read; with less than all of it, the evidence says so.
    :param goes_on: awaited between the reading and the end.
    """

    def __init__(self, server: Server, *, owners: bool, part: float, goes_on: asyncio.Event | None) -> None:
        self._server, self._owners, self._part, self._goes_on = server, owners, part, goes_on
        self.evidence = Evidence(None, None, 0, 0, 0)

    def certificates(self) -> Scan:
        return self

    async def __aiter__(self) -> AsyncIterator[Page[Certificate]]:
        rows = self._server.shown(owners=self._owners)
        read = rows[: int(len(rows) * self._part)]
        complete = self._part == 1
        self.evidence = Evidence(len(rows) if complete else len(rows) + 1, len(rows), len(read), 0, 1)
        yield Page(tuple(read), len(rows), 0)
        if self._goes_on is not None:
            await self._goes_on.wait()


def _email(number: int) -> str:
    return f"ana.{number}@example.com"


@dataclass
class Under:
    """A certificate that some worker has under way."""

    ledger: DeliveryRepository
    claim: Claim
    outcome: Outcome


@dataclass
class Hanging:
    """A snapshot that has read its list and is not stored yet."""

    task: asyncio.Task[Any]
    goes_on: asyncio.Event


class Deliveries(RuleBasedStateMachine):
    """The machine; the class's own values come from the test that runs it."""

    engine: ClassVar[Any] = None
    url: ClassVar[str] = ""
    folder: ClassVar[Path] = Path()
    clock: ClassVar[VirtualClock]
    queued = Bundle("queued")
    under_way = Bundle("under_way")
    hanging = Bundle("hanging")

    def __init__(self):
        super().__init__()
        self.clock.set(0.0)
        with self.engine.begin() as connection:
            connection.execute(text(f"TRUNCATE {TABLES} RESTART IDENTITY"))
            begin_site(connection, site="default", begin_from=self.clock.moment - timedelta(days=1))
        self.source = create_engine("sqlite://", poolclass=StaticPool)
        source_database.create_schema(self.source)
        self.document = self.folder / "one.pdf"
        self.document.write_bytes(make_pdf())
        self.stager = Stager(
            self.engine,
            source=SourceReader(self.source, query=QUERY),
            site=SITE,
            pseudonyms=PSEUDONYMS,
            documents=DocumentStore.under([str(self.folder)]),
        )
        self.decisions = Decisions(self.engine, site="default")
        self.runner = asyncio.Runner()
        self.async_engine = create_async_engine(
            self.url, connect_args={"options": SEARCH_PATH}, pool_size=5, max_overflow=95
        )
        self.server = Server()
        self.begun: list[Hanging] = []
        self.learners: dict[str, int] = {}
        self.trainings = 0
        self.runs = 0
        self.backfills = 0
        self.released: Counter[str] = Counter()
        self.released_blindly: Counter[str] = Counter()
        self.mistaken: set[str] = set()
        self.mistaken_for: set[int] = set()

    def teardown(self):
        for snapshot in self.begun:
            self.end_a_snapshot_now(snapshot)
        self.runner.run(self.async_engine.dispose())
        self.runner.close()
        self.source.dispose()

    def _ledger(self, worker: str) -> DeliveryRepository:
        return DeliveryRepository(self.async_engine, site="default", run_id=f"run-{self.runs}", worker=worker)

    def _queue(self, worker: str, limit: int) -> list[Queued]:
        """Begin a delivering run, which takes whatever waits, and return the head of its queue."""
        ledger = self._ledger(worker)
        self.runner.run(ledger.approve(dict.keys))
        return self.runner.run(ledger.queue(after=None, limit=limit))

    @initialize(
        verified=st.sampled_from([True, True, False]), nights=st.lists(_NIGHT, min_size=1, max_size=2)
    )
    def begin_with_nights(self, verified, nights):
        self.server.verified = verified
        self.read_the_catalogue()
        for night in nights:
            for _ in range(5):
                self.complete(broken=False, twice=False, twin=None, days_ago=0)
            self.stage(again=False)
            self.deliver("one", night)

    # What happens at the source.

    @rule(
        broken=st.booleans(),
        twice=st.booleans(),
        twin=st.none() | st.integers(0, 10_000),
        days_ago=st.integers(0, 3),
    )
    def complete(self, broken, twice, twin, days_ago):
        """A training is completed; a twin has the learner and the dates of another one."""
        self.trainings += 1
        name = f"T{self.trainings}"
        number = twin % self.trainings + 1 if twin is not None else self.trainings
        self.learners[name] = self.learners.get(f"T{number}", number)
        training = make_training(
            number,
            training_id=name,
            learner=Learner(self.learners[name], "Ana", _email(self.learners[name])),
            certification_id=CERTIFICATION,
            completed_at=datetime(2026, 10, 30, tzinfo=UTC),
            valid_from=date(2026, 10, 30),
            valid_until=date(2020, 1, 1) if broken else None,
            certificate_uri=str(self.document),
        )
        rows = [training, training] if twice else [training]
        source_database.add(self.source, rows, now=self.clock.moment - timedelta(days=days_ago, seconds=1))

    @precondition(lambda self: self.trainings)
    @rule(which=st.integers(0, 10_000), days=st.integers(-400, 400))
    def change(self, which, days):
        with self.source.begin() as connection:
            connection.execute(
                update(completed_training)
                .where(completed_training.c.training_id == f"T{which % self.trainings + 1}")
                .values(
                    valid_from=date(2026, 11, 2) + timedelta(days=days),
                    valid_until=None,
                    updated_at=self.clock.moment,
                )
            )

    @precondition(lambda self: self.trainings)
    @rule(which=st.integers(0, 10_000))
    def take_back(self, which):
        with self.source.begin() as connection:
            connection.execute(
                delete(completed_training).where(
                    completed_training.c.training_id == f"T{which % self.trainings + 1}"
                )
            )

    # What the nights do.

    @rule(again=st.booleans())
    def stage(self, again):
        self.runs += 0 if again and self.runs else 1
        report = self.stager.stage(f"run-{self.runs}")
        assert report.rows == sum(report.states.values())

    @rule(days_ago=st.integers(0, 4), days=st.integers(1, 3), again=st.booleans())
    def backfill(self, days_ago, days, again):
        """Any days, in any order, also over what was delivered already."""
        self.backfills += 0 if again and self.backfills else 1
        end = self.clock.moment - timedelta(days=days_ago)
        asked = Window(end - timedelta(days=days), end)
        report = self.stager.stage(f"backfill-{self.backfills}", asked=asked)
        assert report.rows == sum(report.states.values())

    @rule(target=queued)
    def look_into_the_queue(self):
        found = self._queue("looking", 5)
        return multiple(*found)

    @rule(target=under_way, which=st.integers(0, 4), worker=_WORKERS, fate=_FATES)
    def take_from_the_queue_and_post(self, which, worker, fate):
        found = self._queue(worker, 5)
        return self._claim_and_post(found[which % len(found)], worker, *fate) if found else multiple()

    @rule(target=under_way, item=queued, worker=_WORKERS, fate=_FATES)
    def claim_what_was_in_the_queue_before_and_post(self, item: Queued, worker, fate):
        return self._claim_and_post(item, worker, *fate)

    @rule(worker=_WORKERS, night=_NIGHT)
    def deliver(self, worker, night):
        """Work through the head of the queue."""
        found = self._queue(worker, len(night))
        for item, (fate, lives) in zip(found, night, strict=False):
            under = self._claim_and_post(item, worker, *fate)
            if lives and isinstance(under, Under):
                self.record(under)

    def _claim_and_post(self, item: Queued, worker, whole, server, heard):
        """A body that does not come whole is known not to be taken; the answer may get lost otherwise."""
        ledger = self._ledger(worker)
        claim = self.runner.run(
            ledger.claim(
                item,
                lease_seconds=360,
                document_sha256="0" * 64,
                document_size=1,
                max_unknown=MANY,
                known_attempt=0,
            )
        )
        if not isinstance(claim, Claim):
            return multiple()
        if not whole:
            return Under(ledger, claim, Outcome(Event.NOT_STORED))
        self.server.whole[item.delivery_key] += 1
        [facts] = self._rows(
            "SELECT valid_from, valid_until FROM springest.delivery WHERE delivery_key = :key",
            key=item.delivery_key,
        )
        content = (self.learners[item.training_id], *facts)
        if server == "stores late":
            self.server.late.append((item.delivery_key, content))
        if server != "stores":
            return Under(ledger, claim, Outcome(Event.OUTCOME_UNKNOWN))
        number = self.server.store(item.delivery_key, content, self.clock.moment)
        identity = number if heard is Event.ACCEPTED_WITH_ID else None
        return Under(ledger, claim, Outcome(heard, springest_certificate_id=identity))

    @rule(under=consumes(under_way))
    def record(self, under: Under):
        self.runner.run(under.ledger.record(under.claim, under.outcome))

    @rule(under=under_way)
    def record_and_hear_nothing_back(self, under: Under):
        """The response to the commit is lost, so it is recorded again later."""
        self.runner.run(under.ledger.record(under.claim, under.outcome))

    @rule(under=consumes(under_way))
    def crash(self, under: Under):
        pass

    @rule()
    def leases_run_out(self):
        with self.engine.begin() as connection:
            connection.execute(
                text(
                    "UPDATE springest.delivery SET lease_until = clock_timestamp() - interval '1 s'"
                    " WHERE state = 'sending'"
                )
            )
        self.runner.run(self._ledger("sweeping").sweep_expired_leases())

    @rule(seconds=_PASSING)
    def time_passes(self, seconds):
        """Late certificates are stored some minutes late."""
        self.clock.set(self.clock.seconds + 5 * MINUTE)
        self.server.catch_up(self.clock.moment)
        self.clock.set(self.clock.seconds + seconds)

    # What Springest shows, and what is made of it.

    @rule()
    def an_employee_verifies_the_certification(self):
        self.server.verified = True

    @rule()
    def read_the_catalogue(self):
        verified = [Certification(CERTIFICATION, "Project Control", None, requires_valid_until=False)]
        with self.engine.begin() as connection:
            listed = verified if self.server.verified else []
            store_catalogue(connection, "default", listed, complete=True, run_id="model")

    @rule(owners=st.booleans(), part=st.sampled_from([1, 1, 0, 0.5]))
    def take_a_snapshot(self, owners, part):
        self.runner.run(self._scan(Scan(self.server, owners=owners, part=part, goes_on=None)))

    @rule(target=hanging, owners=st.booleans())
    def begin_a_snapshot(self, owners):
        """It reads the list now, and is stored whenever."""

        async def begin() -> Hanging:
            goes_on = asyncio.Event()
            scan = Scan(self.server, owners=owners, part=1, goes_on=goes_on)
            task = asyncio.create_task(self._scan(scan))
            while not scan.evidence.requests:  # noqa: ASYNC110 - the database is real
                await asyncio.sleep(0.001)
            return Hanging(task, goes_on)

        begun = self.runner.run(begin())
        self.begun.append(begun)
        return begun

    @rule(snapshot=consumes(hanging))
    def end_a_snapshot(self, snapshot: Hanging):
        self.begun.remove(snapshot)
        self.end_a_snapshot_now(snapshot)

    def end_a_snapshot_now(self, snapshot: Hanging) -> None:
        async def end() -> None:
            snapshot.goes_on.set()
            await snapshot.task

        self.runner.run(end())

    async def _scan(self, scan: Any) -> None:
        await take_snapshot(
            self.async_engine, scan, site="default", run_id=f"run-{self.runs}", pseudonyms=PSEUDONYMS
        )

    @rule(owners=st.booleans())
    def days_pass_and_are_reconciled(self, owners):
        """As the nightly DAGs do."""
        for _ in range(2):
            self.leases_run_out()
            self.read_the_catalogue()
            self.take_a_snapshot(owners, 1)
            self.reconcile()
            self.time_passes(DAY)

    @rule()
    def reconcile(self):
        publish(self.engine, site=SITE, run_id=f"run-{self.runs}")
        require_no_stale_verdict(self.engine, SITE)
        for key, state, status in self._rows(
            "SELECT delivery_key, delivery_state, verification_status FROM springest.current_verdict"
        ):
            if status == "verified":
                assert state in {"visible", "accepted", "accepted_no_id"}
                assert self._is_mistaken(key) or self._is_there(key)

    # What people decide.

    @precondition(lambda self: self.trainings)
    @rule(
        which=st.integers(0, 10_000),
        decision=st.sampled_from(list(DecisionKind)),
        blindly=st.booleans(),
        rightly=st.booleans(),
        stale=st.sampled_from([0, 0, 0, 1]),
    )
    def decide(self, which, decision, blindly, rightly, stale):
        """A person decides about some delivery, perhaps without evidence, perhaps wrongly, perhaps late."""
        found = self._rows(
            "SELECT delivery_key, training_id, version FROM springest.delivery"
            " WHERE state IN ('unknown', 'review', 'accepted_no_id', 'cancelled', 'vanished')"
            " OR match_method = 'person' ORDER BY created_at, delivery_key"
        )
        if not found:
            return
        key, training_id, version = found[which % len(found)]
        number = self._number_to_confirm(key, rightly=rightly, which=which)
        choice = RequestedDecision(key, decision, version - stale, "anna", "looked at it", number, blindly)
        rows: Sequence[Any] = self.stager.look_up([training_id]).get(key, [])
        try:
            made = self.decisions.decide(choice, rows=rows)
        except DecisionRefused:
            return
        assert not stale
        if decision is DecisionKind.RELEASE:
            self._note_release(key, made.decision_id)
        if decision is DecisionKind.CONFIRM and not (number in self.server.stored and rightly):
            self.mistaken.add(key)
            self.mistaken_for.add(number)

    def _number_to_confirm(self, key: str, *, rightly: bool, which: int) -> int:
        right = [number for number, certificate in self.server.stored.items() if certificate.key == key]
        if rightly and right:
            return right[0]
        return 1_000 + which % (len(self.server.stored) + 1)

    def _note_release(self, key: str, decision_id: int | None) -> None:
        [[evidence]] = self._rows(
            "SELECT evidence FROM springest.delivery_decision WHERE decision_id = :number", number=decision_id
        )
        self.released[key] += 1
        self.released_blindly[key] += bool(evidence["missing"])

    # What must be true all the time.

    @invariant()
    def nothing_was_sent_again_without_a_person(self):
        assert all(times <= 1 + self.released[key] for key, times in self.server.whole.items())

    @invariant()
    def nothing_is_there_twice_unless_a_person_released_it_without_evidence(self):
        """Or said of another one that it was this."""
        for key in self.server.whole:
            assert self._is_mistaken(key) or self.server.copies(key) <= 1 + self.released_blindly[key]

    @invariant()
    def nothing_is_called_there_that_is_not(self):
        """By its id it is that very one, by its owner one of the same learner with the same dates."""
        for key, state, number, method in self._rows(
            "SELECT delivery_key, state, springest_certificate_id, match_method FROM springest.delivery"
            " WHERE state IN ('accepted', 'visible')"
        ):
            if method == "person" or self._is_mistaken(key):
                continue
            assert number in self.server.stored, f"{state} is not there"
            if method != "owner":
                assert self.server.stored[number].key == key
            else:
                assert self.server.stored[number].facts == self._facts(key)

    @invariant()
    def what_is_there_is_not_called_gone(self):
        """Nothing ever goes at the server, and absence counts only where it means something."""
        for key, state, reason in self._rows(
            "SELECT delivery_key, state, reason FROM springest.delivery"
            " WHERE state = 'vanished' OR reason IN ('missing', 'absent')"
        ):
            assert self._is_mistaken(key) or not self.server.copies(key), f"{state} {reason} is there"

    @invariant()
    def what_the_server_may_have_is_never_in_the_queue(self):
        """Unless a person released it."""
        for (key,) in self._rows("SELECT delivery_key FROM springest.delivery WHERE state = 'ready'"):
            assert self.server.whole[key] <= self.released[key]

    @invariant()
    def every_row_of_every_run_has_its_delivery(self):
        lost = self._rows(
            "SELECT 1 FROM springest.staging_run AS staged LEFT JOIN springest.staged_row AS seen"
            " USING (site, run_id) GROUP BY staged.site, staged.run_id, staged.source_count"
            " HAVING staged.source_count <> count(seen.row_no)"
        )
        assert lost == []

    def _is_mistaken(self, key: str) -> bool:
        """Whether a person said of it, or with its certificate of another one, what isn't so.

        Whose certificate that really is, also when it is only stored later, seems to have none.
        """
        taken = any(
            self.server.stored[number].key == key for number in self.mistaken_for & self.server.stored.keys()
        )
        return key in self.mistaken or taken

    def _is_there(self, key: str) -> bool:
        return self._facts(key) in {certificate.facts for certificate in self.server.stored.values()}

    def _facts(self, key: str) -> Facts:
        [(training_id, *dates)] = self._rows(
            "SELECT training_id, valid_from, valid_until FROM springest.delivery WHERE delivery_key = :key",
            key=key,
        )
        return (self.learners[training_id], *dates)

    def _rows(self, statement: str, **values: Any) -> list[tuple[Any, ...]]:
        with self.engine.connect() as connection:
            return [tuple(row) for row in connection.execute(text(statement), values)]


@pytest.fixture
def live(postgres, warehouse_url, tmp_path):
    """Live random lives over a warehouse whose clock is simulated."""
    clock = VirtualClock(postgres.data_dir / f"{warehouse_url.rpartition('/')[2]}.clock")
    plain = create_engine(warehouse_url)
    clock.rule(plain)
    plain.dispose()
    engine = create_engine(warehouse_url, connect_args={"options": SEARCH_PATH})
    values = {"engine": engine, "url": warehouse_url, "folder": tmp_path, "clock": clock}
    machine = type("DeliveriesHere", (Deliveries,), values)

    def run(first: int | None = None, **bounds: Any) -> None:
        if first is not None:
            seed(first)(machine)
        run_state_machine_as_test(machine, settings=settings(deadline=None, print_blob=True, **bounds))

    yield run
    engine.dispose()
    clock.close()


def test_random_lives_double_nothing_and_lose_nothing(live):
    """The short form; a failure prints its steps and how to take them again.

    In the lives of this seed people release, confirm, cancel and reopen, and what they released is held.
    """
    live(first=16, max_examples=30, stateful_step_count=50)


@pytest.mark.long
@pytest.mark.timeout(6 * 3600)
def test_two_thousand_random_lives(live):
    """The long form: 2,000 examples of up to 100 steps; ``RANDOM_LIVES`` says how many."""
    live(max_examples=int(os.environ.get("RANDOM_LIVES", "2000")), stateful_step_count=100)
