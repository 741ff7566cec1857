"""Operator of ``springest_catalogue``: read the list of certifications."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

from airflow.sdk import Context

from springest.api.models import Certification
from springest.catalogue import store_catalogue
from springest.site import Site
from springest.staging.site_identity import require_same_host
from springest_provider import factories
from springest_provider.lineage import Lineage
from springest_provider.operators.base import SpringestOperator


class SpringestCatalogueOperator(SpringestOperator):
    """
    Read the list of certifications into ``springest.certification``.

    Certificates of a listed certification may be sent; others are held by default. Only a list that was read
    to its end removes certifications.

    :param springest_conn_id: connection of the site.
    :param warehouse_conn_id: connection of the warehouse.
    :returns: counts: ``listed``, ``added``, ``unlisted``; and whether the list was ``complete``.
    """

    lineage = Lineage(reads=("api/certifications",), writes=("certification",))
    template_fields: Sequence[str] = ("springest_conn_id", "warehouse_conn_id")

    def work(self, context: Context) -> dict[str, Any]:
        """Read and store the list."""
        site = self.hook.get_site()
        with factories.warehouse(self.warehouse_conn_id) as engine:
            require_same_host(engine, site)
            listed, complete = asyncio.run(self._read(site))
            with engine.begin() as connection:
                report = store_catalogue(
                    connection, site.name, listed, complete=complete, run_id=str(context["run_id"])
                )
        if not complete:
            self.log.warning("The list was not read to its end: no certification was removed")
        return asdict(report)

    async def _read(self, site: Site) -> tuple[list[Certification], bool]:
        key = site.certifications_api_key or None
        async with self.hook.connect(self.warehouse_conn_id, key=key) as session:
            pages = session.client.certifications()
            listed = [item async for page in pages for item in page.items]
            return listed, pages.evidence.reached_end
