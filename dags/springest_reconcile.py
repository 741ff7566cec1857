"""What became of each certificate."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path

from airflow.sdk import DAG, Asset, AssetOrTimeSchedule, CronTriggerTimetable

from springest_provider.operators.publishing import (
    SpringestColumnCheckOperator,
    SpringestPublishOperator,
    SpringestTableCheckOperator,
)
from springest_provider.operators.springest_reconcile import (
    SpringestOwnersOperator,
    SpringestReconcileOperator,
    SpringestSnapshotOperator,
)
from springest_provider.retry_policy import RETRY_POLICY

DOC = """
### Springest: reconcile

1. **snapshot** reads the list of certificates that Springest shows: in full, or what is new in a long one.
2. **owners** asks Springest whose certificates they are where nothing else tells them apart, if the site
   keeps to a filter by address. Addresses are read from the source for it and not kept.
3. **reconcile** matches all that with the ledger and works out what became of each certificate. `verified` is
   said only with proof; weaker matches are called `inferred` or `ambiguous`.
4. **check_columns** and **check_table** look at every verdict that is new or changed. What fails blocks the
   publication; the log names the rows and the remedy, and so does `springest.failed_check`.
5. **publish** makes the verdicts and their history what analysts read, in one transaction. DAGs that build on
   them can be scheduled on the asset `springest_reconciliations`.

It runs after each delivery, and every night in any case: certificates become visible when an employee of
Springest verifies their certification, whenever that is.

*When it fails:* the last good state stays readable. Clearing a task is always safe.
"""

with DAG(
    dag_id="springest_reconcile",
    description="What became of each certificate",
    doc_md=DOC,
    schedule=AssetOrTimeSchedule(
        timetable=CronTriggerTimetable("30 6 * * *", timezone="UTC"), assets=[Asset("springest_deliveries")]
    ),
    start_date=datetime(2026, 1, 1, tzinfo=UTC),
    catchup=False,
    max_active_runs=1,
    template_searchpath=[str(Path(__file__).parents[1] / "include" / "sql")],
    default_args={"retries": 3, "retry_delay": timedelta(minutes=5), "retry_policy": RETRY_POLICY},
    tags=["springest"],
):
    snapshot = SpringestSnapshotOperator(task_id="snapshot")
    owners = SpringestOwnersOperator(task_id="owners", sql="completed_trainings.sql")
    reconcile = SpringestReconcileOperator(task_id="reconcile")
    check_columns = SpringestColumnCheckOperator(task_id="check_columns")
    check_table = SpringestTableCheckOperator(task_id="check_table")
    publish = SpringestPublishOperator(task_id="publish", outlets=[Asset("springest_reconciliations")])
    snapshot >> owners >> reconcile >> [check_columns, check_table] >> publish
