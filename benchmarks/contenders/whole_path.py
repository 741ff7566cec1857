"""This project's whole path: look up, check, hash, wait for a turn, claim, POST, record."""

from __future__ import annotations

import asyncio
from pathlib import Path

from sqlalchemy import Engine, create_engine

from benchmarks.contenders.job import Job, measured, read_job
from springest.delivery.attempt_watermark import AttemptWatermark, WatermarkStore
from springest.delivery.context import DeliveryContext
from springest.delivery.repository import DeliveryRepository
from springest.delivery.run import DeliveryRun, DeliverySettings
from springest.documents.opener import DocumentStore
from springest.identity import Pseudonyms
from springest.session import open_session
from springest.site import Site
from springest.source.reader import SourceReader
from springest.staging.stage import Stager

QUERIES = Path(__file__).parents[2] / "include" / "sql"
SECRET = "a secret for benchmarks only, long enough"  # noqa: S105 - of no use anywhere


class MemoryKeeper:
    """Keeps the number in memory, which costs nothing."""

    number: int | None = None

    def read(self) -> int | None:
        """Return the number."""
        return self.number

    def write(self, attempt_id: int) -> None:
        """Keep the number."""
        self.number = attempt_id


def site_of(job: Job) -> Site:
    """Return the site that is posted to, uncapped."""
    cutover = {"cutover_date": job.cutover_date} if job.cutover_date else {}
    return Site.from_connection(
        name="default",
        host=job.base_url,
        password="benchmark",  # noqa: S106
        extra={"requests_per_hour": 1_000_000_000, "page_size": job.page_size, **cutover},
    )


def query_of(job: Job) -> str:
    """Return the query of completed trainings for the source's database."""
    kind = "_sqlite" if job.source_url.startswith("sqlite") else ""
    return (QUERIES / f"completed_trainings{kind}.sql").read_text(encoding="utf-8")


def stager_of(job: Job, engine: Engine, source: Engine) -> Stager:
    """Return what stages the source's rows."""
    return Stager(
        engine,
        source=SourceReader(source, query=query_of(job)),
        site=site_of(job),
        pseudonyms=Pseudonyms(SECRET),
        documents=DocumentStore.under([job.documents]),
    )


async def deliver(job: Job, stager: Stager, keeper: WatermarkStore) -> None:
    """
    Work through the queue as the operator does.

    :param keeper: keeps the number of each attempt outside the warehouse.
    """
    site = site_of(job)
    async with open_session(job.warehouse_url, site, at_once=job.at_once) as link:
        worker = DeliveryContext(
            site=site,
            run_id=job.run_id,
            ledger=DeliveryRepository(link.engine, site=site.name, run_id=job.run_id, worker="benchmark"),
            limiter=link.limiter,
            client=link.client,
            stager=stager,
            documents=DocumentStore.under([job.documents]),
            watermark=AttemptWatermark(keeper),
        )
        report = await DeliveryRun(
            worker, settings=DeliverySettings(concurrency=job.at_once, expected=job.count)
        ).run()
    if (report.accepted, report.left) != (job.count, 0):
        raise RuntimeError(f"not all were delivered: {report}")


def measure(job: Job, keeper: WatermarkStore) -> None:
    """Deliver what is in the queue, and print what that took."""
    engine, source = create_engine(job.warehouse_url), create_engine(job.source_url)
    stager = stager_of(job, engine, source)
    with measured(job.count):
        asyncio.run(deliver(job, stager, keeper))


def main() -> None:
    """Deliver what is in the queue, outside Airflow."""
    measure(read_job(), MemoryKeeper())


if __name__ == "__main__":
    main()
