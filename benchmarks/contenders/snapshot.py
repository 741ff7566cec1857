"""This project's snapshot: read the list that Springest shows into the warehouse."""

from __future__ import annotations

import asyncio

from benchmarks.contenders.job import RUN, Job, measured, read_job
from benchmarks.contenders.whole_path import SECRET, site_of
from springest.identity import Pseudonyms
from springest.session import open_session
from springest.snapshot.filters import Filters
from springest.snapshot.scope import Scope, plan
from springest.snapshot.snapshot import take_snapshot


async def snapshot(job: Job) -> None:
    """Take one snapshot, which must be complete when all of the list is read."""
    site = site_of(job)
    async with open_session(job.warehouse_url, site) as link:
        filters = Filters(link.engine, link.client, site)
        scope = await plan(link.engine, filters) if job.as_planned else Scope()
        report = await take_snapshot(
            link.engine,
            link.client,
            site=site.name,
            run_id=RUN,
            pseudonyms=Pseudonyms(SECRET),
            scope=scope,
            spent=filters.requests,
        )
    if scope.is_full and (report.rows, report.complete) != (job.count, True):
        raise RuntimeError(f"the list was not read whole: {report}")
    if job.as_planned and scope.is_full:
        raise RuntimeError(f"the whole list was read: {scope.why}")


def main() -> None:
    """Read the list."""
    job = read_job()
    with measured(job.count):
        asyncio.run(snapshot(job))


if __name__ == "__main__":
    main()
