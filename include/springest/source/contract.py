"""The contract of a source row, and the defects of a row that breaks it.

The source is somebody else's database, so ``read_row`` never raises on a bad value. It returns the values
that could be read, and a ``Defect`` with the remedy for each of the others. Every returned value can be
stored, and read back by every client.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field, replace
from datetime import date, datetime
from typing import Any, Final, TypeVar

from email_validator import SPECIAL_USE_DOMAIN_NAMES, EmailNotValidError, validate_email

from springest.errors import ConfigurationError
from springest.identity import Pseudonyms, delivery_key, mailbox
from springest.source import values
from springest.source.values import Unreadable

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
SOURCE: Final = "Source"
"""Key in a row: name of its source. Names of columns are in lower case."""
SOURCES: Final = "Sources"
"""Key in a row: names of the sources that all have a training with its id; empty if it is one."""
IN_SEVERAL_SOURCES: Final = "training_id_in_several_sources"
BETWEEN_SOURCES: Final = ", "
_VALUES: Final = tuple(name for name in COLUMNS if name not in {"training_id", "issue_no"})
REQUIRED_COLUMNS: Final = tuple(name for name in COLUMNS if name not in {"issue_no", "booking_id"})


@dataclass(frozen=True, slots=True)
class Defect:
    """A defect of a row.

    :param reason: a fixed word, such as ``email_malformed``.
    :param detail: the problem and the remedy, without any personal value.
    :param is_refused: the source's database or driver refused to return the value.
    """

    reason: str
    detail: str
    is_refused: bool = field(default=False, compare=False)


@dataclass(frozen=True, slots=True)
class CompletedTraining:
    """The readable values of one source row.

    ``email`` and ``certificate_uri`` are not in the representation, since they are never logged or stored.

    :param source: name of its source, if it has one; the joined names if they are in ``sources``.
    :param sources: names of all sources that have a training with its id, if they are several; there are no
        other values then.
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
    source: str | None = None
    sources: tuple[str, ...] = ()

    @property
    def is_refused(self) -> bool:
        """Whether the source refused to return any of its values."""
        return any(defect.is_refused for defect in self.defects)


def check_columns(names: Iterable[str]) -> None:
    """Check that a query has the columns of the contract.

    :raises ConfigurationError: it lacks some.
    """
    given = {name.lower() for name in names}
    missing = [name for name in REQUIRED_COLUMNS if name not in given]
    if missing:
        raise ConfigurationError(f"the query of completed trainings lacks the columns {', '.join(missing)}")


def read_row(row: Mapping[str, Any], *, site: str, pseudonyms: Pseudonyms) -> CompletedTraining:
    """Read one row of the source.

    :param row: the row by column name; ``issue_no`` and ``booking_id`` may be absent.
    :returns: the training with every defect found in the row itself. Staging checks its certification and
        its document.
    """
    defects: list[Defect] = []

    def read(column: str, reader: Callable[[Any], T]) -> T | None:
        value = row.get(column)
        if value is None or (isinstance(value, str) and not value.strip()):
            return None
        try:
            return reader(values.given(value))
        except Unreadable as error:
            is_refused = isinstance(value, values.UnreadableValue)
            defects.append(Defect(f"{column}_unreadable", f"{column} {error}", is_refused))
            return None

    canonical = [f"{name}={values.canonical(row.get(name))}" for name in COLUMNS]
    training_id = read("training_id", values.training_id)
    if training_id is None and not defects:
        defects.append(Defect("training_id_missing", "training_id is empty: give the row an id"))
    training_id = training_id or f"{values.WITHOUT_TRAINING_ID}{pseudonyms.row_name(canonical)}"
    issue_no = read("issue_no", values.issue)
    email = read("email", lambda value: values.text(value, longest=values.LONGEST_EMAIL))
    uri = read("certificate_uri", lambda value: values.text(value, longest=values.LONGEST_URI))
    training = CompletedTraining(
        site=site,
        training_id=training_id,
        issue_no=1 if issue_no is None else issue_no,
        booking_id=read("booking_id", values.positive),
        certification_id=read("certification_id", values.positive),
        email=email,
        completed_at=read("completed_at", values.instant),
        valid_from=read("valid_from", values.day),
        valid_until=read("valid_until", values.day),
        certificate_uri=uri,
        updated_at=read("updated_at", values.instant),
        delivery_key=delivery_key(site=site, training_id=training_id, issue_no=issue_no or 1),
        learner_ref=pseudonyms.learner_ref(email) if email else None,
        document_ref=pseudonyms.document_ref(uri) if uri else None,
        row_version=pseudonyms.row_version(canonical),
        source=row.get(SOURCE),
    )
    if sources := row.get(SOURCES):
        return _in_several_sources(training, sources, pseudonyms)
    found = (*defects, *_missing(training, defects), *_contradictions(training))
    return replace(training, defects=found)


def _in_several_sources(
    training: CompletedTraining, sources: tuple[str, ...], pseudonyms: Pseudonyms
) -> CompletedTraining:
    """Return a training that is set aside, the same for the row of each source."""
    detail = (
        f"{' and '.join(sources)} each have a training with this training_id: make the ids unique in the "
        "query of one of them, such as 'lms2-' || id, then stage its rows again with window_start and "
        "window_end"
    )
    empty: dict[str, Any] = dict.fromkeys((*_VALUES, "learner_ref", "document_ref"))
    return replace(
        training,
        **empty,
        row_version=pseudonyms.row_version([training.training_id, str(training.issue_no), *sources]),
        defects=(Defect(IN_SEVERAL_SOURCES, detail),),
        source=BETWEEN_SOURCES.join(sources),
        sources=sources,
    )


_MUST_BE_THERE: Final = {
    "certification_id": "certification_id is empty: enter the id of Springest's certification",
    "email": "email is empty: enter the address by which Springest knows the learner",
    "completed_at": "completed_at is empty: enter when the training was completed",
    "valid_from": "valid_from is empty: enter the first day on which the certificate is valid",
    "certificate_uri": "certificate_uri is empty: enter the URI of the document",
    "updated_at": "updated_at is empty, so changes to the row would not be noticed: enter it",
}
_IN_EVERY_WINDOW: Final = (_MUST_BE_THERE["updated_at"], f"updated_at {values.OUT_OF_RANGE}")


def lies_in_every_window(detail: str | None) -> bool:
    """Return whether the queries return a row without a readable ``updated_at`` in every window.

    They do so if it is null or out of range. A value without a time zone, for example, is in the window that
    matches the source's own interpretation, which is not known here.

    :param detail: all defects of the row, as stored in the ledger.
    """
    return detail is not None and any(text in detail for text in _IN_EVERY_WINDOW)


def _missing(training: CompletedTraining, unreadable: list[Defect]) -> list[Defect]:
    already = {defect.reason for defect in unreadable}
    return [
        Defect(f"{column}_missing", detail)
        for column, detail in _MUST_BE_THERE.items()
        if getattr(training, column) is None and f"{column}_unreadable" not in already
    ]


def _contradictions(training: CompletedTraining) -> list[Defect]:
    found = []
    if training.email and (problem := _address_problem(training.email)):
        found.append(Defect("email_malformed", problem))
    start, end = training.valid_from, training.valid_until
    if start and end and end < start:
        found.append(
            Defect("dates_reversed", f"valid_until ({end}) is before valid_from ({start}): correct the dates")
        )
    return found


def _address_problem(address: str) -> str | None:
    """Return why Springest could not reach a learner at this address, without quoting it."""
    try:
        validate_email(address, check_deliverability=False)
    except EmailNotValidError:
        domain = mailbox(address).rpartition("@")[2]
        for reserved in SPECIAL_USE_DOMAIN_NAMES:
            if domain == reserved or domain.endswith(f".{reserved}"):
                return (
                    f"email is in the reserved domain .{reserved}, which receives no mail from outside: "
                    "enter the address by which Springest knows the learner"
                )
        return "email is not a valid address: correct it in the source"
    return None
