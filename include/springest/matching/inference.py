"""Which certificates can be which deliveries, where nothing proves it. No input or output.

A *block* holds what is alike: the POSTs for one certification with the same dates whose certificates are not
known by their ids, and the certificates shown with these facts that no delivery has. A certificate can only
come from a POST whose window it was created in. Where nobody else uploads, each certificate comes from one of
the POSTs, and each POST made one at most: what follows from that is inferred, and nothing else is.

The work is linear in the rows but for sorting: windows are runs of the sorted certificates, never pairs.
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
"""Work that may go into inferring, so that it stays linear; what it leaves open is ambiguous."""


class Post(NamedTuple):
    """A POST that may have made a certificate whose id is not known.

    :param sent: seconds since the epoch; ``None`` if that is not known any more.
    :param learner: reference of the learner, or ``ERASED_OWNER``; ``None`` fits every owner.
    :param is_open: whether its delivery gets a finding; other POSTs only compete for certificates.
    :param is_acknowledged: the server said that it took it.
    """

    delivery_id: int
    sent: float | None
    learner: str | None = None
    is_open: bool = True
    is_acknowledged: bool = False


class Shown(NamedTuple):
    """A certificate that no delivery has by its id.

    :param created: seconds since the epoch by the other clock; ``None`` if unknown.
    :param owner: reference of the owner, if known.
    :param seen_by: when it was there at the latest, by our clock.
    :param is_gone: complete snapshots lack it by now.
    :param is_verified: its status means *verified*.
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
    """As many are shown as were sent."""
    TIE = "tie"
    """Several fit, or one that may be somebody else's."""
    LEFT_OVER = "left_over"
    """More are shown than can have been sent from here."""


@dataclass(frozen=True, slots=True)
class Finding:
    """A finding about one delivery.

    :param certificate: the one that was inferred.
    :param candidates: ids of those that fit, the first ten.
    :param candidate_count: how many fit in all.
    :param posts: how many POSTs they could come from.
    :param shown: how many certificates these could have made.
    :param by_time: all of these are known to have been created when the POSTs were made.
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
class _Run:
    """The certificates a POST can have made: from ``start`` to before ``end`` of those in their order."""

    start: int
    end: int
    post: Post


def pair(
    posts: Sequence[Post], shown: Sequence[Shown], *, clock: Clock, exclusive: bool
) -> Iterator[Finding]:
    """Return the findings about the open deliveries of one block.

    :param exclusive: nobody else uploads to the site; without it nothing is inferred.
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
            if owner == ERASED_OWNER:  # who may be several: nothing follows
                yield from _ties(of_owner, shown_of_owner, clock)
            else:
                yield from _group(of_owner, shown_of_owner, clock, exclusive)
    else:
        yield from _group(posts, without_owner, clock, exclusive)


def _group(posts: Sequence[Post], shown: Sequence[Shown], clock: Clock, exclusive: bool) -> Iterator[Finding]:
    """Return the findings about POSTs that differ from the certificates in nothing but the time."""
    if any(certificate.created is None for certificate in shown) or any(post.sent is None for post in posts):
        yield from _ties(posts, shown, clock)
        return
    timed = sorted(shown, key=lambda row: (row.created, row.id))
    moments = [certificate.created or 0.0 for certificate in timed]
    runs = []
    for post in posts:
        earliest, latest = _times(post, clock)
        start, end = bisect_left(moments, earliest), bisect_right(moments, latest)
        if start < end:
            runs.append(_Run(start, end, post))
    for component in _components(runs):
        yield from _judge(component, timed, exclusive)


def _times(post: Post, clock: Clock) -> tuple[float, float]:
    """Return between which moments of the other clock a POST's certificate was created."""
    if post.sent is None:
        return -math.inf, math.inf
    window = clock.window(post.sent)
    return post.sent + window.earliest, post.sent + window.latest


def _components(runs: list[_Run]) -> Iterator[list[_Run]]:
    """Part the runs so that no two parts share a certificate."""
    component: list[_Run] = []
    end = 0
    for run in sorted(runs, key=lambda run: (run.start, run.end, run.post.delivery_id)):
        if component and run.start >= end:
            yield component
            component = []
        component.append(run)
        end = max(end, run.end)
    if component:
        yield component


def _judge(runs: list[_Run], timed: Sequence[Shown], exclusive: bool) -> Iterator[Finding]:
    """Return the findings about one component."""
    first, end = runs[0].start, max(run.end for run in runs)
    fits = _each_has_a_post(runs, first, end) and not _was_there_before(runs, timed[first:end])
    pairs = _only_pairs(runs, first, end) if exclusive and fits else {}
    # A certificate that was there before its POST: then somebody else uploaded it.
    if any(timed[rank].seen_by < (runs[number].post.sent or 0) for number, rank in pairs.items()):
        fits, pairs = False, {}
    for number, rank in pairs.items():
        certificate = timed[rank]
        if runs[number].post.is_open and not certificate.is_gone:
            only = (certificate.id,)
            yield Finding(runs[number].post, Kind.INFERRED, certificate, only, 1, len(runs), end - first)
    taken = set(pairs.values())
    others = [run for number, run in enumerate(runs) if number not in pairs]
    left = [rank for rank in range(first, end) if rank not in taken]
    yield from _unpaired(others, left, timed, fits=fits, exclusive=exclusive)


def _unpaired(
    runs: Sequence[_Run], left: Sequence[int], timed: Sequence[Shown], *, fits: bool, exclusive: bool
) -> Iterator[Finding]:
    """Return the findings about POSTs for which nothing can be inferred.

    :param left: places of the certificates that are left.
    :param fits: each of the certificates can have a POST of its own.
    """
    there = [rank for rank in left if not timed[rank].is_gone]
    kind = Kind.TIE
    if exclusive and not fits:
        kind = Kind.LEFT_OVER
    elif fits and len(runs) == len(there) == len(left):
        kind = Kind.SET_COMPLETE if exclusive or all(run.post.is_acknowledged for run in runs) else kind
    for run in runs:
        start, stop = bisect_left(there, run.start), bisect_left(there, run.end)
        named = tuple(timed[rank].id for rank in there[start : min(stop, start + CANDIDATES_NAMED)])
        if named and run.post.is_open:
            yield Finding(run.post, kind, None, named, stop - start, len(runs), len(left))


def _each_has_a_post(runs: Sequence[_Run], first: int, end: int) -> bool:
    """Return whether every certificate can have a POST of its own: earliest deadline first."""
    waiting: list[int] = []
    number = 0
    for rank in range(first, end):
        while number < len(runs) and runs[number].start <= rank:
            heapq.heappush(waiting, runs[number].end)
            number += 1
        while waiting and waiting[0] <= rank:
            heapq.heappop(waiting)
        if not waiting:
            return False
        heapq.heappop(waiting)
    return True


def _was_there_before(runs: Sequence[_Run], shown: Sequence[Shown]) -> bool:
    """Return whether a certificate was shown before all of these POSTs: then somebody else uploaded it."""
    earliest = min(run.post.sent or 0.0 for run in runs)
    return any(certificate.seen_by < earliest for certificate in shown)


def _only_pairs(runs: Sequence[_Run], first: int, end: int) -> dict[int, int]:
    """Return which run must have made which certificate, if every certificate was made by one of them.

    A certificate that a single POST can have made was made by it. That POST made no other, so others may
    have a single one now: repeated until nothing follows any more.
    """
    size = end - first
    steps = [0] * (size + 1)
    sums = [0] * (size + 1)
    for number, run in enumerate(runs):
        steps[run.start - first] += 1
        steps[run.end - first] -= 1
        sums[run.start - first] += number
        sums[run.end - first] -= number
    # How many POSTs each certificate can come from, and the sum of their numbers: of a single one,
    # its number.
    possible, number_of = list(accumulate(steps[:size])), list(accumulate(sums[:size]))
    ready = [place for place in range(size) if possible[place] == 1]
    pairs: dict[int, int] = {}
    work = STEPS_A_ROW * (size + len(runs))
    while ready and work > 0:
        place = ready.pop()
        if possible[place] != 1:
            continue
        number = number_of[place]
        pairs[number] = first + place
        run = runs[number]
        work -= run.end - run.start
        for neighbour in range(run.start - first, run.end - first):
            possible[neighbour] -= 1
            number_of[neighbour] -= number
            if possible[neighbour] == 1:
                ready.append(neighbour)
        possible[place] = 0
    return pairs


def _ties(posts: Sequence[Post], shown: Sequence[Shown], clock: Clock) -> Iterator[Finding]:
    """Name the candidates if times or owners are known only in part: nothing is inferred then."""
    shelf = CandidateIndex([certificate for certificate in shown if not certificate.is_gone])
    found = []
    for post in posts:
        sent = -math.inf if post.sent is None else post.sent
        count, named = shelf.candidates(post.learner, sent, *_times(post, clock), CANDIDATES_NAMED)
        found.append((post, count, named))
    alike = all(count == len(shown) for _, count, _ in found) and not any(
        certificate.owner for certificate in shown
    )
    complete = alike and len(posts) == len(shown) and all(post.is_acknowledged for post in posts)
    for post, count, named in found:
        if post.is_open and count:
            kind = Kind.SET_COMPLETE if complete else Kind.TIE
            yield Finding(post, kind, None, named, count, len(posts), len(shown), by_time=False)
