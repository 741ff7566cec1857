"""Counts of received requests, with which tests and the demo prove "once" and "within the cap"."""

from __future__ import annotations

from collections import Counter
from dataclasses import asdict, dataclass
from typing import Any

from sandbox.cap import peak
from sandbox.store import Store


@dataclass(frozen=True, slots=True)
class Summary:
    """Counts of the received requests.

    :param certificates: stored certificates.
    :param duplicates: duplicates among them: same learner, certification, first day and file.
    :param posts: POSTs for one of Springest's paths, whatever the response.
    :param gets: GETs for one of Springest's paths, whatever the response.
    :param answers: requests by status; ``none`` counts those without a complete response.
    :param peak_hour: largest number of requests in any sliding hour, by the name of their key.
    """

    certificates: int
    duplicates: int
    posts: int
    gets: int
    answers: dict[str, int]
    peak_hour: dict[str, int]

    def as_json(self) -> dict[str, Any]:
        """Return the counts for a response in JSON."""
        return asdict(self)


def summarise(store: Store) -> Summary:
    """Summarise the requests of a store."""
    requests = store.requests()
    methods = Counter(request.method for request in requests)
    moments: dict[str, list[float]] = {}
    for request in sorted(requests, key=lambda row: row.at):
        moments.setdefault(request.key_name, []).append(request.at)
    return Summary(
        certificates=len(store.certificates()),
        duplicates=store.duplicates(),
        posts=methods["POST"],
        gets=methods["GET"],
        answers=dict(Counter(str(request.answered or "none") for request in requests)),
        peak_hour={key_name: peak(ordered) for key_name, ordered in moments.items()},
    )
