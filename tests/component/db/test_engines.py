"""Session settings of each engine, by dialect; PostgreSQL and SQLite are real."""

from __future__ import annotations

import copy
import sqlite3
import sys
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from types import ModuleType
from typing import Any

import psycopg
import pytest
from sqlalchemy import make_url, text

from springest.db.engines import (
    require_own_session,
    snapshot_isolation,
    source_engine,
    warehouse_engine,
)
from springest.db.libpq import postgresql_url
from springest.errors import ConfigurationError, SourceError, WarehouseLocked
from springest.source.reader import SourceReader
from springest.source.window import Window
from springest_provider.retry_policy import RETRY_POLICY
from tests.pooler import TransactionPooler

QUERY = """
SELECT training_id, 1 AS issue_no, NULL AS booking_id, 102 AS certification_id, email,
    updated_at AS completed_at,
    CAST('2026-11-02' AS date) AS valid_from, NULL AS valid_until, '/x.pdf' AS certificate_uri, updated_at
FROM training WHERE updated_at >= :window_start AND updated_at < :window_end
"""
START = datetime(2026, 11, 2, tzinfo=UTC)
DAY = Window(START, START + timedelta(days=1))


def url(**extra: Any) -> dict[str, Any]:
    """The query of the URL that a connection with these extras leads to."""
    nobody = {"port": None, "login": None, "password": None, "database": None}
    return dict(postgresql_url("the_source", host="db", **nobody, extra=extra).query)


def test_every_option_of_libpq_is_kept():
    """Every libpq option of a connection's extra reaches the driver."""
    extra = {
        "sslmode": "verify-full",
        "sslrootcert": "/ca.pem",
        "keepalives_idle": 30,
        "sslcompression": False,
    }
    assert url(**extra, target_session_attrs="any", connect_timeout="", sslkey=None) == {
        "sslmode": "verify-full",
        "sslrootcert": "/ca.pem",
        "keepalives_idle": "30",
        "sslcompression": "0",
        "target_session_attrs": "any",
    }


def test_the_cursor_extra_of_airflows_hook_is_ignored():
    """The extra `cursor` concerns Airflow's hook, not an engine."""
    assert url(cursor="dictcursor") == {}


@pytest.mark.parametrize(
    ("extra", "remedy"),
    [
        ({"iam": True}, "tokens in place of a password are not supported"),
        ({"ssl_mode": "require"}, "'ssl_mode', which is no option of libpq: remove it"),
        ({"lock_timeout": "5s"}, '{"options": "-c lock_timeout=5min"}'),
        ({"password": "canary"}, "'password' of the connection the_source belongs into its field Password"),
        ({"dbname": "other"}, "its field Database"),
        ({"sslmode": ["require"]}, "'sslmode' of the connection the_source must be text or a number"),
        ({"client_encoding": "latin1"}, "must be UTF8"),
        ({"options": "-c TimeZone=CET"}, "sets timezone, which is always 'UTC' here: remove it"),
        ({"options": "--default-transaction-isolation=serializable"}, "always 'read committed'"),
        ({"options": "-c synchronous_commit=off"}, "always 'on'"),
        ({"options": "lock_timeout=5s"}, "can't be read: write it as"),
        ({"options": "-c 'lock_timeout=5s"}, "can't be read: write it as"),
    ],
)
def test_ignored_or_contradicting_extras_are_refused(extra, remedy):
    """Extras that would be ignored, or that contradict the project's options, are refused by name."""
    with pytest.raises(ConfigurationError) as caught:
        url(**extra)
    assert remedy in str(caught.value)
    assert "canary" not in str(caught.value)


@pytest.mark.parametrize("encoding", ["utf8", "UTF-8", "unicode_utf8"])
def test_spellings_of_utf8_are_accepted(encoding):
    """Spellings of UTF-8 are accepted as `client_encoding`, unknown ones are refused."""
    if encoding.startswith("uni"):
        with pytest.raises(ConfigurationError):
            url(client_encoding=encoding)
    else:
        assert url(client_encoding=encoding) == {"client_encoding": encoding}


@pytest.mark.parametrize("make", [warehouse_engine, source_engine])
def test_tls_that_is_asked_for_is_used_or_the_connection_fails(database, make):
    """The test server has none."""
    engine = make(make_url(database).update_query_dict({"sslmode": "verify-full", "sslrootcert": "system"}))
    with pytest.raises(Exception, match="does not support SSL"):
        engine.connect()


def test_a_postgresql_source_is_read_alike_under_any_setting(database):
    """The database may set DateStyle, time zone, encoding and isolation; the rows are the same."""
    with psycopg.connect(database.replace("+psycopg", ""), autocommit=True) as admin:
        admin.execute("CREATE TABLE training (training_id int, email text, updated_at timestamptz)")
        admin.execute("INSERT INTO training VALUES (1, 'łukasz@example.com', '2026-11-02 23:30:00+00')")
        name = make_url(database).database
        for setting in (
            "DateStyle = 'German'",
            "TimeZone = 'Pacific/Auckland'",
            "client_encoding = 'LATIN1'",
        ):
            admin.execute(f'ALTER DATABASE "{name}" SET {setting}')
    engine = source_engine(database)
    with SourceReader(engine, query=QUERY).open_window(DAY) as (count, batches):
        [[row]] = batches
    assert (count, row["email"]) == (1, "łukasz@example.com")
    assert row["updated_at"] == datetime(2026, 11, 2, 23, 30, tzinfo=UTC)
    assert str(row["valid_from"]) == "2026-11-02"
    with engine.connect() as session:
        shown = [session.execute(text(f"SHOW {name}")).scalar_one() for name in ("TimeZone", "lock_timeout")]
    assert shown == ["UTC", "2min"]
    engine.dispose()


@pytest.mark.parametrize("kind", ["postgresql", "sqlite"])
@pytest.mark.parametrize("sql", [QUERY, QUERY.replace("FROM training", "FORM training")])
def test_a_table_that_is_missing_is_not_waited_for(request, kind, sql):
    """A query with an error is not retried either: the task fails at once, not after a quarter of an hour."""
    address = "sqlite://" if kind == "sqlite" else request.getfixturevalue("database")
    engine = source_engine(address)
    with (
        pytest.raises(ConfigurationError, match="the source database refused") as caught,
        SourceReader(engine, query=sql).open_window(DAY),
    ):
        pass
    assert RETRY_POLICY.evaluate(caught.value, 1, 3).action.value == "fail"
    engine.dispose()


def test_a_source_that_does_not_let_us_in_is_asked_again(database):
    """It may be away, or its password may be on its way to all places that know it."""
    engine = source_engine(make_url(database).set(username="nobody_of_that_name", password="wrong"))
    with pytest.raises(SourceError) as caught, SourceReader(engine, query=QUERY).open_window(DAY):
        pass
    assert RETRY_POLICY.evaluate(caught.value, 1, 3).action.value == "retry"


def test_a_lock_timeout_is_retried():
    """A statement that timed out waiting for a lock is retried."""
    error = WarehouseLocked(["springest.stage:default by pid 7 (psql)"])
    assert RETRY_POLICY.evaluate(error, 1, 3).action.value == "retry"
    assert str(copy.copy(error)) == str(error)


def test_a_source_without_an_encoding_gives_rows_in_utf8(postgres):
    """SQL_ASCII converts nothing: text in another encoding is set aside, row by row."""
    with psycopg.connect(postgres.url(driver="postgresql"), autocommit=True) as admin:
        admin.execute("DROP DATABASE IF EXISTS plain")
        admin.execute(
            "CREATE DATABASE plain ENCODING 'SQL_ASCII' TEMPLATE template0 LC_COLLATE 'C' LC_CTYPE 'C'"
        )
    address = make_url(postgres.url()).set(database="plain")
    engine = source_engine(address)
    with engine.begin() as connection:
        connection.execute(
            text("CREATE TABLE training (training_id int, email text, updated_at timestamptz)")
        )
        connection.execute(
            text("INSERT INTO training VALUES (1, :email, :moment)"),
            {"email": "łukasz@example.com", "moment": START},
        )
    with SourceReader(engine, query=QUERY).open_window(DAY) as (_, batches):
        assert [row["email"] for batch in batches for row in batch] == ["łukasz@example.com"]
    with engine.begin() as connection:
        connection.exec_driver_sql(
            "INSERT INTO training VALUES (2, E'zo\\xeb@example.com', '2026-11-02 01:00Z')"
        )
    with SourceReader(engine, query=QUERY).open_window(DAY, by_training=True) as (count, batches):
        rows = [row for batch in batches for row in batch]
    assert (count, sorted(row["training_id"] for row in rows)) == (2, [1, 2])
    assert [row["email"] for row in rows if row["training_id"] == 1] == ["łukasz@example.com"]
    engine.dispose()
    postgres.drop_database("plain")


def test_a_source_may_be_behind_a_pooler_that_shares_sessions(database):
    """Settings hold in each transaction, nothing is prepared, and nothing is left behind in a session."""
    with psycopg.connect(database.replace("+psycopg", ""), autocommit=True) as admin:
        admin.execute(f"ALTER DATABASE \"{make_url(database).database}\" SET TimeZone = 'Asia/Tokyo'")
    statement = text("SELECT current_setting('TimeZone'), CAST(:number AS int)")
    with TransactionPooler(database.replace("+psycopg", "")) as pooler:
        engine = source_engine(make_url(database).set(host="127.0.0.1", port=pooler.port))
        with engine.connect() as first, engine.connect() as second:
            for number in range(12):  # psycopg prepares what it runs a sixth time
                for session in (first, second):
                    assert session.execute(statement, {"number": number}).one() == ("UTC", number)
                    session.rollback()
        engine.dispose()
        with psycopg.connect(
            database.replace("+psycopg", ""), port=pooler.port, host="127.0.0.1"
        ) as next_one:
            assert next_one.execute("SELECT current_setting('TimeZone')").fetchone() == ("Asia/Tokyo",)


def test_a_pooler_that_shares_sessions_is_refused(database):
    """A warehouse behind a pooler that shares sessions between clients is refused."""
    with (
        TransactionPooler(database.replace("+psycopg", "")) as pooler,
        pytest.raises(ConfigurationError, match="give this database pool_mode = session"),
    ):
        require_own_session(make_url(database).set(host="127.0.0.1", port=pooler.port))
    require_own_session(database)


class Driver(ModuleType):
    """Stands for a database driver that is not installed here: keeps what it is asked."""

    paramstyle = "pyformat"
    apilevel = "2.0"
    Error = sqlite3.Error

    def __init__(self, name: str, **answers: Any) -> None:
        super().__init__(name)
        self.answers = answers
        self.arguments: dict[str, Any] = {}
        self.statements: list[str] = []
        self.version = self.__version__ = "9.9.9"

    def connect(self, **arguments: Any) -> Any:
        if "unheard_of" in arguments:
            raise TypeError("connect() got an unexpected keyword argument 'unheard_of'")
        self.arguments = arguments
        return self

    def cursor(self, *_: Any) -> Any:
        return self

    def execute(self, statement: str, *_: Any) -> None:
        self.statements.append(statement)

    def fetchone(self) -> Any:
        return next((value for name, value in self.answers.items() if name in self.statements[-1]), None)

    def character_set_name(self) -> str:
        return "utf8mb4"

    def close(self) -> None: ...
    def rollback(self) -> None: ...
    def commit(self) -> None: ...


@pytest.fixture
def driver(monkeypatch: pytest.MonkeyPatch) -> Callable[..., Driver]:
    def install(name: str, **answers: Any) -> Driver:
        monkeypatch.setitem(sys.modules, name, module := Driver(name, **answers))
        return module

    return install


def opened(address: str, **arguments: Any) -> None:
    """Open one connection as the pool does, without what the dialect itself asks first."""
    engine = source_engine(address, connect_args=arguments)
    engine.dialect.initialize = lambda _: None
    engine.raw_connection()


@pytest.mark.parametrize("scheme", ["mysql+pymysql", "mariadb+pymysql"])
@pytest.mark.parametrize("charset", [{}, {"charset": "utf8"}])
def test_a_mysql_session_uses_utc_and_utf8(driver, scheme, charset):
    """A MySQL session is at UTC and returns every character."""
    mysql = driver("pymysql", character_set_client=("utf8mb4", "utf8mb4", "+00:00"))
    opened(f"{scheme}://t@db/s", **charset, ssl={"ca": "/ca.pem"})
    assert (mysql.arguments["charset"], mysql.arguments["ssl"]) == ("utf8mb4", {"ca": "/ca.pem"})
    assert mysql.statements[-3:-1] == ["SET NAMES utf8mb4", "SET SESSION time_zone = '+00:00'"]


def test_mysql_that_ignores_its_settings_is_refused(driver):
    """A proxy in between may respond ``OK`` to everything."""
    driver("pymysql", character_set_client=("latin1", "utf8mb4", "SYSTEM"))
    with pytest.raises(ConfigurationError, match=r"utf8mb4 and UTC: \('latin1'"):
        opened("mysql+pymysql://t@db/s")


@pytest.mark.parametrize("address", ["mysql+pymysql://t@db/s?charset=latin1", "mysql+pymysql://t@db/s"])
def test_mysql_in_another_charset_is_refused(driver, address):
    """A MySQL connection with another charset than utf8mb4 is refused."""
    driver("pymysql")
    arguments = {} if "charset" in address else {"charset": "latin1"}
    with pytest.raises(ConfigurationError, match=r"'charset' is 'latin1'.* utf8mb4"):
        opened(address, **arguments)


def test_sql_server_through_freetds_returns_every_character(driver):
    """SQL Server through FreeTDS returns every character."""
    freetds = driver("pymssql")
    opened("mssql+pymssql://t@db/s")
    assert freetds.arguments["charset"] == "UTF-8"
    with pytest.raises(ConfigurationError, match="write UTF-8"):
        opened("mssql+pymssql://t@db/s", charset="cp1252")


def test_an_unknown_extra_of_the_driver_is_named(driver):
    """An extra that the driver does not accept is named in the error."""
    driver("pymysql")
    with pytest.raises(ConfigurationError, match=r"pymysql does not know: .*'unheard_of'"):
        opened("mysql+pymysql://t@db/s", unheard_of=1)


@pytest.mark.parametrize(
    ("address", "remedy"),
    [
        ("mysql://t@db/s", r"MySQLdb of the source \(mysql\) is not installed: .*mysqlclient"),
        ("oracle+oracledb://t@db/s", r"oracledb .* is not installed"),
        ("nosuchdb://t@db/s", "no dialect 'nosuchdb'"),
    ],
)
def test_a_missing_driver_is_named_with_its_package(address, remedy):
    """The error about a missing driver names the package to install."""
    with pytest.raises(ConfigurationError, match=remedy):
        source_engine(address)


class Session:
    """A connection to a dialect that is not installed here."""

    def __init__(self, name: str, state: int = 0) -> None:
        self.dialect = type("Dialect", (), {"name": name})
        self.state = state
        self.transactions = 0

    def execute(self, _: Any) -> Session:
        self.transactions += 1
        return self

    def scalar_one(self) -> int:
        return self.state

    def rollback(self) -> None:
        self.transactions -= 1


@pytest.mark.parametrize(
    ("name", "state", "isolation"),
    [
        ("postgresql", 0, "REPEATABLE READ"),
        ("mysql", 0, "REPEATABLE READ"),
        ("mariadb", 0, "REPEATABLE READ"),
        ("oracle", 0, "SERIALIZABLE"),
        ("mssql", 1, "SNAPSHOT"),
        ("mssql", 0, None),
        ("mssql", 3, None),
        ("sqlite", 0, None),
    ],
)
def test_a_window_is_read_from_one_snapshot_where_possible(name, state, isolation):
    """SQL Server refuses every statement at SNAPSHOT unless the database allows it."""
    session = Session(name, state)
    assert snapshot_isolation(session) == isolation
    assert session.transactions == 0
