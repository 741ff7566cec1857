"""Nights on a virtual clock: no hour above the cap, nearly all of it used, nothing doubled, nothing lost.

A failure names its seed: ``SIMULATED_NIGHTS=1 SIMULATED_FROM=<seed>`` plays that night alone.
"""

from __future__ import annotations

import os
import time
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import pytest

from tests.simulation.night import MAX_UNKNOWN, Night, Scenario, Worker, World, check, play, used

FIRST = int(os.environ.get("SIMULATED_FROM", "0"))
SHORT = (*range(16), 33, 37, 43, 1994)
"""Seeds; the last ones have a server that takes less than it said, an hour filled to its brim, and a process
that dies while its workers wait for more."""
LONG = int(os.environ.get("SIMULATED_NIGHTS", "10000"))
A_LONG_TIME = 24 * 3600.0
ENOUGH = {1: 0.98, 3: 0.95}
"""Share of the allowance, by processes. Several that work on one queue draw some turns in vain at its end."""
REPORT = Path(__file__).parents[2] / ".springest" / "tests" / "simulated_nights.txt"


@dataclass
class Summary:
    """Totals of many nights, and the worst of them."""

    nights: int = 0
    posts: int = 0
    with_outage: int = 0
    deaths: int = 0
    most_unknown: tuple[int, int] = (0, -1)
    with_most_unknown: int = 0
    nearest_to_the_cap: tuple[float, int] = (0.0, -1)

    def add(self, night: Night) -> None:
        seed = night.scenario.seed
        self.nights += 1
        self.posts += len(night.server.posts)
        self.with_outage += bool(night.scenario.outages)
        self.deaths += sum(worker.dies is not None for worker in night.scenario.workers)
        self.most_unknown = max(self.most_unknown, (night.unknown, seed))
        self.with_most_unknown += night.unknown == MAX_UNKNOWN
        self.nearest_to_the_cap = max(self.nearest_to_the_cap, (night.peak / night.scenario.cap, seed))

    def describe(self, seconds: float) -> str:
        share, fullest = self.nearest_to_the_cap
        return (
            f"{self.nights} nights in {seconds:.0f} s, {self.posts} POSTs, {self.with_outage} with outages, "
            f"{self.deaths} deaths; fullest hour {share:.1%} of the cap (seed {fullest}); most unknown of a "
            f"night {self.most_unknown[0]} (seed {self.most_unknown[1]}), {MAX_UNKNOWN} in "
            f"{self.with_most_unknown} nights"
        )


def _play(world: World, seeds: Iterable[int]) -> Summary:
    report, began = Summary(), time.monotonic()
    for seed in seeds:
        night = play(world, Scenario.draw(seed))
        check(world, night)
        report.add(night)
        if report.nights % 100 == 0:
            REPORT.write_text(report.describe(time.monotonic() - began) + "\n", encoding="utf-8")
    REPORT.write_text(report.describe(time.monotonic() - began) + "\n", encoding="utf-8")
    return report


def test_nights_with_faults_outages_and_deaths(world: World) -> None:
    """The short form; each failure names the seed of its night."""
    report = _play(world, SHORT)
    assert (report.with_outage, report.deaths) > (0, 0)


@pytest.mark.long
@pytest.mark.timeout(12 * 3600)
def test_ten_thousand_nights(world: World) -> None:
    """The long form; ``SIMULATED_NIGHTS`` says how many."""
    report = _play(world, range(FIRST, FIRST + LONG))
    assert report.nights == LONG


def test_a_seed_gives_the_same_night_again(world: World) -> None:
    """Regardless of the machine's load: the same requests at the same times, and the same result."""
    scenario = Scenario.draw(2)
    first, two = play(world, scenario), play(world, scenario)
    check(world, two)
    assert first.server.arrivals == two.server.arrivals
    assert first.server.stored == two.server.stored


def _full_queues() -> Iterator[Scenario]:
    for latency in (0.1, 1.0, 10.0):
        for processes in (1, 3):
            yield Scenario(
                seed=0,
                cap=400,
                server_cap=400,
                rows=80,
                certifications=1,
                latency=latency,
                trouble=0.0,
                pauses=0.0,
                outages=(),
                workers=(Worker("night", 0.0, 12 // processes, A_LONG_TIME),) * processes,
                readers=0,
            )


@pytest.mark.parametrize(
    "scenario",
    list(_full_queues()),
    ids=lambda scenario: f"{scenario.latency:g} s, {len(scenario.workers)} processes",
)
def test_a_long_queue_uses_nearly_all_of_its_allowance(world: World, scenario: Scenario) -> None:
    """At any latency: processes use grants of certificates claimed by others for their next ones."""
    night = play(world, scenario)
    check(world, night)
    assert used(night) >= ENOUGH[len(scenario.workers)]


@pytest.mark.long
@pytest.mark.timeout(3600)
@pytest.mark.parametrize("latency", [0.1, 1.0, 5.0, 8.0])
def test_a_long_queue_uses_nearly_all_of_the_default_cap(world: World, latency: float) -> None:
    """3,800 an hour are one in 0.95 s: ten under way at once are enough up to nine seconds' latency."""
    scenario = replace(next(_full_queues()), cap=4_000, server_cap=4_000, rows=2_000, latency=latency)
    night = play(world, scenario)
    check(world, night)
    assert used(night) >= ENOUGH[1]
