"""Certificates laid out so that those which fit a POST are found without looking at each."""

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
        """When it was created by the other clock."""

    @property
    def owner(self) -> str | None:
        """Reference of the owner, if known."""

    @property
    def seen_by(self) -> float:
        """When it was there at the latest by our clock."""


class _Board:
    """Certificates of one owner, or of unknown owners: by time, and those without a time separately."""

    def __init__(self, certificates: Sequence[Certificate]) -> None:
        timed = sorted(
            (certificate.created, certificate.id)
            for certificate in certificates
            if certificate.created is not None
        )
        self._moments = [moment for moment, _ in timed]
        self._timed = [number for _, number in timed]
        timeless = sorted(
            (-certificate.seen_by, certificate.id)
            for certificate in certificates
            if certificate.created is None
        )
        self._seen = [seen for seen, _ in timeless]
        self._timeless = [number for _, number in timeless]

    def candidates(self, sent: float, earliest: float, latest: float, most: int) -> tuple[int, list[int]]:
        start, end = bisect_left(self._moments, earliest), bisect_right(self._moments, latest)
        # Those that were not there before it was sent come first.
        stop = bisect_right(self._seen, -sent)
        named = self._timed[start : min(end, start + most)] + self._timeless[: min(stop, most)]
        return end - start + stop, named[:most]


class CandidateIndex:
    """Finds the certificates that a POST can have made.

    :param certificates: of one block.
    """

    def __init__(self, certificates: Iterable[Certificate]) -> None:
        by_owner: dict[str | None, list[Certificate]] = {}
        everybody = []
        for certificate in certificates:
            by_owner.setdefault(certificate.owner, []).append(certificate)
            everybody.append(certificate)
        self._boards = {owner: _Board(own) for owner, own in by_owner.items()}
        self._everybody = _Board(everybody)

    def candidates(
        self, learner: str | None, sent: float, earliest: float, latest: float, most: int
    ) -> tuple[int, tuple[int, ...]]:
        """Return how many fit, and the ids of the first ``most``.

        :param learner: who it is for; a learner who is not known can be anybody.
        :param earliest: of ``created``; ``latest``: of it.
        """
        if learner is None:
            count, named = self._everybody.candidates(sent, earliest, latest, most)
            return count, tuple(named)
        count, named = 0, []
        for owner in (learner, None):
            if owner in self._boards:
                more, ids = self._boards[owner].candidates(sent, earliest, latest, most)
                count, named = count + more, [*named, *ids]
        return count, tuple(named[:most])
