"""Read single values of a source row; a value that does not fit its column raises ``Unreadable``.

Drivers return text, numbers, buffers or types of their own, so a value's type is checked before anything
else. Every returned value can be stored, and read back by every client.
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
"""Every client can represent times from ``EARLIEST`` to ``LATEST``, in every session's time zone."""
OUT_OF_RANGE: Final = f"must be between the years {EARLIEST.year} and {LATEST.year}: correct it"
WITHOUT_TRAINING_ID: Final = "row:"
"""Prefix of the surrogate id that is given to rows without a ``training_id``."""

_CONTROL: Final = re.compile(r"[\x00-\x1f\x7f-\x9f\ud800-\udfff]")
"""Control characters, and surrogates, which UTF-8 cannot encode."""
_FORMULA: Final = re.compile(r"[=@]|[+-](?!\d+$)")
"""Beginning of a cell that spreadsheets run as a formula (OWASP, *CSV Injection*); a plain number is not."""
_REDACTOR: Final = Redactor()


@dataclass(frozen=True, slots=True)
class UnreadableValue:
    """Replaces a value that the source's database or driver refused to return.

    :param error: class and code of its error, without any value.
    """

    error: str


class Unreadable(ValueError):
    """A value does not fit its column; the text states what the column requires."""


def given(value: object) -> object:
    """Return the value.

    :raises Unreadable: the source did not return it.
    """
    if isinstance(value, UnreadableValue):
        raise Unreadable(f"can't be read from the source ({value.error}): correct it there")
    return value


def identifier(value: object) -> str | None:
    """Return a ``training_id`` in the ledger's form; ``None`` if the value is blank or can't be one."""
    if isinstance(value, str) and not value.strip():
        return None
    try:
        return training_id(value)
    except Unreadable:
        return None


def canonical(value: object) -> str:
    """Return a text that identifies the value, independent of the session's time zone and of the process.

    A type that no column may have is represented by its name, since its own text may fail or contain an
    address in memory.
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
    except OverflowError:  # in UTC it is before year 1 or after year 9999
        return f"instant {value.isoformat()}"


def text(value: Any, *, longest: int) -> str:
    """Read text, without surrounding spaces."""
    if not isinstance(value, str):
        raise Unreadable(f"must be text, is {type(value).__name__}: cast it to text")
    stripped: str = value.strip()
    if len(stripped) > longest:
        raise Unreadable(f"must have at most {longest} characters")
    if _CONTROL.search(stripped):
        raise Unreadable("must not contain control characters or surrogates: correct it")
    return stripped


def training_id(value: Any) -> str:
    """Return the text of a source's id, the same for every type that a driver may return."""
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
        raise Unreadable(f"must not begin with {WITHOUT_TRAINING_ID}, which marks rows without an id")
    if _FORMULA.match(name):
        raise Unreadable("must not begin with = + - or @, as formulas do: add a prefix")
    if not name.isalnum() and _REDACTOR.redact(name) != name:
        raise Unreadable("must not contain an e-mail address, since analysts see it: use another id")
    return name


def positive(value: Any, *, below: int = 2**63) -> int:
    """Read a positive whole number."""
    number = _whole(value)
    if not 0 < number < below:
        raise Unreadable("must be a positive whole number")
    return number


def issue(value: Any) -> int:
    """Read an issue number."""
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
    """Return whether a number is finite and not huge; ``math`` fails for a signalling NaN."""
    return value.is_finite() and value.adjusted() < 20 if isinstance(value, Decimal) else math.isfinite(value)


def day(value: Any) -> date:
    """Read a date."""
    if isinstance(value, datetime):
        raise Unreadable("must be a date, is a timestamp: cast it, so that no time zone changes the day")
    if isinstance(value, date):
        return value
    if isinstance(value, str):
        with suppress(ValueError):
            found = date.fromisoformat(value.strip())
            if found.isoformat() == value.strip():  # neither a week nor a form without dashes
                return found
    raise Unreadable("must be a date such as 2026-01-31, up to the year 9999; null for none or infinity")


def instant(value: Any) -> datetime:
    """Read a time, and return it in UTC."""
    if isinstance(value, str):
        with suppress(ValueError):
            value = datetime.fromisoformat(value.strip())
    if not isinstance(value, datetime):
        raise Unreadable("must be a time with its time zone, such as 2026-01-31 02:00:00+00:00")
    if value.utcoffset() is None:
        raise Unreadable(
            "has no time zone: return it with its offset from UTC, in a type with a zone or as text such as "
            "2026-01-31 02:00:00+00:00; include/sql has a query for each kind of database"
        )
    try:
        moment = value.astimezone(UTC)
    except OverflowError:
        moment = None
    if moment is None or not EARLIEST <= moment < LATEST:
        raise Unreadable(OUT_OF_RANGE)
    return moment
