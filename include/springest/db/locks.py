"""Advisory locks of the warehouse: their names, and who holds one that somebody waits for."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

from sqlalchemy import Connection, text

from springest.db.statements import load_sql
from springest.errors import SpringestError

HOLDERS: Final = text(load_sql("db/lock_holders"))
_SHOWN: Final = 5


class WarehouseLocked(SpringestError):
    """A statement waited longer than ``lock_timeout`` for a lock that another session holds.

    :param holders: a line for each session that may be in the way; see ``holders``.
    """

    def __init__(self, holders: Sequence[str]) -> None:
        held = "; ".join(holders) or "nothing any more"
        super().__init__(
            f"a lock in the warehouse did not become free; held: {held}. The task is tried again; a session "
            "that hangs is ended by SELECT pg_terminate_backend(pid)"
        )
        self.holders = tuple(holders)

    def __reduce__(self) -> tuple[type[WarehouseLocked], tuple[tuple[str, ...]]]:
        return type(self), (self.holders,)


def holders(connection: Connection) -> list[str]:
    """Return the other sessions that hold an advisory lock of ours, or a table against writing.

    :returns: texts such as ``springest.stage:default by pid 4711 (psql, role anna, idle in transaction)``.
    """
    return [describe(row) for row in connection.execute(HOLDERS).all()[:_SHOWN]]


def describe(row: Sequence[Any]) -> str:
    """Return one row of ``lock_holders.sql`` as a text."""
    lock, pid, application, role, state, since = row
    told = ", ".join(
        part for part in (application or "no application_name", role and f"role {role}", state) if part
    )
    return f"{lock} by pid {pid} ({told}{f', since {since}' if since else ''})"
