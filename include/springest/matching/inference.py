"""Find out which certificates can belong to which deliveries if nothing proves it. Pure functions.

A *block* has one certification and one pair of dates. It holds the POSTs whose certificates are not known by
id, and the certificates shown that belong to no delivery. A certificate can come only from a POST in whose
time window it was created. If nobody else uploads, each certificate comes from one POST, and each POST
made at most one. What follows from that is inferred, and nothing else is.

Apart from sorting, the work is linear in the number of rows: a window is a span of the sorted certificates.
"""

from __future__ import annotations

import heapq
import math
from bisect import bisect_left, bisect_right
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from enum import StrEnum
from itertools import accumulate
from typing import Final, NamedTuple

from springest.identity import ERASED_OWNER
from springest.matching.candidate_index import CandidateIndex
from springest.snapshot.clock_skew import Clock

CANDIDATES_NAMED: Final = 10
STEPS_A_ROW: Final = 64
"""Limit on the work of inference, so that it stays linear; what is still open then is ambiguous."""


class Post(NamedTuple):
    """A POST that may have made a certificate whose id is not known.

    :param sent: seconds since the epoch; ``None`` if it is no longer known.
    :param learner: reference of the learner, or ``ERASED_OWNER``; ``None`` fits every owner.
    :param is_open: whether its delivery gets a finding; other POSTs only compete for certificates.
    :param is_acknowledged: whether Springest responded that it stored the certificate.
    """

    delivery_id: int
    sent: float | None
    learner: str | None = None
    is_open: bool = True
    is_acknowledged: bool = False


class Shown(NamedTuple):
    """A certificate that no delivery has by its id.

    :param created: seconds since the epoch on the other clock; ``None`` if unknown.
    :param owner: reference of the owner, if known.
    :param seen_by: time by which it existed, on our clock.
    :param is_gone: whether complete snapshots lack it by now.
    :param is_verified: whether its status means *verified*.
    """

    id: int
    created: float | None
    owner: str | None = None
    seen_by: float = float("inf")
    is_gone: bool = False
    is_verified: bool = True


class Kind(StrEnum):
    """A finding about a delivery."""

    INFERRED = "inferred"
    """The certificate can come from no other POST."""
    SET_COMPLETE = "set_complete"
    """As many certificates are shown as were sent."""
    TIE = "tie"
    """Several certificates fit, or one that may be somebody else's."""
    LEFT_OVER = "left_over"
    """More certificates are shown than can have been sent from here."""


@dataclass(frozen=True, slots=True)
class Finding:
    """A finding about one delivery.

    :param certificate: the inferred certificate.
    :param candidates: ids of the first ten certificates that fit.
    :param candidate_count: number of all certificates that fit.
    :param posts: number of POSTs that can have created them.
    :param shown: number of certificates that these POSTs can have created.
    :param by_time: whether all of these are known to have been created in the windows of the POSTs.
    """

    post: Post
    kind: Kind
    certificate: Shown | None
    candidates: tuple[int, ...]
    candidate_count: int
    posts: int
    shown: int
    by_time: bool = True


@dataclass(frozen=True, slots=True)
class _Span:
    """Ranks of the certificates that a POST can have made, by creation time; ``end`` is exclusive."""

    start: int
    end: int
    post: Post


def pair(
    posts: Sequence[Post], shown: Sequence[Shown], *, clock: Clock, exclusive: bool
) -> Iterator[Finding]:
    """Return the findings about the open deliveries of one block.

    :param exclusive: whether nobody else uploads to the site; otherwise nothing is inferred.
    """
    owners = {post.learner for post in posts}
    owned = [
        certificate
        for certificate in shown
        if certificate.owner is not None and (certificate.owner in owners or None in owners)
    ]
    without_owner = [certificate for certificate in shown if certificate.owner is None]
    if owned and (without_owner or None in owners):
        yield from _ties(posts, [*owned, *without_owner], clock)
    elif owned:
        for owner in sorted({item.owner for item in owned if item.owner is not None}):
            of_owner = [post for post in posts if post.learner == owner]
            shown_of_owner = [item for item in owned if item.owner == owner]
            if owner == ERASED_OWNER:  # may be several learners: nothing follows
                yield from _ties(of_owner, shown_of_owner, clock)
            else:
                yield from _group(of_owner, shown_of_owner, clock, exclusive)
    else:
        yield from _group(posts, without_owner, clock, exclusive)


def _group(posts: Sequence[Post], shown: Sequence[Shown], clock: Clock, exclusive: bool) -> Iterator[Finding]:
    """Return the findings about POSTs and certificates that differ only in time."""
    if any(certificate.created is None for certificate in shown) or any(post.sent is None for post in posts):
        yield from _ties(posts, shown, clock)
        return
    timed = sorted(shown, key=lambda row: (row.created, row.id))
    moments = [certificate.created or 0.0 for certificate in timed]
    spans = []
    for post in posts:
        earliest, latest = _times(post, clock)
        start, end = bisect_left(moments, earliest), bisect_right(moments, latest)
        if start < end:
            spans.append(_Span(start, end, post))
    for component in _components(spans):
        yield from _component_findings(component, timed, exclusive)


def _times(post: Post, clock: Clock) -> tuple[float, float]:
    """Return the window, on the other clock, in which a POST's certificate was created."""
    if post.sent is None:
        return -math.inf, math.inf
    window = clock.window(post.sent)
    return post.sent + window.earliest, post.sent + window.latest


def _components(spans: list[_Span]) -> Iterator[list[_Span]]:
    """Split the spans into groups that share no certificate."""
    component: list[_Span] = []
    end = 0
    for span in sorted(spans, key=lambda span: (span.start, span.end, span.post.delivery_id)):
        if component and span.start >= end:
            yield component
            component = []
        component.append(span)
        end = max(end, span.end)
    if component:
        yield component


def _component_findings(spans: list[_Span], timed: Sequence[Shown], exclusive: bool) -> Iterator[Finding]:
    """Return the findings about one component."""
    first, end = spans[0].start, max(span.end for span in spans)
    fits = _each_has_a_post(spans, first, end) and not _existed_before(spans, timed[first:end])
    pairs = _only_pairs(spans, first, end) if exclusive and fits else {}
    # Somebody else uploaded a certificate that existed before its POST.
    if any(timed[rank].seen_by < (spans[number].post.sent or 0) for number, rank in pairs.items()):
        fits, pairs = False, {}
    for number, rank in pairs.items():
        certificate = timed[rank]
        if spans[number].post.is_open and not certificate.is_gone:
            only = (certificate.id,)
            yield Finding(spans[number].post, Kind.INFERRED, certificate, only, 1, len(spans), end - first)
    assigned = set(pairs.values())
    others = [span for number, span in enumerate(spans) if number not in pairs]
    unassigned = [rank for rank in range(first, end) if rank not in assigned]
    yield from _unpaired(others, unassigned, timed, fits=fits, exclusive=exclusive)


def _unpaired(
    spans: Sequence[_Span], unassigned: Sequence[int], timed: Sequence[Shown], *, fits: bool, exclusive: bool
) -> Iterator[Finding]:
    """Return the findings about POSTs for which nothing can be inferred.

    :param unassigned: ranks of the certificates that are not inferred to be another POST's.
    :param fits: whether each certificate can have a POST of its own.
    """
    still_shown = [rank for rank in unassigned if not timed[rank].is_gone]
    kind = Kind.TIE
    if exclusive and not fits:
        kind = Kind.LEFT_OVER
    elif fits and len(spans) == len(still_shown) == len(unassigned):
        kind = Kind.SET_COMPLETE if exclusive or all(span.post.is_acknowledged for span in spans) else kind
    for span in spans:
        start, stop = bisect_left(still_shown, span.start), bisect_left(still_shown, span.end)
        named = tuple(timed[rank].id for rank in still_shown[start : min(stop, start + CANDIDATES_NAMED)])
        if named and span.post.is_open:
            yield Finding(span.post, kind, None, named, stop - start, len(spans), len(unassigned))


def _each_has_a_post(spans: Sequence[_Span], first: int, end: int) -> bool:
    """Return whether every certificate can have a POST of its own; assigns the span that ends first."""
    waiting: list[int] = []
    number = 0
    for rank in range(first, end):
        while number < len(spans) and spans[number].start <= rank:
            heapq.heappush(waiting, spans[number].end)
            number += 1
        while waiting and waiting[0] <= rank:
            heapq.heappop(waiting)
        if not waiting:
            return False
        heapq.heappop(waiting)
    return True


def _existed_before(spans: Sequence[_Span], shown: Sequence[Shown]) -> bool:
    """Return whether a certificate existed before all of these POSTs: then somebody else uploaded it."""
    earliest = min(span.post.sent or 0.0 for span in spans)
    return any(certificate.seen_by < earliest for certificate in shown)


def _only_pairs(spans: Sequence[_Span], first: int, end: int) -> dict[int, int]:
    """Return the rank of the certificate that each POST must have made, by the POST's number.

    Every certificate was made by one of these POSTs. If only one of them can have made it, that one did. It
    made no other, so other certificates may now have only one left. This is repeated until nothing follows.
    """
    size = end - first
    steps = [0] * (size + 1)
    sums = [0] * (size + 1)
    for number, span in enumerate(spans):
        steps[span.start - first] += 1
        steps[span.end - first] -= 1
        sums[span.start - first] += number
        sums[span.end - first] -= number
    # The number of POSTs that can have made each certificate, and the sum of their numbers: if only one
    # POST is left, the sum is its number.
    possible, number_of = list(accumulate(steps[:size])), list(accumulate(sums[:size]))
    ready = [place for place in range(size) if possible[place] == 1]
    pairs: dict[int, int] = {}
    work = STEPS_A_ROW * (size + len(spans))
    while ready and work > 0:
        place = ready.pop()
        if possible[place] != 1:
            continue
        number = number_of[place]
        pairs[number] = first + place
        span = spans[number]
        work -= span.end - span.start
        for neighbour in range(span.start - first, span.end - first):
            possible[neighbour] -= 1
            number_of[neighbour] -= number
            if possible[neighbour] == 1:
                ready.append(neighbour)
        possible[place] = 0
    return pairs


def _ties(posts: Sequence[Post], shown: Sequence[Shown], clock: Clock) -> Iterator[Finding]:
    """Name the candidates without inferring anything, since times or owners are known only in part."""
    index = CandidateIndex([certificate for certificate in shown if not certificate.is_gone])
    found = []
    for post in posts:
        sent = -math.inf if post.sent is None else post.sent
        count, named = index.candidates(post.learner, sent, *_times(post, clock), CANDIDATES_NAMED)
        found.append((post, count, named))
    alike = all(count == len(shown) for _, count, _ in found) and not any(
        certificate.owner for certificate in shown
    )
    complete = alike and len(posts) == len(shown) and all(post.is_acknowledged for post in posts)
    for post, count, named in found:
        if post.is_open and count:
            kind = Kind.SET_COMPLETE if complete else Kind.TIE
            yield Finding(post, kind, None, named, count, len(posts), len(shown), by_time=False)
