"""`make scale`: a night of one site in a warehouse of many, for docs/scale.md."""

from __future__ import annotations

import argparse
import time
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

from rich.console import Console
from sqlalchemy import Engine, create_engine, text

from benchmarks.contenders.job import CERTIFICATION, Job
from benchmarks.contenders.whole_path import site_of
from benchmarks.delivery import STATE, run
from benchmarks.report import SCALE_PAGE, machine, table, write
from benchmarks.world import Bench, Server, fill_source
from demo.history import fill
from springest.api.models import Certification
from springest.catalogue import store_catalogue
from springest.rate_limit.limiter import SECONDS_PER_HOUR, Pace
from springest.review.status import look

SITE = "default"
PER_NIGHT = 500
NIGHT = 2_000
CAP = 4_000
KEPT = timedelta(days=200)

console = Console(stderr=True)
_TABLES = text(
    "SELECT relname, pg_relation_size(oid), pg_indexes_size(oid) FROM pg_class"
    " WHERE relnamespace = 'springest'::regnamespace AND relkind = 'r' AND pg_relation_size(oid) > 10000000"
    " ORDER BY pg_total_relation_size(oid) DESC"
)
_LISTED = text(
    "SELECT springest_certificate_id, certification_id, valid_from, created_at"
    " FROM springest.remote_certificate WHERE site = :site ORDER BY springest_certificate_id"
)
_FORGET_HOST = text("DELETE FROM springest.site_identity WHERE site = :site")
_OLD_RUNS = text(
    "WITH old AS ("
    " DELETE FROM springest.staging_run"
    " WHERE committed_at < :before AND window_end > window_start  -- not the beginning of a site\n"
    " RETURNING site, run_id"
    ") DELETE FROM springest.staged_row AS row USING old"
    " WHERE row.site = old.site AND row.run_id = old.run_id"
)


@dataclass(frozen=True, slots=True)
class Step:
    """A step of one site's night, timed in seconds."""

    name: str
    seconds: float
    note: str = ""


def main() -> None:
    """Fill, measure, print, and write the page."""
    options = _options()
    each = options.certificates // options.sites
    with Bench.started(options.folder) as bench:
        url = bench.postgres.url("warehouse") if options.filled else bench.warehouse()
        engine = create_engine(url)
        if not options.filled:
            _fill(engine, options.sites, each)
        sizes = _sizes(engine, options.certificates)
        steps = [
            _status(engine),
            _reconcile(bench, engine, url),
            *_deliver(bench, engine, url),
            _prune(engine),
        ]
        engine.dispose()
    head = f"{options.sites} sites of {each:,} certificates"
    nights = table((head, "seconds", ""), [(step.name, f"{step.seconds:.2f}", step.note) for step in steps])
    write("scale", "\n\n".join((machine(), sizes, nights, _drain(each, options.certificates))), SCALE_PAGE)


def _fill(engine: Engine, sites: int, each: int) -> None:
    names = [SITE, *(f"site-{number}" for number in range(2, sites + 1))]
    for name in names:
        console.print(f"{name}: {each:,} certificates")
        fill(engine, rows=each, per_night=PER_NIGHT, site=name, analyze=name == names[-1])


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--sites", type=int, default=50)
    parser.add_argument("--filled", action="store_true", help="measure what an earlier run filled")
    parser.add_argument("--folder", type=Path, default=STATE)
    parser.add_argument("--certificates", type=int, default=10_000_000)
    return parser.parse_args()


def _sizes(engine: Engine, certificates: int) -> str:
    with engine.connect() as connection:
        found = connection.execute(_TABLES).all()
    rows = [
        (f"`{name}`", _gb(own), _gb(indexes), f"{(own + indexes) / certificates:,.0f}")
        for name, own, indexes in found
    ]
    total, indexes = sum(row[1] for row in found), sum(row[2] for row in found)
    rows.append(("all", _gb(total), _gb(indexes), f"{(total + indexes) / certificates:,.0f}"))
    return table((f"{certificates:,} certificates", "table GB", "indexes GB", "bytes per certificate"), rows)


def _gb(size: int) -> str:
    return f"{size / 1e9:.2f}"


def _status(engine: Engine) -> Step:
    started = time.perf_counter()
    look(engine, site_of(Job("http://127.0.0.1:1", 0, "")))
    return Step("status of a site", time.perf_counter() - started)


def _reconcile(bench: Bench, engine: Engine, url: str) -> Step:
    lines, listed = _write_list(engine, bench.folder / "scale.lines")
    with Server.started(listed=lines) as server:
        job = Job(server.url, listed, "", warehouse_url=url, page_size=1_000)
        run("reconcile_whole", job)  # the invented history has no snapshot of its own yet
        whole = run("reconcile_whole", job)
    steps = ", ".join(f"{name} {seconds:.1f}" for name, seconds in whole.steps.items())
    return Step(
        "reconcile it, whole list", whole.seconds, f"{listed:,} listed: {steps}; {whole.peak_mb:.0f} MB"
    )


def _write_list(engine: Engine, path: Path) -> tuple[Path, int]:
    listed = 0
    with path.open("w", encoding="utf-8") as lines, engine.connect() as connection:
        for number, certification, day, created in connection.execute(_LISTED, {"site": SITE}):
            lines.write(
                f'<certificate><id type="integer">{number}</id>'
                f'<certification-id type="integer">{certification}</certification-id>'
                f'<valid-from type="date">{day}</valid-from><valid-until type="date" nil="true"/>'
                f'<status>verified</status><created-at type="datetime">{created:%Y-%m-%dT%H:%M:%SZ}'
                "</created-at></certificate>\n"
            )
            listed += 1
    return path, listed


def _deliver(bench: Bench, engine: Engine, url: str) -> Sequence[Step]:
    with engine.begin() as connection:
        listed = [Certification(CERTIFICATION, "Project Control", None, requires_valid_until=False)]
        store_catalogue(connection, SITE, listed, complete=False, run_id="scale")
        connection.execute(_FORGET_HOST, {"site": SITE})
    with Server.started() as server:
        bench.postgres.drop_database("source")
        source_url = bench.postgres.create_database("source")
        run_id = f"scale-{datetime.now(UTC):%Y%m%dT%H%M%S}"
        job = bench.job(server, NIGHT, source_url=source_url, warehouse_url=url, at_once=10, run_id=run_id)
        fill_source(job, prefix=f"{run_id}-")
        staged = run("stage_whole", job)
        sent = run("whole_path", job)
    return (
        Step(f"stage a night of {NIGHT:,}", staged.seconds, f"{staged.peak_mb:.0f} MB"),
        Step(
            "send it, without a cap",
            sent.seconds,
            f"{NIGHT / sent.seconds:.0f} a second, {sent.peak_mb:.0f} MB",
        ),
    )


def _prune(engine: Engine) -> Step:
    started = time.perf_counter()
    with engine.begin() as connection:
        gone = connection.execute(_OLD_RUNS, {"before": datetime.now(UTC) - KEPT}).rowcount
    with engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
        connection.execute(text("VACUUM ANALYZE springest.staged_row, springest.staging_run"))
    seconds = time.perf_counter() - started
    return Step("delete the rows of runs older than 200 days", seconds, f"{gone:,} rows, with VACUUM")


def _drain(each: int, certificates: int) -> str:
    an_hour = SECONDS_PER_HOUR / Pace.under(CAP).interval
    return table(
        ("queue", f"hours at {an_hour:,.0f} an hour"),
        [
            (f"{each:,} certificates of one site", f"{each / an_hour:,.0f}"),
            (f"{certificates:,} certificates, each site with its own key", f"{each / an_hour:,.0f}"),
            (f"{certificates:,} certificates under one key", f"{certificates / an_hour:,.0f}"),
        ],
    )


if __name__ == "__main__":
    main()
