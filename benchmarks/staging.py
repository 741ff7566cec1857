"""`make bench-staging`: staging from SQLite and PostgreSQL, beside pandas."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from statistics import median

from rich.console import Console

from benchmarks.contenders.job import Job, Result
from benchmarks.delivery import STATE, run
from benchmarks.report import machine, table, target, write
from benchmarks.world import Bench

ROUNDS = 5
COMPARED = 100_000
LARGEST = 1_000_000
WITH_DOCUMENTS = 10_000
CPU_MS = 0.2
GROWTH_MB = 20.0
CUTOVER = "2026-11-20"
"""After the trainings were completed, so that they are held without opening their documents."""

console = Console(stderr=True)


@dataclass(frozen=True, slots=True)
class Staged:
    """A first staging, and another run over the same rows."""

    name: str
    first: Result
    again: Result


def stage(job: Job, name: str) -> Staged:
    """Stage twice, each time in a process of its own."""
    return Staged(name, *(run("stage_whole", replace(job, run_id=run_id)) for run_id in ("first", "second")))


def main() -> None:
    """Measure, print, and write the page."""
    pandas: list[Result] = []
    rounds: list[Staged] = []
    with Bench.started(STATE) as bench:
        base = Job("http://127.0.0.1:1", COMPARED, bench.documents, cutover_date=CUTOVER)
        for number in range(ROUNDS):
            console.print(f"round {number + 1} of {ROUNDS}: {COMPARED:,} rows from PostgreSQL")
            job = bench.staging(base)
            pandas.append(run("stage_pandas", job))
            rounds.append(stage(job, f"{COMPARED:,} rows from PostgreSQL"))
        middle = sorted(rounds, key=lambda item: item.first.cpu_seconds)[ROUNDS // 2]
        console.print(f"{COMPARED:,} rows from SQLite")
        sqlite = stage(bench.staging(base, sqlite=True), f"{COMPARED:,} rows from SQLite")
        console.print(f"{LARGEST:,} rows from PostgreSQL")
        large = stage(bench.staging(replace(base, count=LARGEST)), f"{LARGEST:,} rows from PostgreSQL")
        console.print(f"{WITH_DOCUMENTS:,} rows with documents")
        ready = replace(base, count=WITH_DOCUMENTS, cutover_date=None)
        documents = stage(bench.staging(ready), f"{WITH_DOCUMENTS:,} rows with documents of 150 kB")
    rows = [_row(f"pandas: `read_sql`, `to_sql`, {COMPARED:,} rows from PostgreSQL", _median(pandas))]
    for item in (middle, sqlite, large, documents):
        rows += [_row(f"**this project**, {item.name}", item.first), _row("the same again", item.again)]
    head = ("staging", "seconds", "CPU ms per row", "peak MB")
    write("staging", "\n\n".join((machine(), table(head, rows), _targets(middle, large))))


def _row(name: str, result: Result) -> Sequence[str]:
    return name, f"{result.seconds:.1f}", f"{_cpu_ms(result):.3f}", f"{result.peak_mb:.0f}"


def _cpu_ms(result: Result) -> float:
    return 1_000 * result.cpu_seconds / result.count


def _median(results: Sequence[Result]) -> Result:
    return Result(
        results[0].count,
        *(median(getattr(item, name) for item in results) for name in ("seconds", "cpu_seconds", "peak_mb")),
    )


def _targets(compared: Staged, large: Staged) -> str:
    worst = max(_cpu_ms(item) for item in (compared.first, compared.again, large.first, large.again))
    growth = max(large.first.peak_mb, large.again.peak_mb) - max(
        compared.first.peak_mb, compared.again.peak_mb
    )
    return table(
        ("target", "measured", ""),
        [
            target(f"at most {CPU_MS} ms of CPU per row", worst <= CPU_MS, f"{worst:.3f} ms"),
            target(
                f"flat memory: {LARGEST:,} rows take at most {GROWTH_MB:.0f} MB more than {COMPARED:,}",
                growth <= GROWTH_MB,
                f"{growth:.0f} MB more",
            ),
        ],
    )


if __name__ == "__main__":
    main()
