"""The queries for databases that are not here: compiled by their dialects, and parsed as their SQL."""

from __future__ import annotations

import re
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
import sqlglot
from sqlalchemy.dialects import registry

from springest.source.contract import COLUMNS
from springest.source.query import TrainingQuery
from springest_provider import factories

SQL = Path(__file__).parents[2] / "include" / "sql"
DIALECTS = {
    "": ("postgresql.psycopg", "postgres"),
    "_mysql": ("mysql.pymysql", "mysql"),
    "_sqlite": ("sqlite", "sqlite"),
    "_drop": ("sqlite", "sqlite"),
    "_mssql": ("mssql.pyodbc", "tsql"),
    "_oracle": ("oracle.oracledb", "oracle"),
    "_snowflake": ("snowflake", "snowflake"),
    "_bigquery": ("bigquery", "bigquery"),
    "_redshift": ("redshift.redshift_connector", "redshift"),
    "_databricks": ("databricks", "databricks"),
}
"""By query: the dialect of SQLAlchemy and that of sqlglot."""
PLACEHOLDER = re.compile(r"%\((\w+)(?::\w+)?\)s|(?<!%)%s|(?<![:\w]):(\w+)|\?")
BOUNDS = {"window_start": datetime(2026, 11, 1, tzinfo=UTC), "window_end": datetime(2026, 11, 2, tzinfo=UTC)}


def _query(name: str) -> TrainingQuery:
    return TrainingQuery((SQL / f"completed_trainings{name}.sql").read_text(encoding="utf-8"))


def _statements(name: str) -> dict[str, str]:
    query, (dialect, _) = _query(name), DIALECTS[name]
    made = registry.load(dialect)()
    statements: dict[str, Any] = {
        "rows": query.rows,
        "count": query.count,
        "no_rows": query.no_rows,
        "training_ids": query.training_ids,
        "groups": query.groups,
        "by id": query.with_ids(["1", "2"], as_text=False),
        "by text": query.with_ids(["1", "2"], as_text=True),
        "without_id": query.without_id(),
    }
    compiled = {
        label: statement.params(BOUNDS).compile(dialect=made, compile_kwargs={"render_postcompile": True})
        for label, statement in statements.items()
    }
    is_percent = made.paramstyle in {"pyformat", "format"}
    return {
        label: PLACEHOLDER.sub("'1'", str(found)).replace(*("%%", "%") if is_percent else ("", ""))
        for label, found in compiled.items()
    }


@pytest.mark.parametrize("name", DIALECTS)
def test_each_statement_is_sql_of_its_database(name):
    """A parser of that database's SQL accepts it, whatever surrounds the query."""
    for statement in _statements(name).values():
        (parsed,) = sqlglot.parse(statement, dialect=DIALECTS[name][1])
        assert parsed is not None
        assert not list(parsed.find_all(sqlglot.exp.Command))


@pytest.mark.parametrize("name", DIALECTS)
def test_each_query_has_the_columns_of_the_contract(name):
    """In the order of its comment, and nothing else."""
    parsed = sqlglot.parse_one(_statements(name)["rows"], dialect=DIALECTS[name][1])
    assert tuple(parsed.named_selects) == COLUMNS


def test_every_query_is_tested():
    """Each file in ``include/sql`` is among those tested here."""
    assert {path.stem.removeprefix("completed_trainings") for path in SQL.glob("*.sql")} == set(DIALECTS)


def test_a_connection_of_redshift_has_an_engine(connect):
    """By the hook of its provider, with login and password."""
    connect(
        "dwh", conn_type="redshift", host="dwh.example.com", port=5439, login="a", password="b", schema="lms"
    )
    with factories.source("dwh") as engine:
        assert (engine.dialect.name, engine.url.host, engine.url.password) == (
            "redshift",
            "dwh.example.com",
            "b",
        )
