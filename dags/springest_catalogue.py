"""Read the certifications that Springest lists."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from airflow.sdk import DAG, CronDataIntervalTimetable

from springest_provider.defaults import DEFAULT_ARGS
from springest_provider.operators.catalogue import SpringestCatalogueOperator

DOC = """
### Springest: catalogue

Reads the list of **certifications** into `springest.certification`, shortly before the nightly delivery. The
list determines whether a certificate may be sent, and whether it needs a `valid_until`.

*If it fails:* the log names the key or URL that is wrong. `springest_deliver` continues with the previous
night's list.
"""

with DAG(
    dag_id="springest_catalogue",
    description="Read the certifications that Springest lists",
    doc_md=DOC,
    schedule=CronDataIntervalTimetable("45 0 * * *", timezone="UTC"),
    start_date=datetime(2026, 1, 1, tzinfo=UTC),
    catchup=False,
    max_active_runs=1,
    default_args=DEFAULT_ARGS,
    tags=["springest"],
):
    SpringestCatalogueOperator(task_id="catalogue", execution_timeout=timedelta(minutes=30))
