"""Loads the SQL files of the packages, and formats lists for them."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Final

from sqlalchemy import Connection

_ROOT: Final = Path(__file__).parents[1]


def load_sql(name: str, **fragments: str) -> str:
    """Return the text of an SQL file of this package.

    :param name: package and file, such as ``delivery/claim`` for ``springest/delivery/sql/claim.sql``.
    :param fragments: shared texts, by their placeholder in braces.
    """
    package, _, file = name.rpartition("/")
    statement = (_ROOT / package / "sql" / f"{file}.sql").read_text(encoding="utf-8")
    for fragment, shared in fragments.items():
        statement = statement.replace(f"{{{fragment}}}", shared)
    return statement


def listed(columns: Iterable[str], *, of: str = "") -> str:
    """Return columns as an SQL list.

    :param of: alias of their table.
    """
    return ", ".join(f"{of}.{column}" if of else column for column in columns)


def quoted(words: Iterable[str]) -> str:
    """Return fixed words, such as states, as an SQL list: ``'ready', 'held'``."""
    return ", ".join(f"'{word}'" for word in words)


def run_file(connection: Connection, path: Path) -> None:
    """Run all statements of an SQL file, which has no parameters: the driver gets its text unchanged."""
    connection.exec_driver_sql(path.read_text(encoding="utf-8"), execution_options={"no_parameters": True})
