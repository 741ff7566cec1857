"""Finds the SQL that stands in files of its own beside the modules that run it."""

from __future__ import annotations

from pathlib import Path


def read_sql(module: str, name: str, **parts: str) -> str:
    """Return the text of ``sql/<name>.sql`` beside a module.

    :param module: the module's ``__file__``.
    :param parts: texts that several statements share, by the name that stands for them in braces.
    """
    statement = (Path(module).parent / "sql" / f"{name}.sql").read_text(encoding="utf-8")
    for part, shared in parts.items():
        statement = statement.replace(f"{{{part}}}", shared)
    return statement
