"""Operators of ``springest_deliver``: stage completed trainings, deliver their certificates."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict
from datetime import datetime, timedelta
from typing import Any, Final

from airflow.sdk import Context
from airflow.sdk.exceptions import AirflowSkipException

from springest.delivery.attempt_watermark import AttemptWatermark
from springest.delivery.context import DeliveryContext
from springest.delivery.pipeline import LEASE_MARGIN_SECONDS
from springest.delivery.plan import Selection
from springest.delivery.repository import DeliveryRepository
from springest.delivery.run import DeliveryRun, DeliverySettings
from springest.delivery.stats import DeliveryReport
from springest.documents.opener import DocumentStore
from springest.errors import SiteNotBegun
from springest.site import Site
from springest.staging.stage import LOOK_BACK, Stager
from springest_provider import factories
from springest_provider.dry_run import log_lines, make_plan
from springest_provider.lineage import Lineage
from springest_provider.operators.base import RunOperator
from springest_provider.run_context import (
    begin_moment,
    deliver_settings,
    is_manual,
    requested_window,
    unknown_since,
    warn_if_stop_is_lost,
    whole_number,
    whole_numbers,
    worker_name,
    yes_or_no,
)

DELIVER_UNTIL: Final = "06:00"


class _LimitedOperator(RunOperator):
    """Base of both: what a person may ask of one run. A dry run is made by the first task."""

    template_fields: Sequence[str] = (
        "sql",
        "source_conn_id",
        "springest_conn_id",
        "warehouse_conn_id",
        "deliver_until",
        "expected_certificates",
        "limit",
        "certification_ids",
        "is_dry_run",
    )

    def __init__(
        self,
        *,
        deliver_until: str = DELIVER_UNTIL,
        time_zone: str = "UTC",
        expected_certificates: str | int | None = None,
        limit: str | int | None = None,
        certification_ids: str | Sequence[int] | None = None,
        is_dry_run: str | bool = False,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.deliver_until = deliver_until
        self.time_zone = time_zone
        self.expected_certificates = expected_certificates
        self.limit = limit
        self.certification_ids = certification_ids
        self.is_dry_run = is_dry_run

    def _settings(self, context: Context, **others: Any) -> DeliverySettings:
        return deliver_settings(
            context,
            deliver_until=self.deliver_until,
            time_zone=self.time_zone,
            expected_certificates=self.expected_certificates,
            limit=self.limit,
            **others,
        )


class SpringestStageOperator(_LimitedOperator):
    """
    Check completed trainings and put their certificates into the queue.

    Every row of the window becomes a delivery: ``ready``, or set aside with a reason. Rows that were set
    aside earlier are checked again. A scheduled run continues from the previous run's watermark, so a missed
    night is caught up; a backfill reads its run's interval.

    A person begins a site with ``begin_from``. Until then, scheduled runs are skipped. Runs with a window or
    a ``limit`` are pilots: they stage their own rows and do not begin the site.

    :param sql: the query of completed trainings; its contract is in ``include/sql/completed_trainings.sql``.
    :param source_conn_id: connection of the source: any SQL database that Airflow has a hook for.
    :param springest_conn_id: connection of the site.
    :param warehouse_conn_id: connection of the warehouse.
    :param window_start: start of the window on ``updated_at`` (ISO 8601 with time zone). With ``window_end``,
        it replaces the watermark or the interval.
    :param window_end: end of the window, exclusive.
    :param begin_from: begin the site: this run stages rows from this time (ISO 8601 with time zone) on, and
        later runs continue.
    :param limit: number of certificates that the run may send. A pilot with a limit but no window stages the
        last ``look_back``.
    :param is_dry_run: stage and send nothing; log what would be sent and set aside instead. The next three
        parameters are those of ``SpringestDeliverOperator``, which a dry run needs as well.
    :param deliver_until: deadline of the run.
    :param time_zone: time zone of ``deliver_until``.
    :param expected_certificates: approves a run that is much larger than usual.
    :param certification_ids: certifications whose certificates would be sent.
    :param look_back: overlap with the previous window, for rows that were committed late; one day by default.
    :returns: ``window_start``, ``window_end``, ``rows``, their ``states``, and the number ``rechecked``; of a
        dry run, the counts of its plan.
    """

    lineage = Lineage(reads=("source", "certification"), writes=("delivery", "staged_row"))
    template_fields: Sequence[str] = (
        *_LimitedOperator.template_fields,
        "window_start",
        "window_end",
        "begin_from",
    )

    def __init__(
        self,
        *,
        window_start: str | None = None,
        window_end: str | None = None,
        begin_from: str | None = None,
        look_back: timedelta = LOOK_BACK,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.window_start = window_start
        self.window_end = window_end
        self.begin_from = begin_from
        self.look_back = look_back

    def work(self, context: Context) -> dict[str, Any]:
        """
        Stage the run's window.

        :raises AirflowSkipException: the site has not begun, and the run is not a person's.
        """
        site = self.hook.get_site()
        asked = requested_window(context, start=self.window_start, end=self.window_end)
        which = Selection(
            window=asked,
            begin_from=begin_moment(self.begin_from, asked=asked),
            is_pilot=whole_number("limit", self.limit, least=1) is not None,
            look_back=self.look_back,
            certification_ids=whole_numbers("certification_ids", self.certification_ids),
        )
        try:
            if yes_or_no("dry_run", self.is_dry_run):
                return self._plan(context, site, which)
            return self._stage(context, site, which)
        except SiteNotBegun as error:
            if is_manual(context):
                raise
            self.log.warning("%s", error)  # Airflow does not log the message of a skip
            raise AirflowSkipException(str(error)) from None

    def report(self, context: Context, result: Mapping[str, Any]) -> None:
        """Log the run's counts; a dry run has none."""
        if not yes_or_no("dry_run", self.is_dry_run):
            super().report(context, result)

    def _stage(self, context: Context, site: Site, which: Selection) -> dict[str, Any]:
        with self._stager(site, factories.documents(site)) as stager:
            report = stager.stage(
                str(context["run_id"]),
                asked=which.window,
                look_back=which.look_back,
                begin_from=which.begin_from,
                is_pilot=which.is_pilot,
            )
        return {
            "window_start": report.window.start.isoformat(),
            "window_end": report.window.end.isoformat(),
            "rows": report.rows,
            "states": dict(report.states),
            "rechecked": report.rechecked,
        }

    def _plan(self, context: Context, site: Site, which: Selection) -> dict[str, Any]:
        plan = make_plan(
            site,
            str(context["run_id"]),
            which,
            sources=self.sources,
            warehouse_conn_id=self.warehouse_conn_id,
            settings=self._settings(context),
            unknown_since=unknown_since(context),
        )
        for line in log_lines(plan, site, until=f"{self.deliver_until} {self.time_zone}"):
            self.log.info("%s", line)
        return {
            "dry_run": True,
            "rows": plan.rows,
            "to_send": len(plan.to_send),
            "set_aside": len(plan.set_aside),
            "delivered": plan.delivered,
            "seconds": round(plan.seconds),
            "in_time": plan.in_time,
            "stopped_by": plan.stopped_by,
        }


class SpringestDeliverOperator(_LimitedOperator):
    """
    Work through the queue: post every ``ready`` certificate, at most once.

    One task handles the whole queue. Claims are committed before the first byte is sent, and outcomes after
    the response. If the outcome is uncertain, the delivery becomes ``unknown`` and is never sent again
    automatically. Running the task twice, late, or concurrently sends nothing twice.

    :param sql: the query of completed trainings; each row is read again just before it is sent.
    :param source_conn_id: connection of the source.
    :param springest_conn_id: connection of the site.
    :param warehouse_conn_id: connection of the warehouse.
    :param deliver_until: deadline as a time of day (``HH:MM``), ``06:00`` by default: its first occurrence
        after the DAG run started. Retries share it. The rest stays in the queue.
    :param time_zone: time zone of ``deliver_until``, UTC by default.
    :param concurrency: number of certificates in flight; 10 by default.
    :param expected_certificates: approves a run (or a backfill) that is much larger than usual, up to this
        number of certificates. Without it, such a run waits for a person.
    :param limit: maximum number of certificates that the run sends, over all its tries.
    :param certification_ids: certifications whose certificates are sent; all by default. The rest stays in
        the queue.
    :param is_dry_run: send nothing: the task is skipped, after the stage task logged what would be sent.
    :param max_unknown_per_night: maximum number of unknown outcomes before sending stops; 10 by default.
        Counts all runs of the last twelve hours, except outcomes that are resolved; a run that a person
        triggers counts from its own start. It also limits the certificates in flight over all processes.
    :param lease_margin: time by which a lease outlasts the longest POST; 60 seconds by default. A shorter
        margin frees a dead worker's certificates earlier, but leaves a slow warehouse less time to record an
        outcome.
    :returns: counts of outcomes, and the number ``left``; see ``DeliveryReport``.
    """

    lineage = Lineage(
        reads=("source", "delivery"), writes=("api/certificates", "delivery", "delivery_attempt")
    )

    def __init__(
        self,
        *,
        concurrency: int = 10,
        max_unknown_per_night: int = 10,
        lease_margin: timedelta = timedelta(seconds=LEASE_MARGIN_SECONDS),
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.concurrency = concurrency
        self.max_unknown_per_night = max_unknown_per_night
        self.lease_margin = lease_margin
        self._stop: Callable[[], object] | None = None
        self._is_to_stop = False

    def work(self, context: Context) -> dict[str, Any]:
        """
        Work through the queue.

        :raises AirflowSkipException: it is a dry run.
        """
        if yes_or_no("dry_run", self.is_dry_run):
            message = "a dry run sends nothing: the log of the stage task says what would be sent"
            self.log.info("%s", message)
            raise AirflowSkipException(message)
        warn_if_stop_is_lost()
        site = self.hook.get_site()
        settings = self._settings(
            context,
            concurrency=self.concurrency,
            max_unknown=self.max_unknown_per_night,
            lease_margin=self.lease_margin.total_seconds(),
        )
        documents = factories.documents(site)
        with self._stager(site, documents) as stager:
            report = asyncio.run(
                self._deliver(
                    site,
                    stager,
                    documents,
                    settings,
                    run_id=str(context["run_id"]),
                    unknown_since=unknown_since(context),
                )
            )
        return asdict(report)

    def on_kill(self) -> None:
        """Claim nothing more, and wait a few seconds for responses; Airflow kills the process soon after."""
        self._is_to_stop = True
        if self._stop is not None:
            self._stop()

    async def _deliver(
        self,
        site: Site,
        stager: Stager,
        documents: DocumentStore,
        settings: DeliverySettings,
        *,
        run_id: str,
        unknown_since: datetime | None,
    ) -> DeliveryReport:
        loop = asyncio.get_running_loop()
        async with self.hook.connect(self.warehouse_conn_id, at_once=self.concurrency) as session:
            ledger = DeliveryRepository(
                session.engine,
                site=site.name,
                run_id=run_id,
                worker=worker_name(),
                unknown_since=unknown_since,
                certification_ids=whole_numbers("certification_ids", self.certification_ids),
            )
            others = [factories.AttemptKeeper(name) for name in await ledger.other_sites()]
            delivery_context = DeliveryContext(
                site=site,
                run_id=run_id,
                ledger=ledger,
                limiter=session.limiter,
                client=session.client,
                stager=stager,
                documents=documents,
                watermark=AttemptWatermark(factories.AttemptKeeper(site.name), others=others),
            )
            run = DeliveryRun(delivery_context, settings=settings)
            self._stop = lambda: loop.call_soon_threadsafe(run.stop_now)
            if self._is_to_stop:  # on_kill was called before the run existed
                run.stop_now()
            try:
                return await run.run()
            finally:
                self._stop = None
