"""Airflow's own means to hurry the DAGs as they are: a cluster policy, copied into the home of the chaos.

What takes minutes at night takes seconds here, so that a round shows what happens after them.
"""

from __future__ import annotations

from datetime import timedelta

AGAIN_AFTER = timedelta(seconds=2)
LEASE_MARGIN = timedelta(seconds=4)


def task_policy(task):
    """Try again soon, and let leases run out soon."""
    task.retry_delay = AGAIN_AFTER
    for rule in getattr(task.retry_policy, "rules", ()):
        if rule.retry_delay is not None:
            rule.retry_delay = AGAIN_AFTER
    if hasattr(task, "lease_margin"):
        task.lease_margin = LEASE_MARGIN
