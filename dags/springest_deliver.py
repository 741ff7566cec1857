"""Deliver certificates of completed trainings to Springest, every night."""

from __future__ import annotations

from airflow.sdk import DAG, Asset, CronDataIntervalTimetable

from springest_provider.defaults import dag_of, deadline, source_of
from springest_provider.deliver_params import given_to_both, params_of
from springest_provider.operators.deliver import SpringestDeliverOperator, SpringestStageOperator
from springest_provider.sites import sites

DOC = """
### Springest: deliver

1. **stage** reads completed trainings from the source, checks every row, and writes one delivery per row into
   the ledger, `springest.delivery`. Bad rows are set aside with a reason and never stop the others.
2. **deliver** works through the queue. Each certificate is posted **at most once**, even if a task
   crashes, is cleared or runs twice. If an outcome is uncertain, the delivery becomes `unknown` and is never
   sent again automatically.

**The first day.** Nothing is sent by schedule until you begin the site. Try a few certificates first: trigger
this DAG with a window around one training, or with `limit`. Then trigger it with `begin_from`: this run and
all later nights send trainings that changed at or after that moment.

A scheduled or manual run continues from the previous run's watermark, so a missed night is caught up. A
**backfill** reads its own intervals; over days already delivered it sends nothing. To read any other window,
trigger the DAG with `window_start` and `window_end`. With `dry_run`, it only says what it would do.

*If it fails:* the last lines of the log name the problem and the remedy. Clearing a task is always safe. The
status of each certificate is in `springest.certificate_reconciliation`.
"""

for site in sites():
    with DAG(
        **dag_of(site, "springest_deliver"),
        description="Deliver certificates of completed trainings to Springest",
        doc_md=DOC,
        schedule=CronDataIntervalTimetable(site.schedule.deliver, timezone=site.time_zone),
        deadline=deadline(site, site.deadline_hours.deliver),
        params=params_of(site),
    ):
        stage = SpringestStageOperator(
            task_id="stage",
            window_start="{{ params.window_start or '' }}",
            window_end="{{ params.window_end or '' }}",
            begin_from="{{ params.begin_from or '' }}",
            look_back=site.look_back,
            **source_of(site),
            **given_to_both(site),
        )
        deliver = SpringestDeliverOperator(
            task_id="deliver",
            **source_of(site),
            **given_to_both(site),
            outlets=[Asset(site.named("springest_deliveries"))],
        )
        stage >> deliver
