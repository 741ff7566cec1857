"""Dry run: report the certificates that a run would send or set aside, without sending or changing anything.

It stages and passes the gates with the very code of a real run, in a transaction that is rolled back, and
ends where a certificate would be claimed. It assumes that Springest accepts what it is sent: a real run also
stops for failures that only sending shows (refusals, the circuit breaker).
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Final, cast

from sqlalchemy import Engine, text
from sqlalchemy.ext.asyncio import AsyncEngine

from springest.api.client import SpringestClient
from springest.db.rollback import RollbackEngine, rolled_back
from springest.db.statements import load_sql
from springest.delivery.attempt import SendGuard
from springest.delivery.attempt_watermark import AttemptWatermark, WatermarkStore
from springest.delivery.claims import Claim, Queued
from springest.delivery.context import DeliveryContext
from springest.delivery.pipeline import CertificatePipeline, GateClosed, OutgoingCertificate
from springest.delivery.repository import DeliveryRepository
from springest.delivery.run import DeliveryRun, DeliverySettings
from springest.documents.opener import DocumentStore, OpenDocument
from springest.errors import DeliveryStopped
from springest.identity import Pseudonyms
from springest.privacy.secret import keep_to_secret
from springest.rate_limit.limiter import Pace, RateLimiter
from springest.site import Site
from springest.source.several import TrainingSource
from springest.source.window import Window
from springest.staging.stage import LOOK_BACK, Stager
from springest.states import POSSIBLY_STORED, State

_ROWS: Final = text(load_sql("delivery/planned_rows"))
_AHEAD: Final = text(load_sql("delivery/rate_limit_ahead"))
_KNOWN: Final = text(
    "SELECT delivery_key, training_id FROM springest.delivery"
    " WHERE site = :site AND training_id = ANY(CAST(:training_ids AS text[]))"
)
_READY: Final = text("SELECT count(*) FROM springest.delivery WHERE site = :site AND indexed_state = 'ready'")
_SENDABLE: Final = POSSIBLY_STORED | {State.READY}
_NOTE_ROWS: Final = text(
    "INSERT INTO springest.staged_row (site, run_id, row_no, delivery_id)"
    " SELECT :site, :run_id, row_number() OVER (ORDER BY delivery_id), delivery_id"
    " FROM springest.delivery WHERE delivery_key = ANY(CAST(:keys AS text[]))"
)


@dataclass(frozen=True, slots=True)
class Selection:
    """Trainings to plan for; by default those of the next nightly run.

    :param window: window of ``updated_at``, from a backfill or a person.
    :param training_ids: only these trainings, in any window.
    :param begin_from: start of the first nightly window, for a site that has not begun.
    :param is_pilot: read the last ``look_back`` of a site that has not begun.
    :param certification_ids: send certificates of these certifications only.
    """

    window: Window | None = None
    training_ids: Sequence[str] | None = None
    begin_from: datetime | None = None
    is_pilot: bool = False
    look_back: timedelta = LOOK_BACK
    certification_ids: Collection[int] | None = None


@dataclass(frozen=True, slots=True)
class PlannedRow:
    """One certificate, and its state after the run.

    :param reason: a fixed word; ``detail`` is the remedy. Both are ``None`` if it would be sent.
    """

    training_id: str
    issue_no: int
    certification_id: int | None
    state: State
    reason: str | None = None
    detail: str | None = None


@dataclass(frozen=True, slots=True)
class Plan:
    """The plan of a run.

    :param window: window that it would read; ``None`` for a list of trainings.
    :param rows: number of source rows that it would read.
    :param to_send: certificates that it would send, in this order.
    :param set_aside: certificates of these rows that can't be sent, with the reason.
    :param delivered: certificates of these rows that were sent before.
    :param queued: certificates that would wait in the queue before it sends the first one.
    :param not_found: requested trainings that neither the source nor the ledger has.
    :param stopped_by: why it would send nothing, or not all; ``None`` if it would send all.
    :param seconds: time that sending takes under the rate limit.
    :param in_time: number of certificates that it can send before ``deliver_until``.
    """

    site: str
    window: Window | None
    rows: int
    to_send: tuple[PlannedRow, ...]
    set_aside: tuple[PlannedRow, ...]
    delivered: int
    queued: int
    not_found: tuple[str, ...]
    stopped_by: str | None
    seconds: float
    in_time: int


class Planner:
    """Plans runs of one site.

    :param engine: engine of the warehouse.
    :param keeper: returns the store of a site's highest attempt, which is only read.
    """

    def __init__(
        self,
        engine: Engine,
        *,
        site: Site,
        source: TrainingSource,
        pseudonyms: Pseudonyms,
        documents: DocumentStore,
        keeper: Callable[[str], WatermarkStore],
    ) -> None:
        self._engine = engine
        self._site = site
        self._source = source
        self._pseudonyms = pseudonyms
        self._documents = documents
        self._keeper = keeper

    def plan(
        self,
        run_id: str,
        which: Selection | None = None,
        *,
        settings: DeliverySettings | None = None,
        unknown_since: datetime | None = None,
    ) -> Plan:
        """Return the plan of a run that started now; nothing is sent, and no change stays.

        :param run_id: id of the run; one that staged before is planned as its next try.
        :param settings: delivery settings of the run.
        :raises DryRunGaveWay: a run that stages or sends needed the locks.
        :raises SpringestError: an error that would make staging fail as well.
        """
        which, settings = which or Selection(), settings or DeliverySettings()
        with rolled_back(self._engine) as engine:
            stager = Stager(
                engine,
                source=self._source,
                site=self._site,
                pseudonyms=self._pseudonyms,
                documents=self._documents,
            )
            window, rows, not_found = self._stage(engine, stager, run_id, which)
            chosen, stopped_by = asyncio.run(
                self._choose(engine, stager, run_id, which, settings, unknown_since)
            )
            staged, queued, ahead = self._look(engine, run_id)
        pace = Pace.under(self._site.requests_per_hour)
        return Plan(
            site=self._site.name,
            window=window,
            rows=rows,
            to_send=tuple(chosen),
            set_aside=tuple(row for row in staged if row.state not in _SENDABLE),
            delivered=sum(row.state in POSSIBLY_STORED for row in staged),
            queued=queued,
            not_found=not_found,
            stopped_by=stopped_by,
            seconds=pace.seconds_for(len(chosen), **ahead),
            in_time=min(len(chosen), pace.requests_within(settings.seconds_to_deliver_until, **ahead)),
        )

    def _stage(
        self, engine: RollbackEngine, stager: Stager, run_id: str, which: Selection
    ) -> tuple[Window | None, int, tuple[str, ...]]:
        """Stage as the run would; return its window, its number of rows, and trainings not found."""
        if which.training_ids is not None:
            return None, *self._stage_trainings(engine, stager, run_id, which.training_ids)
        report = stager.stage(
            run_id,
            asked=which.window,
            look_back=which.look_back,
            begin_from=which.begin_from,
            is_pilot=which.is_pilot,
        )
        return report.window, report.rows, ()

    def _stage_trainings(
        self, engine: RollbackEngine, stager: Stager, run_id: str, training_ids: Sequence[str]
    ) -> tuple[int, tuple[str, ...]]:
        site, names = self._site.name, list(training_ids)
        stager.keep_to_site()
        with engine.begin() as connection:
            keep_to_secret(connection, self._pseudonyms)
            rows = connection.execute(_KNOWN, {"site": site, "training_ids": names}).all()
        known = {str(key): str(name) for key, name in rows}
        found = stager.look_up(names)
        keys = sorted({*known, *found})
        stager.restage(keys, found, run_id=run_id)
        with engine.begin() as connection:
            connection.execute(_NOTE_ROWS, {"site": site, "run_id": run_id, "keys": keys})
        present = {*known.values(), *(item.training_id for rows in found.values() for item in rows)}
        return sum(map(len, found.values())), tuple(name for name in names if name not in present)

    async def _choose(
        self,
        engine: RollbackEngine,
        stager: Stager,
        run_id: str,
        which: Selection,
        settings: DeliverySettings,
        unknown_since: datetime | None,
    ) -> tuple[list[PlannedRow], str | None]:
        """Return the certificates that would be sent, in order, and why no more would be."""
        site, warehouse = self._site, cast("AsyncEngine", engine.for_tasks())
        ledger = DeliveryRepository(
            warehouse,
            site=site.name,
            run_id=run_id,
            worker="dry run",
            unknown_since=unknown_since,
            certification_ids=which.certification_ids,
        )
        others = [self._keeper(name) for name in await ledger.other_sites()]
        context = DeliveryContext(
            site=site,
            run_id=run_id,
            ledger=ledger,
            limiter=RateLimiter(
                warehouse,
                host=site.host,
                key_fingerprint=site.key_fingerprint,
                requests_per_hour=site.requests_per_hour,
            ),
            client=SpringestClient(site),  # never entered: it has no session to send with
            stager=stager,
            documents=self._documents,
            watermark=AttemptWatermark(self._keeper(site.name), others=others),
        )
        dry_run = _DryRun(context, settings=settings, only=which.training_ids)
        try:
            await dry_run.choose()
        except DeliveryStopped as stopped:
            return dry_run.chosen, str(stopped)
        return dry_run.chosen, dry_run.stop.reason

    def _look(self, engine: RollbackEngine, run_id: str) -> tuple[list[PlannedRow], int, dict[str, float]]:
        """Return the staged rows, the length of the queue, and the state of the rate limit."""
        site = self._site
        row = {"host": site.host, "key_fingerprint": site.key_fingerprint}
        with engine.connect() as connection:
            staged = connection.execute(_ROWS, {"site": site.name, "run_id": run_id}).mappings().all()
            queued = int(connection.execute(_READY, {"site": site.name}).scalar_one())
            ahead, frozen = connection.execute(_AHEAD, row).one()
        rows = [PlannedRow(**{**row, "state": State(row["state"])}) for row in staged]
        return rows, queued, {"ahead": max(0.0, float(ahead)), "frozen": max(0.0, float(frozen))}


class _DryRun(DeliveryRun):
    """Takes the queue through the gates as a real run does, up to the claim.

    :param only: trainings to plan for; ``None`` for all.
    """

    def __init__(
        self, context: DeliveryContext, *, settings: DeliverySettings, only: Sequence[str] | None
    ) -> None:
        super().__init__(context, settings=settings)
        self._only = None if only is None else frozenset(only)
        self.chosen: list[PlannedRow] = []

    async def choose(self) -> None:
        """Fill ``chosen``.

        :raises DeliveryStopped: the run may not send, or it would stop with an error.
        """
        pipeline = self._new_pipeline(_DryPipeline, await self._check_before_sending())
        try:
            await self._send_queue(pipeline)
        finally:
            pipeline.documents.close()
        self.chosen = [row for _, row in sorted(pipeline.chosen.values(), key=lambda pair: pair[0])]

    async def _read_source(self, batch: Sequence[Queued]) -> list[OutgoingCertificate]:
        if self._only is not None:
            batch = [queued for queued in batch if queued.training_id in self._only]
        return await super()._read_source(batch) if batch else []


class _DryPipeline(CertificatePipeline):
    """Records which certificates it would claim."""

    def __init__(self, context: DeliveryContext, **settings: Any) -> None:
        super().__init__(context, **settings)
        self.chosen: dict[str, tuple[tuple[bool, datetime, str], PlannedRow]] = {}

    async def send(self, certificate: OutgoingCertificate) -> None:
        """Choose one certificate; a later pass finds it in the queue again."""
        if certificate.queued.delivery_key not in self.chosen:
            await super().send(certificate)

    async def _claim(
        self, certificate: OutgoingCertificate, _document: OpenDocument
    ) -> tuple[Claim, SendGuard, int]:
        queued, training = certificate.queued, certificate.training
        row = PlannedRow(training.training_id, training.issue_no, training.certification_id, State.READY)
        self.chosen[queued.delivery_key] = queued.order, row
        certificate.state = State.ACCEPTED
        raise GateClosed
