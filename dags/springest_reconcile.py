"""What became of each certificate."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from airflow.sdk import DAG, Asset, AssetOrTimeSchedule, CronTriggerTimetable
from springest_provider.operators.springest import SpringestReconcileOperator, SpringestSnapshotOperator
from springest_provider.retries import RETRY_POLICY

DOC = """
### Springest: reconcile

1. **snapshot** reads the list of certificates that Springest shows.
2. **reconcile** matches it with the ledger and publishes `springest.certificate_reconciliation`: one
   row for each certificate, with its `verification_status` and what that rests on. `verified` is said only
   with proof.

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
    default_args={"retries": 3, "retry_delay": timedelta(minutes=5), "retry_policy": RETRY_POLICY},
    tags=["springest"],
):
    SpringestSnapshotOperator(task_id="snapshot") >> SpringestReconcileOperator(task_id="reconcile")
