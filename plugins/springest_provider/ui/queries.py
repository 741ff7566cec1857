"""Loads the page's SQL files."""

from __future__ import annotations

from pathlib import Path
from typing import Final

from sqlalchemy import TextClause, text

_FOLDER: Final = Path(__file__).parent / "sql"


def read_query(name: str) -> TextClause:
    """Return the statement in ``sql/<name>.sql``."""
    return text((_FOLDER / f"{name}.sql").read_text(encoding="utf-8"))
