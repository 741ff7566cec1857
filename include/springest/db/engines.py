"""Creates all SQLAlchemy engines of the project, and sets their session settings.

A server's configuration, a database, a role and the environment may change the behaviour of a session.
Settings that the project relies on are set here for each session; other settings of a connection are
applied, or refused by name. docs/operations.md has the table, docs/adr/0017 the reasons.

The warehouse's settings are set once per connection, which needs its own server session: a pooler that gives
each transaction another one is refused (``require_own_session``). Those of a PostgreSQL source are set in
each transaction, so that they apply behind any pooler.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextlib import suppress
from typing import Any, Final

from psycopg.errors import LockNotAvailable
from sqlalchemy import URL, Connection, Engine, NullPool, create_engine, event, make_url, text
from sqlalchemy.engine.interfaces import Dialect, ExceptionContext
from sqlalchemy.exc import ArgumentError, NoSuchModuleError, SQLAlchemyError
from sqlalchemy.ext.asyncio import AsyncEngine, create_async_engine

from springest.db.libpq import OUTPUT, WAREHOUSE, session_options
from springest.db.lock_holders import HOLDERS, holders
from springest.errors import ConfigurationError, WarehouseLocked

APPLICATION_NAME: Final = "springest"
CONNECT_TIMEOUT_SECONDS: Final = 15
TIMEOUTS: Final = {"lock_timeout": "2min", "statement_timeout": "1h"}
"""Time-outs on PostgreSQL; the extra ``options`` of a connection may set others."""


def warehouse_engine(url: URL | str, **settings: Any) -> Engine:
    """Return an engine of the warehouse.

    :param settings: pool settings for ``create_engine``.
    """
    address, timeouts = _with_timeouts(url)
    engine = create_engine(address, **_of_warehouse(address), **{"pool_pre_ping": True, **settings})
    _set_up_warehouse(engine, timeouts)
    return engine


def async_warehouse_engine(url: URL | str, **settings: Any) -> AsyncEngine:
    """Return an asynchronous engine of the warehouse; see ``warehouse_engine``."""
    address, timeouts = _with_timeouts(url)
    engine = create_async_engine(address, **_of_warehouse(address), **settings)
    _set_up_warehouse(engine.sync_engine, timeouts)
    return engine


def _of_warehouse(url: URL) -> dict[str, Any]:
    # In BEGIN as well, so that it applies even if a pooler has reset the session's settings.
    return {
        "hide_parameters": True,
        "isolation_level": "READ COMMITTED",
        "connect_args": _connect_args(url),
    }


def _connect_args(url: URL) -> dict[str, Any]:
    defaults = {
        "application_name": APPLICATION_NAME,
        "connect_timeout": CONNECT_TIMEOUT_SECONDS,
        "client_encoding": "UTF8",
    }
    return {name: value for name, value in defaults.items() if name not in url.query}


def _set_up_warehouse(engine: Engine, timeouts: Mapping[str, str]) -> None:
    settings = {**WAREHOUSE, **timeouts}
    chosen = ", ".join(f"set_config('{name}', '{value}', false)" for name, value in settings.items())
    # A commit that does not wait for the disk may be lost, and with it the record of a sent certificate.
    current = "COALESCE(NULLIF(current_setting('synchronous_commit'), 'off'), 'on')"
    durable = f"set_config('synchronous_commit', {current}, false)"
    statement = f"SELECT {chosen}, {durable}, current_setting('server_encoding')"

    def set_up(connection: Any, _record: Any) -> None:
        cursor = connection.cursor()
        cursor.execute(statement)
        encoding = str(cursor.fetchone()[-1])
        cursor.close()
        connection.commit()
        if encoding != "UTF8":
            raise ConfigurationError(
                f"the warehouse's database is in {encoding} and can't store every name: create it with "
                "ENCODING 'UTF8'"
            )

    event.listen(engine, "connect", set_up)
    event.listen(engine, "handle_error", _name_the_holders)


def _with_timeouts(url: URL | str) -> tuple[URL, dict[str, str]]:
    """Return the URL, and the time-outs set in its ``options``.

    ``options`` that set nothing else are removed from it, since PgBouncer refuses them.
    """
    address = make_url(url)
    chosen = session_options(" ".join(address.normalized_query.get("options", ())))
    timeouts = {name: chosen.get(name, usual).replace("'", "") for name, usual in TIMEOUTS.items()}
    if chosen.keys() <= timeouts.keys():
        address = address.difference_update_query(["options"])
    return address, timeouts


def _name_the_holders(context: ExceptionContext) -> WarehouseLocked | None:
    """Return the error that names the holders of a lock for which a statement timed out."""
    waited = isinstance(context.original_exception, LockNotAvailable)
    if not waited or context.engine is None or context.statement == HOLDERS.text:
        return None
    found: list[str] = []
    with suppress(SQLAlchemyError), context.engine.connect() as connection:
        found = holders(connection)
    return WarehouseLocked(found)


def require_own_session(url: URL | str) -> None:
    """Check that a connection keeps one server session, which locks and temporary tables need.

    Called before any session setting is made, which would change sessions that others use.

    :raises ConfigurationError: a pooler gives each transaction another session, as PgBouncer does with
        ``pool_mode = transaction``.
    """
    address, _ = _with_timeouts(url)
    settings = {"hide_parameters": True, "connect_args": _connect_args(address), "poolclass": NullPool}
    engine = create_engine(address, **settings)
    with engine.connect().execution_options(isolation_level="AUTOCOMMIT") as first:
        session = _session(first)
        driver = first.connection.driver_connection
        if driver is None or driver.info.backend_pid == session:
            return  # no pooler: the server itself reported this process at login
        with engine.connect() as second:  # another transaction, on a free session if there is one
            is_shared = _session(second) == session or _session(first) != session
    if is_shared:
        raise ConfigurationError(
            "the warehouse is behind a pooler that gives each transaction another session (PgBouncer "
            "with pool_mode = transaction): locks and temporary tables need one. Connect to PostgreSQL "
            "directly, or give this database pool_mode = session"
        )


def _session(connection: Connection) -> int:
    return int(connection.execute(text("SELECT pg_backend_pid()")).scalar_one())


def source_engine(url: URL | str, *, connect_args: Mapping[str, Any] | None = None) -> Engine:
    """Return an engine of a source, whose sessions use UTC and Unicode.

    :param url: URL of any dialect; sessions of PostgreSQL, MySQL, MariaDB, SQLite, SQL Server and Oracle are
        configured, others are not.
    :param connect_args: further arguments of the driver.
    :raises ConfigurationError: the driver is not installed, or a setting contradicts what is always set.
    """
    address = make_url(url)
    arguments = dict(connect_args or {})
    set_up = _SOURCES.get(address.get_backend_name())
    try:
        engine = set_up(address, arguments) if set_up else _source(address, arguments)
    except ModuleNotFoundError as error:
        raise ConfigurationError(
            f"the database driver {error.name} of the source ({address.drivername}) is not installed: "
            f"install the package that holds it ({_PACKAGES.get(str(error.name), error.name)})"
        ) from None
    except (NoSuchModuleError, ArgumentError):
        raise ConfigurationError(
            f"SQLAlchemy knows no dialect {address.drivername!r}: install the package that brings it, or "
            "correct the connection's type"
        ) from None
    event.listen(engine, "do_connect", _connect)
    return engine


def sqlite_engine(connect: Callable[[], Any]) -> Engine:
    """Return an engine of a source whose rows were loaded into SQLite.

    :param connect: returns a connection of ``sqlite3``, whenever the engine needs one.
    """
    return create_engine("sqlite://", hide_parameters=True, creator=connect, poolclass=NullPool)


def _source(url: URL, arguments: dict[str, Any]) -> Engine:
    return create_engine(url, hide_parameters=True, connect_args=arguments)


def _connect(dialect: Dialect, _record: Any, positional: Any, named: dict[str, Any]) -> Any:
    """Connect; an extra that the driver does not know is named in the error."""
    try:
        return dialect.connect(*positional, **named)
    except TypeError as error:
        raise ConfigurationError(
            f"the source connection has an extra that its driver {dialect.driver} does not know: {error}"
        ) from None


def _postgresql_source(url: URL, arguments: dict[str, Any]) -> Engine:
    address, timeouts = _with_timeouts(url.set(drivername="postgresql+psycopg"))
    # No prepared statements: a pooler may give the next transaction another session.
    engine = _source(address, {**_connect_args(address), "prepare_threshold": None, **arguments})
    settings = {**OUTPUT, **timeouts}
    chosen = ", ".join(f"set_config('{name}', '{value}', true)" for name, value in settings.items())
    event.listen(engine, "begin", lambda connection: connection.exec_driver_sql(f"SELECT {chosen}"))
    return engine


def _mysql_source(url: URL, arguments: dict[str, Any]) -> Engine:
    for name, value in (*url.query.items(), *arguments.items()):
        if name == "charset" and str(value).lower() not in _UTF8:
            raise ConfigurationError(
                f"the source connection's extra 'charset' is {value!r}: the server would put ? in place of "
                "letters that it lacks. Remove it, or write utf8mb4"
            )
    arguments = {**arguments, "charset": "utf8mb4"}
    engine = _source(url.difference_update_query(["charset"]), arguments)

    def set_up(connection: Any, _record: Any) -> None:
        cursor = connection.cursor()
        cursor.execute("SET NAMES utf8mb4")
        cursor.execute("SET SESSION time_zone = '+00:00'")
        cursor.execute("SELECT @@character_set_client, @@character_set_results, @@session.time_zone")
        found = tuple(cursor.fetchone())
        cursor.close()
        if found != ("utf8mb4", "utf8mb4", "+00:00"):
            raise ConfigurationError(f"the source's sessions do not stay at utf8mb4 and UTC: {found}")

    event.listen(engine, "connect", set_up)
    return engine


def _oracle_source(url: URL, arguments: dict[str, Any]) -> Engine:
    engine = _source(url, arguments)

    def set_up(connection: Any, _record: Any) -> None:
        cursor = connection.cursor()
        cursor.execute("ALTER SESSION SET TIME_ZONE = '+00:00'")
        cursor.close()

    event.listen(engine, "connect", set_up)
    return engine


def _mssql_source(url: URL, arguments: dict[str, Any]) -> Engine:
    """SQL Server's sessions have no time zone; ODBC returns Unicode, and FreeTDS the configured encoding."""
    if url.get_driver_name() == "pymssql":
        charset = str(arguments.get("charset", "UTF-8"))
        if charset.upper().replace("-", "") != "UTF8":
            raise ConfigurationError(
                f"the source connection's extra 'charset' is {charset!r}: remove it, or write UTF-8"
            )
        arguments = {**arguments, "charset": "UTF-8"}
    return _source(url, arguments)


_SOURCES: Final = {
    "postgresql": _postgresql_source,
    "mysql": _mysql_source,
    "mariadb": _mysql_source,
    "oracle": _oracle_source,
    "mssql": _mssql_source,
}
_UTF8: Final = frozenset({"utf8mb4", "utf8", "utf-8", "utf8mb3"})
"""All are replaced by ``utf8mb4``: MySQL's own ``utf8`` lacks four-byte characters."""
_PACKAGES: Final = {
    "MySQLdb": "mysqlclient",
    "pymysql": "PyMySQL",
    "mysql": "mysql-connector-python",
    "pymssql": "pymssql",
    "oracledb": "oracledb",
}
_ONE_SNAPSHOT: Final = {
    "postgresql": "REPEATABLE READ",
    "mysql": "REPEATABLE READ",
    "mariadb": "REPEATABLE READ",
    "oracle": "SERIALIZABLE",
}
_SNAPSHOT_ALLOWED: Final = text(
    "SELECT snapshot_isolation_state FROM sys.databases WHERE database_id = DB_ID()"
)


def snapshot_isolation(connection: Connection) -> str | None:
    """Return the isolation level at which all statements of a transaction see one snapshot of the data.

    SQL Server has one if the database allows it (``ALTER DATABASE … SET ALLOW_SNAPSHOT_ISOLATION ON``).

    :returns: ``None`` if there is none, or if it is the default.
    """
    if connection.dialect.name != "mssql":
        return _ONE_SNAPSHOT.get(connection.dialect.name)
    allowed = connection.execute(_SNAPSHOT_ALLOWED).scalar_one()
    connection.rollback()
    return "SNAPSHOT" if int(allowed) == 1 else None
