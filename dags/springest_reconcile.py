"""Reconcile deliveries with the certificates that Springest shows."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path

from airflow.sdk import DAG, Asset, AssetOrTimeSchedule, CronTriggerTimetable

from springest_provider.defaults import DEFAULT_ARGS, deadline
from springest_provider.notifications.notifiers import SpringestSummaryNotifier
from springest_provider.operators.reconcile import (
    SpringestColumnCheckOperator,
    SpringestOwnersOperator,
    SpringestPublishOperator,
    SpringestReconcileOperator,
    SpringestSnapshotOperator,
    SpringestTableCheckOperator,
)

DOC = """
### Springest: reconcile

1. **snapshot** reads the list of certificates that Springest shows: in full, or only the new part of a long
list. 2. **owners** looks up the owners of certificates that can't be assigned otherwise, if the site can
filter by
   e-mail address. The addresses are read from the source and not stored.
3. **reconcile** matches certificates with the ledger and computes a verdict for each delivery. `verified`
   requires proof; weaker matches are `inferred` or `ambiguous`.
4. **check_columns** and **check_table** check every new or changed verdict. A failure blocks publishing; the
   log names the rows and the remedy, and so does the view `springest.failed_check`.
5. **publish** makes the verdicts and their history visible to analysts, in one transaction. You can schedule
   other DAGs on the asset `springest_reconciliations`.

It runs after each delivery and once a night: certificates become visible when an employee of Springest
verifies their certification, which can happen at any time.

*If it fails:* the previous verdicts stay readable. Clearing a task is always safe.
"""

with DAG(
    dag_id="springest_reconcile",
    description="Reconcile deliveries with the certificates that Springest shows",
    doc_md=DOC,
    schedule=AssetOrTimeSchedule(
        timetable=CronTriggerTimetable("30 6 * * *", timezone="UTC"), assets=[Asset("springest_deliveries")]
    ),
    start_date=datetime(2026, 1, 1, tzinfo=UTC),
    catchup=False,
    max_active_runs=1,
    deadline=deadline(hours=2),
    template_searchpath=[str(Path(__file__).parents[1] / "include" / "sql")],
    default_args=DEFAULT_ARGS,
    tags=["springest"],
):
    snapshot = SpringestSnapshotOperator(task_id="snapshot")
    owners = SpringestOwnersOperator(task_id="owners", sql="completed_trainings.sql")
    reconcile = SpringestReconcileOperator(task_id="reconcile")
    check_columns = SpringestColumnCheckOperator(task_id="check_columns")
    check_table = SpringestTableCheckOperator(task_id="check_table")
    publish = SpringestPublishOperator(
        task_id="publish",
        outlets=[Asset("springest_reconciliations")],
        on_success_callback=SpringestSummaryNotifier(),
    )
    snapshot >> owners >> reconcile >> [check_columns, check_table] >> publish
