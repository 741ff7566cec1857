"""What people write today: pandas `read_xml`, a merge, and `to_sql`. No history, no evidence, no checks."""

from __future__ import annotations

import pandas
from sqlalchemy import create_engine

from benchmarks.contenders.job import measured, read_job


def main() -> None:
    """Reconcile."""
    job = read_job()
    engine = create_engine(job.warehouse_url)
    with measured(job.count):
        listed = pandas.read_xml(job.documents, xpath="//certificate")
        ledger = pandas.read_sql_table("delivery", engine, schema="springest")
        merged = ledger.merge(listed, how="left", left_on="springest_certificate_id", right_on="id")
        merged["verification"] = merged["id"].map(lambda found: "awaiting" if found != found else "verified")
        kept = merged[["delivery_key", "springest_certificate_id", "verification", "status"]]
        kept.to_sql("reconciled_by_pandas", engine, if_exists="replace", index=False)


if __name__ == "__main__":
    main()
