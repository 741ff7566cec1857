"""Operators of ``springest_reconcile``: take a snapshot, look up owners, reconcile."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

from airflow.sdk import Context

from springest.identity import Pseudonyms
from springest.privacy.secret import secret_in_use
from springest.session import connected
from springest.site import Site
from springest.snapshot.filters import Filters
from springest.snapshot.owners import OwnerInquiry, OwnersReport
from springest.snapshot.scope import Scope, plan
from springest.snapshot.snapshot import SnapshotReport, take_snapshot
from springest.source.addresses import addresses_from
from springest.source.reader import SourceReader
from springest.staging.site_identity import require_same_host
from springest.verdicts.publish import reconcile
from springest_provider import parts
from springest_provider.operators.base import SourceOperator, SpringestOperator


class SpringestSnapshotOperator(SpringestOperator):
    """
    Read the list of certificates that Springest shows into ``springest.remote_certificate``.

    A long list is read in full once a week, and whenever a delivery waits for evidence that only the whole
    list has. On other nights only the new part is read, if the site supports the filters for that.

    :param full: always read the whole list.
    :param springest_conn_id: connection of the site.
    :param warehouse_conn_id: connection of the warehouse.
    :returns: ``snapshot_id``, ``rows``, ``requests``, its ``scope``, and whether it is ``complete``.
    """

    template_fields: Sequence[str] = ("springest_conn_id", "warehouse_conn_id")

    def __init__(self, *, full: bool = False, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.full = full

    def work(self, context: Context) -> dict[str, Any]:
        """Take the snapshot."""
        site = self._site()
        pseudonyms = parts.pseudonyms()
        with parts.warehouse(self.warehouse_conn_id) as engine, secret_in_use(engine, pseudonyms):
            require_same_host(engine, site)
            report = asyncio.run(self._take(site, pseudonyms, str(context["run_id"])))
        return {**asdict(report), "started_at": report.started_at.isoformat()}

    async def _take(self, site: Site, pseudonyms: Pseudonyms, run_id: str) -> SnapshotReport:
        async with connected(parts.warehouse_url(self.warehouse_conn_id), site) as link:
            filters = Filters(link.engine, link.client, site)
            scope = Scope() if self.full else await plan(link.engine, filters)
            self.log.info("Reading %s", scope.detail)
            return await take_snapshot(
                link.engine,
                link.client,
                site=site.name,
                run_id=run_id,
                pseudonyms=pseudonyms,
                scope=scope,
                spent=filters.requests,
            )


class SpringestOwnersOperator(SourceOperator):
    """
    Look up the owners of certificates that can't be assigned to a delivery otherwise.

    Only if the site can filter certificates by e-mail address, which is detected automatically, and at most
    ``owner_reads_per_run`` times per run (an extra of the connection). An address is read from the source
    when it is needed, and never stored.

    :param sql: the query of completed trainings.
    :param source_conn_id: connection of the source.
    :param springest_conn_id: connection of the site.
    :param warehouse_conn_id: connection of the warehouse.
    :returns: ``asked`` learners, ``certificates`` whose owner is now known, and ``requests``.
    """

    template_fields: Sequence[str] = ("sql", "source_conn_id", "springest_conn_id", "warehouse_conn_id")

    def work(self, context: Context) -> dict[str, Any]:
        """Look up owners."""
        site, pseudonyms = self._site(), parts.pseudonyms()
        with (
            parts.warehouse(self.warehouse_conn_id) as engine,
            parts.source(self.source_conn_id) as database,
            secret_in_use(engine, pseudonyms),
        ):
            require_same_host(engine, site)
            reader = SourceReader(database, query=self.sql)
            report = asyncio.run(self._ask(site, reader, pseudonyms, str(context["run_id"])))
        return asdict(report)

    async def _ask(
        self, site: Site, reader: SourceReader, pseudonyms: Pseudonyms, run_id: str
    ) -> OwnersReport:
        async with connected(parts.warehouse_url(self.warehouse_conn_id), site) as link:
            inquiry = OwnerInquiry(
                link.engine,
                link.client,
                site,
                pseudonyms,
                addresses_from(reader, site=site.name, pseudonyms=pseudonyms),
            )
            return await inquiry.run(run_id)


class SpringestReconcileOperator(SpringestOperator):
    """
    Match deliveries with the certificates that Springest shows, and compute their verdicts.

    New and changed verdicts wait in ``springest.reconciled_candidate`` for their checks; readers still see
    the published ones.

    :param springest_conn_id: connection of the site.
    :param warehouse_conn_id: connection of the warehouse.
    :returns: counts: ``became_visible``, ``became_absent``, verdicts that ``changed``, and matches without
        proof (``told``).
    """

    template_fields: Sequence[str] = ("springest_conn_id", "warehouse_conn_id")

    def work(self, context: Context) -> dict[str, Any]:
        """Match, and compute verdicts."""
        site = self._site()
        with parts.warehouse(self.warehouse_conn_id) as engine:
            report = reconcile(engine, site=site, run_id=str(context["run_id"]))
        return {**asdict(report), "told": dict(report.told)}
