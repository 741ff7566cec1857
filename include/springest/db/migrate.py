"""Migrate the warehouse's schema, and check its version.

Migrating is a deployment step (``make migrate``). The nightly job only checks, so that workers never race to
alter tables and readers never see an incomplete one.

Revisions change tables. Each function and view is defined once, in ``functions/NAME.sql`` or
``views/NAME.sql``, and replaced after the revisions. Alembic is imported only to migrate, since its import
takes longer than a check.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Final

from sqlalchemy import Connection, Engine, text

from springest.db.locks import Lock, lock_key
from springest.db.schema import SCHEMA, VERSION_TABLE
from springest.db.statements import run_file
from springest.errors import SchemaOutOfDate

if TYPE_CHECKING:
    from alembic.config import Config

_HERE: Final = Path(__file__).parent
_MIGRATIONS: Final = _HERE / "migrations"
_VERSIONS: Final = _MIGRATIONS / "versions"
FUNCTIONS: Final = ("guard_queue", "unknown_outcomes", "sent_by_run")
VIEWS: Final = (
    "current_verdict",
    "needs_person",
    "seen_certificate",
    "certificate_reconciliation",
    "certificate_reconciliation_history",
    "delivery_review",
    "expiring_soon",
    "failed_check",
    "reconciliation_daily",
    "reconciliation_freshness",
    "unmatched_remote_certificate",
    "waiting_by_certification",
)
"""In the order of creation: a view comes after those that it reads."""
_LOCK: Final = f"SELECT pg_advisory_xact_lock({lock_key(Lock.MIGRATE)})"
OLDEST_POSTGRESQL: Final = 15


def alembic_config(connection: Connection) -> Config:
    """Return Alembic's configuration for a warehouse."""
    from alembic.config import Config

    config = Config()
    config.set_main_option("script_location", str(_MIGRATIONS))
    config.attributes["connection"] = connection
    return config


def head_revision() -> str | None:
    """Return the revision this code needs: the highest number at the beginning of a file in ``versions``.

    Revisions have no branches, so Alembic would return the same; its import is avoided.
    """
    return max((path.name.partition("_")[0] for path in _VERSIONS.glob("[0-9]*_*.py")), default=None)


def current_revision(connection: Connection) -> str | None:
    """Return the revision of the warehouse; ``None`` if it was never migrated."""
    table = f"{SCHEMA}.{VERSION_TABLE}"
    if connection.execute(text("SELECT to_regclass(:table)"), {"table": table}).scalar_one() is None:
        return None
    # Not by Alembic, which logs two lines for each query.
    return connection.execute(text(f"SELECT version_num FROM {table}")).scalar_one_or_none()  # noqa: S608


def upgrade(engine: Engine) -> str | None:
    """Migrate to the newest revision in one transaction; a second migration at the same time waits for it.

    :returns: the revision the warehouse has afterwards.
    :raises SchemaOutOfDate: the server is older than PostgreSQL 15, or the warehouse is newer than this code.
    """
    from alembic import command
    from alembic.util import CommandError

    with engine.begin() as connection:
        _require_postgresql(connection)
        connection.execute(text(_LOCK))
        before = current_revision(connection)
        try:
            command.upgrade(alembic_config(connection), "head")
        except CommandError as error:
            raise SchemaOutOfDate(
                f"the warehouse schema is at {before}, which this code does not know: "
                f"deploy newer code ({error})"
            ) from None
        after = current_revision(connection)
        if after != before:
            replace_functions_and_views(connection)
        return after


def replace_functions_and_views(connection: Connection) -> None:
    """Create or replace each function and view from its file; grants stay."""
    for folder, names in (("functions", FUNCTIONS), ("views", VIEWS)):
        for name in names:
            run_file(connection, _HERE / folder / f"{name}.sql")


def check(engine: Engine) -> None:
    """Check that the warehouse has the schema that this code needs; change nothing.

    :raises SchemaOutOfDate: it has another one, or none.
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
