"""This project's staging: read, check and pseudonymise the rows, and write them into the ledger."""

from __future__ import annotations

from sqlalchemy import create_engine

from benchmarks.contenders.job import measured, read_job
from benchmarks.contenders.whole_path import stager_of


def main() -> None:
    """Stage all rows of the source as a run of their own."""
    job = read_job()
    warehouse, source = create_engine(job.warehouse_url), create_engine(job.source_url)
    stager = stager_of(job, warehouse, source)
    with measured(job.count):
        report = stager.stage(job.run_id)
    if report.rows != job.count:
        raise RuntimeError(f"not all were staged: {report}")


if __name__ == "__main__":
    main()
