"""What a row of the source must hold, and what is wrong with one that does not.

The source is somebody else's database, so nothing is taken for granted: ``read_row`` never raises on a bad
value. It returns what could be read and a ``Defect`` for each thing that could not, with the remedy.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field, replace
from datetime import UTC, date, datetime
from decimal import Decimal
from typing import Any, Final, TypeVar

from email_validator import EmailNotValidError, validate_email

from include.springest.identity import Pseudonyms, delivery_key

T = TypeVar("T")

COLUMNS: Final = (
    "training_id",
    "issue_no",
    "booking_id",
    "certification_id",
    "email",
    "completed_at",
    "valid_from",
    "valid_until",
    "certificate_uri",
    "updated_at",
)
REQUIRED_COLUMNS: Final = tuple(name for name in COLUMNS if name not in {"issue_no", "booking_id"})
LONGEST_TRAINING_ID: Final = 200
WITHOUT_TRAINING_ID: Final = "row:"
"""Begins the name of a row that has no number of its own, so that it is not lost."""


@dataclass(frozen=True, slots=True)
class Defect:
    """One thing that is wrong with a row.

    :param reason: a fixed word, such as ``email_malformed``.
    :param detail: what is wrong and what to do, without any personal value.
    """

    reason: str
    detail: str


@dataclass(frozen=True, slots=True)
class CompletedTraining:
    """One row of the source, as far as it could be read.

    ``email`` and ``certificate_uri`` are kept out of the representation: they are never logged or stored.
    """

    site: str
    training_id: str
    issue_no: int
    booking_id: int | None
    certification_id: int | None
    email: str | None = field(repr=False)
    completed_at: datetime | None
    valid_from: date | None
    valid_until: date | None
    certificate_uri: str | None = field(repr=False)
    updated_at: datetime | None
    delivery_key: str
    learner_ref: str | None
    document_ref: str | None
    row_version: str
    defects: tuple[Defect, ...] = ()


class _Unreadable(ValueError):
    """A value that is not what its column must hold; the text says what it must be."""


def read_row(row: Mapping[str, Any], *, site: str, pseudonyms: Pseudonyms) -> CompletedTraining:
    """Read one row of the source.

    :param row: the row by column name; ``issue_no`` and ``booking_id`` may be absent.
    :returns: the training with every defect found in the row itself. Whether its certification is listed
        and its document there is for staging to find out.
    """
    defects: list[Defect] = []

    def read(column: str, reader: Callable[[Any], T]) -> T | None:
        value = row.get(column)
        if value is None or (isinstance(value, str) and not value.strip()):
            return None
        try:
            return reader(value)
        except _Unreadable as error:
            defects.append(Defect(f"{column}_unreadable", f"{column} {error}"))
            return None

    version = pseudonyms.row_version(f"{name}={_canonical(row.get(name))}" for name in COLUMNS)
    training_id = read("training_id", _identifier)
    if training_id is None and not defects:
        defects.append(Defect("training_id_missing", "training_id is empty: give the row its number"))
    training_id = training_id or f"{WITHOUT_TRAINING_ID}{version[:24]}"
    issue_no = read("issue_no", _issue)
    email = read("email", _text)
    uri = read("certificate_uri", _text)
    training = CompletedTraining(
        site=site,
        training_id=training_id,
        issue_no=1 if issue_no is None else issue_no,
        booking_id=read("booking_id", _positive),
        certification_id=read("certification_id", _positive),
        email=email,
        completed_at=read("completed_at", _instant),
        valid_from=read("valid_from", _day),
        valid_until=read("valid_until", _day),
        certificate_uri=uri,
        updated_at=read("updated_at", _instant),
        delivery_key=delivery_key(site=site, training_id=training_id, issue_no=issue_no or 1),
        learner_ref=pseudonyms.learner_ref(email) if email else None,
        document_ref=pseudonyms.document_ref(uri) if uri else None,
        row_version=version,
    )
    found = (*defects, *_missing(training, defects), *_contradictions(training))
    return replace(training, defects=found)


def _canonical(value: object) -> str:
    """Return one text for one value, so that a session's time zone does not look like a change."""
    if isinstance(value, int):
        return f"{type(value).__name__} {value:x}"
    if isinstance(value, datetime) and value.tzinfo is not None:
        try:
            return f"instant {value.astimezone(UTC).isoformat()}"
        except OverflowError:  # in UTC it is before the first day there is, or after the last
            return repr(value)
    return repr(value)


_MUST_BE_THERE: Final = {
    "certification_id": "certification_id is empty: say which certification of Springest it belongs to",
    "email": "email is empty: Springest finds the learner by it",
    "completed_at": "completed_at is empty: say when the training was completed",
    "valid_from": "valid_from is empty: say from which day the certificate is valid",
    "certificate_uri": "certificate_uri is empty: say where the document is",
    "updated_at": "updated_at is empty: changes to the row could not be noticed",
}


def _missing(training: CompletedTraining, unreadable: list[Defect]) -> list[Defect]:
    already = {defect.reason for defect in unreadable}
    return [
        Defect(f"{column}_missing", detail)
        for column, detail in _MUST_BE_THERE.items()
        if getattr(training, column) is None and f"{column}_unreadable" not in already
    ]


def _contradictions(training: CompletedTraining) -> list[Defect]:
    found = []
    if training.email and not _is_address(training.email):
        found.append(Defect("email_malformed", "email is not a valid address: correct it in the source"))
    start, end = training.valid_from, training.valid_until
    if start and end and end < start:
        found.append(
            Defect("dates_reversed", f"valid_until ({end}) is before valid_from ({start}): correct the dates")
        )
    return found


def _is_address(address: str) -> bool:
    try:
        validate_email(address, check_deliverability=False)
    except EmailNotValidError:
        return False
    return True


def _text(value: Any) -> str:
    if not isinstance(value, str):
        raise _Unreadable(f"must be text, is {type(value).__name__}")
    return value.strip()


def _identifier(value: Any) -> str:
    """Return the one text that a source's number has, whatever type its driver gives it."""
    if isinstance(value, bool) or not isinstance(value, str | int | Decimal):
        raise _Unreadable(f"must be text or a whole number, is {type(value).__name__}")
    if isinstance(value, Decimal):
        value = _whole(value)
    if isinstance(value, int) and abs(value) >= 2**63:
        raise _Unreadable("must be text or a whole number of at most 64 bits")
    identifier = str(value)
    if len(identifier) > LONGEST_TRAINING_ID or not identifier.isprintable():
        raise _Unreadable(f"must be printable and at most {LONGEST_TRAINING_ID} characters")
    return identifier


def _positive(value: Any, *, below: int = 2**63) -> int:
    number = _whole(value)
    if not 0 < number < below:
        raise _Unreadable("must be a positive whole number")
    return number


def _issue(value: Any) -> int:
    return _positive(value, below=2**31)


def _whole(value: Any) -> int:
    if isinstance(value, bool):
        raise _Unreadable("must be a whole number, is a truth value")
    if isinstance(value, str):
        text = value.strip()
        if text.isascii() and text.isdecimal() and len(text) < 20:
            return int(text)
        raise _Unreadable("must be a whole number")
    if isinstance(value, int):
        return value
    if isinstance(value, Decimal | float) and _is_finite(value) and int(value) == value:
        return int(value)
    raise _Unreadable("must be a whole number")


def _is_finite(value: Decimal | float) -> bool:
    """Tell whether a number may be looked at further; a signalling NaN can't even be asked by ``math``."""
    return value.is_finite() and value.adjusted() < 20 if isinstance(value, Decimal) else math.isfinite(value)


def _day(value: Any) -> date:
    if isinstance(value, datetime):
        raise _Unreadable("must be a date, is a timestamp: cast it, so that no time zone moves the day")
    if isinstance(value, date):
        return value
    if isinstance(value, str):
        with suppress(ValueError):
            day = date.fromisoformat(value.strip())
            if day.isoformat() == value.strip():  # neither a week nor a form without dashes
                return day
    raise _Unreadable("must be a date such as 2026-01-31")


def _instant(value: Any) -> datetime:
    if isinstance(value, str):
        try:
            value = datetime.fromisoformat(value.strip())
        except ValueError:
            raise _Unreadable("must be a timestamp such as 2026-01-31 02:00:00+00:00") from None
    if not isinstance(value, datetime):
        raise _Unreadable("must be a timestamp with time zone")
    if value.tzinfo is None:
        raise _Unreadable("has no time zone: cast it to a timestamp with time zone")
    return value
