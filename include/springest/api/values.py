"""Parse the text of XML fields. A value that cannot be parsed counts as missing."""

from __future__ import annotations

import re
from collections.abc import Callable
from datetime import MAXYEAR, MINYEAR, date, datetime
from functools import lru_cache
from typing import Any, Final, TypeVar

from springest.redaction import Redactor, show_unseen

T = TypeVar("T")

MAX_ROW_TEXT: Final = 100_000
MAX_FREE_TEXT: Final = 2_000
"""Longest text that a person wrote at Springest, such as a description, in characters."""
MAX_COUNT: Final = 2**31 - 1
LONGEST_NUMBER: Final = 19
"""Digits of the largest bigint."""
LONGEST_MOMENT: Final = 64
"""Longest date-time that is parsed, in characters: the pattern may take minutes for a long text."""


class NotUnderstood(ValueError):
    """A body is not the expected one; the text gives the reason without quoting it."""


def number_of(text: Any) -> int | None:
    """Parse a number of plain digits that fits a bigint."""
    plain = isinstance(text, str) and len(text) <= LONGEST_NUMBER and text.isascii() and text.isdecimal()
    return int(text) if plain else None


def count_of(text: Any) -> int | None:
    """Parse a number of rows; one that fits no integer column counts as missing."""
    number = number_of(text)
    return number if number is not None and number <= MAX_COUNT else None


def id_if_told(text: Any) -> int | None:
    """Parse an optional id; one that fits no table counts as missing."""
    number = number_of(text)
    return number if number and number < 2**63 else None


def id_of(text: Any) -> int:
    """Parse a required id.

    :raises NotUnderstood: it is missing or invalid.
    """
    number = id_if_told(text)
    if number is None:
        raise NotUnderstood("a row has no usable id")
    return number


def optional(value: Any, reader: Callable[[str], T]) -> T | None:
    """Parse an optional field; a value that can't be parsed counts as missing."""
    if not isinstance(value, str):
        return None
    try:
        return reader(value)
    except ValueError:
        return None


def words(value: Any) -> str | None:
    """Parse optional text; empty text counts as missing."""
    return value[:MAX_ROW_TEXT] or None if isinstance(value, str) else None


def free_text(value: Any) -> str | None:
    """Parse text that a person wrote at Springest and analysts read: it is redacted and truncated."""
    return _cleaned(value[:MAX_FREE_TEXT]) or None if isinstance(value, str) else None


@lru_cache(maxsize=4096)
def _cleaned(text: str) -> str:
    return show_unseen(_REDACTOR.redact(text))


_REDACTOR: Final = Redactor()
_OFFSET: Final = re.compile(r"\s*(?P<zone>Z|UTC|GMT|[+-]\d{2}:?\d{2})$", re.IGNORECASE)


def moment_of(text: str) -> datetime:
    """Parse a date-time: ISO 8601, with ``T`` or a space, with ``UTC``, any offset, or no zone.

    Python's first and last year are refused, since such a time may not exist in another zone.
    """
    moment = _moment_of(text)
    if not MINYEAR < moment.year < MAXYEAR:
        raise NotUnderstood("a date-time out of range")
    return moment


def _moment_of(text: str) -> datetime:
    try:
        return datetime.fromisoformat(text)
    except ValueError:
        zone = _OFFSET.search(text) if len(text) <= LONGEST_MOMENT else None
    if zone is None:
        raise NotUnderstood("a date-time that can't be read")
    name = zone["zone"].upper()
    return datetime.fromisoformat(text[: zone.start()] + ("+00:00" if name in {"Z", "UTC", "GMT"} else name))


def day_of(text: str) -> date:
    """Parse a date, or the date of a date-time."""
    return date.fromisoformat(text) if len(text) == len("2026-01-31") else _moment_of(text).date()


def flag_of(text: str) -> bool:
    """Parse a boolean: true/false, 1/0 or yes/no."""
    return {"true": True, "1": True, "yes": True, "false": False, "0": False, "no": False}[text.lower()]
