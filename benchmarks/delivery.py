"""`make bench-delivery`: this project's whole path beside what people write instead."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from statistics import median

from rich.console import Console

from benchmarks import in_airflow
from benchmarks.contenders.job import Job, Result
from benchmarks.report import machine, table, target, write
from benchmarks.world import Bench, Server, write_documents

PROJECT = Path(__file__).parents[1]
STATE = PROJECT / ".springest" / "bench"
CERTIFICATES = 3_000
ROUNDS = 5
MAPPED = 100
QUEUES = (1_000, 10_000, 100_000)
LISTS = (10_000, 1_000_000)
PAGE = 100
LARGE = 200_000_000
CPU_MS = 2.0
MEMORY_MB = 250.0
TIMES_THE_MAPPED = 300

console = Console(stderr=True)


@dataclass(frozen=True, slots=True)
class Contender:
    """Something that posts certificates."""

    name: str
    module: str
    at_once: int
    has_ledger: bool = False


CONTENDERS = (
    Contender("`requests` loop, 1 thread, no ledger", "requests_loop", 1),
    Contender("`requests` loop, 8 threads, no ledger", "requests_loop", 8),
    Contender("floor: `aiohttp`, 8 at once, bodies ready in memory", "aiohttp_floor", 8),
    Contender("**this project**, whole path, 10 at once", "whole_path", 10, has_ledger=True),
)
THREADS, OURS = CONTENDERS[1], CONTENDERS[3]


def run(module: str, job: Job) -> Result:
    """Run a contender in a process of its own."""
    command = [sys.executable, "-m", f"benchmarks.contenders.{module}", json.dumps(asdict(job))]
    done = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True, cwd=PROJECT)
    return Result(**json.loads(done.stdout.splitlines()[-1]))


def measure(bench: Bench, contender: Contender, count: int, **values: str) -> tuple[Result, int]:
    """Measure a contender over so many certificates; return the requests it made as well."""
    with Server.started() as server:
        job = bench.job(server, count, at_once=contender.at_once, **values)
        if contender.has_ledger:
            job = bench.queue(job)
        result = run(contender.module, job)
    return result, server.posts + server.gets


def side_by_side(bench: Bench) -> tuple[str, dict[str, Result]]:
    """Measure all contenders in turns, so that what disturbs one disturbs the others."""
    results: dict[str, list[tuple[Result, int]]] = {contender.name: [] for contender in CONTENDERS}
    for number in range(ROUNDS):
        for contender in CONTENDERS:
            console.print(f"round {number + 1} of {ROUNDS}: {contender.name}")
            results[contender.name].append(measure(bench, contender, CERTIFICATES))
    middle = {name: _median([result for result, _ in runs]) for name, runs in results.items()}
    rows = [
        _row(name, result, requests=results[name][0][1], tasks="1" if name == OURS.name else "-")
        for name, result in middle.items()
    ]
    console.print("this project, in a task of Airflow")
    noted = in_airflow.whole_path_by_an_executor(bench, CERTIFICATES, at_once=OURS.at_once)
    rows.append(
        _row("**this project** in a task, attempts in a Variable", noted, requests=noted.count, tasks="1")
    )
    console.print("mapped operators, in one process")
    alone = in_airflow.mapped_in_one_process(bench, MAPPED)
    console.print("mapped operators, by an executor")
    executed = in_airflow.mapped_by_an_executor(bench, MAPPED)
    for how, result in (("`airflow dags test`, one process", alone), ("LocalExecutor", executed)):
        rows.append(
            _row(
                f"a DAG of {MAPPED} mapped `HttpOperator`s, {how}",
                result,
                requests=result.count,
                tasks=str(MAPPED),
            )
        )
    head = (
        f"{CERTIFICATES:,} certificates, median of {ROUNDS} rounds",
        "certificates/s",
        "CPU ms each",
        "API requests",
        "task instances",
        "peak MB",
    )
    return table(head, rows), {**middle, "alone": alone, "executed": executed}


def _row(name: str, result: Result, *, requests: int, tasks: str) -> Sequence[str]:
    rate, cpu_ms = result.count / result.seconds, 1000 * result.cpu_seconds / result.count
    return (
        name,
        f"{rate:,.0f}" if rate >= 100 else f"{rate:,.1f}",
        f"{cpu_ms:,.0f}" if cpu_ms >= 10 else f"{cpu_ms:.2f}",
        f"{requests:,}",
        tasks,
        f"{result.peak_mb:,.0f}",
    )


def _median(results: list[Result]) -> Result:
    def middle(of: Callable[[Result], float]) -> float:
        return median(of(result) for result in results)

    return Result(
        count=results[0].count,
        seconds=middle(lambda row: row.seconds),
        cpu_seconds=middle(lambda row: row.cpu_seconds),
        peak_mb=middle(lambda row: row.peak_mb),
    )


def memory(bench: Bench) -> tuple[str, list[float]]:
    """Measure the largest resident size over queues of different lengths, and over one large document."""
    rows, peaks = [], []
    for count in QUEUES:
        console.print(f"a queue of {count:,}")
        result, _ = measure(bench, OURS, count)
        peaks.append(result.peak_mb)
        rows.append(
            (
                f"{count:,} queued certificates of 150 kB",
                f"{result.count / result.seconds:,.0f}",
                f"{result.peak_mb:.0f}",
            )
        )
    console.print("a large document")
    write_documents(STATE / "large", count=1, size=LARGE)
    result, _ = measure(bench, OURS, 1, documents=str(STATE / "large"))
    peaks.append(result.peak_mb)
    rows.append((f"1 certificate of {LARGE / 1_000_000:.0f} MB", "-", f"{result.peak_mb:.0f}"))
    return table(("queue", "certificates/s", "peak MB"), rows), peaks


def requests(bench: Bench) -> tuple[str, list[tuple[int, int]]]:
    """Count the API requests of a delivery beside lists of different lengths."""
    rows, counted = [], []
    deliveries = QUEUES[0]
    _, posts = measure(bench, OURS, deliveries)
    for listed in LISTS:
        console.print(f"a list of {listed:,}")
        with Server.started(listed=listed) as server:
            job = bench.job(server, listed, warehouse_url=bench.warehouse())
            result = run("snapshot", job)
        most = int(deliveries + 1.05 * -(-listed // PAGE) + 5)
        counted.append((posts + server.gets, most))
        rows.append(
            (
                f"{deliveries:,} deliveries beside {listed:,} listed certificates",
                f"{posts + server.gets:,}",
                f"{most:,}",
                f"{result.count / result.seconds:,.0f}",
                f"{result.peak_mb:.0f}",
            )
        )
    head = ("nights", "API requests", "limit", "rows read/s", "peak MB of the snapshot")
    return table(head, rows), counted


def main() -> None:
    """Measure, print, and write the page."""
    with Bench.started(STATE) as bench:
        speed, results = side_by_side(bench)
        sizes, peaks = memory(bench)
        asked, counted = requests(bench)
    ours, threads = results[OURS.name], results[THREADS.name]
    against_threads = threads.seconds / ours.seconds
    cpu = 1000 * ours.cpu_seconds / ours.count
    against_mapped = results["executed"].cpu_seconds / MAPPED / (ours.cpu_seconds / ours.count)
    targets = table(
        ("target", "measured", ""),
        [
            target(
                "at least as fast as the `requests` loop with 8 threads",
                against_threads >= 1,
                f"{against_threads:.2f} times",
            ),
            target(f"at most {CPU_MS:.0f} ms of CPU per certificate", cpu <= CPU_MS, f"{cpu:.2f} ms"),
            target(
                f"at least {TIMES_THE_MAPPED} times the certificates per CPU second of the mapped DAG",
                against_mapped >= TIMES_THE_MAPPED,
                f"{against_mapped:,.0f} times",
            ),
            target(
                f"below {MEMORY_MB:.0f} MB, whatever the length of the queue and the size of the document",
                max(peaks) < MEMORY_MB,
                f"{min(peaks):.0f} to {max(peaks):.0f} MB",
            ),
            target(
                "API requests at most N + 1.05 x pages + 5",
                all(made <= most for made, most in counted),
                ", ".join(f"{made:,} of {most:,}" for made, most in counted),
            ),
        ],
    )
    write("delivery", "\n\n".join((machine(), speed, sizes, asked, targets)))


if __name__ == "__main__":
    main()
