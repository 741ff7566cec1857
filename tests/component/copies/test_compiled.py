"""The SQL of copies in warehouses that no test can run: compiled as dlt does, parsed in each dialect."""

from __future__ import annotations

from typing import Any

import pytest

from springest.copies.published import CURRENT, HISTORY, ColumnOf
from springest.copies.target import FRESHNESS, VERSIONS, Target, _hints, _view_query, transactions_of

dlt = pytest.importorskip("dlt", reason="dlt is not installed: `make test-copies` installs and runs it")
sqlglot = pytest.importorskip("sqlglot")

pytestmark = pytest.mark.long
COLUMNS = (
    ColumnOf("row_id", "text", 32),
    ColumnOf("site", "text"),
    ColumnOf("training_id", "text"),
    ColumnOf("valid_from", "date"),
    ColumnOf("is_current", "boolean"),
    ColumnOf("last_seen_at", "timestamp with time zone"),
    ColumnOf("shares_last_seen", "boolean"),
)
ATOMIC = {
    "bigquery": "MERGE",
    "databricks": "MERGE",
    "snowflake": "DELETE INSERT",
    "postgres": "DELETE INSERT",
    "duckdb": "DELETE INSERT",
    "redshift": "DELETE INSERT",
}
"""One statement, or two that dlt puts into one transaction, as ``transactions_of`` asks it to."""


@pytest.fixture(params=ATOMIC)
def kind(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture
def client(kind: str) -> Any:
    """A client of dlt that quotes as the destination needs it, without its driver."""
    from dlt.destinations.sql_client import SqlClientBase

    capabilities = getattr(dlt.destinations, kind)(**transactions_of(kind)).capabilities()

    class Compiling(SqlClientBase):
        def __init__(self) -> None:
            super().__init__("bi", "springest", "springest_staging", capabilities)

        def catalog_name(self, *_: Any, **__: Any) -> str | None:
            return None

    Compiling.__abstractmethods__ = frozenset()
    return Compiling()


def _parse(statement: str, kind: str) -> Any:
    [parsed] = sqlglot.parse(statement, dialect=kind)
    return parsed


def _merge(client: Any, kind: str) -> list[str]:
    from dlt.destinations.impl.redshift.redshift import RedshiftMergeJob
    from dlt.destinations.sql_jobs import SqlMergeFollowupJob

    key = {"nullable": False, "primary_key": True}
    hints = {column.name: {"name": column.name, **_hints(column)} for column in COLUMNS}
    hints["row_id"] |= key
    hints["is_removed"] = {"name": "is_removed", "data_type": "bool", "hard_delete": True}
    hints["_dlt_id"] = {"name": "_dlt_id", "data_type": "text", "unique": True, "row_key": True}
    has_transactions = client.capabilities.supports_transactions
    table = {
        "name": VERSIONS,
        "columns": hints,
        "write_disposition": "merge",
        "x-merge-strategy": "delete-insert" if has_transactions else "upsert",
        "x-stage-data-deduplicated": True,
    }
    job = RedshiftMergeJob if kind == "redshift" else SqlMergeFollowupJob
    statements: list[str] = job.generate_sql([table], client)
    return statements


def test_changes_are_merged_at_once(client: Any, kind: str) -> None:
    """Written, changed and removed rows in one statement, or in two without DDL."""
    parsed = [_parse(statement, kind) for statement in _merge(client, kind)]
    assert " ".join(type(statement).__name__.upper() for statement in parsed) == ATOMIC[kind]
    tables = {table.name.lower() for statement in parsed for table in statement.find_all(sqlglot.exp.Table)}
    assert tables == {VERSIONS}
    if ATOMIC[kind] == "MERGE":
        assert "THEN DELETE" in parsed[0].sql(dialect=kind)
    else:
        assert "is_removed" in parsed[1].sql(dialect=kind).lower()


@pytest.mark.parametrize("view", [CURRENT, HISTORY])
def test_views_are_valid_in_each_dialect(client: Any, kind: str, view: str) -> None:
    """Names are quoted in the case that the destination stores."""
    shown = [*COLUMNS[1:6], ColumnOf("reconciled_at", "timestamp with time zone")][
        : 6 if view == CURRENT else 5
    ]
    query = _parse(_view_query(client, view, shown), kind)
    assert [column.alias.lower() for column in query.selects] == [column.name for column in shown]
    tables = {table.name for table in query.find_all(sqlglot.exp.Table)}
    fold = client.capabilities.casefold_identifier
    assert tables == {fold(name) for name in ((VERSIONS, FRESHNESS) if view == CURRENT else (VERSIONS,))}


def test_a_checksum_is_valid_in_each_dialect(client: Any, kind: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """The number of rows and the sum of their hashes, as a decimal that does not overflow."""
    asked: list[str] = []
    target = object.__new__(Target)
    target._site = "default"
    monkeypatch.setattr(Target, "_stored", lambda *_: {"row_id", "row_hash", "site"})
    monkeypatch.setattr(Target, "_client", lambda _: _Recording(client, asked))
    assert target.checksum().rows == 0
    assert list(target.rows(["row_id", "row_hash", "new"])) == []
    for statement in asked:
        assert type(_parse(statement, kind)).__name__ == "Select"
    assert len(asked) == 17
    assert "NULL" in asked[1]


class _Recording:
    """A client that records statements in place of running them."""

    def __init__(self, client: Any, asked: list[str]) -> None:
        self._client = client
        self._asked = asked

    def __enter__(self) -> Any:
        self._client.execute_sql = lambda statement: self._asked.append(statement) or []
        return self._client

    def __exit__(self, *_: object) -> None:
        return None
