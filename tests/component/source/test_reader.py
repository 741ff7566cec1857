"""The source reader, over the databases it is for: PostgreSQL with text and whole numbers, and SQLite."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, date, datetime, timedelta, timezone
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import Engine, create_engine, event, text

from springest.errors import ConfigurationError, SourceError, SpringestError
from springest.source.reader import BATCH_ROWS, LOOKUP_IDS, SourceReader
from springest.source.several import SeveralSources
from springest.source.window import Window

COLUMNS = (
    "1 AS issue_no, NULL AS booking_id, 102 AS certification_id, email, updated_at AS completed_at,"
    " valid_from, NULL AS valid_until, '/x.pdf' AS certificate_uri, updated_at"
)
QUERY = """
SELECT training_id, {} FROM training WHERE updated_at >= :window_start AND updated_at < :window_end;
""".format(COLUMNS)  # noqa: UP032 - no value from outside
START = datetime(2026, 11, 2, 0, tzinfo=UTC)
DAY = Window(START, START + timedelta(days=1))
KINDS = {"postgresql": "text", "postgresql-integer": "integer", "sqlite": "text", "sqlite-integer": "integer"}


def fill(engine: Engine, moments: list[datetime], *, first: int = 1) -> None:
    """Add a training per moment, numbered from ``first``."""
    sqlite = engine.dialect.name == "sqlite"
    rows = [
        {
            "training_id": number,
            "email": f"learner.{number}@example.com",
            "valid_from": date(2026, 11, 2),
            "updated_at": moment.astimezone(UTC).isoformat(" ", "microseconds") if sqlite else moment,
        }
        for number, moment in enumerate(moments, start=first)
    ]
    with engine.begin() as connection:
        connection.execute(
            text("INSERT INTO training VALUES (:training_id, :email, :valid_from, :updated_at)"), rows
        )


@pytest.fixture(params=list(KINDS))
def source(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Engine]:
    """A source of each kind, with an empty table."""
    if request.param.startswith("sqlite"):
        engine = create_engine(f"sqlite:///{tmp_path}/source.db")
        moment, day = "text", "text"
    else:
        engine = create_engine(request.getfixturevalue("database"))
        moment, day = "timestamptz", "date"
    with engine.begin() as connection:
        connection.execute(
            text(
                f"CREATE TABLE training (training_id {KINDS[request.param]}, email text,"
                f" valid_from {day}, updated_at {moment})"
            )
        )
    yield engine
    engine.dispose()


@pytest.fixture
def lite(tmp_path: Path) -> Iterator[Engine]:
    engine = create_engine(f"sqlite:///{tmp_path}/lite.db")
    with engine.begin() as connection:
        connection.execute(
            text("CREATE TABLE training (training_id text, email text, valid_from text, updated_at text)")
        )
    yield engine
    engine.dispose()


def read(reader: SourceReader, window: Window) -> tuple[int, list[dict[str, Any]]]:
    with reader.open_window(window) as (count, batches):
        return count, [row for batch in batches for row in batch]


def numbers(rows: list[dict[str, Any]]) -> list[int]:
    return sorted(int(row["training_id"]) for row in rows)


def test_a_window_includes_its_start_and_excludes_its_end(source: Engine) -> None:
    """A row at the start of the window is read, one at its end is not."""
    fill(
        source,
        [DAY.start - timedelta(microseconds=1), DAY.start, DAY.end - timedelta(microseconds=1), DAY.end],
    )
    count, rows = read(SourceReader(source, query=QUERY), DAY)
    assert (count, numbers(rows)) == (2, [2, 3])


def test_a_window_in_another_time_zone_is_the_same_window(source: Engine) -> None:
    """The warehouse's clock comes in its session's zone, and SQLite compares texts."""
    fill(source, [DAY.start - timedelta(minutes=1), DAY.start, DAY.end - timedelta(minutes=1), DAY.end])
    zone = timezone(timedelta(hours=5, minutes=45))
    window = Window(DAY.start.astimezone(zone), DAY.end.astimezone(zone))
    assert numbers(read(SourceReader(source, query=QUERY), window)[1]) == [2, 3]


def test_many_rows_are_read_in_batches(source: Engine) -> None:
    """All rows are read, in batches of limited size."""
    fill(source, [START] * (2 * BATCH_ROWS + 1))
    with SourceReader(source, query=QUERY).open_window(DAY) as (count, batches):
        sizes = [len(batch) for batch in batches]
    assert (count, sizes) == (2 * BATCH_ROWS + 1, [BATCH_ROWS, BATCH_ROWS, 1])


def test_an_empty_window_has_no_rows(source: Engine) -> None:
    """An empty window gives no batch."""
    assert read(SourceReader(source, query=QUERY), DAY) == (0, [])


def test_single_trainings_are_found_whenever_they_changed(source: Engine) -> None:
    """Even if training ids are integers in the source and text in the ledger."""
    fill(source, [datetime(1999, 1, 1, tzinfo=UTC), START, datetime(2090, 1, 1, tzinfo=UTC)])
    found = SourceReader(source, query=QUERY).look_up(["1", "3", "4"])
    assert numbers(found) == [1, 3]


def test_many_trainings_are_looked_up_in_several_statements(source: Engine) -> None:
    """More ids than one statement takes are all found."""
    fill(source, [START] * (LOOKUP_IDS + 2))
    wanted = [str(number) for number in range(1, LOOKUP_IDS + 3)]
    assert len(SourceReader(source, query=QUERY).look_up(wanted)) == LOOKUP_IDS + 2


def test_looking_up_nothing_runs_no_statement(source: Engine) -> None:
    """Looking up no ids runs no statement."""
    statements: list[str] = []
    event.listen(source, "before_cursor_execute", lambda *called: statements.append(called[2]))
    assert SourceReader(source, query=QUERY).look_up([]) == []
    assert statements == []


def test_a_window_that_changes_between_count_and_rows_is_refused(lite: Engine) -> None:
    """In a database without one snapshot for both."""
    fill(lite, [START])
    with SourceReader(lite, query=QUERY).open_window(DAY) as (_, batches):
        fill(lite, [START], first=2)
        with pytest.raises(SourceError, match=r"^the source counts 1 completed trainings but returned 2: "):
            list(batches)


def test_each_of_several_sources_must_return_what_it_counts(lite: Engine, tmp_path: Path) -> None:
    """A row more in one does not make up for a row less in another; the error names the source."""
    second = create_engine(f"sqlite:///{tmp_path}/other.db")
    with second.begin() as connection:
        connection.execute(
            text("CREATE TABLE training (training_id text, email text, valid_from text, updated_at text)")
        )
    fill(lite, [START, START])
    fill(second, [START] * BATCH_ROWS * 2, first=1000)
    readers = {"a": SourceReader(second, query=QUERY), "b": SourceReader(lite, query=QUERY)}
    with SeveralSources(readers).open_window(DAY) as (count, batches):
        assert count == 2 * BATCH_ROWS + 2
        assert len(next(batches)) == BATCH_ROWS
        fill(lite, [START], first=3)  # its turn comes later, so its own count has the row as well
        assert sum(map(len, batches)) == BATCH_ROWS + 3
    event.listen(lite, "before_cursor_execute", _add_before_reading(lite))
    with (
        SeveralSources(readers).open_window(DAY) as (_, batches),
        pytest.raises(SourceError, match=r"^source b: the source counts 3 .* returned 4: "),
    ):
        list(batches)
    second.dispose()


def _add_before_reading(engine: Engine) -> Any:
    """Return a listener that adds a row between the count of a window and its rows."""
    counted: list[str] = []

    def add(_connection: Any, _cursor: Any, statement: str, *_: Any) -> None:
        if "count(" in statement.lower():
            counted.append(statement)
        elif statement.lstrip().startswith("SELECT training_id, 1") and len(counted) == 2:
            counted.clear()
            fill(engine, [START], first=4)

    return add


def test_rows_that_are_added_while_a_window_is_read_are_not_seen(database: str) -> None:
    """The source's count and its rows come from one snapshot of PostgreSQL's data."""
    engine = create_engine(database)
    with engine.begin() as connection:
        connection.execute(
            text(
                "CREATE TABLE training (training_id text, email text, valid_from date,"
                " updated_at timestamptz)"
            )
        )
    fill(engine, [START])
    with SourceReader(engine, query=QUERY).open_window(DAY) as (count, batches):
        fill(engine, [START], first=2)
        rows = [row for batch in batches for row in batch]
    engine.dispose()
    assert (count, len(rows)) == (1, 1)


def test_a_large_window_is_streamed_from_postgresql(database: str) -> None:
    """The first batch is there long before a query of many millions of rows could end."""
    engine = create_engine(database)
    endless = (
        "SELECT n AS training_id, 1 AS issue_no, NULL AS booking_id, 102 AS certification_id, 'x' AS email,"
        " CAST(:window_start AS timestamptz) AS completed_at, NULL AS valid_from, NULL AS valid_until,"
        " '/x' AS certificate_uri, CAST(:window_end AS timestamptz) AS updated_at"
        " FROM (SELECT generate_series(1, CASE WHEN {rows} THEN 1 ELSE 1000000000 END) AS n) AS numbers"
    )
    only_when_counted = "lower(current_query()) LIKE 'select count%'"
    with SourceReader(engine, query=endless.format(rows=only_when_counted)).open_window(DAY) as (
        count,
        batches,
    ):
        first = next(batches)
    engine.dispose()
    assert (count, len(first)) == (1, BATCH_ROWS)


def test_column_names_are_matched_without_case(lite: Engine) -> None:
    """Databases return column names in upper or lower case."""
    fill(lite, [START])
    shouted = QUERY.replace("SELECT training_id,", 'SELECT training_id AS "TRAINING_ID",')
    assert numbers(read(SourceReader(lite, query=shouted), DAY)[1]) == [1]


def test_a_missing_column_is_named(lite: Engine) -> None:
    """The error names the column that the query lacks."""
    reader = SourceReader(lite, query=QUERY.replace("email,", "").replace("updated_at AS completed_at,", ""))
    with pytest.raises(ConfigurationError, match="lacks the columns email, completed_at"):
        read(reader, DAY)


@pytest.mark.parametrize("name", ["window_start", "window_end"])
def test_a_query_without_its_window_is_refused_at_once(lite: Engine, name: str) -> None:
    """A query that does not use the window's bounds is refused when it is read."""
    with pytest.raises(ConfigurationError, match=f"does not use the parameter :{name}"):
        SourceReader(lite, query=QUERY.replace(f":{name}", "CURRENT_TIMESTAMP"))


@pytest.mark.parametrize(
    ("start", "end"),
    [
        (START.replace(tzinfo=None), START),
        (START, START.replace(tzinfo=None)),
        (START, START - timedelta(seconds=1)),
    ],
)
def test_a_window_without_zones_or_backwards_is_refused(start: datetime, end: datetime) -> None:
    """The bounds of a window need a time zone and the right order."""
    with pytest.raises(SourceError):
        Window(start, end)


def test_an_unreachable_source_is_a_source_error(tmp_path: Path) -> None:
    """A source that cannot be reached raises `SourceError`."""
    engine = create_engine(f"sqlite:///{tmp_path}/nowhere/source.db")
    with pytest.raises(SourceError, match="the source database refused"):
        read(SourceReader(engine, query=QUERY), DAY)


def message_of(error: BaseException) -> str:
    """All that a log would show of an error: its text and its chain's."""
    chain = []
    link: BaseException | None = error
    while link is not None:
        chain.append(f"{link!r} {link}")
        link = link.__cause__ or (None if link.__suppress_context__ else link.__context__)
    return " ".join(chain)


def test_errors_of_the_source_show_no_email(database: str) -> None:
    """PostgreSQL quotes the value that it could not convert."""
    engine = create_engine(database)
    with engine.begin() as connection:
        connection.execute(
            text(
                "CREATE TABLE training (training_id text, email text, valid_from date,"
                " updated_at timestamptz)"
            )
        )
    fill(engine, [START])
    reader = SourceReader(engine, query=QUERY.replace("102 AS", "CAST(email AS integer) AS"))
    with pytest.raises(SourceError) as caught:
        read(reader, DAY)
    engine.dispose()
    assert "invalid input syntax for type integer" in str(caught.value)
    assert "learner.1" not in message_of(caught.value)


def test_an_id_that_the_source_cannot_compare_is_not_found(
    database: str, caplog: pytest.LogCaptureFixture
) -> None:
    """The ledger has text ids, and the source's ids became integers: the others are found."""
    engine = create_engine(database)
    with engine.begin() as connection:
        connection.execute(
            text(
                "CREATE TABLE training (training_id int, email text, valid_from date, updated_at timestamptz)"
            )
        )
    fill(engine, [START] * 20)
    wanted = ["T0001", *map(str, range(1, 21)), "99999999999999999999"]
    found = SourceReader(engine, query=QUERY).look_up(wanted)
    engine.dispose()
    assert numbers(found) == list(range(1, 21))
    assert "'T0001', '99999999999999999999'" in caplog.text


def test_a_slow_look_up_names_the_missing_index(
    lite: Engine, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The warning about a slow look-up names the index to create."""
    monkeypatch.setattr("springest.source.reader.SLOW_LOOKUP_SECONDS", -1.0)
    fill(lite, [START])
    assert SourceReader(lite, query=QUERY).look_up(["1"])
    assert "an index on the column behind training_id" in caplog.text


def test_an_error_of_the_caller_is_not_wrapped(lite: Engine) -> None:
    """An error that the caller raises while the window is open is not turned into a `SourceError`."""
    with (
        pytest.raises(SpringestError, match="mine") as caught,
        SourceReader(lite, query=QUERY).open_window(DAY),
    ):
        raise SpringestError("mine")
    assert not isinstance(caught.value, SourceError)
