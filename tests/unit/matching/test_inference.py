"""Inference, compared with every possible assignment, for small blocks of every kind."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from springest.matching.evidence import to_match_row
from springest.matching.inference import Finding, Kind, Post, Shown, pair
from springest.snapshot.clock_skew import Clock, HourOfSamples, Window

HOUR = 3_600


class FixedClock(Clock):
    """A window of its own for each POST, to make every kind of overlap."""

    def __init__(self, windows: dict[float, Window]) -> None:
        super().__init__()
        self._windows = windows

    def window(self, sent: float) -> Window:
        return self._windows.get(sent, Window(0, 2))


def edges_of(posts: Sequence[Post], shown: Sequence[Shown], clock: Clock) -> dict[int, set[str]]:
    """Which POSTs each certificate can come from."""
    return {
        certificate.id: {
            post.delivery_id
            for post in posts
            if post.sent + clock.window(post.sent).earliest
            <= (certificate.created or 0)
            <= post.sent + clock.window(post.sent).latest
            and certificate.owner in {None, post.learner}
        }
        for certificate in shown
    }


def components_of(edges: dict[int, set[str]]) -> list[set[int]]:
    """The certificates that share POSTs, directly or by others; without those that can come from none."""
    components: list[set[int]] = []
    for number in (number for number, keys in edges.items() if keys):
        touching = [part for part in components if any(edges[member] & edges[number] for member in part)]
        components = [part for part in components if part not in touching] + [{number}.union(*touching)]
    return components


def assignments(numbers: Sequence[int], edges: dict[int, set[str]]) -> Iterator[dict[int, str]]:
    """Every way to give each certificate a POST of its own."""
    if not numbers:
        yield {}
        return
    for key in edges[numbers[0]]:
        for rest in assignments(numbers[1:], edges):
            if key not in rest.values():
                yield {numbers[0]: key, **rest}


def certain(edges: dict[int, set[str]]) -> dict[int, set[tuple[int, str]]]:
    """For each certificate's component, the pairs that are in every assignment; none if there is none."""
    found = {}
    for part in components_of(edges):
        every = [set(assignment.items()) for assignment in assignments(sorted(part), edges)]
        pairs = set.intersection(*every) if every else set()
        found |= dict.fromkeys(part, pairs)
    return found


def repeated(edges: dict[int, set[str]]) -> set[tuple[int, str]]:
    """The rule, done naively: a certificate with a single POST takes it from all others, again and again."""
    pairs = set()
    for part in components_of(edges):
        if next(assignments(sorted(part), edges), None) is None:
            continue
        left = {number: set(edges[number]) for number in part}
        while single := next((number for number, keys in left.items() if len(keys) == 1), None):
            (key,) = left.pop(single)
            pairs.add((single, key))
            for keys in left.values():
                keys.discard(key)
    return pairs


_POSTS = st.lists(
    st.tuples(st.integers(0, 12), st.integers(0, 4), st.booleans(), st.booleans()), min_size=1, max_size=6
)
_SHOWN = st.lists(st.integers(0, 16), min_size=1, max_size=6)


def block(posts, shown) -> tuple[list[Post], list[Shown], Clock]:
    made = [Post(f"d{n}", float(sent) + n / 1000, "", o, a) for n, (sent, _, o, a) in enumerate(posts)]
    windows = {
        post.sent: Window(-1, float(width)) for post, (_, width, _, _) in zip(made, posts, strict=True)
    }
    return made, [Shown(n, float(at)) for n, at in enumerate(shown, start=1)], FixedClock(windows)


@settings(max_examples=400)
@given(posts=_POSTS, shown=_SHOWN)
def test_every_possible_assignment_contains_the_inferences(posts, shown):
    """An inference holds in every possible assignment, and no inference is missing.

    Where a component has more certificates than POSTs, nothing is inferred.
    """
    made, certificates, clock = block(posts, shown)
    edges = edges_of(made, certificates, clock)
    found = list(pair(made, certificates, clock=clock, exclusive=True))
    inferred = {
        (finding.certificate.id, finding.post.delivery_id)
        for finding in found
        if finding.kind is Kind.INFERRED
    }
    open_keys = {post.delivery_id for post in made if post.is_open}
    assert inferred == {pair for pair in repeated(edges) if pair[1] in open_keys}
    assert inferred <= set().union(*certain(edges).values(), set())


@settings(max_examples=400)
@given(posts=_POSTS, shown=_SHOWN, exclusive=st.booleans())
def test_a_set_is_complete_only_if_every_assignment_uses_it(posts, shown, exclusive):
    """A set is complete only if every assignment uses all of it: as many certificates as POSTs, and on a site
    with other uploaders all of them acknowledged.
    """
    made, certificates, clock = block(posts, shown)
    edges = edges_of(made, certificates, clock)
    for finding in pair(made, certificates, clock=clock, exclusive=exclusive):
        if finding.kind is not Kind.SET_COMPLETE:
            continue
        key = finding.post.delivery_id
        [part] = [part for part in components_of(edges) if any(key in edges[number] for number in part)]
        every = list(assignments(sorted(part), edges))
        assert every
        assert all(key in assignment.values() for assignment in every)
        if not exclusive:
            around = set().union(*(edges[number] for number in part))
            assert all(post.is_acknowledged for post in made if post.delivery_id in around)


@given(posts=_POSTS, shown=_SHOWN, exclusive=st.booleans())
def test_candidates_are_those_that_fit_and_no_others(posts, shown, exclusive):
    """All that a POST can have made, less those that were inferred to be another's."""
    made, certificates, clock = block(posts, shown)
    edges = edges_of(made, certificates, clock)
    taken = {number for number, _ in repeated(edges)} if exclusive else set()
    found = {
        finding.post.delivery_id: finding
        for finding in pair(made, certificates, clock=clock, exclusive=exclusive)
    }
    for post in made:
        fits = {number for number, keys in edges.items() if post.delivery_id in keys}
        finding = found.get(post.delivery_id)
        if finding is None:
            assert not post.is_open or not fits - taken
        elif finding.kind is not Kind.INFERRED:
            assert set(finding.candidates) == fits - taken
            assert finding.candidate_count == len(fits - taken)


def paired(posts: list[Post], shown: list[Shown], *, exclusive: bool = True) -> list[Finding]:
    return list(pair(posts, shown, clock=Clock(), exclusive=exclusive))


def test_without_the_setting_nothing_is_inferred():
    """Without `exclusive_uploader` nothing is inferred."""
    [finding] = paired([Post("d", 0.0, "a", True, True)], [Shown(7, 1.0)], exclusive=False)
    assert finding.kind is Kind.SET_COMPLETE
    verdict = to_match_row(finding, exclusive=False)
    assert (verdict.verification_status, verdict.springest_certificate_id) == ("ambiguous", None)
    assert "unless somebody else uploaded one" in verdict.evidence


def test_an_unknown_outcome_makes_no_set_complete():
    """A POST with an unknown outcome does not count towards a complete set."""
    [finding] = paired([Post("d", 0.0, "a")], [Shown(7, 1.0)], exclusive=False)
    assert (finding.kind, finding.candidates) == (Kind.TIE, (7,))
    assert to_match_row(finding, exclusive=False).review_reason == "tie"


def test_nothing_is_inferred_without_a_created_at():
    """A certificate without `created_at` is not inferred to come from a POST."""
    [finding] = paired([Post("d", 0.0, "a", True, True)], [Shown(7, None)])
    assert (finding.kind, finding.certificate) == (Kind.SET_COMPLETE, None)


def test_a_certificate_shown_before_the_post_is_not_inferred():
    """A certificate that a snapshot showed before the POST contradicts `exclusive_uploader`."""
    [finding] = paired([Post("d", 100.0, "a")], [Shown(7, 90.0, seen_by=99.0)])
    assert finding.kind is Kind.LEFT_OVER


def test_one_shown_before_all_posts_makes_no_set_complete():
    """Somebody else uploaded certificate 7, and one of the two POSTs stored nothing: nobody knows which."""
    posts = [Post("a", 100.0, "x", True, True), Post("b", 101.0, "y", True, True)]
    shown = [Shown(7, 80.0, seen_by=90.0), Shown(8, 102.0, seen_by=200.0)]
    for exclusive, kind in ((True, Kind.LEFT_OVER), (False, Kind.TIE)):
        assert {finding.kind for finding in paired(posts, shown, exclusive=exclusive)} == {kind}


def test_a_vanished_certificate_keeps_its_post():
    """A certificate that is no longer shown is not matched but still belongs to its POST.

    Of two POSTs days apart, the second certificate is not assigned again when the first one's has gone.
    """
    posts = [Post("d1", 0.0), Post("d2", 200.0 * HOUR)]
    found = paired(posts, [Shown(1, 1.0, is_gone=True), Shown(2, 200.0 * HOUR + 1)])
    assert [(each.post.delivery_id, each.certificate.id) for each in found] == [("d2", 2)]


def test_a_post_that_gets_no_match_still_blocks_inferences():
    """An earlier POST of a delivery that was sent again, or one in flight, can still explain a
    certificate.
    """
    [finding] = paired([Post("d", 0.0), Post("earlier", 9.0, is_open=False)], [Shown(7, 1.0)])
    assert (finding.kind, finding.posts) == (Kind.TIE, 2)


def test_known_owners_divide_a_class_by_learner():
    """Nobody's certificate is another learner's candidate."""
    posts = [Post("d1", 0.0, "a"), Post("d2", 0.0, "b")]
    found = paired(posts, [Shown(1, 1.0, "a"), Shown(2, 1.0, "a"), Shown(3, 1.0, "b"), Shown(4, 1.0, "c")])
    assert {each.post.delivery_id: (each.kind, each.candidates) for each in found} == {
        "d1": (Kind.LEFT_OVER, (1, 2)),
        "d2": (Kind.INFERRED, (3,)),
    }


def test_partly_known_owners_are_no_basis_for_inference():
    """If only some certificates have a known owner, the others are not inferred from that."""
    posts = [Post("d1", 0.0, "a"), Post("d2", 0.0, "b")]
    found = paired(posts, [Shown(1, 1.0, "a"), Shown(2, 1.0, "a"), Shown(3, 1.0)])
    assert {each.post.delivery_id: (each.kind, each.candidates) for each in found} == {
        "d1": (Kind.TIE, (1, 2, 3)),
        "d2": (Kind.TIE, (3,)),
    }


def test_an_erased_learner_can_own_any_certificate():
    """An erased owner contradicts no delivery."""
    posts = [Post("d1", 0.0, "a"), Post("d2", 0.0, None)]
    found = paired(posts, [Shown(1, 1.0, "a"), Shown(2, 1.0, "c")])
    assert {each.post.delivery_id: (each.kind, each.candidates) for each in found} == {
        "d1": (Kind.TIE, (1,)),
        "d2": (Kind.TIE, (1, 2)),
    }


def test_ten_candidates_are_named_and_all_are_counted():
    """At most ten candidates are named; their number counts all of them."""
    posts = [Post(f"d{number}", float(number)) for number in range(40)]
    finding = paired(posts, [Shown(number, 1.0) for number in range(1, 31)])[0]
    assert (finding.candidates, finding.candidate_count) == (tuple(range(1, 11)), 30)
    assert "10 and 20 more" in to_match_row(finding, exclusive=True).evidence


@pytest.mark.parametrize("exclusive", [True, False])
def test_a_large_class_of_equal_dates_takes_one_sweep(exclusive):
    """20,000 certificates and POSTs alike, all in each other's window: pairs would be 400 million."""
    posts = [Post(f"d{number:05}", float(number), "", True, True) for number in range(20_000)]
    found = paired(posts, [Shown(number, float(number)) for number in range(20_000)], exclusive=exclusive)
    assert {finding.kind for finding in found} == {Kind.SET_COMPLETE}


def _hours(*hours: tuple[int, float, float], samples: int = 5) -> list[HourOfSamples]:
    return [
        HourOfSamples(hour, samples, hour * HOUR, hour * HOUR + HOUR, least, most)
        for hour, least, most in hours
    ]


def test_a_calibrated_clock_narrows_the_window():
    """A clock offset known from matches by id narrows the window."""
    clock = Clock(_hours((10, 7200.0, 7201.0), (12, 7190.0, 7205.0)))
    assert clock.window(11.0 * HOUR) == Window(7190 - 300, 7205 + 300 + HOUR)


@pytest.mark.parametrize(
    ("hours", "sent"),
    [
        ([], 11.0),
        (_hours((10, 0.0, 1.0)), 11.5),
        (_hours((12, 0.0, 1.0)), 11.5),
        (_hours((10, 0.0, 1.0), (11, 0.0, 1.0)), 11.5),
        (_hours((10, 0.0, 1.0), (12, 0.0, 1.0), samples=2), 11.5),
        (_hours((10, 0.0, 1.0), (90, 0.0, 1.0)), 50.0),
    ],
    ids=[
        "nothing known",
        "nothing after",
        "nothing before",
        "nothing after it was stored late",
        "too few",
        "too long ago",
    ],
)
def test_an_unknown_clock_offset_makes_the_window_wide(hours, sent):
    """Unless matches by id bound the clock offset on both sides, the window is wide."""
    window = Clock(hours).window(sent * HOUR)
    assert (window.earliest, window.latest) == (-26 * HOUR, 27 * HOUR)


def test_a_post_without_a_time_blocks_all_inferences():
    """A POST whose time is lost can explain every certificate, as after the ledger was restored from a
    backup.
    """
    found = paired([Post("d1", None), Post("d2", 0.0)], [Shown(7, 1.0), Shown(8, 900.0 * HOUR)])
    assert {each.post.delivery_id: (each.kind, each.candidates) for each in found} == {
        "d1": (Kind.TIE, (7, 8)),
        "d2": (Kind.TIE, (7,)),
    }
