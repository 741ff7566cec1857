"""Addresses of the page "Springest" in Airflow's UI.

Each is ``[api] base_url`` followed by a path. Where no ``base_url`` is set, it is the path alone, which is
right for a browser that shows Airflow's UI.
"""

from __future__ import annotations

from typing import Final
from urllib.parse import quote, urlencode

from airflow.sdk import BaseOperator, BaseOperatorLink
from airflow.sdk.configuration import conf
from airflow.sdk.types import TaskInstanceKey

URL_PREFIX: Final = "/springest"
"""Path under which Airflow's API server mounts the page."""


def overview_url() -> str:
    """Return the address of the overview."""
    return _url("/")


def deliveries_url(**filters: str | int | None) -> str:
    """
    Return the address of the list of deliveries.

    :param filters: what to filter by, such as ``run``, ``state``, ``verdict``, ``reason``, ``certification``
        ``training`` or ``needs="person"``; ``None`` filters nothing.
    """
    query = urlencode({name: value for name, value in filters.items() if value is not None})
    return _url("/deliveries") + (f"?{query}" if query else "")


def delivery_url(delivery_key: str) -> str:
    """Return the address of one delivery's story."""
    return _url(f"/deliveries/{quote(delivery_key, safe='')}")


def _url(path: str) -> str:
    base: str = conf.get("api", "base_url", fallback="") or ""
    return f"{base.rstrip('/')}{URL_PREFIX}{path}"


class DeliveriesOfRunLink(BaseOperatorLink):
    """Leads from a task to the deliveries that its run staged."""

    name = "Deliveries of this run"

    def get_link(self, operator: BaseOperator, *, ti_key: TaskInstanceKey) -> str:  # noqa: ARG002
        """Return the address of the list, filtered by the task's run."""
        return deliveries_url(run=ti_key.run_id)


class OverviewLink(BaseOperatorLink):
    """Leads from a task to the overview."""

    name = "Springest"

    def get_link(self, operator: BaseOperator, *, ti_key: TaskInstanceKey) -> str:  # noqa: ARG002
        """Return the address of the overview."""
        return overview_url()
