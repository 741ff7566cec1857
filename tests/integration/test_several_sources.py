"""One site, several sources: each training is sent once, and none under the id of another."""

from __future__ import annotations

import csv
import os
import time
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import Engine, create_engine, text

from demo import source_database
from demo.nights import Training
from sandbox.server import SandboxServer
from springest.errors import SourceError
from springest.privacy.erasure import erase_learner
from springest.source.contract import COLUMNS, IN_SEVERAL_SOURCES
from springest.source.reader import SourceReader
from springest.source.several import SeveralSources, TrainingSource
from springest.source.window import Window
from springest.staging.batch import Batch, BatchWriter
from springest_provider.drop import drop
from tests.factories import PSEUDONYMS
from tests.integration.conftest import CERTIFICATIONS, QUERY, World, sent
from tests.integration.erased import ref_of

SQL = Path(__file__).parents[2] / "include" / "sql"
CSV_QUERY = (SQL / "completed_trainings_drop.sql").read_text(encoding="utf-8")
LONG_AGO = timedelta(days=400)
CLASH = ("invalid", IN_SEVERAL_SOURCES)


@dataclass
class Company(World):
    """A site whose trainings are in PostgreSQL (``lms1``), in SQLite (``lms2``) and in CSV files (``files``).

    :param listed: the sources in the settings, in their order.
    """

    second: Engine | None = None
    drop: Path | None = None
    first_query: str = QUERY
    listed: list[str] = field(default_factory=lambda: ["lms1", "lms2"])
    opened: ExitStack = field(default_factory=ExitStack)

    @property
    def reader(self) -> TrainingSource:
        readers = {name: self._reader(name) for name in self.listed}
        return SeveralSources(readers) if len(readers) > 1 else readers[self.listed[0]]

    def _reader(self, name: str) -> SourceReader:
        if name == "files":
            engine = self.opened.enter_context(drop(str(self.drop)))
            return SourceReader(engine, query=CSV_QUERY, name=name)
        engine = {"lms1": self.source, "lms2": self.second}[name]
        assert engine is not None
        return SourceReader(engine, query=self.first_query if name == "lms1" else self.query, name=name)

    def complete_in(self, name: str, *trainings: Training, ago: timedelta = timedelta(seconds=5)) -> None:
        """Let a source have completed trainings."""
        now = datetime.now(UTC) - ago
        if name == "files":
            assert self.drop is not None
            write_csv(self.drop, trainings, now)
        else:
            engine = {"lms1": self.source, "lms2": self.second}[name]
            assert engine is not None
            source_database.add(engine, trainings, now=now)

    def remove_from(self, name: str, training_id: str) -> None:
        engine = {"lms1": self.source, "lms2": self.second}[name]
        assert engine is not None
        with engine.begin() as connection:
            connection.execute(
                text("DELETE FROM completed_training WHERE training_id = :number"), {"number": training_id}
            )

    def flags(self) -> dict[str, str | None]:
        """Review reason by training."""
        return dict(map(tuple, self.rows("SELECT training_id, review_reason FROM springest.delivery")))

    def staged_rows(self, run_id: str = "night") -> list[tuple[int, str]]:
        return [
            (row.row_no, row.training_id)
            for row in self.rows(
                "SELECT row_no, training_id"
                " FROM springest.staged_row JOIN springest.delivery USING (delivery_id)"
                " WHERE run_id = :run_id ORDER BY row_no",
                run_id=run_id,
            )
        ]

    def ledger(self) -> list[Any]:
        return list(self.rows("SELECT * FROM springest.delivery ORDER BY delivery_id"))


def write_csv(folder: Path, trainings: tuple[Training, ...], moment: datetime) -> None:
    folder.mkdir(exist_ok=True)
    path = folder / "export.csv"
    with path.open("w", encoding="utf-8", newline="") as file:
        writer = csv.DictWriter(file, COLUMNS, extrasaction="ignore")
        writer.writeheader()
        for training in trainings:
            values = {name: getattr(training, name, None) for name in COLUMNS}
            writer.writerow(
                values
                | {
                    "email": training.learner.email,
                    "updated_at": moment.isoformat(),
                    "completed_at": training.completed_at.isoformat() if training.completed_at else None,
                }
            )
    os.utime(path, (time.time() - 3600,) * 2)


@pytest.fixture
def company(database: str, warehouse_url: str, tmp_path: Path) -> Iterator[Company]:
    with (
        SandboxServer(certifications=CERTIFICATIONS) as sandbox,
        ExitStack() as opened,
    ):
        second = create_engine(f"sqlite:///{tmp_path}/second.db")
        source_database.create_schema(second)
        made = Company(
            sandbox,
            create_engine(database),
            warehouse_url,
            tmp_path / "certificates",
            second=second,
            drop=tmp_path / "drop",
            opened=opened,
        )
        made.catalogue()
        yield made
        for engine in (made.source, second, made.warehouse):
            engine.dispose()


def test_a_night_of_three_sources_sends_each_training_once(company):
    """Rows are numbered through, in an order that the settings do not change; repeating it is free."""
    company.listed = ["files", "lms2", "lms1"]
    trainings = [company.training() for _ in range(7)]
    company.complete_in("files", *trainings[:2])
    company.complete_in("lms1", *trainings[2:5])
    company.complete_in("lms2", *trainings[5:])
    assert company.stage().rows == 7
    numbered, ledger = company.staged_rows(), company.ledger()
    assert [number for number, _ in numbered] == list(range(1, 8))
    company.listed = ["lms1", "files", "lms2"]
    assert company.stage().rows == 7
    assert (company.staged_rows(), company.ledger()) == (numbered, ledger)
    company.deliver()
    assert company.stored == sent(*trainings)
    company.stage("again", asked=Window(datetime.now(UTC) - timedelta(days=1), datetime.now(UTC)))
    company.deliver("again")
    assert company.posts == 7
    assert {row[0] for row in company.rows("SELECT DISTINCT source FROM springest.delivery")} == {
        "files",
        "lms1",
        "lms2",
    }


ARRIVALS = {
    "1": ("night", "night"),
    "2": ("long ago", "night"),
    "3": ("night", "next night"),
    "4": ("night", "just before sending"),
}
"""When the row of each source is there, by training; rows of long ago are in no window."""
AGO = {"long ago": LONG_AGO, "just before sending": LONG_AGO, "next night": timedelta()}


@pytest.mark.parametrize(("prefix", "order"), [("", ("lms1", "lms2")), ("A-", ("lms2", "lms1"))])
def test_an_id_that_two_sources_have_is_never_sent(company, prefix, order):
    """Whichever comes first, and although one source has whole numbers for ids and the other has texts."""
    if not prefix:
        company.first_query = QUERY.replace("completed.training_id,", "completed.training_id::integer,", 1)
    good = company.training(training_id="8"), company.training(training_id="B-9")
    company.complete_in("lms1", good[0])
    company.complete_in("lms2", good[1])
    rows = {
        (f"{prefix}{number}", name): company.training(training_id=f"{prefix}{number}")
        for number in ARRIVALS
        for name in order
    }

    def arrive(moment: str) -> None:
        for number, moments in ARRIVALS.items():
            for name, at in zip(order, moments, strict=True):
                if at == moment:
                    ago = AGO.get(moment, timedelta(seconds=5))
                    company.complete_in(name, rows[f"{prefix}{number}", name], ago=ago)

    arrive("long ago")
    arrive("night")
    company.stage()
    arrive("next night")
    company.stage("next")
    arrive("just before sending")
    states = company.states()
    assert [states[f"{prefix}{number}"] for number in ARRIVALS] == [CLASH, CLASH, CLASH, ("ready", None)]
    company.deliver("next")
    assert company.stored == sent(*good)
    set_aside = company.rows(
        "SELECT state, reason, learner_ref, certification_id, reason_detail LIKE 'lms1 and lms2 each have%'"
        " FROM springest.delivery WHERE state <> 'accepted'"
    )
    assert [tuple(row) for row in set_aside] == [(*CLASH, None, None, True)] * len(ARRIVALS)
    ledger = company.ledger()
    company.stage("later")
    company.deliver("later")
    assert company.ledger() == ledger
    for number in ARRIVALS:
        company.remove_from("lms2", f"{prefix}{number}")
    company.stage("solved")
    company.deliver("solved")
    assert company.stored == sent(*good, *(rows[f"{prefix}{number}", "lms1"] for number in ARRIVALS))


def test_an_id_that_was_sent_from_another_source_is_flagged(company):
    """The second training can't be sent under it, so a person must know, even if the first is gone."""
    firsts = [company.training() for _ in range(3)]
    company.complete_in("lms1", *firsts)
    company.stage()
    company.deliver()
    seconds = [company.training(training_id=first.training_id) for first in firsts]
    company.remove_from("lms1", firsts[1].training_id)
    erase_learner(company.warehouse, PSEUDONYMS, learner_ref=ref_of(firsts[2]))
    company.complete_in("lms2", *seconds, ago=timedelta())
    report = company.stage("next")
    company.deliver("next")
    assert report.rows == 6 - 1
    assert company.stored == sent(*firsts)
    reason = f"{IN_SEVERAL_SOURCES}(lms1, lms2)"
    assert company.flags() == {first.training_id: reason for first in firsts}
    ledger = company.ledger()
    company.stage("later")
    assert company.ledger() == ledger


def test_a_source_that_is_away_makes_no_row_gone(company, monkeypatch):
    """The run fails with its name, nothing moves, and the next try continues."""
    trainings = [company.training() for _ in range(4)]
    held = company.training(certification_id=999)
    company.complete_in("lms1", *trainings[:2])
    company.complete_in("lms2", *trainings[2:], held)
    company.stage()
    ledger = company.ledger()
    watermark = company.rows("SELECT watermark FROM springest.stage_watermark")
    there, company.second = company.second, create_engine("sqlite:////nowhere/at/all.db")
    for work in (lambda: company.stage("next"), lambda: company.stage(), company.deliver):
        with pytest.raises(SourceError, match="source lms2: "):
            work()
    assert company.posts == 0
    assert company.ledger() == ledger
    assert company.rows("SELECT watermark FROM springest.stage_watermark") == watermark
    company.second = there
    company.stage("next")
    company.deliver("next")
    assert company.stored == sent(*trainings)


def test_the_queue_of_a_source_that_is_no_longer_listed_waits(company):
    """Its rows may still be there, so they do not count as gone; listed again, they are sent."""
    kept, waiting = company.training(), company.training()
    delivered = company.training()
    company.complete_in("lms2", delivered)
    company.stage()
    company.deliver()
    company.complete_in("lms1", kept)
    company.complete_in("lms2", waiting, ago=timedelta())
    company.stage("next")
    company.listed = ["lms1"]
    company.deliver("next")
    assert company.stored == sent(delivered, kept)
    ledger = company.ledger()
    company.stage("later")
    assert company.ledger() == ledger
    assert company.states()[waiting.training_id] == ("held", "source_not_listed")
    assert company.flags()[delivered.training_id] is None
    company.listed = ["lms2", "lms1"]
    company.remove_from("lms1", kept.training_id)
    company.stage("last")
    company.deliver("last")
    assert company.stored == sent(delivered, kept, waiting)


def test_the_queue_of_what_was_once_the_only_source_waits(company):
    """As if there had been several from the beginning; it is sent once the source is listed again."""
    company.listed = ["lms1"]
    waiting, held = company.training(), company.training(certification_id=999)
    company.complete_in("lms1", waiting, held)
    company.stage()
    company.listed = ["lms2"]
    company.stage("next")
    company.deliver("next")
    assert company.states() == {
        waiting.training_id: ("held", "source_not_listed"),
        held.training_id: ("held", "certification_not_listed"),
    }
    company.listed = ["lms1", "lms2"]
    company.stage("last", asked=Window(*[datetime.now(UTC) - LONG_AGO] * 2))
    company.deliver("last")
    assert company.stored == sent(waiting)


def test_a_row_that_its_listed_source_lacks_is_withdrawn(company):
    """As with one source."""
    training = company.training()
    company.complete_in("lms2", training)
    company.stage()
    company.remove_from("lms2", training.training_id)
    company.deliver()
    assert company.states() == {training.training_id: ("withdrawn", "source_gone")}


def test_a_run_that_dies_while_it_stages_continues(company, monkeypatch):
    """As if it had not died, even if the order of the list has changed by then."""
    monkeypatch.setattr("springest.source.reader.BATCH_ROWS", 2)
    trainings = [company.training() for _ in range(7)]
    for name, completed in (("lms1", trainings[:4]), ("lms2", trainings[4:])):
        company.complete_in(name, *completed)
    shared = company.training(training_id=trainings[0].training_id)
    company.complete_in("lms2", shared)
    write, written = BatchWriter.write, []

    def dies(writer: BatchWriter, batch: Batch, *rest: Any, **names: Any) -> None:
        written.append(batch)
        if len(written) == 3:
            raise KeyboardInterrupt
        write(writer, batch, *rest, **names)

    with monkeypatch.context() as patch:
        patch.setattr(BatchWriter, "write", dies)
        with pytest.raises(KeyboardInterrupt):
            company.stage()
    assert len(company.staged_rows()) == 4
    company.listed.reverse()
    assert company.stage().rows == 8
    numbers = [number for number, _ in company.staged_rows()]
    assert numbers == list(range(1, 9))
    company.deliver()
    assert company.stored == sent(*trainings[1:])
    assert company.states()[shared.training_id] == CLASH


def test_a_row_that_one_source_refuses_affects_no_source(company):
    """The windows of all are read again training by training, and only that row is set aside."""
    company.first_query = QUERY.replace(
        "completed.certification_id,",
        "completed.certification_id / CASE WHEN completed.booking_id = 13 THEN 0 ELSE 1 END"
        " AS certification_id,",
        1,
    )
    good, poisoned = [company.training() for _ in range(4)], company.training(booking_id=13)
    company.complete_in("lms1", *good[:2], poisoned)
    company.complete_in("lms2", *good[2:])
    assert company.stage().rows == 5
    company.deliver()
    assert company.stored == sent(*good)
    assert company.states()[poisoned.training_id] == ("invalid", "certification_id_unreadable")


@pytest.mark.parametrize("ago", [LONG_AGO, timedelta(seconds=5)])
def test_ids_with_decimals_are_those_of_another_source(company, ago):
    """As text, a ``numeric(10, 2)`` is ``1.00``: it is compared as a number, even beside ids such as B-9."""
    company.first_query = QUERY.replace(
        "completed.training_id,", "completed.training_id::numeric(10, 2) AS training_id,", 1
    )
    company.complete_in("lms1", company.training(training_id="1"), ago=ago)
    lettered = company.training(training_id="B-9")
    company.complete_in("lms2", company.training(training_id="1"), lettered)
    company.stage()
    company.deliver()
    assert company.states()["1"] == CLASH
    assert company.stored == sent(lettered)


def test_rows_without_an_id_are_not_those_of_another_source(company):
    """Blank ids do not count as equal, and such a row is withdrawn once it has got an id."""
    trainings = {name: company.training(training_id=" ") for name in company.listed}
    for name, training in trainings.items():
        company.complete_in(name, training)
    company.stage()
    assert set(company.states().values()) == {("invalid", "training_id_missing")}
    for name, engine in (("lms1", company.source), ("lms2", company.second)):
        with engine.begin() as connection:
            connection.execute(text("UPDATE completed_training SET training_id = :name"), {"name": name})
    company.stage("next")
    company.deliver("next")
    assert (
        sorted(company.states().values(), key=str)
        == [("accepted", None)] * 2 + [("withdrawn", "source_gone")] * 2
    )


def test_a_source_that_refuses_every_id_fails_the_run(company):
    """One old row whose id can't be computed does not make the trainings of the others ambiguous."""
    company.first_query = QUERY.replace(
        "completed.training_id,",
        "completed.training_id || 1 / CASE WHEN completed.booking_id = 13 THEN 0 ELSE 1 END AS training_id,",
        1,
    )
    company.complete_in("lms1", company.training(booking_id=13), ago=LONG_AGO)
    company.complete_in("lms2", company.training())
    with pytest.raises(SourceError, match="source lms1: the database refuses to look for any training_id"):
        company.stage()
    assert company.states() == {}


def test_an_id_of_two_sources_waits_for_the_one_not_listed(company):
    """Its row there may still exist; it is sent once it is the only one."""
    company.complete_in("lms1", company.training(training_id="X"))
    kept = company.training(training_id="X")
    company.complete_in("lms2", kept)
    company.stage()
    company.remove_from("lms1", "X")
    company.listed = ["lms1"]
    company.stage("next")
    assert company.states() == {"X": CLASH}
    company.listed = ["lms1", "lms2"]
    company.stage("listed again", asked=Window(*[datetime.now(UTC) - LONG_AGO] * 2))
    company.deliver("listed again")
    assert company.stored == sent(kept)
    company.complete_in("lms1", company.training(training_id="Y"), ago=timedelta())
    company.complete_in("lms2", company.training(training_id="Y"), ago=timedelta())
    company.stage("last")
    for name in company.listed:
        company.remove_from(name, "Y")
    company.stage("gone from both")
    assert company.states()["Y"] == ("withdrawn", "source_gone")
