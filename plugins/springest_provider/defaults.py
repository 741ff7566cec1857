"""Arguments of this project's DAGs: ids, retries, pools, and notifications of failures and deadlines."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from typing import Any, Final

from airflow.sdk.definitions.callback import AsyncCallback
from airflow.sdk.definitions.deadline import DeadlineAlert, DeadlineReference

from springest_provider.notifications.notifiers import SpringestDeadlineNotifier, SpringestFailureNotifier
from springest_provider.retry_policy import RETRY_POLICY
from springest_provider.site_settings import DEFAULT, SiteSettings
from springest_provider.sites import load_sites

DEFAULT_ARGS: Final[Mapping[str, Any]] = {
    "retries": 3,
    "retry_delay": timedelta(minutes=5),
    "retry_policy": RETRY_POLICY,
    "on_failure_callback": SpringestFailureNotifier(),
}


def dag_of(site: SiteSettings, dag_id: str) -> dict[str, Any]:
    """
    Return the arguments that a site's DAGs have in common.

    :param dag_id: id of the default site's DAG.
    """
    placed = {"pool": site.pool, "queue": site.queue, "executor": site.executor}
    return {
        "dag_id": site.named(dag_id),
        "start_date": datetime(2026, 1, 1, tzinfo=UTC),
        "catchup": False,
        "max_active_runs": 1,
        "template_searchpath": [str(load_sites().sql_folder)],
        "default_args": {
            **DEFAULT_ARGS,
            **{name: value for name, value in placed.items() if value is not None},
            **({"owner": ", ".join(site.owners)} if site.owners else {}),
            "springest_conn_id": site.connection,
        },
        "tags": ["springest", *([] if site.name == DEFAULT else [site.name]), *site.tags],
    }


def source_of(site: SiteSettings) -> dict[str, Any]:
    """Return the arguments of a site's operators that read its source; lists, if there are several."""
    if site.sources is None:
        return {"sql": site.query, "source_conn_id": site.source, "parameters": dict(site.filter)}
    return {
        "sql": [item.query for item in site.sources],
        "source_conn_id": [item.source for item in site.sources],
        "parameters": [dict(item.filter) for item in site.sources],
    }


def deadline(site: SiteSettings, hours: int) -> DeadlineAlert | None:
    """
    Return the alert of a run that has not finished in time since it was queued.

    :returns: ``None`` under ``airflow dags test``: when the run ends, Airflow 3.3.2 looks the alert up in its
        database, where such a run has none, and fails.

    The interval is a number of seconds, which Airflow stored up to 3.2 and still reads: 3.3.2 stores a
    ``timedelta`` in a form that it can't read back when a task of the run is cleared.
    """
    if sys.argv[1:3] == ["dags", "test"]:
        return None
    return DeadlineAlert(
        reference=DeadlineReference.DAGRUN_QUEUED_AT,
        interval=timedelta(hours=hours).total_seconds(),  # type: ignore[arg-type]
        callback=AsyncCallback(SpringestDeadlineNotifier, {"springest_conn_id": site.connection}),
    )
