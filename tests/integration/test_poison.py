"""One poisoned row is nobody else's trouble: when it is staged, looked at again, and about to be sent.

Each test has twenty good rows beside the poisoned ones. The good ones go, each poisoned one is set aside
under its own name and reason, the count stays the source's, and every client can read the warehouse.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import psycopg
import pytest
from sqlalchemy import create_engine, text
from sqlalchemy.engine import make_url

from demo.people import Learner
from springest.errors import ConfigurationError, SourceError, UnreadableRows
from springest.source.refusal import MOST_UNREADABLE
from springest.source.window import Window
from springest.staging.stage import NOT_FOUND

SQL = Path(__file__).parents[2] / "include" / "sql"
LONG_AGO = datetime(2001, 1, 1, tzinfo=UTC)
NOTHING = Window(LONG_AGO, LONG_AGO + timedelta(seconds=1))
"""A window without rows: what is set aside is looked up again by its number."""

POSTGRESQL = (
    ("valid_from", "'infinity'", "valid_from_unreadable"),
    ("valid_from", "'-infinity'", "valid_from_unreadable"),
    ("valid_from", "'0044-03-15 BC'", "valid_from_unreadable"),
    ("valid_until", "'infinity'", "valid_until_unreadable"),
    ("valid_until", "'12026-01-01'", "valid_until_unreadable"),
    ("valid_until", "'0044-03-15 BC'", "valid_until_unreadable"),
    ("completed_at", "'infinity'", "completed_at_unreadable"),
    ("completed_at", "'20262-01-01 00:00Z'", "completed_at_unreadable"),
    ("completed_at", "'0044-03-15 00:00Z BC'", "completed_at_unreadable"),
    ("completed_at", "'9999-12-31 23:59:59-05:00'", "completed_at_unreadable"),
    ("completed_at", "'0001-01-01 00:00+01:00'", "completed_at_unreadable"),
    ("updated_at", "'infinity'", "updated_at_unreadable"),
    ("updated_at", "'-infinity'", "updated_at_unreadable"),
    ("updated_at", "'20262-01-01 00:00Z'", "updated_at_unreadable"),
    ("updated_at", "'9999-12-31 23:59:59-05:00'", "updated_at_unreadable"),
    ("updated_at", "'0001-01-01 00:00+01:00'", "updated_at_unreadable"),
    ("updated_at", "NULL", "updated_at_missing"),
    ("completed_at", "NULL", "completed_at_missing"),
    ("valid_from", "NULL", "valid_from_missing"),
    ("certification_id", "NULL", "certification_id_missing"),
    ("certificate_uri", "NULL", "certificate_uri_missing"),
    ("learner_id", "NULL", "email_missing"),
)
SQLITE = (
    ("certification_id", "9e999", "certification_id_unreadable"),
    ("certification_id", "1.5", "certification_id_unreadable"),
    ("certification_id", "1e300", "certification_id_unreadable"),
    ("certification_id", "x'00ff'", "certification_id_unreadable"),
    ("booking_id", "'12 3'", "booking_id_unreadable"),
    ("issue_no", "-1", "issue_no_unreadable"),
    ("certificate_uri", "x'2f61'", "certificate_uri_unreadable"),
    ("certificate_uri", "certificate_uri || char(10) || 'x'", "certificate_uri_unreadable"),
    ("certificate_uri", "'/a' || char(0) || '.pdf'", "certificate_uri_unreadable"),
    ("certificate_uri", "CAST(x'2fff2e706466' AS text)", "certificate_uri_unreadable"),
    ("certificate_uri", "hex(zeroblob(5000000))", "certificate_uri_unreadable"),
    ("valid_from", "x'ff'", "valid_from_unreadable"),
    ("valid_from", "20261102", "valid_from_unreadable"),
    ("valid_until", "'2026-02-30'", "valid_until_unreadable"),
    ("valid_until", "'99999-01-01'", "valid_until_unreadable"),
    ("completed_at", "'infinity'", "completed_at_unreadable"),
    ("completed_at", "'9999-12-31 23:59:59-05:00'", "completed_at_unreadable"),
    ("completed_at", "CAST(x'ff' AS text)", "completed_at_unreadable"),
    ("updated_at", "'infinity'", "updated_at_unreadable"),
    ("updated_at", "x'ff'", "updated_at_unreadable"),
    ("updated_at", "NULL", "updated_at_missing"),
    ("learner_id", "NULL", "email_missing"),
)
PLACES = ("postgresql+psycopg", "postgresql+psycopg2", "sqlite")
MANGLED = "completed.certification_id / CASE WHEN learner.full_name = 'poison' THEN 0 ELSE 1 END"


@pytest.fixture(params=PLACES)
def place(request, make_world):
    """A world over each kind of source, with the query for it and its poisons."""
    if request.param == "sqlite":
        world = make_world()
        world.query = (SQL / "completed_trainings_sqlite.sql").read_text(encoding="utf-8")
        yield world, SQLITE
        return
    url = make_url(request.getfixturevalue("database")).set(drivername=request.param)
    engine = create_engine(url)
    yield make_world(source=engine), POSTGRESQL
    engine.dispose()


@pytest.fixture
def mangling(make_world, database) -> Iterator:
    """A world whose database itself fails at a row, once its learner is named *poison*."""
    engine = create_engine(database)
    world = make_world(source=engine)
    world.query = world.query.replace("completed.certification_id", f"{MANGLED} AS certification_id", 1)
    world.catalogue()
    yield world
    engine.dispose()


def poison(world, training, column: str, value: str) -> None:
    with world.source.begin() as connection:
        connection.execute(
            text(f"UPDATE completed_training SET {column} = {value} WHERE training_id = :id"),  # noqa: S608
            {"id": training.training_id},
        )


def mangle(world, *trainings) -> None:
    with world.source.begin() as connection:
        for training in trainings:
            connection.execute(
                text("UPDATE learner SET full_name = 'poison' WHERE learner_id = :number"),
                {"number": training.learner.number},
            )


def reasons(world) -> dict[str, str | None]:
    return {name: reason for name, (_, reason) in world.states().items()}


def assert_everybody_can_read(world) -> None:
    """Even clients whose session time zone is far from UTC."""
    url = make_url(world.warehouse_url).set(drivername="postgresql")
    for zone in ("Pacific/Kiritimati", "Etc/GMT+12"):
        with psycopg.connect(url.render_as_string(hide_password=False)) as connection:
            connection.execute(f"SET TIME ZONE '{zone}'")
            assert connection.execute("SELECT * FROM springest.delivery").fetchall()
            connection.execute("SELECT * FROM springest.certificate_reconciliation").fetchall()


def poisoned(world, poisons):
    """Twenty good rows, and rows to poison in their midst, each with its poison."""
    rows = [world.training() for _ in range(20)]
    bad = [world.training() for _ in poisons]
    world.complete(*rows[:10], *bad, *rows[10:])
    return rows, dict(zip(bad, poisons, strict=True))


def test_a_poisoned_row_is_set_aside_by_staging(place, expected) -> None:
    """One poisoned row among good ones is set aside, the others are staged."""
    world, poisons = place
    world.catalogue()
    good, bad = poisoned(world, poisons)
    for training, (column, value, _) in bad.items():
        poison(world, training, column, value)
    report = world.stage()
    world.deliver()
    assert world.stored == expected(*good)
    assert report.rows == sum(report.states.values()) == 20 + len(poisons)
    found = reasons(world)
    assert {training.training_id: found[training.training_id] for training in bad} == {
        training.training_id: reason for training, (_, _, reason) in bad.items()
    }
    assert_everybody_can_read(world)
    before = world.states()
    assert world.stage("second").rows >= 1
    assert world.states() == before


def test_a_poisoned_row_is_set_aside_when_it_is_looked_at_again(place, expected) -> None:
    """What was set aside earlier for another reason; good rows that were set aside with it are mended."""
    world, poisons = place
    world.catalogue()
    good, bad = poisoned(world, poisons)
    for training in (*good, *bad):
        poison(world, training, "certification_id", "999")
    world.stage()
    assert set(world.states().values()) == {("held", "certification_not_listed")}
    for training in (*good, *bad):
        poison(world, training, "certification_id", "102")
    for training, (column, value, _) in bad.items():
        poison(world, training, column, value)
    world.stage("second", NOTHING)
    found = world.states()
    assert {found[training.training_id] for training in good} == {("ready", None)}
    assert {training.training_id: found[training.training_id] for training in bad} == {
        training.training_id: ("invalid", reason) for training, (_, _, reason) in bad.items()
    }
    assert_everybody_can_read(world)


def test_a_poisoned_row_is_set_aside_before_sending(place, expected) -> None:
    """A row that became poisoned after staging is set aside, the others are sent."""
    world, poisons = place
    world.catalogue()
    good, bad = poisoned(world, poisons)
    world.stage()
    for training, (column, value, _) in bad.items():
        poison(world, training, column, value)
    world.deliver()
    assert world.stored == expected(*good)
    found = reasons(world)
    assert {training.training_id: found[training.training_id] for training in bad} == {
        training.training_id: reason for training, (_, _, reason) in bad.items()
    }
    assert_everybody_can_read(world)


@pytest.mark.parametrize(
    ("value", "reason"),
    [
        ("NULL", "training_id_missing"),
        ("''", "training_id_missing"),
        ("x'00ff'", "training_id_unreadable"),
        ("'zoe.canary@example.com'", "training_id_unreadable"),
        ("'=1+1'", "training_id_unreadable"),
        ("'row:5'", "training_id_unreadable"),
        ("CAST(x'5aff' AS text)", "training_id_unreadable"),
        ("hex(zeroblob(5000000))", "training_id_unreadable"),
    ],
)
def test_a_row_without_an_id_ends_once_it_has_one(make_world, expected, value, reason):
    """This also holds if `updated_at` did not change when the row got its id."""
    world = make_world()
    good, late, nameless = nameless_row(world, value)
    assert world.states()[nameless] == ("invalid", reason)
    give_number(world, late)
    world.stage("third", NOTHING)
    assert world.states()[nameless] == ("withdrawn", "source_gone")
    world.deliver("third")
    world.deliver()
    assert world.stored == expected(*good, late)


def test_a_row_with_neither_id_nor_moment_ends_as_well(make_world):
    """Once the row has an id, its surrogate is withdrawn, and the row is invalid for its missing moment
    alone.
    """
    world = make_world()
    _, late, nameless = nameless_row(world, "NULL", updated_at="NULL")
    assert world.states()[nameless] == ("invalid", "training_id_missing")
    give_number(world, late)
    world.stage("third", NOTHING)
    assert world.states()[nameless] == ("withdrawn", "source_gone")
    assert world.states()["late"] == ("invalid", "updated_at_missing")


@pytest.mark.parametrize("moment", ["datetime('now', '-10 seconds')", "'yesterday'"])
def test_a_row_with_neither_id_nor_readable_moment_stays(make_world, moment):
    """No window finds it by its moment, which says nothing about whether the source still has it."""
    world = make_world()
    *_, nameless = nameless_row(world, "NULL", updated_at=moment)
    world.stage("third", NOTHING)
    assert world.states()[nameless] == ("invalid", "training_id_missing")


def nameless_row(world, value: str, *, updated_at: str = "updated_at"):
    """Stage twenty good rows and one without a number, twice; return them and the name it got."""
    world.catalogue()
    good, late = [world.training() for _ in range(20)], world.training()
    world.complete(*good, late)
    poison(world, late, "updated_at", updated_at)
    poison(world, late, "training_id", value)
    assert world.stage().rows == 21
    before = world.states()
    world.stage("second", NOTHING)
    assert world.states() == before
    (nameless,) = [name for name in before if name.startswith("row:")]
    return good, late, nameless


def give_number(world, training) -> None:
    with world.source.begin() as connection:
        connection.execute(
            text("UPDATE completed_training SET training_id = 'late' WHERE certificate_uri = :uri"),
            {"uri": training.certificate_uri},
        )


def test_unreadable_rows_beside_one_without_id_stop_no_night(mangling, expected):
    """As after a bulk load: all rows changed at one moment, at which those without an id are looked for."""
    world = mangling
    good, bad, nameless = [world.training() for _ in range(20)], world.training(), world.training()
    world.complete(*good, bad, nameless)
    poison(world, nameless, "training_id", "''")
    mangle(world, bad)
    world.stage()
    before = world.rows("SELECT delivery_key, state, reason, version FROM springest.delivery ORDER BY 1")
    for night in ("second", "third"):
        world.stage(night, NOTHING)
    assert before == world.rows(
        "SELECT delivery_key, state, reason, version FROM springest.delivery ORDER BY 1"
    )
    world.deliver()
    assert world.stored == expected(*good)
    give_number(world, nameless)
    world.stage("fourth", NOTHING)
    assert reasons(world)["late"] is None


def test_an_unreadable_row_without_an_id_stays_set_aside(mangling):
    """No window finds it again, so nobody can say that the source no longer has it."""
    world = mangling
    nameless = world.training()
    world.complete(nameless)
    poison(world, nameless, "training_id", "NULL")
    mangle(world, nameless)
    world.stage()
    before = world.states()
    assert list(before.values()) == [("invalid", "training_id_unreadable")]
    world.stage("second", NOTHING)
    assert world.states() == before


@pytest.mark.parametrize("code", ["57014", "55P03", "40001", "53200"])
def test_a_source_that_has_no_time_for_a_row_sets_none_aside(mangling, expected, code):
    """A statement that took too long or waited for a lock: the next try asks again."""
    world = mangling
    queued = [world.training() for _ in range(5)]
    world.complete(*queued)
    world.stage()
    with world.source.begin() as connection:
        connection.execute(
            text(
                "CREATE FUNCTION no_time() RETURNS bigint LANGUAGE plpgsql AS"
                f" $$ BEGIN RAISE EXCEPTION USING ERRCODE = '{code}'; END $$"
            )
        )
    working = world.query
    world.query = working.replace(
        MANGLED, "CASE WHEN learner.full_name = 'poison' THEN no_time() ELSE completed.certification_id END"
    )
    mangle(world, *queued)
    for doing in (world.deliver, world.stage):
        with pytest.raises(SourceError, match=code) as caught:
            doing()
        assert not isinstance(caught.value, UnreadableRows)
    assert set(world.states().values()) == {("ready", None)}
    world.query = working.replace(MANGLED, "completed.certification_id")
    world.stage()
    world.deliver()
    assert sorted(world.stored) == sorted(expected(*queued))


def test_a_row_refused_by_its_database_is_set_aside(mangling, expected):
    """The reason names the column."""
    world = mangling
    good, bad = [world.training() for _ in range(20)], world.training()
    world.complete(*good[:7], bad, *good[7:])
    mangle(world, bad)
    report = world.stage()
    world.deliver()
    assert world.stored == expected(*good)
    assert (report.rows, report.states) == (21, {"invalid": 1, "ready": 20})
    ((reason, detail),) = world.rows(
        "SELECT reason, reason_detail FROM springest.delivery WHERE state = 'invalid'"
    )
    assert reason == "certification_id_unreadable"
    assert "DivisionByZero (22012)" in detail


def test_a_row_refused_later_is_set_aside_alone(mangling, expected):
    """When it is checked again, and when it is about to be sent."""
    world = mangling
    good, held, queued = [world.training() for _ in range(20)], world.training(), world.training()
    world.complete(*good, held, queued)
    poison(world, held, "certification_id", "999")
    world.stage()
    mangle(world, held, queued)
    world.stage("second", NOTHING)
    world.deliver()
    assert world.stored == expected(*good)
    assert reasons(world)[held.training_id] == "certification_id_unreadable"
    assert reasons(world)[queued.training_id] == "certification_id_unreadable"


def test_many_refused_rows_stop_the_run(mangling):
    """The error names them."""
    world = mangling
    rows = [world.training() for _ in range(MOST_UNREADABLE + 2)]
    world.complete(*rows)
    mangle(world, *rows[1:])
    with pytest.raises(SourceError, match=r"T00\d\d, T00\d\d.*certification_id \(DivisionByZero \(22012\)"):
        world.stage()
    assert world.rows("SELECT 1 FROM springest.staging_run WHERE run_id = 'night'") == []


def test_many_rows_refused_later_stop_the_delivery(mangling):
    """They are refused a few at a time. None is set aside, and they are sent once the source is mended."""
    world = mangling
    rows = [world.training() for _ in range(MOST_UNREADABLE + 2)]
    world.complete(*rows)
    world.stage()
    mangle(world, *rows[1:])
    for _ in range(2):
        with pytest.raises(
            SourceError, match=r"T00\d\d.*certification_id.*DivisionByZero \(22012\).*the queue"
        ):
            world.deliver(batch=3)
    assert world.posts <= 1
    assert {state for state, _ in world.states().values()} <= {"ready", "accepted"}
    with world.source.begin() as connection:
        connection.execute(text("UPDATE learner SET full_name = 'mended'"))
    world.stage("next")
    world.deliver("next")
    assert world.posts == len(rows)


def test_ids_that_cannot_be_compared_any_more_stop_no_night(make_world, database, expected):
    """The source's text ids became integers; the ledger still has waiting deliveries with old ones."""
    engine = create_engine(database)
    world = make_world(source=engine)
    world.catalogue()
    old = world.training(learner=Learner(900, "Zoë Canary", "nobody"))
    world.complete(old)
    world.stage()
    with world.source.begin() as connection:
        connection.execute(text("DELETE FROM completed_training"))
    good = [world.training() for _ in range(20)]
    world.complete(*good)
    with world.source.begin() as connection:
        connection.execute(
            text(
                "ALTER TABLE completed_training ALTER training_id TYPE integer"
                " USING substr(training_id, 2)::integer"
            )
        )
    world.stage("second")
    world.deliver("second")
    engine.dispose()
    assert world.stored == expected(*good)
    assert world.states()[old.training_id] == ("withdrawn", "source_gone")


def test_numbers_that_an_expression_makes_are_found_again(make_world, expected):
    """SQLite has no type for an expression, and does not take text for a number there."""
    world = make_world()
    world.query = world.query.replace(
        "completed.training_id,", "CAST(substr(completed.training_id, 2) AS integer) + 100000 AS training_id,"
    )
    world.catalogue()
    good = [world.training() for _ in range(20)]
    world.complete(*good)
    world.stage()
    world.deliver()
    assert world.stored == expected(*good)


@pytest.fixture
def unstable(make_world, database) -> Iterator[Callable[..., None]]:
    engine = create_engine(database)
    yield make_world(source=engine)
    engine.dispose()


def test_ids_that_change_at_each_read_are_refused(unstable):
    """They are refused before anything is staged."""
    world = unstable
    world.query = world.query.replace("completed.training_id,", "md5(random()::text) AS training_id,")
    world.catalogue()
    world.complete(*[world.training() for _ in range(20)])
    with pytest.raises(
        ConfigurationError, match=r"20 completed trainings .* are not found by their training_id"
    ):
        world.stage()
    assert world.states() == {}


def test_an_id_that_is_not_found_again_is_set_aside(unstable, expected):
    """Here the query returns a row only while the window is small; it stays set aside meanwhile."""
    world = unstable
    world.query = world.query.replace(
        "completed.training_id,",
        "CASE WHEN completed.training_id = 'T0001' AND CAST(:window_start AS timestamptz) < '1950-01-01Z'"
        " THEN 'other' ELSE completed.training_id END AS training_id,",
    )
    world.catalogue()
    lost, *good = [world.training() for _ in range(20)]
    world.complete(lost, *good)
    world.stage()
    world.deliver()
    assert world.stored == expected(*good)
    assert world.states()[lost.training_id] == ("invalid", NOT_FOUND)
    world.stage("second", NOTHING)
    assert world.states()[lost.training_id] == ("invalid", NOT_FOUND)


@pytest.mark.parametrize("moment", ["now()", "clock_timestamp()", "date_trunc('second', now())"])
def test_rows_that_change_at_each_read_are_refused(unstable, moment):
    """If all rows change whenever they are read, the error blames the query."""
    world = unstable
    world.query = world.query.replace("completed.updated_at\n", f"{moment} AS updated_at\n", 1)
    world.catalogue()
    world.complete(*[world.training() for _ in range(20)])
    world.stage()
    time.sleep(1.1)  # one of the clocks goes in whole seconds: within one, the rows are as they were
    with pytest.raises(ConfigurationError, match=r"T00.., T00.., T00.. can't be sent: updated_at differs"):
        world.deliver()


def test_one_row_that_changes_at_each_read_is_set_aside(unstable, expected):
    """Only that row is set aside, with the remedy."""
    world = unstable
    world.query = world.query.replace(
        "completed.updated_at\n",
        "CASE WHEN completed.training_id = 'T0001' THEN now() ELSE completed.updated_at END AS updated_at\n",
        1,
    )
    world.catalogue()
    bad, *good = [world.training() for _ in range(20)]
    world.complete(bad, *good)
    world.stage()
    world.deliver()
    assert world.stored == expected(*good)
    ((reason, detail),) = world.rows(
        "SELECT reason, reason_detail FROM springest.delivery WHERE state = 'invalid'"
    )
    assert reason == "changes_at_each_read"
    assert "updated_at differs" in detail


def test_a_row_changed_before_sending_is_sent_as_it_is_now(unstable, expected):
    """A real change between staging and sending is staged again and sent."""
    world = unstable
    world.catalogue()
    good = [world.training() for _ in range(20)]
    world.complete(*good)
    world.stage()
    for training in good[:5]:
        poison(world, training, "valid_until", "'2030-01-01'")
    world.deliver()
    assert world.stored == expected(*good)


def test_values_in_source_errors_are_in_no_log_or_table(mangling, caplog):
    """The database quotes the value that it fails on, and the project hides it."""
    world = mangling
    world.query = world.query.replace("learner.email", "CAST(learner.email AS bigint)::text AS email")
    canary = Learner(700, "Zoë Canary", "Zoë Canary")
    world.complete(*[world.training(learner=canary) for _ in range(2)])
    with caplog.at_level(logging.DEBUG, logger="include"):
        world.stage()
    assert "InvalidTextRepresentation (22P02)" in caplog.text
    assert "Canary" not in caplog.text
    ((details,),) = world.rows("SELECT string_agg(reason || reason_detail, ' ') FROM springest.delivery")
    assert "email can't be read from the source (InvalidTextRepresentation (22P02)" in details
    assert "Canary" not in details


def test_conflicting_rows_are_found_across_batches(make_world, expected, monkeypatch):
    """Doing it again changes neither the states nor what is sent."""
    monkeypatch.setattr("springest.source.reader.BATCH_ROWS", 5)
    world = make_world()
    world.catalogue()
    good, twice = [world.training() for _ in range(20)], world.training()
    repeated = good[3]
    world.complete(*good[:10], twice, *good[10:])
    world.complete(repeated, twice)
    with world.source.begin() as connection:
        connection.execute(
            text(
                "UPDATE completed_training SET updated_at = (SELECT min(updated_at) FROM completed_training)"
            )
        )
        connection.execute(
            text("UPDATE completed_training SET valid_until = '2030-01-01' WHERE row_number = 23")
        )
    for _ in range(2):
        assert world.stage().rows == 23
        assert world.states()[twice.training_id] == ("invalid", "conflicting_rows")
    world.deliver()
    assert world.stored == expected(*good)
