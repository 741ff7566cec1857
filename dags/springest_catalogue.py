"""Read the certifications that Springest lists."""

from __future__ import annotations

from datetime import timedelta

from airflow.sdk import DAG, CronDataIntervalTimetable

from springest_provider.defaults import dag_of
from springest_provider.operators.catalogue import SpringestCatalogueOperator
from springest_provider.sites import sites

DOC = """
### Springest: catalogue

Reads the list of **certifications** into `springest.certification`, shortly before the nightly delivery. The
list determines whether a certificate may be sent, and whether it needs a `valid_until`.

*If it fails:* the log names the key or URL that is wrong. `springest_deliver` continues with the previous
night's list.
"""

for site in sites():
    with DAG(
        **dag_of(site, "springest_catalogue"),
        description="Read the certifications that Springest lists",
        doc_md=DOC,
        schedule=CronDataIntervalTimetable(site.schedule.catalogue, timezone=site.time_zone),
    ):
        SpringestCatalogueOperator(task_id="catalogue", execution_timeout=timedelta(minutes=30))
