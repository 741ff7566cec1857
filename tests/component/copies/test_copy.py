"""Copies in a real DuckDB and a real MariaDB, of what a real PostgreSQL has published."""

from __future__ import annotations

import os
import secrets
import shutil
import signal
import socket
import tempfile
import threading
from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import Engine, create_engine, make_url, text

from springest.copies import copy as copying
from springest.copies.copy import CopyReport, copy_site
from springest.copies.published import CURRENT, HISTORY
from springest.copies.target import Destination
from springest.errors import ConfigurationError, CopyAhead, CopyFailed
from tests.component.copies.conftest import ODD, Run, show_all
from tests.component.published import publish_all
from tests.factories import MOMENT, add_delivery
from tests.mariadb import MISSING, SERVER, MariaDb

duckdb = pytest.importorskip("duckdb", reason="dlt is not installed: `make test-copies` installs and runs it")
dlt = pytest.importorskip("dlt", reason="dlt is not installed: `make test-copies` installs and runs it")

pytestmark = pytest.mark.long
Change = Callable[[str], None]
FLAGS = ("is_current", "needs_review", "shares_last_seen")


class Copy:
    """A copy's database, as analysts query it."""

    def __init__(self, destination: Destination) -> None:
        self.destination = destination
        self.dataset = destination.dataset

    def rows(self, statement: str) -> list[tuple[Any, ...]]:
        raise NotImplementedError

    def do(self, statement: str) -> None:
        raise NotImplementedError

    def view(self, name: str, columns: list[str]) -> set[tuple[Any, ...]]:
        found = self.rows(f"SELECT {', '.join(columns)} FROM {self.dataset}.{name}")  # noqa: S608
        return {tuple(map(_same, columns, row)) for row in found}


def _same(column: str, value: Any) -> Any:
    """A value as PostgreSQL has it: MariaDB has neither booleans nor time zones."""
    if isinstance(value, datetime):
        return value.replace(tzinfo=UTC) if value.tzinfo is None else value.astimezone(UTC)
    return bool(value) if column in FLAGS else value


class InDuckDb(Copy):
    def __init__(self, path: Path) -> None:
        super().__init__(Destination("duckdb_copy", "duckdb", {"credentials": str(path)}))
        self.path = path

    def rows(self, statement: str) -> list[tuple[Any, ...]]:
        with duckdb.connect(str(self.path)) as connection:
            return connection.execute(statement).fetchall()

    do = rows


class InMariaDb(Copy):
    def __init__(self, server: MariaDb, dataset: str, password: str) -> None:
        credentials = {
            "drivername": "mysql+pymysql",
            "host": "127.0.0.1",
            "port": server.port,
            "username": dataset,
            "password": password,
            "database": "",
            "query": {"charset": "utf8mb4"},
        }
        settings = {"credentials": credentials, "create_primary_keys": True}
        super().__init__(Destination("mysql_copy", "sqlalchemy", settings, dataset))
        self.engine = create_engine(server.url())

    def rows(self, statement: str) -> list[tuple[Any, ...]]:
        with self.engine.connect() as connection:
            return [tuple(row) for row in connection.exec_driver_sql(statement)]

    def do(self, statement: str) -> None:
        with self.engine.begin() as connection:
            connection.exec_driver_sql(statement)


class InPostgres(InMariaDb):
    def __init__(self, url: str) -> None:
        address = make_url(url)
        credentials = {
            "host": address.host,
            "port": address.port,
            "username": address.username,
            "password": address.password,
            "database": address.database,
        }
        Copy.__init__(self, Destination("bi", "postgres", {"credentials": credentials}))
        self.engine = create_engine(url)


@pytest.fixture(scope="module")
def mariadb() -> Iterator[MariaDb]:
    if SERVER is None:
        pytest.skip(MISSING)
    folder = Path(tempfile.mkdtemp(prefix="springest-mariadb-"))
    folder.chmod(0o755)
    with MariaDb(folder / "data") as server:
        yield server
    shutil.rmtree(folder)


@pytest.fixture(params=["duckdb", "mariadb", "postgres"])
def copy(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Copy]:
    if request.param == "duckdb":
        yield InDuckDb(tmp_path / "copy.duckdb")
        return
    if request.param == "postgres":
        in_postgres = InPostgres(request.getfixturevalue("database"))
        yield in_postgres
        in_postgres.engine.dispose()
        return
    server: MariaDb = request.getfixturevalue("mariadb")
    name, password = f"c{secrets.token_hex(4)}", "p@ss/w%rd"
    made = InMariaDb(server, name, password)
    made.do(f"CREATE USER '{name}'@'%%' IDENTIFIED BY '{password.replace('%', '%%')}'")
    made.do(f"GRANT ALL ON `{name}%%`.* TO '{name}'@'%%'")
    yield made
    made.engine.dispose()


def copy_now(engine: Engine, copy: Copy, **settings: Any) -> CopyReport:
    return copy_site(engine, copy.destination, **{"site": "default", **settings})


def require_equal(warehouse: Engine, copy: Copy) -> None:
    """Both views have the same columns in the same order, and the same rows in every value."""
    for name in (CURRENT, HISTORY):
        with warehouse.connect() as connection:
            found = connection.execute(text(f"SELECT * FROM springest.{name}"))  # noqa: S608
            columns, rows = list(found.keys()), [tuple(row) for row in found]
        described = (
            "SELECT column_name FROM information_schema.columns WHERE table_schema = '{}'"
            " AND table_name = '{}' ORDER BY ordinal_position"
        )
        assert [row[0] for row in copy.rows(described.format(copy.dataset, name))] == columns
        assert len(copy.rows(f"SELECT 1 FROM {copy.dataset}.{name}")) == len(rows)  # noqa: S608
        assert copy.view(name, columns) == set(rows)


def test_a_copy_equals_what_analysts_read(certificates: Engine, change: Change, copy: Copy) -> None:
    """Every value of both views, the odd ones too; a second copy writes nothing."""
    change("T3")
    assert copy_now(certificates, copy) == CopyReport(rows=5, written=5, removed=0)
    require_equal(certificates, copy)
    assert ODD in {row[0] for row in copy.rows(f"SELECT training_id FROM {copy.dataset}.{CURRENT}")}  # noqa: S608
    assert copy_now(certificates, copy) == CopyReport(rows=5, written=0, removed=0)
    assert copy_now(certificates, copy, compare_values=True) == CopyReport(rows=5, written=0, removed=0)
    require_equal(certificates, copy)


def test_a_night_writes_what_changed(certificates: Engine, change: Change, copy: Copy) -> None:
    """The ended version and the new one; that all others were seen again rewrites no row."""
    copy_now(certificates, copy)
    show_all(certificates, MOMENT + timedelta(days=2))
    publish_all(certificates)
    assert copy_now(certificates, copy).written == 0
    require_equal(certificates, copy)
    change("T1")
    assert copy_now(certificates, copy).written == 2
    require_equal(certificates, copy)


def test_an_erased_learner_vanishes_from_the_copy(certificates: Engine, run: Run, copy: Copy) -> None:
    """From its tables, and nothing stays in those in which rows are staged."""
    copy_now(certificates, copy)
    for table in ("verdict", "verdict_history"):
        run(f"UPDATE springest.{table} SET learner_ref = NULL WHERE learner_ref = repeat('1', 64)")  # noqa: S608
    assert copy_now(certificates, copy).written == 1
    require_equal(certificates, copy)
    tables = copy.rows(
        "SELECT table_schema, table_name FROM information_schema.tables"  # noqa: S608
        f" WHERE table_schema LIKE '{copy.dataset}%'".replace(
            "%", "%%" if isinstance(copy, InMariaDb) else "%"
        )
    )
    assert len(tables) > 5
    for schema, table in tables:
        assert "1" * 64 not in str(copy.rows(f"SELECT * FROM {schema}.{table}")), table  # noqa: S608
        if "_staging" in schema and not table.startswith("_dlt"):
            assert copy.rows(f"SELECT * FROM {schema}.{table}") == []  # noqa: S608


def test_a_restored_warehouse_waits_for_a_person(
    certificates: Engine, change: Change, run: Run, copy: Copy
) -> None:
    """The copy knows versions that the warehouse lost: they are evidence."""
    change("T3")
    copy_now(certificates, copy)
    columns = ["training_id", "delivery_state", "valid_to_ts", "is_current"]
    before = copy.view(HISTORY, columns)
    run("DELETE FROM springest.verdict WHERE training_id = 'T3'")
    columns_of_a_version = (
        "delivery_id, {}version_from, site, training_id, issue_no, delivery_state, verification_status,"
        " needs_review"
    )
    run(
        f"INSERT INTO springest.verdict ({columns_of_a_version.format('publication_id, ')})"  # noqa: S608
        f" SELECT {columns_of_a_version.format('1, ')} FROM springest.verdict_history"
    )
    run("DELETE FROM springest.verdict_history")
    with pytest.raises(CopyAhead, match="has 1 versions of site default that the warehouse lacks"):
        copy_now(certificates, copy)
    assert copy.view(HISTORY, columns) == before
    assert copy_now(certificates, copy, remove_extra=True).removed == 1
    require_equal(certificates, copy)


def test_what_somebody_changed_in_the_copy_is_repaired(certificates: Engine, copy: Copy) -> None:
    """A changed value, a removed row and an invented one; only comparing values finds the first alone."""
    copy_now(certificates, copy)
    table = f"{copy.dataset}.certificate_version"
    copy.do(f"UPDATE {table} SET delivery_state = 'ready' WHERE training_id = 'T1'")  # noqa: S608
    assert copy_now(certificates, copy).written == 0
    assert copy_now(certificates, copy, compare_values=True).written == 1
    require_equal(certificates, copy)
    copy.do(f"DELETE FROM {table} WHERE training_id = 'T2'")  # noqa: S608
    assert copy_now(certificates, copy).written == 1
    copy.do(f"UPDATE {table} SET row_id = '{'f' * 32}', row_hash = 1 WHERE training_id = 'T2'")  # noqa: S608
    with pytest.raises(CopyAhead):
        copy_now(certificates, copy)
    report = copy_now(certificates, copy, remove_extra=True)
    assert (report.written, report.removed) == (1, 1)
    require_equal(certificates, copy)


def test_a_new_column_is_copied(certificates: Engine, run: Run, copy: Copy) -> None:
    """A migration adds a column to what analysts read: the copy gets it, with its values."""
    copy_now(certificates, copy)
    [(query,)] = run(
        "SELECT pg_get_viewdef(CAST('springest.certificate_reconciliation_history' AS regclass))"
    )
    run(
        f"CREATE OR REPLACE VIEW springest.{HISTORY} AS"  # noqa: S608
        " SELECT *, CASE WHEN training_id = 'T1' THEN 5::bigint END AS grade"
        f" FROM ({query.rstrip('; ')}) AS before"
    )
    assert copy_now(certificates, copy).written == 1
    require_equal(certificates, copy)
    assert copy.view(HISTORY, ["training_id", "grade"]) >= {("T1", 5), ("T2", None)}


def test_two_sites_share_a_copy(certificates: Engine, copy: Copy) -> None:
    """Each writes its own rows, also at the same time, and neither removes the other's."""
    add_delivery(certificates, "held", "T1", site="uk")
    publish_all(certificates, name="uk")
    assert copy_now(certificates, copy, site="uk").rows == 1
    # DuckDB lets one process write at a time; a database server lets both.
    together = [("default",), ("uk",)] if isinstance(copy, InDuckDb) else [("default", "uk")]
    for sites in together:
        certificates.dispose()
        children = [_in_a_process(certificates, copy, site) for site in sites]
        assert [os.waitpid(child, 0)[1] for child in children] == [0] * len(children)
    require_equal(certificates, copy)


def _in_a_process(engine: Engine, copy: Copy, site: str) -> int:
    child = os.fork()
    if child == 0:
        code = 1
        try:
            copy_now(engine, copy, site=site)
            code = 0
        finally:
            os._exit(code)
    return child


def test_a_site_that_has_published_nothing_copies_nothing(warehouse: Engine, copy: Copy) -> None:
    """And fails at nothing: the first publication is copied later."""
    assert copy_now(warehouse, copy) == CopyReport(0, 0, 0)
    add_delivery(warehouse, "held", "T1")
    publish_all(warehouse)
    assert copy_now(warehouse, copy).written == 1
    require_equal(warehouse, copy)


@pytest.mark.parametrize("dropped", ["", "_staging_default"])
def test_a_copy_that_was_dropped_is_made_again(certificates: Engine, copy: Copy, dropped: str) -> None:
    """The remedy for a copy that can't be repaired; dlt has a record of its own of what is there."""
    copy_now(certificates, copy)
    copy.do(f"DELETE FROM {copy.dataset}.certificate_version")  # noqa: S608
    with_views = " CASCADE" if isinstance(copy, InPostgres) else ""
    copy.do(f"DROP TABLE {copy.dataset}{dropped}.certificate_version{with_views}")
    copy_now(certificates, copy)
    require_equal(certificates, copy)


def _states(copy: Copy) -> frozenset[Any]:
    return frozenset(copy.view(HISTORY, ["training_id", "delivery_state", "valid_from_ts", "is_current"]))


def test_a_reader_sees_all_changes_of_a_copy_or_none(
    certificates: Engine, change: Change, copy: Copy
) -> None:
    """While two nights are copied, somebody reads again and again."""
    copy_now(certificates, copy)
    allowed = {_states(copy)}
    seen: set[frozenset[Any]] = set()
    done = threading.Event()

    def read() -> None:
        while not done.is_set():
            seen.add(_states(copy))

    reader = threading.Thread(target=read)
    reader.start()
    for training_id in ("T1", "T2"):
        change(training_id)
        copy_now(certificates, copy)
        allowed.add(_states(copy))
    done.set()
    reader.join()
    assert len(allowed) == 3
    assert seen <= allowed
    assert len(seen) >= 2


def _copy_and_die(engine: Engine, copy: Copy, at: int) -> bool:
    """Copy in a process that is killed before its statement number ``at``; whether it was."""
    engine.dispose()
    child = os.fork()
    if child == 0:
        _kill_at(at)
        copy_now(engine, copy)
        os._exit(0)
    _, status = os.waitpid(child, 0)
    assert status == 0 or os.WTERMSIG(status) == signal.SIGKILL
    return status != 0


def _kill_at(at: int) -> None:
    from dlt.destinations.impl.duckdb.sql_client import DuckDbSqlClient
    from dlt.destinations.impl.postgres.sql_client import Psycopg2SqlClient
    from dlt.destinations.impl.sqlalchemy.db_api_client import SqlalchemyClient

    statements = 0

    def dying(execute: Any) -> Any:
        def run_or_die(*arguments: Any, **named: Any) -> Any:
            nonlocal statements
            statements += 1
            if statements == at:
                os.kill(os.getpid(), signal.SIGKILL)
            return execute(*arguments, **named)

        return run_or_die

    for client in (DuckDbSqlClient, Psycopg2SqlClient, SqlalchemyClient):
        client.execute_query = dying(client.execute_query)


def test_a_copy_may_die_at_every_statement(certificates: Engine, change: Change, copy: Copy) -> None:
    """Readers see the night before or this one, and the next copy completes it."""
    copy_now(certificates, copy)
    before = _states(copy)
    change("T1")
    after: set[frozenset[Any]] = set()
    at = 1
    while _copy_and_die(certificates, copy, at):
        if (found := _states(copy)) != before:
            after.add(found)
        at += 1
    assert at > 10
    require_equal(certificates, copy)
    assert after <= {_states(copy)}


def test_a_first_copy_may_die_at_every_statement(certificates: Engine, copy: Copy) -> None:
    """Tables and views are made by whoever comes next."""
    at = 1
    while _copy_and_die(certificates, copy, at):
        at += 1
    assert at > 10
    require_equal(certificates, copy)


def test_nothing_but_the_two_databases_is_reached(
    certificates: Engine, copy: Copy, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """dlt reports usage by default; and it reads settings of its own from the folder of the project."""
    (tmp_path / ".dlt").mkdir()
    (tmp_path / ".dlt" / "config.toml").write_text("[runtime]\ndlthub_telemetry = true\n")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    reached = []
    connect = socket.socket.connect

    def watch(self: socket.socket, address: Any) -> Any:
        reached.append(address)
        return connect(self, address)

    monkeypatch.setattr(socket.socket, "connect", watch)
    before = dict(os.environ)
    folders = set(Path(tempfile.gettempdir()).glob("springest-copy-*"))
    copy_now(certificates, copy)
    assert {address[0] for address in reached if isinstance(address, tuple)} <= {"127.0.0.1"}
    assert dict(os.environ) == before
    assert set(Path(tempfile.gettempdir()).glob("springest-copy-*")) == folders
    assert not (tmp_path / "home").exists()


def test_a_destination_that_is_away_is_an_error(certificates: Engine, copy: Copy) -> None:
    """Airflow tries again; the text names the connection and the database's own reason."""
    if isinstance(copy, InDuckDb):
        copy.path.write_bytes(b"not a database" * 1000)
        wrong = copy.destination
    else:
        settings = copy.destination.settings
        credentials = {**settings["credentials"], "username": "nobody", "password": "wrong-canary"}
        wrong = replace(copy.destination, settings={**settings, "credentials": credentials})
    with pytest.raises(CopyFailed, match=rf"^copying to {wrong.name}: ") as failed:
        copy_site(certificates, wrong, site="default")
    assert "canary" not in str(failed.value)
    assert failed.value.__cause__ is None
    assert failed.value.__suppress_context__


def test_a_copy_that_stays_different_is_an_error(
    certificates: Engine, copy: Copy, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What was written is counted and added up again, in the copy itself."""
    monkeypatch.setattr(copying.Target, "merge", lambda *_: None)
    with pytest.raises(CopyFailed, match="still differs"):
        copy_now(certificates, copy)


def test_a_database_that_cannot_store_every_name_is_refused(certificates: Engine, mariadb: MariaDb) -> None:
    """A server may make databases in latin1, and would store question marks."""
    name = f"l{secrets.token_hex(4)}"
    made = InMariaDb(mariadb, name, "pw")
    made.do(f"CREATE USER '{name}'@'%%' IDENTIFIED BY 'pw'")
    made.do(f"GRANT ALL ON `{name}%%`.* TO '{name}'@'%%'")
    made.do(f"CREATE DATABASE {name} CHARACTER SET latin1")
    with pytest.raises(ConfigurationError, match=f"the database {name} is in latin1"):
        copy_now(certificates, made)
    made.engine.dispose()


def test_dates_are_dates_and_moments_are_exact(certificates: Engine, copy: Copy) -> None:
    """Microseconds stay, in UTC."""
    copy_now(certificates, copy)
    [(valid_from, seen)] = copy.rows(
        f"SELECT valid_from, last_seen_at FROM {copy.dataset}.{CURRENT} WHERE training_id = 'T1'"  # noqa: S608
    )
    assert type(valid_from) is date
    assert _same("last_seen_at", seen) == MOMENT + timedelta(days=1, microseconds=123_457)
