"""Reduce the findings to one for each delivery, also if it was sent more than once. Pure functions."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace

from springest.matching.inference import CANDIDATES_NAMED, Finding, Kind


def together(findings: Iterable[Finding]) -> Iterator[Finding]:
    """Merge the findings about several POSTs of one delivery; all are of one block.

    A certificate inferred for any of its POSTs is the delivery's. Two are a tie: it was stored twice.
    """
    by_delivery: dict[int, list[Finding]] = {}
    for finding in findings:
        by_delivery.setdefault(finding.post.delivery_id, []).append(finding)
    for several in by_delivery.values():
        yield several[0] if len(several) == 1 else _merge(several)


def _merge(findings: Sequence[Finding]) -> Finding:
    # In the order of the POSTs, so that the result does not depend on the database's order.
    several = sorted(findings, key=lambda finding: (finding.post.sent or 0, finding.candidates))
    inferred = [finding for finding in several if finding.kind is Kind.INFERRED]
    if len(inferred) == 1:
        return inferred[0]
    last = max(several, key=lambda finding: finding.post.sent or 0)
    named = tuple(dict.fromkeys(number for finding in several for number in finding.candidates))
    kinds = {finding.kind for finding in several}
    kind = Kind.LEFT_OVER if Kind.LEFT_OVER in kinds else Kind.TIE
    return replace(
        last,
        kind=kinds.pop() if kinds == {Kind.SET_COMPLETE} else kind,
        certificate=None,
        candidates=named[:CANDIDATES_NAMED],
        candidate_count=max(len(named), *(finding.candidate_count for finding in several)),
        by_time=all(finding.by_time for finding in several),
    )
