"""URLs of the page "Springest" in Airflow's UI.

Each is ``[api] base_url`` followed by a path. Without a ``base_url``, it is the path alone, which works
in a browser that shows Airflow's UI.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final
from urllib.parse import quote, urlencode

from airflow.sdk import BaseOperator, BaseOperatorLink
from airflow.sdk.configuration import conf
from airflow.sdk.types import TaskInstanceKey

from springest_provider.site_settings import DEFAULT
from springest_provider.sites import load_sites

URL_PREFIX: Final = "/springest"
"""Path under which Airflow's API server mounts the page."""


def overview_url(site: str = DEFAULT) -> str:
    """Return the URL of a site's overview."""
    return _url("/", _of(site))


def deliveries_url(site: str = DEFAULT, **filters: str | int | None) -> str:
    """
    Return the URL of the list of a site's deliveries.

    :param filters: filters, such as ``run``, ``state``, ``verdict``, ``reason``, ``certification``
        ``training`` or ``needs="person"``; ``None`` filters nothing.
    """
    return _url("/deliveries", {**_of(site), **filters})


def delivery_url(delivery_key: str) -> str:
    """Return the URL of one delivery's story."""
    return _url(f"/deliveries/{quote(delivery_key, safe='')}")


def _of(site: str) -> dict[str, str | int | None]:
    return {"site": None if site == DEFAULT else site}


def _url(path: str, filters: Mapping[str, str | int | None] | None = None) -> str:
    base: str = conf.get("api", "base_url", fallback="") or ""
    query = urlencode({name: value for name, value in (filters or {}).items() if value is not None})
    return f"{base.rstrip('/')}{URL_PREFIX}{path}{'?' if query else ''}{query}"


def site_of(task: object) -> str:
    """Return the name of the site that a task works for."""
    conn_id = getattr(task, "springest_conn_id", None)
    return load_sites().name_of(conn_id) if conn_id else DEFAULT


class DeliveriesOfRunLink(BaseOperatorLink):
    """Leads from a task to the deliveries that its run staged."""

    name = "Deliveries of this run"

    def get_link(self, operator: BaseOperator, *, ti_key: TaskInstanceKey) -> str:
        """Return the URL of the list, filtered by the task's run."""
        return deliveries_url(site_of(operator), run=ti_key.run_id)


class OverviewLink(BaseOperatorLink):
    """Leads from a task to the overview."""

    name = "Springest"

    def get_link(self, operator: BaseOperator, *, ti_key: TaskInstanceKey) -> str:  # noqa: ARG002
        """Return the URL of the overview."""
        return overview_url(site_of(operator))
