"""This project's reconciliation: snapshot, match, check, publish with history and evidence."""

from __future__ import annotations

import asyncio

from sqlalchemy import create_engine

from benchmarks.contenders.job import measured, read_job
from benchmarks.contenders.snapshot import snapshot
from benchmarks.contenders.whole_path import RUN, site_of
from include.springest.reconcile.publish import publish


def main() -> None:
    """Reconcile."""
    job = read_job()
    engine = create_engine(job.warehouse_url)
    with measured(job.count):
        asyncio.run(snapshot(job))
        publish(engine, site=site_of(job), run_id=RUN)
    engine.dispose()


if __name__ == "__main__":
    main()
