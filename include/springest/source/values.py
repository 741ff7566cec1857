"""Read single values of a source row: each is what its column must hold, or says what that would be.

Drivers give what they like (text, numbers, a buffer, a type of their own), so a value's type is looked at
before anything is asked of it. What is returned can be stored, and read back by every client.
"""

from __future__ import annotations

import math
import re
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, date, datetime
from decimal import Decimal
from typing import Any, Final
from uuid import UUID

from springest.redaction import Redactor

LONGEST_TRAINING_ID: Final = 200
LONGEST_EMAIL: Final = 320
LONGEST_URI: Final = 4_096
EARLIEST: Final = datetime(1900, 1, 1, tzinfo=UTC)
LATEST: Final = datetime(9999, 12, 30, tzinfo=UTC)
"""Moments from ``EARLIEST`` up to ``LATEST`` exist for every client, in every session's time zone."""
OUT_OF_RANGE: Final = f"must lie between the years {EARLIEST.year} and {LATEST.year}: correct it"
WITHOUT_TRAINING_ID: Final = "row:"
"""Begins the name of a row that has no number of its own, so that it is not lost."""

_CONTROL: Final = re.compile(r"[\x00-\x1f\x7f-\x9f\ud800-\udfff]")
"""Control characters, and halves of a character, which no UTF-8 text can hold."""
_FORMULA: Final = re.compile(r"[=@]|[+-](?!\d+$)")
"""How a cell begins that spreadsheets run (OWASP, *CSV Injection*); a plain number is none."""
_REDACTOR: Final = Redactor()


@dataclass(frozen=True, slots=True)
class UnreadableValue:
    """Stands for a value that the source's database or driver refused to give.

    :param error: class and code of its error, without any value.
    """

    error: str


class Unreadable(ValueError):
    """A value that is not what its column must hold; the text says what it must be."""


def given(value: object) -> object:
    """Return the value.

    :raises Unreadable: the source did not give it.
    """
    if isinstance(value, UnreadableValue):
        raise Unreadable(f"can't be read from the source ({value.error}): correct it there")
    return value


def identifier(value: object) -> str | None:
    """Return a ``training_id`` as the ledger has it; ``None`` where it can't be one."""
    try:
        return training_id(value)
    except Unreadable:
        return None


def canonical(value: object) -> str:
    """Return one text for one value: the same in every session's time zone, and at every look.

    Nothing is asked of a type that no column may have: its own text may fail, or hold its place in memory.
    """
    if isinstance(value, str):
        return str.__repr__(value)
    if isinstance(value, int):
        return f"{type(value).__name__} {int(value):x}"
    if isinstance(value, datetime):
        return _canonical_moment(value)
    if value is None or isinstance(value, date | Decimal | float | UUID):
        return repr(value)
    return type(value).__name__


def _canonical_moment(value: datetime) -> str:
    if value.utcoffset() is None:
        return repr(value)
    try:
        return f"instant {value.astimezone(UTC).isoformat()}"
    except OverflowError:  # in UTC it is before the first day there is, or after the last
        return f"instant {value.isoformat()}"


def text(value: Any, *, longest: int) -> str:
    """Read text, without blanks around it."""
    if not isinstance(value, str):
        raise Unreadable(f"must be text, is {type(value).__name__}: cast it to text")
    stripped: str = value.strip()
    if len(stripped) > longest:
        raise Unreadable(f"must have at most {longest} characters")
    if _CONTROL.search(stripped):
        raise Unreadable("must not hold control characters or halves of a character: correct it")
    return stripped


def training_id(value: Any) -> str:
    """Read the one text that a source's number has, whatever type its driver gives it."""
    if isinstance(value, bool) or not isinstance(value, str | int | Decimal | UUID):
        raise Unreadable(f"must be text or a whole number, is {type(value).__name__}: cast it to text")
    if isinstance(value, Decimal):
        value = _whole(value)
    if isinstance(value, int) and abs(value) >= 2**63:
        raise Unreadable("must be text or a whole number of at most 64 bits")
    name = str(value)
    if len(name) > LONGEST_TRAINING_ID or not name.isprintable():
        raise Unreadable(f"must be printable and at most {LONGEST_TRAINING_ID} characters")
    if name.startswith(WITHOUT_TRAINING_ID):
        raise Unreadable(f"must not begin with {WITHOUT_TRAINING_ID}, which names rows without a number")
    if _FORMULA.match(name):
        raise Unreadable("must not begin with = + - or @, as formulas do: put something before it")
    if not name.isalnum() and _REDACTOR.redact(name) != name:
        raise Unreadable("must not hold an e-mail address, since analysts see it: give another number")
    return name


def positive(value: Any, *, below: int = 2**63) -> int:
    """Read a whole number from 1 on."""
    number = _whole(value)
    if not 0 < number < below:
        raise Unreadable("must be a positive whole number")
    return number


def issue(value: Any) -> int:
    """Read the number of an issue."""
    return positive(value, below=2**31)


def _whole(value: Any) -> int:
    if isinstance(value, bool):
        raise Unreadable("must be a whole number, is a truth value")
    if isinstance(value, str):
        text = value.strip()
        if text.isascii() and text.isdecimal() and len(text) < 20:
            return int(text)
        raise Unreadable("must be a whole number")
    if isinstance(value, int):
        return value
    if isinstance(value, Decimal | float) and _is_finite(value) and int(value) == value:
        return int(value)
    raise Unreadable("must be a whole number")


def _is_finite(value: Decimal | float) -> bool:
    """Return whether a number may be looked at further; a signalling NaN can't even be asked by ``math``."""
    return value.is_finite() and value.adjusted() < 20 if isinstance(value, Decimal) else math.isfinite(value)


def day(value: Any) -> date:
    """Read a date."""
    if isinstance(value, datetime):
        raise Unreadable("must be a date, is a timestamp: cast it, so that no time zone moves the day")
    if isinstance(value, date):
        return value
    if isinstance(value, str):
        with suppress(ValueError):
            found = date.fromisoformat(value.strip())
            if found.isoformat() == value.strip():  # neither a week nor a form without dashes
                return found
    raise Unreadable("must be a date such as 2026-01-31 up to the year 9999, and null for none or infinity")


def instant(value: Any) -> datetime:
    """Read a moment, and return it in UTC."""
    if isinstance(value, str):
        with suppress(ValueError):
            value = datetime.fromisoformat(value.strip())
    if not isinstance(value, datetime):
        raise Unreadable("must be a moment with its time zone, such as 2026-01-31 02:00:00+00:00")
    if value.utcoffset() is None:
        raise Unreadable(
            "has no time zone: give it with its offset from UTC, in a type that has one or as text such as "
            "2026-01-31 02:00:00+00:00; include/sql has a query for each kind of database"
        )
    try:
        moment = value.astimezone(UTC)
    except OverflowError:
        moment = None
    if moment is None or not EARLIEST <= moment < LATEST:
        raise Unreadable(OUT_OF_RANGE)
    return moment
