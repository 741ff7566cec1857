"""Reconcile deliveries with the certificates that Springest shows."""

from __future__ import annotations

from airflow.sdk import DAG, Asset, AssetOrTimeSchedule, CronTriggerTimetable

from springest_provider.defaults import dag_of, deadline, source_of
from springest_provider.notifications.notifiers import SpringestSummaryNotifier
from springest_provider.operators.reconcile import (
    SpringestColumnCheckOperator,
    SpringestOwnersOperator,
    SpringestPublishOperator,
    SpringestReconcileOperator,
    SpringestSnapshotOperator,
    SpringestTableCheckOperator,
)
from springest_provider.sites import sites

DOC = """
### Springest: reconcile

1. **snapshot** reads the list of certificates that Springest shows: in full, or only the new part of a long
   list.
2. **owners** looks up the owners of certificates that can't be assigned otherwise, if the site can filter by
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

for site in sites():
    with DAG(
        **dag_of(site, "springest_reconcile"),
        description="Reconcile deliveries with the certificates that Springest shows",
        doc_md=DOC,
        schedule=AssetOrTimeSchedule(
            timetable=CronTriggerTimetable(site.schedule.reconcile, timezone=site.time_zone),
            assets=[Asset(site.named("springest_deliveries"))],
        ),
        deadline=deadline(site, site.deadline_hours.reconcile),
    ):
        snapshot = SpringestSnapshotOperator(task_id="snapshot")
        owners = SpringestOwnersOperator(task_id="owners", **source_of(site))
        reconcile = SpringestReconcileOperator(task_id="reconcile")
        check_columns = SpringestColumnCheckOperator(task_id="check_columns")
        check_table = SpringestTableCheckOperator(task_id="check_table")
        publish = SpringestPublishOperator(
            task_id="publish",
            outlets=[Asset(site.named("springest_reconciliations"))],
            on_success_callback=SpringestSummaryNotifier(springest_conn_id=site.connection),
        )
        snapshot >> owners >> reconcile >> [check_columns, check_table] >> publish
