"""Reads what a form or a query holds as text."""

from __future__ import annotations

import re
from datetime import date
from typing import Final

LARGEST: Final = 2**63 - 1
"""The largest whole number that the database holds."""
_DAY: Final = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}")


def whole_number(text: str | None) -> int | None:
    """Read a whole number that is not negative and that the database holds, or nothing."""
    if not text or not (text.isascii() and text.isdecimal()) or len(text) > len(str(LARGEST)):
        return None
    value = int(text)
    return value if value <= LARGEST else None


def iso_day(text: str | None) -> date | None:
    """Read a day as ``2026-11-02``, or nothing: other forms of ISO 8601 are not Springest's."""
    if not text or not _DAY.fullmatch(text):
        return None
    try:
        return date.fromisoformat(text)
    except ValueError:
        return None
