"""Completed trainings to certificates at Springest, every night."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path

from airflow.sdk import DAG, Asset, CronDataIntervalTimetable, Param

from springest_provider.operators.springest import SpringestDeliverOperator, SpringestStageOperator
from springest_provider.retry_policy import RETRY_POLICY

DOC = """
### Springest: deliver

1. **stage** reads completed trainings from the source, checks every row, and writes what follows into the
   ledger `springest.delivery`. Bad rows are set aside with a reason and never stop the others.
2. **deliver** works through the queue. A certificate is POSTed **at most once**: whatever crashes, is
   cleared or runs twice. An outcome that can't be known becomes `unknown` and is never sent again by itself.

**The first day.** Nothing is sent by schedule before you have begun the site. Try a few first: trigger this
DAG with a window around one training, or with `limit`. Then trigger it with `begin_from`, the moment from
which on completed trainings are to be sent: this run and the nightly ones send them.

A scheduled or manual run reads on from where the last one came, so a missed night is caught up. A
**backfill** reads its own intervals; over days already delivered it sends nothing. To read a window of your
own, trigger the DAG with `window_start` and `window_end`.

*When it fails:* the log's last lines say what stands in the way and what to do. Clearing a task is always
safe. What became of each certificate is in `springest.certificate_reconciliation`.
"""
QUERY = "completed_trainings.sql"
DELIVERED = Asset("springest_deliveries")

with DAG(
    dag_id="springest_deliver",
    description="Completed trainings to certificates at Springest",
    doc_md=DOC,
    schedule=CronDataIntervalTimetable("0 1 * * *", timezone="UTC"),
    start_date=datetime(2026, 1, 1, tzinfo=UTC),
    catchup=False,
    max_active_runs=1,
    template_searchpath=[str(Path(__file__).parents[1] / "include" / "sql")],
    params={
        "window_start": Param(None, type=["null", "string"], description="Start of a window of your own"),
        "window_end": Param(None, type=["null", "string"], description="End of it, exclusive"),
        "limit": Param(
            None,
            type=["null", "integer"],
            minimum=1,
            description="Send at most so many; the rest stays queued",
        ),
        "begin_from": Param(
            None,
            type=["null", "string"],
            description="For a site that has not begun: send trainings from this moment on, tonight and from "
            "now on every night (with time zone, such as 2026-11-02T00:00:00+00:00)",
        ),
        "expected_certificates": Param(
            None, type=["null", "integer"], description="How many to expect, for a night larger than others"
        ),
        "deliver_until": Param("06:00", type="string", description="Time of day (UTC) at which to stop"),
    },
    default_args={"retries": 3, "retry_delay": timedelta(minutes=5), "retry_policy": RETRY_POLICY},
    tags=["springest"],
):
    stage = SpringestStageOperator(
        task_id="stage",
        sql=QUERY,
        window_start="{{ params.window_start or '' }}",
        window_end="{{ params.window_end or '' }}",
        begin_from="{{ params.begin_from or '' }}",
        limit="{{ params.limit or '' }}",
    )
    deliver = SpringestDeliverOperator(
        task_id="deliver",
        sql=QUERY,
        deliver_until="{{ params.deliver_until }}",
        expected_certificates="{{ params.expected_certificates or '' }}",
        limit="{{ params.limit or '' }}",
        outlets=[DELIVERED],
    )
    stage >> deliver
