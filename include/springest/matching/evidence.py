"""Describes the evidence of a match without proof, so that a person can check it."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import NamedTuple

from springest.matching.inference import Finding, Kind
from springest.verification import MatchMethod, VerificationStatus


class MatchRow(NamedTuple):
    """A row of ``delivery_match``; its fields are that table's columns."""

    delivery_id: int
    verification_status: str
    match_method: str | None
    springest_certificate_id: int | None
    candidates: list[int]
    candidate_count: int
    evidence: str
    review_reason: str | None

    @property
    def digest(self) -> str:
        """Hash of the row. ``blocks.sql`` computes the same for a stored row, so changes are noticed."""
        pieces = (
            self.verification_status,
            self.match_method or "-",
            str(self.springest_certificate_id or 0),
            self.review_reason or "-",
            self.evidence,
        )
        return hashlib.md5("|".join(pieces).encode(), usedforsecurity=False).hexdigest()


def to_match_row(finding: Finding, *, exclusive: bool) -> MatchRow:
    """Return the row for a delivery's match.

    :param exclusive: whether nobody else uploads to the site.
    """
    certificate = finding.certificate
    sole = exclusive and finding.by_time
    inferred = finding.kind is Kind.INFERRED or (finding.kind is Kind.SET_COMPLETE and sole)
    strange = certificate is not None and not certificate.is_verified
    status = VerificationStatus.INFERRED if inferred and not strange else VerificationStatus.AMBIGUOUS
    return MatchRow(
        finding.post.delivery_id,
        status.value,
        _METHODS.get(finding.kind),
        certificate.id if certificate else None,
        list(finding.candidates),
        finding.candidate_count,
        _evidence(finding, sole),
        "status_not_foreseen" if strange else _review_reason(finding, inferred),
    )


_METHODS = {Kind.INFERRED: MatchMethod.INFERRED.value, Kind.SET_COMPLETE: MatchMethod.SET_COMPLETE.value}


def _review_reason(finding: Finding, inferred: bool) -> str | None:
    if inferred:
        return None
    if finding.kind is Kind.LEFT_OVER:
        return "more_shown_than_sent"
    # If Springest confirmed that it stored the certificate, no person needs to look.
    return None if finding.post.is_acknowledged else "tie"


def _evidence(finding: Finding, sole: bool) -> str:
    ids = _listed(finding.candidates, finding.candidate_count)
    if finding.certificate is not None:
        return (
            f"no proof: nobody else uploads to this site, and with this certification and these dates only "
            f"the POST of {_moment(finding.post.sent or 0)} can have made certificate {ids}, created "
            f"{_moment(finding.certificate.created or 0)}"
        )
    if finding.kind is Kind.SET_COMPLETE:
        unless = "and nobody else uploads to this site" if sole else "unless somebody else uploaded one"
        return (
            f"no proof of which is which: {finding.posts} were sent with this certification and these dates, "
            f"and as many are shown ({ids}), {unless}"
        )
    if finding.kind is Kind.LEFT_OVER:
        return (
            f"Springest shows more with this certification and these dates than {finding.posts} POSTs can "
            f"have made: somebody else uploads, or one was stored twice; it may be any of {ids}"
        )
    return (
        f"it may be any of the {finding.candidate_count} shown with this certification and these dates "
        f"({ids}), and {finding.posts} POSTs can have made them: look them up in Springest's admin"
    )


def _listed(ids: Sequence[int], count: int) -> str:
    named = ", ".join(map(str, ids))
    return f"{named} and {count - len(ids)} more" if count > len(ids) else named


def _moment(seconds: float) -> str:
    return f"{datetime.fromtimestamp(int(seconds), UTC):%Y-%m-%d %H:%M:%S} UTC"
