"""Migrate the warehouse's schema, and check its version.

Migrating is a deployment step (``bin/springest migrate``). The nightly job only checks, so that workers never
race to alter tables and readers never see an incomplete one.

Revisions change tables. Each function and view is defined once, in ``functions/NAME.sql`` or
``views/NAME.sql``, and replaced after the revisions. Alembic is imported only to migrate, since its import
takes longer than a check.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Final

from sqlalchemy import Connection, Engine, text
from sqlalchemy.exc import SQLAlchemyError

from springest.db.lock_holders import holders, users
from springest.db.locks import Lock, lock_key
from springest.db.schema import SCHEMA, VERSION_TABLE
from springest.db.statements import run_file
from springest.errors import SchemaInUse, SchemaOutOfDate, WarehouseLocked

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
_SCHEMA_KEY: Final = lock_key(Lock.SCHEMA)
_USE: Final = text(f"SELECT pg_advisory_lock_shared({_SCHEMA_KEY})")
_END_USE: Final = text(f"SELECT pg_advisory_unlock_shared({_SCHEMA_KEY})")
_TRY_ALONE: Final = text(f"SELECT pg_try_advisory_xact_lock({_SCHEMA_KEY})")
_GIVE_WAY: Final = text("SET LOCAL lock_timeout = '250ms'")
"""Well below PostgreSQL's ``deadlock_timeout`` of one second, after which it might end a task's session."""
PATIENCE_SECONDS: Final = 120.0
SECONDS_BETWEEN_TRIES: Final = 0.5
BESIDE_TASKS: Final = "runs_beside_tasks"
"""Flag of a revision: running tasks of the code before it can go on, since it only adds to what they use."""
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

    Tables are locked one after another, so tasks that use the same tables might deadlock with it. Therefore
    a migration that waits for a table gives way: it is rolled back, and tried again a little later.

    :returns: the revision the warehouse has afterwards.
    :raises SchemaOutOfDate: the server is older than PostgreSQL 15, or the warehouse is newer than this code.
    :raises SchemaInUse: tasks are running, and a revision can't be applied beside them; nothing was changed.
    :raises WarehouseLocked: for ``PATIENCE_SECONDS``, some table was in use at each try; nothing was changed.
    """
    give_up_at = time.monotonic() + PATIENCE_SECONDS
    while True:
        try:
            return _upgrade(engine)
        except WarehouseLocked:
            if time.monotonic() >= give_up_at:
                with engine.connect() as connection:
                    raise WarehouseLocked(users(connection)) from None
        time.sleep(SECONDS_BETWEEN_TRIES)


def _upgrade(engine: Engine) -> str | None:
    from alembic import command
    from alembic.script.revision import RevisionError
    from alembic.util import CommandError

    with engine.begin() as connection:
        _require_postgresql(connection)
        connection.execute(text(_LOCK))
        connection.execute(_GIVE_WAY)
        before = current_revision(connection)
        try:
            if _needs_to_be_alone(connection, before) and not connection.execute(_TRY_ALONE).scalar_one():
                raise SchemaInUse(
                    "the schema can't be changed while tasks use it: pause the DAGs, wait until their tasks "
                    f"have ended, and repeat the command. It is in use by {'; '.join(holders(connection))}"
                )
            command.upgrade(alembic_config(connection), "head")
        except (CommandError, RevisionError) as error:
            raise SchemaOutOfDate(
                f"the warehouse schema is at {before}, which this code does not know: "
                f"deploy newer code ({error})"
            ) from None
        after = current_revision(connection)
        if after != before:
            replace_functions_and_views(connection)
        return after


def _needs_to_be_alone(connection: Connection, before: str | None) -> bool:
    """Return whether some revision to be applied can't be applied beside running tasks."""
    from alembic.script import ScriptDirectory

    scripts = ScriptDirectory.from_config(alembic_config(connection))
    pending = scripts.iterate_revisions("head", before or "base")
    return not all(getattr(revision.module, BESIDE_TASKS, False) for revision in pending)


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
        is_newer = current is not None and head is not None and current > head
        remedy = "deploy the code that migrated it" if is_newer else "run `bin/springest migrate`"
        raise SchemaOutOfDate(
            f"the warehouse schema is at {current or 'nothing'}, this code needs {head}: {remedy}"
        )


@contextmanager
def schema_in_use(engine: Engine) -> Iterator[None]:
    """Check the schema, and keep migrations away that could not be applied beside what follows.

    If the connection breaks, the work goes on; a migration may then come in between.

    :raises SchemaOutOfDate: the warehouse has another schema than this code needs, or none.
    :raises WarehouseLocked: a migration has been running for longer than the lock time-out.
    """
    with engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
        connection.execute(_USE)
        try:
            check(engine)
            yield
        finally:
            with suppress(SQLAlchemyError):
                connection.execute(_END_USE)


def _require_postgresql(connection: Connection) -> None:
    version = connection.dialect.server_version_info or (0,)
    if connection.dialect.name != "postgresql" or int(version[0]) < OLDEST_POSTGRESQL:
        raise SchemaOutOfDate(
            f"the warehouse must be PostgreSQL {OLDEST_POSTGRESQL} or newer, "
            f"this is {connection.dialect.name} {'.'.join(map(str, version))}"
        )
