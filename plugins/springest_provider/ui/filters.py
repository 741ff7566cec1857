"""Filters, orders and rows of a list of deliveries."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date, datetime
from enum import StrEnum
from typing import Final

from springest.states import State
from springest.verification import VerificationStatus

LARGEST_ID: Final = 2**63 - 1
"""PostgreSQL's largest ``bigint``."""
DELIVERY_KEY: Final = re.compile(r"[0-9a-f]{64}")


class Sort(StrEnum):
    """The order of a list."""

    COMPLETED = "completed"
    SENT = "sent"
    TRAINING = "training"


class BadFilterError(ValueError):
    """A filter has an invalid value; the text names the filter and the expected values."""


def parse_id(text: str) -> int:
    """
    Return an id of Springest.

    :raises ValueError: the text is not a positive number that the warehouse can store.
    """
    if not (text.isascii() and text.isdecimal() and len(text) <= len(str(LARGEST_ID))):
        raise ValueError
    number = int(text)
    if not 0 < number <= LARGEST_ID:
        raise ValueError
    return number


def require_storable(name: str, text: str) -> str:
    """
    Return a text that the warehouse can compare.

    :raises BadFilterError: it holds a NUL byte or half of a surrogate pair, which PostgreSQL refuses.
    """
    if "\0" in text or any("\ud800" <= sign <= "\udfff" for sign in text):
        raise BadFilterError(f"{name} holds a character that no text in the warehouse can hold")
    return text


class LedgerNeededError(PermissionError):
    """The filter needs the ledger, which this user may not read."""


@dataclass(frozen=True, slots=True)
class Filters:
    """
    Filters of a list; one that is ``None`` or false restricts nothing.

    :param training: the exact ``training_id``.
    :param certificate: Springest's id of the certificate.
    :param state: the state that the list shows: for an operator the present one, else the published one.
    :param reason: the fixed word that says why a delivery is in its state, or what a person should look at.
    :param run: Airflow run that staged it. Rows come in the order of the source, whatever ``sort`` is.
    :param day: UTC day on which the training was completed.
    :param person: only what needs a person.
    :param learner_ref: reference of a learner, found by an address that was searched for.
    :param after: cursor of the page before.
    """

    site: str
    training: str | None = None
    certification: int | None = None
    certificate: int | None = None
    state: State | None = None
    verdict: VerificationStatus | None = None
    reason: str | None = None
    run: str | None = None
    day: date | None = None
    person: bool = False
    learner_ref: str | None = None
    sort: Sort = Sort.COMPLETED
    ascending: bool = False
    after: str | None = None

    @property
    def needs_ledger(self) -> bool:
        """Whether only the ledger can answer it."""
        return self.run is not None or self.learner_ref is not None


@dataclass(frozen=True, slots=True)
class Row:
    """
    A delivery in a list.

    :param state: as published or, for an operator, the present one.
    :param published_state: as published; ``None`` when no verdict was published yet.
    :param verdict: verification status; ``None`` if no verdict was published yet.
    :param version: version of the delivery in the ledger; ``None`` unless an operator asks.
    """

    delivery_id: int
    delivery_key: str
    training_id: str
    issue_no: int
    certification_id: int | None
    certification_name: str | None
    valid_from: date | None
    valid_until: date | None
    completed_at: datetime | None
    sent_at: datetime | None
    first_visible_at: datetime | None
    state: str
    published_state: str | None
    verdict: str | None
    reason: str | None
    review_reason: str | None
    springest_certificate_id: int | None
    version: int | None
    row_no: int | None


@dataclass(frozen=True, slots=True)
class Page:
    """
    Rows of one page.

    :param after: cursor of the next page; ``None`` on the last one.
    """

    rows: Sequence[Row]
    after: str | None
