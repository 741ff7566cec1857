"""Clears details of old attempts: the worker, and the server's message."""

from __future__ import annotations

from typing import Final

from sqlalchemy import Engine, text

from springest.db.statements import load_sql

KEPT_DAYS: Final = 90
AT_MOST: Final = 50_000
"""Limit per call, so that the first night after years stays short."""
_CLEAR: Final = text(load_sql("privacy/clear_old_details"))


def clear_old_details(engine: Engine, *, site: str, days: int = KEPT_DAYS) -> int:
    """Clear the details of attempts that ended long ago; return the number of attempts.

    Details of unknown deliveries, and of those that wait for a person, are evidence and stay.

    :param days: days after which details are cleared.
    """
    with engine.begin() as connection:
        cleared = connection.execute(_CLEAR, {"site": site, "days": days, "at_most": AT_MOST})
        return int(cleared.rowcount)
