"""Operators that check and publish verdicts, based on Airflow's SQL check operators."""

from __future__ import annotations

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
from springest.privacy.retention import KEPT_DAYS, clear_old_details
from springest.verdicts.pending import FILLED_COLUMNS, TABLE_CHECKS, describe_failures
from springest.verdicts.publish import publish_candidates
from springest_provider import parts
from springest_provider.hooks.springest import SpringestHook
from springest_provider.hooks.warehouse import WarehouseHook
from springest_provider.operators.base import SpringestOperator

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
        mapping["delivery_key"]["unique_check"] = {"equal_to": 0}
        super().__init__(
            table="springest.reconciled_candidate",
            column_mapping=mapping,
            partition_clause=_of_site(self.site_name),
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
            " WHERE failed.site = candidate_set.site AND failed.check_name = '{}')"
        )
        super().__init__(
            table="springest.candidate_set",
            checks={name: {"check_statement": none_failed.format(name)} for name in TABLE_CHECKS},
            partition_clause=_of_site(self.site_name),
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
        except (AirflowException, ValueError) as error:  # the latter if there is no set of verdicts
            raise _told(self, self.site_name, error) from None


class SpringestPublishOperator(SpringestOperator):
    """
    Publish this run's verdicts and their versions in one transaction.

    Readers see the previous state or the new one, never a mixture. A verdict is written only if it differs
    from the published one. Afterwards, details of old attempts are cleared.

    :param springest_conn_id: connection of the site.
    :param warehouse_conn_id: connection of the warehouse.
    :param keep_attempt_details_days: days after which an attempt's worker and server message are cleared.
    :returns: counts: ``written``, ``versions``, deliveries by ``statuses``, and ``cleared`` attempts.
    """

    template_fields: Sequence[str] = ("springest_conn_id", "warehouse_conn_id")

    def __init__(self, *, keep_attempt_details_days: int = KEPT_DAYS, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.keep_attempt_details_days = keep_attempt_details_days

    def work(self, context: Context) -> dict[str, Any]:
        """Publish."""
        site = self._site()
        with parts.warehouse(self.warehouse_conn_id) as engine:
            report = publish_candidates(engine, site=site, run_id=str(context["run_id"]))
            cleared = clear_old_details(engine, site=site.name, days=self.keep_attempt_details_days)
        return {**asdict(report), "statuses": dict(report.statuses), "cleared": cleared}


def _of_site(name: str) -> str:
    quoted = name.replace("'", "''")
    return f"site = '{quoted}'"


def _told(operator: BaseSQLOperator, site: str, error: Exception) -> QualityCheckFailed:
    """Return an error that names the failed rows; Airflow's own message goes to the log."""
    operator.log.error("%s", error)
    failed = operator.get_db_hook().get_records(_FAILED, parameters=(site,))
    if not failed:
        return QualityCheckFailed("there are no verdicts to publish: clear the reconcile task")
    return QualityCheckFailed(describe_failures([tuple(row) for row in failed]))
