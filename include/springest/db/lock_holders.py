"""Names the sessions that hold a lock for which another session waits."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

from sqlalchemy import Connection, TextClause, text

from springest.db.locks import GLOBAL, Lock
from springest.db.statements import load_sql, quoted

_OF_READING_AND_WRITING: Final = ("AccessShareLock", "RowShareLock", "RowExclusiveLock")


def _ignoring(modes: Sequence[str]) -> TextClause:
    return text(
        load_sql(
            "db/lock_holders",
            global_locks=quoted(GLOBAL),
            site_locks=quoted(lock for lock in Lock if lock not in {*GLOBAL, Lock.STAGE_RUN}),
            ignored_modes=quoted(modes),
        )
    )


HOLDERS: Final = _ignoring(_OF_READING_AND_WRITING)
_USERS: Final = _ignoring([""])
_SHOWN: Final = 5


def holders(connection: Connection) -> list[str]:
    """Return the other sessions that hold one of the project's advisory locks, or lock a table against
    writes.

    :returns: texts such as ``springest.stage:default by pid 4711 (psql, role anna, idle in transaction)``.
    """
    return [describe(row) for row in connection.execute(HOLDERS).all()[:_SHOWN]]


def users(connection: Connection) -> list[str]:
    """Return the other sessions that hold any lock, one for each: even a reader keeps a migration waiting."""
    by_pid: dict[int, Sequence[Any]] = {}
    for row in connection.execute(_USERS):
        by_pid.setdefault(row.pid, row)
    return [describe(row) for row in by_pid.values()][:_SHOWN]


def describe(row: Sequence[Any]) -> str:
    """Return one row of ``lock_holders.sql`` as a text."""
    lock, pid, application, role, state, since = row
    details = ", ".join(
        part for part in (application or "no application_name", role and f"role {role}", state) if part
    )
    return f"{lock} by pid {pid} ({details}{f', since {since}' if since else ''})"
