"""The user's query as it is run: its parameters alone are bound, in the words of every dialect."""

from __future__ import annotations

import re
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import Engine, create_engine, text
from sqlalchemy.dialects import mssql, mysql, oracle, postgresql, sqlite

from springest.errors import ConfigurationError
from springest.source.contract import COLUMNS
from springest.source.query import TrainingQuery

SQL = Path(__file__).parents[3] / "include" / "sql"
DIALECTS: dict[str, Any] = {
    "": postgresql,
    "_mysql": mysql,
    "_sqlite": sqlite,
    "_drop": sqlite,
    "_mssql": mssql,
    "_oracle": oracle,
}
BOUNDS = {"window_start": datetime(2026, 11, 1, tzinfo=UTC), "window_end": datetime(2026, 11, 2, tzinfo=UTC)}
WINDOW = "'2026-11-01 12:00' >= :window_start AND '2026-11-01 12:00' < :window_end"


@pytest.fixture(params=["sqlite", "postgresql"])
def engine(request: pytest.FixtureRequest) -> Any:
    url = "sqlite://" if request.param == "sqlite" else request.getfixturevalue("database")
    made = create_engine(url)
    yield made
    made.dispose()


@pytest.mark.parametrize(
    "query",
    [
        f"SELECT 't' AS training_id, 1 AS issue_no WHERE {WINDOW} -- see :word, and :window_start; too",
        f"/* mind :window_end and it's :this */ SELECT 't' AS training_id, 1 AS issue_no WHERE {WINDOW}",
        f"-- it's ours\nSELECT 't' AS training_id, 1 AS issue_no WHERE {WINDOW};\n-- the end; :really",
        f"SELECT 'at :noon -- or 100%' AS note, 't' AS training_id, 1 AS issue_no WHERE {WINDOW} ;",
    ],
)
def test_only_the_windows_names_are_parameters(engine: Engine, query: str) -> None:
    """A word after a colon is a bound parameter only if it is one of the window's names."""
    made = TrainingQuery(query)
    bounds = {name: moment.strftime("%Y-%m-%d %H:%M") for name, moment in BOUNDS.items()}
    with engine.connect() as connection:
        (row,) = connection.execute(made.rows, bounds).mappings()
        assert row.get("note", "at :noon -- or 100%") == "at :noon -- or 100%"
        assert connection.execute(made.count, bounds).scalar_one() == 1
        assert connection.execute(made.with_ids(["t"], as_text=False), bounds).all()
        assert connection.execute(made.with_ids(["t"], as_text=True), bounds).all()


@pytest.mark.parametrize("place", ["-- :window_end\n", "/* :window_end */ "])
def test_a_parameter_in_a_comment_is_ignored(place: str) -> None:
    """A parameter in an SQL comment is not bound."""
    with pytest.raises(ConfigurationError, match=":window_end"):
        TrainingQuery(f"{place}SELECT 1 AS training_id WHERE 1 >= :window_start")


@pytest.mark.parametrize("name", DIALECTS)
def test_each_query_of_the_project_is_wrapped_in_its_own_dialect(name: str) -> None:
    """Oracle knows no AS before the alias of a table; each compares numbers as text in a type it has."""
    query = TrainingQuery((SQL / f"completed_trainings{name}.sql").read_text(encoding="utf-8"))
    statement = str(query.with_ids(["1"], as_text=True).compile(dialect=DIALECTS[name].dialect()))
    (alias,) = re.findall(r"\)( AS)? completed \nWHERE", statement)
    assert alias == ("" if name == "_oracle" else " AS")
    counted = str(query.count.compile(dialect=DIALECTS[name].dialect()))
    assert counted.startswith("SELECT count(*)")


def test_every_query_of_the_project_is_tested() -> None:
    """Each query in `include/sql/` is among those tested here, or in `tests/stores/test_dialects.py`."""
    elsewhere = {"_snowflake", "_bigquery", "_redshift", "_databricks"}
    named = {path.stem.removeprefix("completed_trainings") for path in SQL.glob("*.sql")}
    assert named == {*DIALECTS, *elsewhere}


@pytest.mark.parametrize(
    ("updated_at", "is_in"),
    [
        ("2026-11-01 00:00:00", True),
        ("2026-11-01T23:59:59.999Z", True),
        ("2026-11-02 00:00:00", False),
        ("2026-11-02 01:30:00+02:00", True),
        ("2026-10-31 23:30:00-01:00", True),
        (None, True),
        ("soon", True),
        ("0001-01-01", True),
    ],
)
def test_the_sqlite_query_reads_every_format_of_moments(updated_at: str | None, is_in: bool) -> None:
    """SQLite has no type for moments; the query reads each common text format."""
    engine = create_engine("sqlite://")
    query = TrainingQuery((SQL / "completed_trainings_sqlite.sql").read_text(encoding="utf-8"))
    with engine.begin() as connection:
        columns = ", ".join(name for name in COLUMNS if name != "email")
        connection.execute(text(f"CREATE TABLE completed_training ({columns}, learner_id)"))
        connection.execute(text("CREATE TABLE learner (learner_id, email)"))
        connection.execute(
            text("INSERT INTO completed_training (training_id, updated_at) VALUES (1, :moment)"),
            {"moment": updated_at},
        )
        rows = connection.execute(query.rows, BOUNDS).mappings().all()
        assert bool(rows) is is_in
        assert connection.execute(query.count, BOUNDS).scalar_one() == is_in
    engine.dispose()
    if rows and rows[0]["updated_at"] not in {None, "soon"}:
        assert datetime.fromisoformat(rows[0]["updated_at"]).tzinfo is not None


def test_further_parameters_are_bound_and_must_be_used():
    """A filter that the query does not use would let a site read all rows."""
    query = "SELECT 1 AS training_id, :country AS country WHERE 'a' >= :window_start AND 'a' < :window_end"
    with pytest.raises(ConfigurationError, match=":region"):
        TrainingQuery(query, {"country": "GB", "region": 1})
    made = TrainingQuery(query, {"country": "GB'; DROP TABLE x; --"})
    with create_engine("sqlite://").connect() as connection:
        bounds = {"window_start": "a", "window_end": "b"}
        [row] = connection.execute(made.rows, bounds)
        assert row.country == "GB'; DROP TABLE x; --"
        assert connection.execute(made.count, bounds).scalar_one() == 1
