"""Finds the SQL that stands in files of its own beside the modules that run it."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from sqlalchemy import Connection


def read_sql(module: str, name: str, **parts: str) -> str:
    """Return the text of ``sql/<name>.sql`` beside a module.

    :param module: the module's ``__file__``.
    :param parts: texts that several statements share, by the name that stands for them in braces.
    """
    statement = (Path(module).parent / "sql" / f"{name}.sql").read_text(encoding="utf-8")
    for part, shared in parts.items():
        statement = statement.replace(f"{{{part}}}", shared)
    return statement


def listed(columns: Iterable[str], *, of: str = "") -> str:
    """Return columns as a statement lists them.

    :param of: alias of the table that they are of.
    """
    return ", ".join(f"{of}.{column}" if of else column for column in columns)


def quoted(words: Iterable[str]) -> str:
    """Return fixed words, such as states, as SQL lists them: ``'ready', 'held'``."""
    return ", ".join(f"'{word}'" for word in words)


def run_file(connection: Connection, path: Path) -> None:
    """Run all statements of an SQL file, which has no parameters: the driver gets its text as it stands."""
    connection.exec_driver_sql(path.read_text(encoding="utf-8"), execution_options={"no_parameters": True})
