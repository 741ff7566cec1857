"""The same rows with pandas: ``read_sql`` and ``to_sql``, without checks, ledger or documents."""

from __future__ import annotations

import pandas
from sqlalchemy import create_engine, text

from benchmarks.contenders.job import measured, read_job
from benchmarks.contenders.whole_path import query_of
from springest.source.values import EARLIEST, LATEST
from springest.source.window import Window


def main() -> None:
    """Copy all rows of the source into a table of the warehouse."""
    job = read_job()
    warehouse, source = create_engine(job.warehouse_url), create_engine(job.source_url)
    query = text(query_of(job))
    with measured(job.count), source.connect() as reading, warehouse.begin() as writing:
        rows = pandas.read_sql(query, reading, params=Window(EARLIEST, LATEST).bounds)
        rows.to_sql("staged_by_pandas", writing, if_exists="replace", index=False)
    if len(rows) != job.count:
        raise RuntimeError(f"{len(rows)} rows of {job.count}")


if __name__ == "__main__":
    main()
