"""The chaos' plans: repeatable, and all of it comes in the end."""

from __future__ import annotations

from collections import Counter

from sandbox.faults import Kind

from .plan import Strike, draw


def test_a_seed_always_gives_the_same_rounds():
    """Another seed gives others, so a seed and a number identify a round."""
    assert [draw(7, number) for number in range(20)] == [draw(7, number) for number in range(20)]
    assert len({draw(seed, 3) for seed in range(20)}) == 20


def test_every_strike_occurs_in_one_cycle_of_rounds():
    """As many rounds as there are strikes contain each of them, whatever the seed and the first round."""
    for seed in range(30):
        struck = {action.strike for number in range(len(Strike)) for action in draw(seed, number).actions}
        assert struck == set(Strike)


def test_the_server_fails_in_many_ways():
    """Over fifty rounds all kinds come that do not put strangers' certificates into the list."""
    kinds = Counter(fault.kind for number in range(50) for fault in draw(1, number).faults)
    assert set(Kind) - set(kinds) == {
        Kind.ECHO, Kind.SHIFT, Kind.SHIFT_FRONT, Kind.REMOVE, Kind.WRONG_TOTAL
    }  # fmt: skip


def test_a_plan_has_a_document_for_each_training():
    """Fresh and older ones."""
    for number in range(30):
        plan = draw(5, number)
        assert len(plan.sizes) == plan.fresh + plan.older
