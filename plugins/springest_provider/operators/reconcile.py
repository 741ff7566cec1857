"""Operators of ``springest_reconcile``: snapshot, owners, matching, checks, publishing."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

from airflow.providers.common.sql.operators.sql import (
    BaseSQLOperator,
    SQLColumnCheckOperator,
    SQLTableCheckOperator,
)
from airflow.sdk import Context
from airflow.sdk.exceptions import AirflowException

from springest.errors import QualityCheckFailed
from springest.identity import Pseudonyms
from springest.privacy.retention import KEPT_DAYS, clear_old_details
from springest.privacy.secret import secret_in_use
from springest.site import Site
from springest.snapshot.filters import Filters
from springest.snapshot.owners import OwnerLookup, OwnersReport
from springest.snapshot.scope import Scope, plan
from springest.snapshot.snapshot import SnapshotReport, take_snapshot
from springest.source.addresses import addresses_from
from springest.source.several import TrainingSource
from springest.staging.site_identity import require_same_host
from springest.verdicts.pending import FILLED_COLUMNS, TABLE_CHECKS, describe_failures
from springest.verdicts.publish import publish_pending, reconcile
from springest_provider import factories
from springest_provider.hooks.springest import SpringestHook
from springest_provider.hooks.warehouse import WarehouseHook
from springest_provider.lineage import Lineage
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

    lineage = Lineage(reads=("api/certificates",), writes=("snapshot", "remote_certificate"))
    template_fields: Sequence[str] = ("springest_conn_id", "warehouse_conn_id")

    def __init__(self, *, full: bool = False, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.full = full

    def work(self, context: Context) -> dict[str, Any]:
        """Take the snapshot."""
        site = self.hook.get_site()
        pseudonyms = factories.pseudonyms()
        with factories.warehouse(self.warehouse_conn_id) as engine, secret_in_use(engine, pseudonyms):
            require_same_host(engine, site)
            report = asyncio.run(self._take(site, pseudonyms, str(context["run_id"])))
        return {**asdict(report), "started_at": report.started_at.isoformat()}

    async def _take(self, site: Site, pseudonyms: Pseudonyms, run_id: str) -> SnapshotReport:
        async with self.hook.connect(self.warehouse_conn_id) as session:
            filters = Filters(session.engine, session.client, site)
            scope = Scope() if self.full else await plan(session.engine, filters)
            self.log.info("Reading %s", scope.detail)
            return await take_snapshot(
                session.engine,
                session.client,
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

    lineage = Lineage(reads=("source", "api/certificates"), writes=("remote_certificate",))
    template_fields: Sequence[str] = ("sql", "source_conn_id", "springest_conn_id", "warehouse_conn_id")

    def work(self, context: Context) -> dict[str, Any]:
        """Look up owners."""
        site, pseudonyms = self.hook.get_site(), factories.pseudonyms()
        with (
            factories.warehouse(self.warehouse_conn_id) as engine,
            factories.reader(self.sources) as reader,
            secret_in_use(engine, pseudonyms),
        ):
            require_same_host(engine, site)
            report = asyncio.run(self._ask(site, reader, pseudonyms, str(context["run_id"])))
        return asdict(report)

    async def _ask(
        self, site: Site, reader: TrainingSource, pseudonyms: Pseudonyms, run_id: str
    ) -> OwnersReport:
        async with self.hook.connect(self.warehouse_conn_id) as session:
            inquiry = OwnerLookup(
                session.engine,
                session.client,
                site,
                pseudonyms,
                addresses_from(reader, site=site.name, pseudonyms=pseudonyms),
            )
            return await inquiry.run(run_id)


class SpringestReconcileOperator(SpringestOperator):
    """
    Match deliveries with the certificates that Springest shows, and compute their verdicts.

    New and changed verdicts stay pending until their checks have passed; readers still see the current ones.

    :param springest_conn_id: connection of the site.
    :param warehouse_conn_id: connection of the warehouse.
    :returns: counts: ``became_visible``, ``became_absent``, verdicts that ``changed``, and matches without
        proof (``unproven``).
    """

    lineage = Lineage(reads=("delivery", "remote_certificate"), writes=("verdict",))
    template_fields: Sequence[str] = ("springest_conn_id", "warehouse_conn_id")

    def work(self, context: Context) -> dict[str, Any]:
        """Match, and compute verdicts."""
        site = self.hook.get_site()
        with factories.warehouse(self.warehouse_conn_id) as engine:
            report = reconcile(engine, site=site, run_id=str(context["run_id"]))
        return {**asdict(report), "unproven": dict(report.unproven)}


_FAILED = (
    "SELECT check_name, delivery_key, training_id, found, remedy FROM springest.failed_check"
    " WHERE site = %s LIMIT 11"
)


class SpringestColumnCheckOperator(SQLColumnCheckOperator):
    """
    Check the columns of the pending verdicts: required columns are filled, and each delivery has one verdict.

    :param springest_conn_id: connection of the site.
    :param warehouse_conn_id: connection of the warehouse.
    """

    def __init__(
        self,
        *,
        springest_conn_id: str = SpringestHook.default_conn_name,
        warehouse_conn_id: str = "certificate_warehouse",
        **kwargs: Any,
    ) -> None:
        self.site_name = SpringestHook(springest_conn_id).site_name
        mapping: dict[str, dict[str, Any]] = {
            column: {"null_check": {"equal_to": 0}} for column in FILLED_COLUMNS
        }
        mapping["delivery_id"]["unique_check"] = {"equal_to": 0}
        super().__init__(
            table="springest.verdict",
            column_mapping=mapping,
            partition_clause=_newest_publication(self.site_name),
            conn_id=warehouse_conn_id,
            **kwargs,
        )

    def get_db_hook(self) -> WarehouseHook:
        """Return the hook of the warehouse."""
        return WarehouseHook(self.conn_id)

    def execute(self, context: Context) -> None:
        """Run the checks; an error names the failed rows."""
        try:
            super().execute(context)
        except AirflowException as error:
            raise _told(self, self.site_name, error) from None


class SpringestTableCheckOperator(SQLTableCheckOperator):
    """
    Check the pending verdicts as a set: accepted values, keys, proof, dates, history, conservation.

    :param springest_conn_id: connection of the site.
    :param warehouse_conn_id: connection of the warehouse.
    """

    def __init__(
        self,
        *,
        springest_conn_id: str = SpringestHook.default_conn_name,
        warehouse_conn_id: str = "certificate_warehouse",
        **kwargs: Any,
    ) -> None:
        self.site_name = SpringestHook(springest_conn_id).site_name
        none_failed = (
            "NOT EXISTS (SELECT FROM springest.failed_check AS failed"
            " WHERE failed.site = publication.site AND failed.check_name = '{}')"
        )
        super().__init__(
            table="springest.publication",
            checks={name: {"check_statement": none_failed.format(name)} for name in TABLE_CHECKS},
            partition_clause=_newest_publication(self.site_name),
            conn_id=warehouse_conn_id,
            **kwargs,
        )

    def get_db_hook(self) -> WarehouseHook:
        """Return the hook of the warehouse."""
        return WarehouseHook(self.conn_id)

    def execute(self, context: Context) -> None:
        """Run the checks; an error names the failed rows."""
        try:
            super().execute(context)
        except (AirflowException, ValueError) as error:  # the latter if nothing was ever computed
            raise _told(self, self.site_name, error) from None


class SpringestPublishOperator(SpringestOperator):
    """
    Make this run's verdicts the current ones, in one transaction.

    Readers see the previous state or the new one, never a mixture. Versions that end move to the history.
    Afterwards, details of old attempts are cleared.

    :param springest_conn_id: connection of the site.
    :param warehouse_conn_id: connection of the warehouse.
    :param keep_attempt_details_days: days after which an attempt's worker and server message are cleared.
    :returns: counts: ``written``, ``versions``, deliveries by ``statuses``, and ``cleared`` attempts.
    """

    lineage = Lineage(
        reads=("verdict",),
        writes=("certificate_reconciliation", "certificate_reconciliation_history"),
    )
    template_fields: Sequence[str] = ("springest_conn_id", "warehouse_conn_id")

    def __init__(self, *, keep_attempt_details_days: int = KEPT_DAYS, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.keep_attempt_details_days = keep_attempt_details_days

    def work(self, context: Context) -> dict[str, Any]:
        """Publish."""
        site = self.hook.get_site()
        with factories.warehouse(self.warehouse_conn_id) as engine:
            report = publish_pending(engine, site=site, run_id=str(context["run_id"]))
            cleared = clear_old_details(engine, site=site.name, days=self.keep_attempt_details_days)
        return {**asdict(report), "statuses": dict(report.statuses), "cleared": cleared}


def _newest_publication(site: str) -> str:
    """Return the condition for the site's pending publication, or for its last one, which passed."""
    quoted = site.replace("'", "''")
    return (
        f"publication_id IN (SELECT publication_id FROM springest.publication WHERE site = '{quoted}'"  # noqa: S608
        " ORDER BY published_at DESC NULLS FIRST LIMIT 1)"
    )


def _told(operator: BaseSQLOperator, site: str, error: Exception) -> QualityCheckFailed:
    """Return an error that names the failed rows; Airflow's own message goes to the log."""
    operator.log.error("%s", error)
    failed = operator.get_db_hook().get_records(_FAILED, parameters=(site,))
    if not failed:
        return QualityCheckFailed("there are no verdicts to publish: clear the reconcile task")
    return QualityCheckFailed(describe_failures([tuple(row) for row in failed]))
