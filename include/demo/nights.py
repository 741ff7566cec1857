"""The demo's completed trainings of two nights, good and bad, and the expected result of each row."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from datetime import UTC, date, datetime, time, timedelta
from enum import StrEnum
from typing import Final

from demo.people import Learner, learners


@dataclass(frozen=True, slots=True)
class DemoCertification:
    """A certification in the sandbox's admin.

    :param verified: verified before the first night.
    :param verified_between: verified by an employee between the nights.
    """

    id: int
    name: str
    years: int | None
    requires_valid_until: bool = False
    verified: bool = False
    verified_between: bool = False


CERTIFICATIONS: Final = (
    DemoCertification(101, "Service Desk Foundation", 3, requires_valid_until=True, verified=True),
    DemoCertification(102, "Practical Project Control", None, verified=True),
    DemoCertification(103, "First Aid at Work", 2, requires_valid_until=True, verified=True),
    DemoCertification(104, "Data Stewardship", None, verified=True),
    DemoCertification(105, "Agile Team Facilitator", 2, verified_between=True),
    DemoCertification(106, "Forklift Safety", 5, requires_valid_until=True, verified_between=True),
    DemoCertification(107, "Coaching Essentials", None),
)
NOT_LISTED: Final = 999
"""An id that no certification has: a typing error in the source."""
LISTED: Final = tuple(
    {
        "id": certification.id,
        "name": certification.name,
        "requires_valid_until": certification.requires_valid_until,
        "verified": certification.verified,
    }
    for certification in CERTIFICATIONS
)
"""The certifications that the sandbox begins with, as its ``--certifications`` file has them."""
PENDING: Final = tuple(certification.id for certification in CERTIFICATIONS if not certification.verified)
"""Certifications that wait for their verification; the demo sends their certificates anyway."""


class Expected(StrEnum):
    """Expected result of a row."""

    SENT = "sent"
    VALID_UNTIL_REQUIRED = "valid_until_required"
    CERTIFICATION_NOT_LISTED = "certification_not_listed"
    DOCUMENT_MISSING = "document_missing"
    DOCUMENT_WRONG_TYPE = "document_wrong_type"
    DOCUMENT_EMPTY = "document_empty"
    DOCUMENT_OUTSIDE_ROOTS = "document_outside_roots"
    EMAIL_MALFORMED = "email_malformed"
    EMAIL_MISSING = "email_missing"
    DATES_REVERSED = "dates_reversed"
    DUPLICATE = "duplicate"
    CONFLICTING_ROWS = "conflicting_rows"
    SAME_ROW_AGAIN = "same row again"
    """Counted, but the same delivery as the row before it."""


@dataclass(frozen=True, slots=True)
class Training:
    """A row of the source."""

    training_id: str
    learner: Learner = field(repr=False)
    certification_id: int
    completed_at: datetime
    valid_from: date
    valid_until: date | None
    certificate_uri: str = field(repr=False)
    booking_id: int | None = None
    expected: Expected = Expected.SENT


@dataclass(frozen=True, slots=True)
class Night:
    """The trainings completed on one day."""

    day: date
    trainings: tuple[Training, ...]


def nights(seed: int, *, first: date, count: int = 2, rows: int = 210, root: str) -> tuple[Night, ...]:
    """Invent nights of completed trainings, the same ones for the same seed.

    :param rows: good rows of a night; the bad ones come on top.
    :param root: folder that the documents will lie in.
    """
    chance = random.Random(seed)  # noqa: S311 - nothing secret
    people = learners(seed)
    return tuple(
        Night(day, tuple(_night(chance, people, day=day, rows=rows, root=root)))
        for day in (first + timedelta(days=number) for number in range(count))
    )


def _night(
    chance: random.Random, people: Iterator[Learner], *, day: date, rows: int, root: str
) -> Iterator[Training]:
    good = [_good(chance, next(people), day=day, number=number, root=root) for number in range(rows)]
    yield from good
    for kind, (expected, spoil) in enumerate(_BAD):
        for copy in range(2):
            number = rows + 2 * kind + copy
            yield replace(
                spoil(_good(chance, next(people), day=day, number=number, root=root)), expected=expected
            )
    yield replace(good[3], expected=Expected.SAME_ROW_AGAIN)
    again = good[5]
    yield replace(again, training_id=f"{again.training_id}-again", expected=Expected.DUPLICATE)
    item = _good(chance, next(people), day=day, number=rows + 900, root=root)
    yield replace(item, expected=Expected.CONFLICTING_ROWS)
    yield replace(item, valid_from=item.valid_from - timedelta(days=30), expected=Expected.CONFLICTING_ROWS)


def _good(chance: random.Random, learner: Learner, *, day: date, number: int, root: str) -> Training:
    certification = chance.choice(CERTIFICATIONS)
    training_id = f"T{day:%y%m%d}-{number:04d}"
    until = _years_after(day, certification.years) if certification.years else None
    return Training(
        training_id=training_id,
        learner=learner,
        certification_id=certification.id,
        completed_at=datetime.combine(day, time(9), tzinfo=UTC) + timedelta(minutes=number % 480),
        valid_from=day,
        valid_until=until,
        certificate_uri=f"{root}/{training_id}.pdf",
        booking_id=700_000 + number if chance.random() < 0.6 else None,
    )


def _years_after(day: date, years: int) -> date:
    """Return the same day some years later; 29 February becomes 28 February."""
    leap_day = (day.month, day.day) == (2, 29)
    return day.replace(year=day.year + years, day=28 if leap_day else day.day)


def _with_certification(training: Training, number: int) -> Training:
    return replace(training, certification_id=number)


_BAD: Final[tuple[tuple[Expected, Callable[[Training], Training]], ...]] = (
    (Expected.VALID_UNTIL_REQUIRED, lambda row: replace(_with_certification(row, 101), valid_until=None)),
    (Expected.CERTIFICATION_NOT_LISTED, lambda row: _with_certification(row, NOT_LISTED)),
    (Expected.DOCUMENT_MISSING, lambda row: row),
    (Expected.DOCUMENT_WRONG_TYPE, lambda row: row),
    (Expected.DOCUMENT_EMPTY, lambda row: row),
    (Expected.DOCUMENT_OUTSIDE_ROOTS, lambda row: replace(row, certificate_uri="/etc/hostname")),
    (
        Expected.EMAIL_MALFORMED,
        lambda row: replace(
            row, learner=replace(row.learner, email=f"learner.{row.learner.number}@@example.com")
        ),
    ),
    (Expected.EMAIL_MISSING, lambda row: replace(row, learner=replace(row.learner, email=None))),
    (
        Expected.DATES_REVERSED,
        lambda row: replace(_with_certification(row, 102), valid_until=row.valid_from - timedelta(days=365)),
    ),
)
