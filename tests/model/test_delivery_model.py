"""Random lives of many deliveries against an oracle that knows what the server got.

Workers claim, post, crash, answer late or never; leases run out; source rows appear, change and go; nights
are staged and staged again, delivered and published, in any order that chance finds. Whatever happens, no
certificate reaches the server twice, no source row is lost, and nothing is called accepted that isn't there.
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, timedelta
from pathlib import Path

import pytest
from hypothesis import settings
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
from sqlalchemy import create_engine, delete, text, update
from sqlalchemy.ext.asyncio import create_async_engine

from include.demo import source_database
from include.demo.nights import Training
from include.demo.people import Learner
from include.demo.source_database import completed_training
from include.springest.api.models import Certification
from include.springest.catalogue import store_catalogue
from include.springest.documents import DocumentStore
from include.springest.identity import Pseudonyms
from include.springest.ledger.sending import Claim, Outcome, Queued, SendingLedger
from include.springest.ledger.states import Event
from include.springest.reconcile.publish import publish
from include.springest.site import Site
from include.springest.source.reader import SourceReader
from include.springest.staging.stage import Stager

QUERY = (Path(__file__).parents[2] / "include" / "sql" / "completed_trainings.sql").read_text(
    encoding="utf-8"
)
SITE = Site(name="default", base_url="https://api.example.com", api_key="key", certifications_api_key="key")
TABLES = (
    "run_training, staging_run, stage_watermark, delivery_attempt, delivery_decision, reconciled_delivery, "
    "publication, delivery, certification, catalogue_scan, learner_secret"
)


_WORKERS = st.sampled_from(["one", "two", "three"])
_FATES = st.tuples(
    st.booleans(),
    st.booleans(),
    st.sampled_from([Event.ACCEPTED_WITH_ID, Event.OUTCOME_LOST, Event.ACCEPTED_WITHOUT_ID]),
)
"""Whether the body comes whole, whether the server stores it, and what the worker hears."""


@dataclass
class Server:
    """What the server got: bodies that came whole, and which of them it stored under which id."""

    whole: dict[str, int] = field(default_factory=dict)
    stored: dict[int, str] = field(default_factory=dict)

    def take(self, key: str, *, stores: bool) -> int:
        """Get a whole body; the id is only told when the answer arrives."""
        self.whole[key] = self.whole.get(key, 0) + 1
        number = 1_000 + len(self.stored)
        if stores:
            self.stored[number] = key
        return number


@dataclass
class Under:
    """A certificate that some worker has under way."""

    ledger: SendingLedger
    claim: Claim
    outcome: Outcome


class Deliveries(RuleBasedStateMachine):
    """The machine; ``engine`` and ``folder`` come from the test that runs it."""

    engine = None
    url = ""
    folder = Path()
    queued = Bundle("queued")
    under_way = Bundle("under_way")

    def __init__(self):
        super().__init__()
        with self.engine.begin() as connection:
            connection.execute(
                text("TRUNCATE " + ", ".join(f"springest.{one.strip()}" for one in TABLES.split(",")))
            )
            listed = [Certification(102, "Project Control", None, requires_valid_until=False)]
            store_catalogue(connection, "default", listed, complete=True, run_id="model")
        self.source = create_engine("sqlite://")
        source_database.create_schema(self.source)
        self.document = self.folder / "one.pdf"
        self.document.write_bytes(b"%PDF-1.7\n%%EOF\n")
        self.stager = Stager(
            self.engine,
            source=SourceReader(self.source, query=QUERY),
            site=SITE,
            pseudonyms=Pseudonyms("a secret for tests only, long enough"),
            documents=DocumentStore.under([str(self.folder)]),
        )
        self.runner = asyncio.Runner()
        self.async_engine = create_async_engine(self.url)
        self.server = Server()
        self.trainings = 0
        self.runs = 0

    def teardown(self):
        self.runner.run(self.async_engine.dispose())
        self.runner.close()
        self.source.dispose()

    def _ledger(self, worker: str) -> SendingLedger:
        return SendingLedger(self.async_engine, site="default", run_id=f"run-{self.runs}", worker=worker)

    @initialize()
    def begin_with_a_night(self):
        for _ in range(4):
            self.complete(broken=False, twice=False)
        self.stage(again=False)

    # What happens at the source.

    @rule(broken=st.booleans(), twice=st.booleans())
    def complete(self, broken, twice):
        self.trainings += 1
        one = Training(
            training_id=f"T{self.trainings}",
            learner=Learner(self.trainings, "Ana", f"ana.{self.trainings}@example.com"),
            certification_id=102,
            completed_at=datetime(2026, 11, 2, tzinfo=UTC),
            valid_from=date(2026, 11, 2),
            valid_until=date(2020, 1, 1) if broken else None,
            certificate_uri=str(self.document),
        )
        rows = [one, one] if twice else [one]
        source_database.add(self.source, rows, now=datetime.now(UTC) - timedelta(seconds=1))

    @precondition(lambda self: self.trainings)
    @rule(which=st.integers(0, 10_000), days=st.integers(-400, 400))
    def change(self, which, days):
        with self.source.begin() as connection:
            connection.execute(
                update(completed_training)
                .where(completed_training.c.training_id == f"T{which % self.trainings + 1}")
                .values(valid_from=date(2026, 11, 2) + timedelta(days=days), valid_until=None)
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

    @rule(target=queued)
    def look_into_the_queue(self):
        found = self.runner.run(self._ledger("looking").queue(after=None, limit=5))
        return multiple(*found)

    @rule(target=under_way, which=st.integers(0, 4), worker=_WORKERS, fate=_FATES)
    def take_from_the_queue_and_post(self, which, worker, fate):
        found = self.runner.run(self._ledger(worker).queue(after=None, limit=5))
        return self._claim_and_post(found[which % len(found)], worker, *fate) if found else multiple()

    @rule(target=under_way, item=queued, worker=_WORKERS, fate=_FATES)
    def claim_what_was_in_the_queue_before_and_post(self, item: Queued, worker, fate):
        return self._claim_and_post(item, worker, *fate)

    def _claim_and_post(self, item: Queued, worker, whole, stores, told):
        """A body that does not come whole is known not to be taken; the answer may get lost otherwise."""
        ledger = self._ledger(worker)
        claim = self.runner.run(
            ledger.claim(item, lease_seconds=3600, document_sha256="0" * 64, document_size=1)
        )
        if claim is None:
            return multiple()
        if not whole:
            return Under(ledger, claim, Outcome(Event.NOT_TAKEN))
        number = self.server.take(item.delivery_key, stores=stores)
        if not stores:
            told = Event.OUTCOME_LOST
        identity = number if told is Event.ACCEPTED_WITH_ID else None
        return Under(ledger, claim, Outcome(told, springest_certificate_id=identity))

    @rule(one=consumes(under_way))
    def record(self, one: Under):
        self.runner.run(one.ledger.record(one.claim, one.outcome))

    @rule(one=under_way)
    def record_and_hear_nothing_back(self, one: Under):
        """The commit's answer is lost, so it is recorded again later."""
        self.runner.run(one.ledger.record(one.claim, one.outcome))

    @rule(one=consumes(under_way))
    def crash(self, one: Under):
        pass

    @rule()
    def leases_run_out(self):
        with self.engine.begin() as connection:
            connection.execute(
                text(
                    "UPDATE springest.delivery SET lease_until = now() - interval '1 s'"
                    " WHERE state = 'sending'"
                )
            )
        self.runner.run(self._ledger("sweeping").sweep())

    @rule()
    def reconcile(self):
        publish(self.engine, site=SITE, run_id=f"run-{self.runs}")

    # What must be true all the time.

    @invariant()
    def nothing_reached_the_server_twice(self):
        assert all(times == 1 for times in self.server.whole.values())

    @invariant()
    def nothing_is_called_accepted_that_is_not_there(self):
        rows = self._rows(
            "SELECT delivery_key, springest_certificate_id FROM springest.delivery WHERE state = 'accepted'"
        )
        assert all(self.server.stored[number] == key for key, number in rows)

    @invariant()
    def what_the_server_may_have_is_never_in_the_queue(self):
        ready = self._rows("SELECT delivery_key FROM springest.delivery WHERE state = 'ready'")
        assert not {key for (key,) in ready} & self.server.whole.keys()

    @invariant()
    def every_row_of_every_run_has_its_delivery(self):
        lost = self._rows(
            "SELECT 1 FROM springest.staging_run AS staged LEFT JOIN springest.run_training AS seen"
            " USING (site, run_id) GROUP BY staged.site, staged.run_id, staged.source_count"
            " HAVING staged.source_count <> count(seen.row_no)"
        )
        assert lost == []

    def _rows(self, statement):
        with self.engine.connect() as connection:
            return [tuple(row) for row in connection.execute(text(statement))]


def _run(warehouse_url, tmp_path, **bounds):
    engine = create_engine(warehouse_url)
    machine = type(
        "DeliveriesHere", (Deliveries,), {"engine": engine, "url": warehouse_url, "folder": tmp_path}
    )
    try:
        run_state_machine_as_test(machine, settings=settings(deadline=None, **bounds))
    finally:
        engine.dispose()


def test_random_lives_double_nothing_and_lose_nothing(warehouse_url, tmp_path):
    """The short form."""
    _run(warehouse_url, tmp_path, max_examples=40, stateful_step_count=50)


@pytest.mark.long
@pytest.mark.timeout(3 * 3600)
def test_two_thousand_random_lives(warehouse_url, tmp_path):
    """The long form: 2,000 examples of up to 100 steps."""
    _run(warehouse_url, tmp_path, max_examples=2_000, stateful_step_count=100)
