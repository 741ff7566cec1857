"""This project's reconciliation: snapshot, match, check, publish with history and evidence."""

from __future__ import annotations

import asyncio

from sqlalchemy import create_engine

from benchmarks.contenders.job import RUN, measured, read_job
from benchmarks.contenders.snapshot import snapshot
from benchmarks.contenders.whole_path import site_of
from springest.verdicts.publish import publish_pending, reconcile


def main() -> None:
    """Reconcile."""
    job = read_job()
    engine, site = create_engine(job.warehouse_url), site_of(job)
    with measured(job.count) as steps:
        with steps.timed("snapshot"):
            asyncio.run(snapshot(job))
        with steps.timed("match and compute"):
            reconcile(engine, site=site, run_id=RUN)
        with steps.timed("check and publish"):
            publish_pending(engine, site=site, run_id=RUN)
    engine.dispose()


if __name__ == "__main__":
    main()
