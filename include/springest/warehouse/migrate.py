"""Bring the warehouse schema up to date, and tell whether it is.

Migrating is a deployment step (``make migrate``). The nightly job only checks, so that two workers never
race to alter tables and a reader never meets a half-made one.
"""

from __future__ import annotations

from pathlib import Path
from typing import Final

from alembic import command
from alembic.config import Config
from alembic.runtime.migration import MigrationContext
from alembic.script import Script, ScriptDirectory
from sqlalchemy import Connection, Engine, text

from include.springest.errors import SpringestError
from include.springest.warehouse.schema import SCHEMA, VERSION_TABLE

_MIGRATIONS: Final = Path(__file__).parent / "migrations"
_LOCK: Final = "SELECT pg_advisory_xact_lock(hashtextextended('springest.migrate', 0))"
OLDEST_POSTGRESQL: Final = 15


class SchemaOutOfDate(SpringestError):
    """The warehouse schema is not the one this code was written for."""


def _config(connection: Connection) -> Config:
    config = Config()
    config.set_main_option("script_location", str(_MIGRATIONS))
    config.attributes["connection"] = connection
    return config


def head_revision() -> str | None:
    """Return the revision this code needs."""
    return ScriptDirectory(str(_MIGRATIONS)).get_current_head()


def revisions() -> list[Script]:
    """Return all revisions, the newest first."""
    return list(ScriptDirectory(str(_MIGRATIONS)).walk_revisions())


def current_revision(connection: Connection) -> str | None:
    """Return the revision the warehouse has; ``None`` when nothing was ever migrated."""
    context = MigrationContext.configure(
        connection, opts={"version_table": VERSION_TABLE, "version_table_schema": SCHEMA}
    )
    return context.get_current_revision()


def upgrade(engine: Engine, *, revision: str = "head") -> str | None:
    """Migrate to ``revision`` in one transaction; a second migration at the same time waits for the first.

    :returns: the revision the warehouse has afterwards.
    :raises SchemaOutOfDate: the server is older than PostgreSQL 15.
    """
    with engine.begin() as connection:
        _require_postgresql(connection)
        connection.execute(text(_LOCK))
        command.upgrade(_config(connection), revision)
        return current_revision(connection)


def downgrade(engine: Engine, *, revision: str) -> str | None:
    """Migrate back to ``revision`` (``-1`` is one step) in one transaction."""
    with engine.begin() as connection:
        connection.execute(text(_LOCK))
        command.downgrade(_config(connection), revision)
        return current_revision(connection)


def check(engine: Engine) -> None:
    """Make sure that the warehouse has the schema this code needs; change nothing.

    :raises SchemaOutOfDate: it has another, or none.
    """
    with engine.connect() as connection:
        current, head = current_revision(connection), head_revision()
    if current != head:
        raise SchemaOutOfDate(
            f"the warehouse schema is at {current or 'nothing'}, this code needs {head}: run `make migrate`"
        )


def _require_postgresql(connection: Connection) -> None:
    version = connection.dialect.server_version_info or (0,)
    if connection.dialect.name != "postgresql" or int(version[0]) < OLDEST_POSTGRESQL:
        raise SchemaOutOfDate(
            f"the warehouse must be PostgreSQL {OLDEST_POSTGRESQL} or newer, "
            f"this is {connection.dialect.name} {'.'.join(map(str, version))}"
        )
