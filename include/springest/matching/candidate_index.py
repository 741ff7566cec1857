"""An index of certificates: finds those that a POST can have created, without reading all of them."""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Iterable, Sequence
from typing import Protocol


class Certificate(Protocol):
    """A certificate, as far as the index needs it."""

    @property
    def id(self) -> int:
        """Springest's id."""

    @property
    def created(self) -> float | None:
        """Time of its creation, on the other clock."""

    @property
    def owner(self) -> str | None:
        """Reference of the owner, if known."""

    @property
    def seen_by(self) -> float:
        """Time by which it existed, on our clock."""


class _SortedCertificates:
    """Certificates of one owner, or of unknown owners, by time; those without a time are separate."""

    def __init__(self, certificates: Sequence[Certificate]) -> None:
        timed = sorted(
            (certificate.created, certificate.id)
            for certificate in certificates
            if certificate.created is not None
        )
        self._moments = [moment for moment, _ in timed]
        self._timed = [certificate_id for _, certificate_id in timed]
        timeless = sorted(
            (-certificate.seen_by, certificate.id)
            for certificate in certificates
            if certificate.created is None
        )
        self._seen = [seen for seen, _ in timeless]
        self._timeless = [certificate_id for _, certificate_id in timeless]

    def candidates(self, sent: float, earliest: float, latest: float, limit: int) -> tuple[int, list[int]]:
        start, end = bisect_left(self._moments, earliest), bisect_right(self._moments, latest)
        # Those that existed before it was sent come last: they are left out.
        stop = bisect_right(self._seen, -sent)
        ids = self._timed[start : min(end, start + limit)] + self._timeless[: min(stop, limit)]
        return end - start + stop, ids[:limit]


class CandidateIndex:
    """Finds the certificates that a POST can have created.

    :param certificates: certificates of one block.
    """

    def __init__(self, certificates: Iterable[Certificate]) -> None:
        by_owner: dict[str | None, list[Certificate]] = {}
        all_certificates = []
        for certificate in certificates:
            by_owner.setdefault(certificate.owner, []).append(certificate)
            all_certificates.append(certificate)
        self._of_owner = {owner: _SortedCertificates(owned) for owner, owned in by_owner.items()}
        self._of_all = _SortedCertificates(all_certificates)

    def candidates(
        self, learner: str | None, sent: float, earliest: float, latest: float, limit: int
    ) -> tuple[int, tuple[int, ...]]:
        """Return how many fit, and the ids of the first ``limit``.

        :param learner: the learner of the POST; ``None``, not known, fits every owner.
        :param earliest: lower bound of ``created``; ``latest`` is the upper one.
        """
        if learner is None:
            count, ids = self._of_all.candidates(sent, earliest, latest, limit)
            return count, tuple(ids)
        count, ids = 0, []
        for owner in (learner, None):
            if owner in self._of_owner:
                more, found = self._of_owner[owner].candidates(sent, earliest, latest, limit)
                count, ids = count + more, [*ids, *found]
        return count, tuple(ids[:limit])
