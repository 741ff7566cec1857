"""Runs a migration that is written in SQL."""

from __future__ import annotations

from pathlib import Path
from typing import Final

from alembic import op

_SQL: Final = Path(__file__).parent / "sql"


def run_script(name: str) -> None:
    """Run all statements of a file under ``sql/`` in the migration's transaction.

    The driver gets the text as it is: without parameters it may hold several statements and per cent signs.
    """
    driver = op.get_bind().connection.driver_connection
    if driver is None:
        raise RuntimeError("the migration has no open connection")
    driver.execute((_SQL / name).read_text(encoding="utf-8"))
