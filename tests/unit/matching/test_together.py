"""Several POSTs of one delivery have one finding, which does not depend on their order."""

from __future__ import annotations

from dataclasses import replace
from itertools import permutations

import pytest

from springest.matching.inference import Finding, Kind, Post, Shown
from springest.matching.together import together


def found(sent: float, kind: Kind, *candidates: int) -> Finding:
    certificate = Shown(candidates[0], sent) if kind is Kind.INFERRED else None
    return Finding(Post("a", sent), kind, certificate, candidates, len(candidates), posts=3, shown=3)


@pytest.mark.parametrize(
    ("findings", "kind", "candidates"),
    [
        ([found(2, Kind.TIE, 5), found(1, Kind.TIE, 7), found(3, Kind.TIE, 6, 5)], Kind.TIE, (7, 5, 6)),
        ([found(1, Kind.INFERRED, 5), found(2, Kind.TIE, 7)], Kind.INFERRED, (5,)),
        ([found(1, Kind.INFERRED, 7), found(2, Kind.INFERRED, 5)], Kind.TIE, (7, 5)),
        ([found(2, Kind.LEFT_OVER, 7), found(1, Kind.TIE, 8)], Kind.LEFT_OVER, (8, 7)),
        ([found(2, Kind.SET_COMPLETE, 7), found(1, Kind.SET_COMPLETE, 8)], Kind.SET_COMPLETE, (8, 7)),
        ([found(1, Kind.TIE, 9), found(1, Kind.TIE, 8)], Kind.TIE, (8, 9)),
    ],
)
def test_findings_merge_in_any_order(
    findings: list[Finding], kind: Kind, candidates: tuple[int, ...]
) -> None:
    """Several findings about a delivery merge into one, whatever their order."""
    unrelated = replace(findings[0], post=Post("b", 9))
    for order in permutations(findings):
        merged, beside = sorted(together([*order, unrelated]), key=lambda finding: finding.post.delivery_id)
        assert (merged.kind, merged.candidates) == (kind, candidates)
        assert beside is unrelated


def test_a_single_finding_stays_as_it_is() -> None:
    """Merging a single finding changes nothing."""
    single = found(1, Kind.TIE, 4, 5)
    assert list(together([single])) == [single]
