"""Operator of ``springest_copy``: copy what analysts read to another warehouse."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

from airflow.sdk import Context

from springest.copies.copy import copy_site
from springest_provider import factories
from springest_provider.copy_destinations import destination_of
from springest_provider.lineage import Lineage
from springest_provider.operators.base import SpringestOperator


class SpringestCopyOperator(SpringestOperator):
    """
    Make the copy of a site's reconciliation in another warehouse equal to what the site has published.

    Only rows that differ are written, all of them at once. The DAG's parameters ``compare_values`` and
    ``remove_extra`` are those of ``copy_site``.

    :param springest_conn_id: connection of the site.
    :param warehouse_conn_id: connection of the warehouse.
    :param copy_conn_id: connection of the other warehouse.
    :param dataset: schema, database or data set of the copy.
    :returns: counts: ``rows``, ``written``, ``removed``.
    """

    lineage = Lineage(reads=("certificate_reconciliation", "certificate_reconciliation_history"))
    template_fields: Sequence[str] = (
        "springest_conn_id",
        "warehouse_conn_id",
        "copy_conn_id",
        "dataset",
    )

    def __init__(self, *, copy_conn_id: str, dataset: str = "springest", **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.copy_conn_id = copy_conn_id
        self.dataset = dataset

    def work(self, context: Context) -> dict[str, Any]:
        """Compare, and copy what differs."""
        destination = destination_of(self.copy_conn_id, self.dataset)
        with factories.warehouse(self.warehouse_conn_id) as engine:
            report = copy_site(
                engine,
                destination,
                site=self.hook.site_name,
                compare_values=context["params"].get("compare_values", False),
                remove_extra=context["params"].get("remove_extra", False),
            )
        return asdict(report)
