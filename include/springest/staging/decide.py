"""Decisions of staging about a source row, as pure functions: check it, then compare it with the ledger.

Nothing here reads a clock, a file or a database. ``check`` gives a ``CheckResult``; from it and the delivery
in the ledger, ``decide`` gives the ``Change`` to write.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable
from dataclasses import dataclass
from datetime import UTC, date, datetime
from enum import StrEnum
from typing import Final

from springest.catalogue import CatalogueEntry
from springest.identity import ERASED_VERSION
from springest.source.contract import IN_SEVERAL_SOURCES, CompletedTraining, Defect
from springest.states import POSSIBLY_STORED, Event, State, next_state


@dataclass(frozen=True, slots=True)
class Known:
    """A delivery in the ledger.

    :param duplicate_released: a person released it although another training has the same certificate.
    :param document_sha256: hash of the document last sent to Springest; ``document_checked`` is as in
        ``Queued``.
    :param source: as in ``CompletedTraining``, when it was staged.
    """

    delivery_key: str
    training_id: str
    state: State
    version: int
    row_version: str
    reason: str | None
    learner_ref: str | None
    certification_id: int | None
    booking_id: int | None
    valid_from: date | None
    valid_until: date | None
    document_ref: str | None
    catalogue_ref: str | None
    ever_sent: bool
    review_reason: str | None = None
    reason_detail: str | None = None
    duplicate_released: bool = False
    created_at: datetime | None = None
    document_sha256: str | None = None
    document_checked: str | None = None
    source: str | None = None


@dataclass(frozen=True, slots=True)
class CheckResult:
    """The result of the local checks on one row."""

    event: Event
    reason: str | None = None
    detail: str | None = None


class Action(StrEnum):
    """Kind of a change."""

    INSERT = "insert"
    RESTAGE = "restage"
    """Replace the content, which Springest cannot have, and set the state."""
    FLAG = "flag"
    """Keep content and state, and mark it for review."""
    NOTHING = "nothing"


@dataclass(frozen=True, slots=True)
class Change:
    """The change that staging writes for one row."""

    action: Action
    state: State | None = None
    reason: str | None = None
    detail: str | None = None
    review_reason: str | None = None


CertificateIdentity = tuple[int, str, date]
"""Certification, learner and ``valid_from``; trainings with equal ones have the same certificate."""
HOLDS_CERTIFICATE: Final = frozenset({State.READY}) | POSSIBLY_STORED
"""States in which a delivery has its certificate; a ``REVIEW`` that was sent does as well."""
NOTHING: Final = Change(Action.NOTHING)
BEFORE_CUTOVER: Final = "before_cutover"
RESTORED: Final = CheckResult(
    Event.LEDGER_RESTORED,
    "ledger_restored",
    "the ledger was restored from a backup after this training was completed: it may have been sent. It is "
    "not sent until there is evidence that Springest does not have it and a person releases it",
)
CONFLICT: Final = CheckResult(
    Event.CHECKED_INVALID,
    "conflicting_rows",
    "the source has two rows with this training_id and issue_no that differ: keep one, "
    "or give a re-issued certificate its own issue_no",
)


def is_before_cutover(cutover: date | None, training: CompletedTraining) -> bool:
    """Return whether somebody else may have uploaded the training's certificate before this project began."""
    if cutover is None or training.completed_at is None or identity(training) is None:
        return False
    return training.completed_at.astimezone(UTC).date() < cutover


def needs_check(
    known: Known | None,
    training: CompletedTraining,
    entry: CatalogueEntry,
    *,
    cutover: date | None = None,
) -> bool:
    """Return whether the row needs the local checks (which open its document).

    :param cutover: trainings completed before this date are not sent automatically.
    """
    if known is None:
        return True
    if not may_be_restaged(known):
        return False
    if known.state is State.READY and is_before_cutover(cutover, training):
        return True
    if known.state is State.REVIEW:
        return known.row_version != training.row_version
    if known.state in {State.READY, State.REJECTED}:
        return known.row_version != training.row_version or known.catalogue_ref != entry.ref
    return True


def may_be_restaged(known: Known | None) -> bool:
    """Return whether staging may change the delivery, because Springest cannot have its certificate."""
    if known is None:
        return True
    if known.state is State.REVIEW:
        return not known.ever_sent
    return known.state not in POSSIBLY_STORED | {State.CANCELLED}


def check(
    training: CompletedTraining,
    entry: CatalogueEntry,
    document: Defect | None,
    *,
    cutover: date | None = None,
) -> CheckResult:
    """Check one row; the detail lists every defect, and the first one gives the reason.

    :param document: the defect of the document, if any.
    :param cutover: trainings completed before this day are held, even if they have defects.
    """
    if is_before_cutover(cutover, training):
        return CheckResult(
            Event.CHECKED_HELD,
            BEFORE_CUTOVER,
            f"it was completed before the site's cutover date {cutover}: it is adopted once Springest shows "
            "that the learner has this certificate, and is never sent automatically",
        )
    defects = [*training.defects, *([document] if document else [])]
    has_end = training.valid_until or any(defect.reason == "valid_until_unreadable" for defect in defects)
    if entry.listed and entry.requires_valid_until and not has_end:
        defects.append(
            Defect("valid_until_required", "the certification requires valid_until: give it in the source")
        )
    if defects:
        detail = "; ".join(defect.detail for defect in defects)
        return CheckResult(Event.CHECKED_INVALID, defects[0].reason, detail)
    if not entry.listed and not entry.may_send_unlisted:
        return CheckResult(
            Event.CHECKED_HELD,
            "certification_not_listed",
            f"certification {training.certification_id} is not in Springest's list of certifications: "
            "have it verified, correct the id, or allow it with the connection's send_unlisted",
        )
    return CheckResult(Event.CHECKED_READY)


def maybe_sent_before_restore(
    training: CompletedTraining, known: Known | None, *, restored_at: datetime | None
) -> bool:
    """Return whether a certificate may have been sent before the ledger was restored from a backup.

    A ``ready`` delivery was released by a person or staged later, so it is excluded.

    :param restored_at: when a restored ledger was last repaired, if ever.
    """
    if restored_at is None or (known is not None and known.state is State.READY):
        return False
    if known is not None and known.created_at is not None and known.created_at < restored_at:
        return True
    return training.completed_at is None or training.completed_at < restored_at


def duplicate_of(training_id: str) -> CheckResult:
    """Return the result for a row whose certificate another training already has."""
    return CheckResult(
        Event.DUPLICATE_FOUND,
        "duplicate",
        f"training {training_id} has the same learner, certification and valid_from: keep one of them, "
        "or release this one if both are intended",
    )


def staged_elsewhere(site: str) -> CheckResult:
    """Return the result for a row whose training another site already sends."""
    return CheckResult(
        Event.CHECKED_HELD,
        "staged_by_another_site",
        f"the site {site} has the same training and learner, and sends it: each site's query must return "
        "only its own rows; if both sites should have it, set shared_trainings in this site's connection",
    )


def decide(
    known: Known | None,
    training: CompletedTraining,
    result: CheckResult | None,
    *,
    catalogue_ref: str | None = None,
    sources: Collection[str] = (),
) -> Change:
    """Return the change that a checked row makes in the ledger.

    :param result: ``None`` if ``needs_check`` returned false.
    :param catalogue_ref: reference of the present catalogue entry; ``None`` skips its comparison.
    :param sources: names of the site's sources.
    """
    if result is None:
        return _flag_if_changed(known, training, sources) if known else NOTHING
    state = next_state(
        known.state if known else None, result.event, ever_sent=known.ever_sent if known else False
    )
    review = result.reason if state is State.REVIEW else None
    if known is None:
        return Change(Action.INSERT, state, result.reason, result.detail, review)
    before = (known.state, known.reason, known.reason_detail, known.row_version)
    after = (state, result.reason, result.detail, training.row_version)
    if before == after and catalogue_ref in (None, known.catalogue_ref):
        return NOTHING
    return Change(Action.RESTAGE, state, result.reason, result.detail, review)


def _flag_if_changed(known: Known, training: CompletedTraining, sources: Collection[str]) -> Change:
    reason = _other_training(known, training, sources) or _change(known, training)
    if reason is None or known.review_reason == reason or outranks_change(known.review_reason):
        return NOTHING
    return Change(Action.FLAG, review_reason=reason)


def _other_training(known: Known, training: CompletedTraining, sources: Collection[str]) -> str | None:
    """Return the reason if the row is another training, with the same id, in another of the sources.

    It is not sent under this id, so a person must know of it even if the delivery is a cancelled one.
    """
    if known.state not in POSSIBLY_STORED | {State.REVIEW, State.CANCELLED}:
        return None
    having = training.sources
    has_moved = known.source in sources and training.source not in {None, known.source}
    if not having and has_moved and changed_fields(known, training):
        having = tuple(sorted(name for name in (known.source, training.source) if name is not None))
    return f"{IN_SEVERAL_SOURCES}({', '.join(having)})" if having else None


def _change(known: Known, training: CompletedTraining) -> str | None:
    if known.state not in POSSIBLY_STORED | {State.REVIEW}:
        return None
    if known.row_version in {training.row_version, ERASED_VERSION}:
        return None
    fields = changed_fields(known, training)
    return f"changed_after_sending({', '.join(fields)})" if fields else None


OUTRANKS_CHANGE: Final = "stored_"
"""Prefix of review reasons that a change in the source does not overwrite: ``stored_twice(…)`` and
``stored_although_cancelled``, which describe what Springest has."""


def outranks_change(review_reason: str | None) -> bool:
    """Return whether the review reason outranks a change in the source."""
    return review_reason is not None and review_reason.startswith(OUTRANKS_CHANGE)


_SENT_FIELDS: Final = {
    "email": "learner_ref",
    "certification_id": "certification_id",
    "booking_id": "booking_id",
    "valid_from": "valid_from",
    "valid_until": "valid_until",
    "document": "document_ref",
}


def changed_fields(known: Known, training: CompletedTraining) -> tuple[str, ...]:
    """Return the sent fields whose value in the source has changed."""
    return tuple(
        name
        for name, attribute in _SENT_FIELDS.items()
        if getattr(known, attribute) != getattr(training, attribute)
    )


def identity(row: CompletedTraining | Known) -> CertificateIdentity | None:
    """Return the identity of a certificate; ``None`` if it is incomplete."""
    if row.certification_id is None or row.learner_ref is None or row.valid_from is None:
        return None
    return row.certification_id, row.learner_ref, row.valid_from


@dataclass(frozen=True, slots=True)
class Holder:
    """A delivery that already has a certificate.

    :param duplicate_released: a person released it although another delivery has the certificate.
    """

    delivery_key: str
    training_id: str
    duplicate_released: bool = False


def find_duplicate(
    training: CompletedTraining, holders: Iterable[Holder], *, known: Known | None = None
) -> Holder | None:
    """Return another *training* with the same certificate (another issue of the same training is allowed).

    A person's decision is not questioned: neither the released duplicate nor, while it is ``ready``, the
    delivery that it duplicates counts, as long as the certificate is the one that was decided about.

    :param known: the training's own delivery.
    """
    decided_on = known is not None and identity(known) == identity(training)
    if known is not None and decided_on and known.duplicate_released:
        return None
    is_waiting = known is not None and decided_on and known.state is State.READY
    return next(
        (
            holder
            for holder in holders
            if holder.training_id != training.training_id and not (is_waiting and holder.duplicate_released)
        ),
        None,
    )
