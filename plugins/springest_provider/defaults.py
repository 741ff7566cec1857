"""Defaults of this project's DAGs: retries, and whom failures and missed deadlines are reported to."""

from __future__ import annotations

import sys
from datetime import timedelta
from typing import Any, Final

from airflow.sdk.definitions.callback import AsyncCallback
from airflow.sdk.definitions.deadline import DeadlineAlert, DeadlineReference

from springest_provider.notifications.notifiers import SpringestDeadlineNotifier, SpringestFailureNotifier
from springest_provider.retry_policy import RETRY_POLICY

DEFAULT_ARGS: Final[dict[str, Any]] = {
    "retries": 3,
    "retry_delay": timedelta(minutes=5),
    "retry_policy": RETRY_POLICY,
    "on_failure_callback": SpringestFailureNotifier(),
}


def deadline(**interval: float) -> DeadlineAlert | None:
    """
    Return the alert of a run that has not finished in time since it was queued.

    :param interval: as of ``timedelta``, such as ``hours=6``.
    :returns: ``None`` under ``airflow dags test``: when the run ends, Airflow 3.3.2 looks the alert up in its
        database, where such a run has none, and fails.

    The interval is a number of seconds, which Airflow stored up to 3.2 and still reads: 3.3.2 stores a
    ``timedelta`` in a form that it can't read back when a task of the run is cleared.
    """
    if sys.argv[1:3] == ["dags", "test"]:
        return None
    return DeadlineAlert(
        reference=DeadlineReference.DAGRUN_QUEUED_AT,
        interval=timedelta(**interval).total_seconds(),  # type: ignore[arg-type]
        callback=AsyncCallback(SpringestDeadlineNotifier),
    )
