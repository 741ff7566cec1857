"""Parses text from a form or a query."""

from __future__ import annotations

import re
from datetime import date
from typing import Final

LARGEST: Final = 2**63 - 1
"""The largest integer of the database."""
_DAY: Final = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}")


def whole_number(text: str | None) -> int | None:
    """Parse a non-negative integer that the database can store; ``None`` for anything else."""
    if not text or not (text.isascii() and text.isdecimal()) or len(text) > len(str(LARGEST)):
        return None
    value = int(text)
    return value if value <= LARGEST else None


def iso_day(text: str | None) -> date | None:
    """Parse a date such as ``2026-11-02``; ``None`` for anything else, including other forms of ISO 8601."""
    if not text or not _DAY.fullmatch(text):
        return None
    try:
        return date.fromisoformat(text)
    except ValueError:
        return None
