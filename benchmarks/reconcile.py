"""`make bench-reconcile`: this project's reconciliation beside pandas and a bare COPY."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from statistics import median
from typing import Any

from rich.console import Console

from benchmarks.contenders.job import Job, Result
from benchmarks.delivery import STATE, run
from benchmarks.ledger import fill, write_list
from benchmarks.report import machine, table, target, write
from benchmarks.world import Bench, Server

SIZES = (10_000, 100_000, 1_000_000)
COMPARED = 100_000
ROUNDS = 5
PAGE = 1_000
TIMES_THE_FLOOR = 2.5
TIMES_PANDAS = 2.0
TIMES_A_ROW = 1.3
SHARE_OF_THE_FIRST = 1 / 3
MEMORY_MB = 300.0
STEPS = ("snapshot", "match and compute", "check and publish")

console = Console(stderr=True)


@dataclass(frozen=True, slots=True)
class Night:
    """A first reconciliation of a ledger, and others with nothing new.

    :param again: as each night, with the new certificates only.
    :param whole: with the whole list, as once a week.
    """

    first: Result
    again: Result
    whole: Result


@dataclass(frozen=True, slots=True)
class Comparison:
    """All contenders over the same ledger and list, in one round."""

    floor: Result
    pandas: Result
    night: Night


def reconcile(url: str, lines: Path, listed: int) -> Night:
    """Reconcile three times."""
    with Server.started(listed=lines) as server:
        job = Job(server.url, listed, "", warehouse_url=url, page_size=PAGE)
        planned = replace(job, as_planned=True)
        return Night(*(run("reconcile_whole", item) for item in (job, planned, job)))


def compare(bench: Bench, count: int) -> Comparison:
    """Let each contender reconcile the same ledger, in tables of its own."""
    document, lines, listed = write_list(STATE / "lists", count)
    url = bench.warehouse()
    fill(url, count)
    others = [
        run(name, Job("", count, str(document), warehouse_url=url))
        for name in ("reconcile_floor", "reconcile_pandas")
    ]
    return Comparison(*others, reconcile(url, lines, listed))


def main() -> None:
    """Measure, print, and write the page."""
    rounds: list[Comparison] = []
    nights: dict[int, Night] = {}
    with Bench.started(STATE) as bench:
        for number in range(ROUNDS):
            console.print(f"round {number + 1} of {ROUNDS}: all contenders, {COMPARED:,} deliveries")
            rounds.append(compare(bench, COMPARED))
        for count in SIZES:
            if count != COMPARED:
                console.print(f"{count:,} deliveries")
                nights[count] = _night(bench, count)
    nights[COMPARED] = _middle([item.night for item in rounds])
    floor = median(item.floor.seconds for item in rounds)
    pandas = median(item.pandas.seconds for item in rounds)
    write(
        "reconcile",
        "\n\n".join((machine(), _side_by_side(rounds), _sizes(nights), _targets(nights, floor, pandas))),
    )


def _night(bench: Bench, count: int) -> Night:
    _, lines, listed = write_list(STATE / "lists", count)
    url = bench.warehouse()
    fill(url, count)
    return reconcile(url, lines, listed)


def _middle(nights: list[Night]) -> Night:
    ordered = sorted(nights, key=lambda row: row.first.seconds)
    return ordered[len(ordered) // 2]


def _side_by_side(rounds: list[Comparison]) -> str:
    def row(name: str, of: Any) -> tuple[str, ...]:
        results: list[Result] = [of(item) for item in rounds]
        return (
            name,
            f"{median(result.seconds for result in results):.2f}",
            f"{median(result.cpu_seconds for result in results):.2f}",
            f"{median(result.peak_mb for result in results):.0f}",
        )

    head = (f"{COMPARED:,} deliveries, median of {ROUNDS} rounds", "seconds", "CPU of the worker", "peak MB")
    return table(
        head,
        [
            row("floor: bare `iterparse`, COPY, one upsert", lambda item: item.floor),
            row("pandas: `read_xml`, `merge`, `to_sql`", lambda item: item.pandas),
            row("**this project**, first time", lambda item: item.night.first),
            row("**this project**, again, new certificates only", lambda item: item.night.again),
            row("**this project**, again, the whole list", lambda item: item.night.whole),
        ],
    )


def _sizes(nights: dict[int, Night]) -> str:
    rows = []
    for count in SIZES:
        night = nights[count]
        for name, item in (
            ("first", night.first),
            ("again", night.again),
            ("again, whole list", night.whole),
        ):
            rows.append(
                (
                    f"{count:,} deliveries, {name}",
                    f"{item.seconds:.2f}",
                    *(f"{item.steps[step]:.2f}" for step in STEPS),
                    f"{1_000_000 * item.seconds / count:.0f}",
                    f"{item.peak_mb:.0f}",
                )
            )
    return table(("size", "seconds", *STEPS, "µs per row", "peak MB"), rows)


def _targets(nights: dict[int, Night], floor: float, pandas: float) -> str:
    first = nights[COMPARED].first.seconds
    largest = max(SIZES)
    a_row = (nights[largest].first.seconds / largest) / (first / COMPARED)
    again = {count: night.again.seconds / night.first.seconds for count, night in nights.items()}
    whole = {count: night.whole.seconds / night.first.seconds for count, night in nights.items()}
    peak = max(item.peak_mb for night in nights.values() for item in (night.first, night.again, night.whole))
    return table(
        ("target", "measured", ""),
        [
            target(
                f"within {TIMES_THE_FLOOR} times the floor",
                first <= TIMES_THE_FLOOR * floor,
                f"{first / floor:.2f} times",
            ),
            target(
                f"at least {TIMES_PANDAS:.0f} times as fast as pandas",
                pandas >= TIMES_PANDAS * first,
                f"{pandas / first:.2f} times",
            ),
            target(
                f"a row at {largest:,} costs at most {TIMES_A_ROW} times what it costs at {COMPARED:,}",
                a_row <= TIMES_A_ROW,
                f"{a_row:.2f} times",
            ),
            target(f"worker below {MEMORY_MB:.0f} MB throughout", peak < MEMORY_MB, f"{peak:.0f} MB"),
            target(
                "again with nothing new: at most a third of the first time",
                all(share <= SHARE_OF_THE_FIRST for share in again.values()),
                ", ".join(f"{again[count]:.2f} at {count:,}" for count in SIZES),
            ),
            target(
                "the same with the whole list read again",
                all(share <= SHARE_OF_THE_FIRST for share in whole.values()),
                ", ".join(f"{whole[count]:.2f} at {count:,}" for count in SIZES),
            ),
        ],
    )


if __name__ == "__main__":
    main()
