"""What the sandbox received, in a few numbers: how a test or a demo proves "once" and "within the cap"."""

from __future__ import annotations

from collections import Counter
from dataclasses import asdict, dataclass
from typing import Any

from sandbox.cap import peak
from sandbox.store import Store


@dataclass(frozen=True, slots=True)
class Summary:
    """Counts of the received requests.

    :param certificates: certificates that are stored.
    :param duplicates: how many of them are too many: same learner, certification, first day and file.
    :param posts: POSTs for one of Springest's paths, whatever was answered.
    :param gets: GETs likewise.
    :param answers: requests by the status they were answered; ``none`` are those without a whole answer.
    :param peak_hour: most requests in any sliding hour, by the name of their key.
    """

    certificates: int
    duplicates: int
    posts: int
    gets: int
    answers: dict[str, int]
    peak_hour: dict[str, int]

    def as_json(self) -> dict[str, Any]:
        """Return it for an answer in JSON."""
        return asdict(self)


def summarise(store: Store) -> Summary:
    """Summarise what a store received."""
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
