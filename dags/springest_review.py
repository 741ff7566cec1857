"""Asks a person each morning for the decisions that are needed."""

from __future__ import annotations

from datetime import timedelta

from airflow.sdk import DAG, CronTriggerTimetable

from springest_provider.defaults import dag_of, source_of
from springest_provider.operators.review import (
    APPROVED_KEY,
    REFUSED_KEY,
    SpringestReviewOperator,
    TriggerIfAskedOperator,
)
from springest_provider.sites import sites

DOC = """
### Springest: review

1. **review** asks about everything that needs a decision, in *one* form under **Required Actions**:
   deliveries whose outcome is unknown, ambiguous or contradictory, with evidence and a suggestion for each,
   and runs that the volume check refused because they are much larger than usual. The default of each field
   is *wait*. The task holds no worker slot meanwhile. If nothing needs a decision, it is skipped.
2. **deliver** triggers `springest_deliver` if you approved a run.
3. **again** asks once more if an answer was refused, and says why.

The answers are applied by the same rules as `bin/springest review`, and recorded with your login. You can
answer in Airflow's UI or by its REST API (`hitlDetails`). An answer about a delivery or run that has changed
in the meantime is refused. If nobody answers, the form expires at 07:00 UTC and changes nothing; the next
morning asks again.

*If it fails:* clear it; what was decided stays, and the rest is asked again, in a new run.
"""

for site in sites():
    with DAG(
        **dag_of(site, "springest_review"),
        description="What needs a person",
        doc_md=DOC,
        schedule=CronTriggerTimetable(site.schedule.review, timezone=site.time_zone),
        dagrun_timeout=timedelta(hours=25),  # whatever hangs keeps at most one morning from asking
    ):
        review = SpringestReviewOperator(
            task_id="review",
            **source_of(site),
            asks_at=site.schedule.review,
            time_zone=site.time_zone,
            # Airflow 3.3.2 retries a task that is answered before its worker has ended.
            retry_delay=timedelta(seconds=10),
            retry_exponential_backoff=5,
        )
        started = "{{ dag_run.start_date.strftime('%Y%m%dT%H%M%S.%f') }}"
        asked = {"xcom_task_id": "review", "trigger_run_id": f"review__{started}"}
        deliver = TriggerIfAskedOperator(
            task_id="deliver", trigger_dag_id=site.named("springest_deliver"), xcom_key=APPROVED_KEY, **asked
        )
        again = TriggerIfAskedOperator(
            task_id="again", trigger_dag_id=site.named("springest_review"), xcom_key=REFUSED_KEY, **asked
        )
        review >> [deliver, again]
