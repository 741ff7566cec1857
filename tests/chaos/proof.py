"""What must hold when all is calm again, whatever happened: pure functions over what the servers say."""

from __future__ import annotations

import bisect
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field

from sandbox.store import Request, StoredCertificate

NOT_STORED = frozenset({400, 401, 403, 404, 413, 415, 422})
"""Answers after which Springest has nothing: it understood, and said no."""
SETTLED = frozenset({"accepted", "accepted_no_id", "visible", "unknown", "review"})
SENT_AND_KNOWN = frozenset({"accepted", "visible"})


@dataclass(frozen=True, slots=True)
class SourceRow:
    """A completed training, with the document that belongs to it."""

    training_id: str
    email: str = field(repr=False)
    certification_id: int
    valid_from: str
    sha256: str


@dataclass(frozen=True, slots=True)
class Delivery:
    """A row of the ledger."""

    delivery_key: str
    training_id: str
    state: str
    springest_certificate_id: int | None


@dataclass(frozen=True, slots=True)
class Attempt:
    """A POST as the ledger knows it.

    :param started_at: seconds since the epoch.
    """

    attempt_id: int
    delivery_key: str
    started_at: float
    outcome: str | None
    sha256: str
    springest_certificate_id: int | None


@dataclass(frozen=True, slots=True)
class Evidence:
    """Everything that the source, the ledger and the server say.

    :param source_count: the source's own count.
    """

    source_count: int
    rows: Sequence[SourceRow]
    deliveries: Sequence[Delivery]
    attempts: Sequence[Attempt]
    stored: Sequence[StoredCertificate]
    posts: Sequence[Request]


def failures(evidence: Evidence) -> list[str]:
    """Return everything that does not hold; nothing when all is well."""
    checks = (
        stored_twice,
        unknown_certificate,
        received_twice,
        unexplained,
        unaccounted,
        unfinished,
        accepted_but_not_stored,
        stored_but_not_accepted,
        sent_twice,
    )
    return [f"{check.__name__}: {failure}" for check in checks for failure in check(evidence)]


def stored_twice(evidence: Evidence) -> Iterator[str]:
    """No certificate is stored twice: same learner, certification, first day and document."""
    copies = Counter(_identity(certificate) for certificate in evidence.stored)
    for certificate in evidence.stored:
        if copies[_identity(certificate)] > 1:
            yield f"certificate {certificate.id} has {copies[_identity(certificate)] - 1} equals"


def unknown_certificate(evidence: Evidence) -> Iterator[str]:
    """Every stored certificate is a source row's: this person's, with these bytes."""
    expected = {(row.email, row.certification_id, row.valid_from, row.sha256) for row in evidence.rows}
    for certificate in evidence.stored:
        if _identity(certificate) not in expected:
            yield f"certificate {certificate.id} is no training's"


def received_twice(evidence: Evidence) -> Iterator[str]:
    """No document came twice in full, unless Springest said that it did not take it."""
    whole = Counter(post.sha256 for post in evidence.posts if post.sha256 and post.answered not in NOT_STORED)
    yield from (f"document {sha256} came {times} times" for sha256, times in whole.items() if times > 1)


def unexplained(evidence: Evidence) -> Iterator[str]:
    """Every POST that the server saw belongs to an attempt of its own, committed before it came.

    A POST that came in full is known by its document. One that broke off may be any attempt that is left:
    with one for each, there is a way to pair all.
    """
    attempts: dict[str, list[float]] = defaultdict(list)
    for attempt in evidence.attempts:
        attempts[attempt.sha256].append(attempt.started_at)
    for moments in attempts.values():
        moments.sort()
    for post in sorted(evidence.posts, key=lambda request: request.at):
        if post.sha256 is not None:
            moments = attempts[post.sha256]
            earlier = bisect.bisect_right(moments, post.at)
            if not earlier:
                yield f"POST {post.id} of document {post.sha256} has no attempt"
            else:
                moments.pop(earlier - 1)
    left = sorted(moment for moments in attempts.values() for moment in moments)
    yield from _unpaired([post for post in evidence.posts if post.sha256 is None], left)


def _unpaired(posts: Iterable[Request], moments: list[float]) -> Iterator[str]:
    for post in sorted(posts, key=lambda request: request.at):
        if moments and moments[0] <= post.at:
            moments.pop(0)
        else:
            yield f"POST {post.id}, which broke off, has no attempt"


def unaccounted(evidence: Evidence) -> Iterator[str]:
    """Every source row has one delivery, and no delivery is without a row."""
    rows = Counter(row.training_id for row in evidence.rows)
    deliveries = Counter(delivery.training_id for delivery in evidence.deliveries)
    if not evidence.source_count == rows.total() == deliveries.total():
        yield (
            f"the source counts {evidence.source_count} trainings, gives {rows.total()}, and the ledger has "
            f"{deliveries.total()}"
        )
    yield from (f"training {row} is not in the ledger" for row in (rows - deliveries))
    yield from (f"delivery of {delivery} has no training" for delivery in (deliveries - rows))


def unfinished(evidence: Evidence) -> Iterator[str]:
    """When the queue is empty, each is sent, in doubt, or was refused by the server."""
    refused = {attempt.delivery_key for attempt in evidence.attempts if attempt.outcome == "refused"}
    for delivery in evidence.deliveries:
        if delivery.state not in SETTLED and not (
            delivery.state == "rejected" and delivery.delivery_key in refused
        ):
            yield f"training {delivery.training_id} is {delivery.state}"


def accepted_but_not_stored(evidence: Evidence) -> Iterator[str]:
    """Every ``accepted`` or ``visible`` certificate is there, under its id and with the right content."""
    rows = {row.training_id: row for row in evidence.rows}
    stored = {certificate.id: certificate for certificate in evidence.stored}
    for delivery in evidence.deliveries:
        if delivery.state not in SENT_AND_KNOWN:
            continue
        row, certificate = rows.get(delivery.training_id), stored.get(delivery.springest_certificate_id or 0)
        if row is None or certificate is None:
            yield f"training {delivery.training_id} is {delivery.state} without a certificate at Springest"
        elif _identity(certificate) != (row.email, row.certification_id, row.valid_from, row.sha256):
            yield f"training {delivery.training_id} is {delivery.state} with somebody else's certificate"


def stored_but_not_accepted(evidence: Evidence) -> Iterator[str]:
    """What Springest has is not to be sent, and not called refused."""
    by_document = {row.sha256: row.training_id for row in evidence.rows}
    states = {delivery.training_id: delivery.state for delivery in evidence.deliveries}
    for certificate in evidence.stored:
        training_id = by_document.get(certificate.sha256)
        state = states.get(training_id or "")
        if state not in SETTLED:
            yield f"training {training_id} is {state}, and Springest has certificate {certificate.id}"


def sent_twice(evidence: Evidence) -> Iterator[str]:
    """At most one attempt of a delivery may have been taken."""
    possible = Counter(
        attempt.delivery_key
        for attempt in evidence.attempts
        if attempt.outcome not in {"not_stored", "refused"}
    )
    yield from (f"delivery {key} has {times} such attempts" for key, times in possible.items() if times > 1)


def _identity(certificate: StoredCertificate) -> tuple[str, int, str, str]:
    return certificate.email, certificate.certification_id, certificate.valid_from, certificate.sha256
