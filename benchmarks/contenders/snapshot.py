"""This project's snapshot: read the whole list that Springest shows into the warehouse."""

from __future__ import annotations

import asyncio

from benchmarks.contenders.job import Job, measured, read_job
from benchmarks.contenders.whole_path import RUN, SECRET, site_of
from include.springest.identity import Pseudonyms
from include.springest.link import connected
from include.springest.reconcile.snapshot import take_snapshot


async def snapshot(job: Job) -> None:
    """Take one snapshot, which must be complete."""
    site = site_of(job)
    async with connected(job.warehouse_url, site) as link:
        report = await take_snapshot(
            link.engine, link.client, site=site.name, run_id=RUN, pseudonyms=Pseudonyms(SECRET)
        )
    if (report.rows, report.complete) != (job.count, True):
        raise RuntimeError(f"the list was not read whole: {report}")


def main() -> None:
    """Read the list."""
    job = read_job()
    with measured(job.count):
        asyncio.run(snapshot(job))


if __name__ == "__main__":
    main()
