"""What old attempts need not keep: who made them, and the words of the server."""

from __future__ import annotations

from typing import Final

from sqlalchemy import Engine, text

from springest.db.statements import load_sql

KEPT_DAYS: Final = 90
AT_MOST: Final = 50_000
"""Attempts cleared at once, so that the first night after years stays short."""
_CLEAR: Final = text(load_sql("privacy/clear_old_details"))


def clear_old_details(engine: Engine, *, site: str, days: int = KEPT_DAYS) -> int:
    """Clear the details of attempts that ended long ago; return of how many.

    What is in doubt, or waits for a person, keeps them: they are evidence.

    :param days: how long an attempt keeps its details.
    """
    with engine.begin() as connection:
        cleared = connection.execute(_CLEAR, {"site": site, "days": days, "at_most": AT_MOST})
        return int(cleared.rowcount)
