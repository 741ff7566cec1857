"""The ledger while certificates are sent: a claim before the first byte, an outcome after the response.

Each change is a compare-and-set in one statement with its own commit, on the database's clock, so any number
of workers, runs and backfills can share one ledger.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Callable, Collection, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final

from sqlalchemy import Row, TextClause, text
from sqlalchemy.ext.asyncio import AsyncEngine

from springest.db.batching import Rows, StatementBatcher, for_driver
from springest.db.locks import Lock, lock_key
from springest.db.statements import load_sql, quoted
from springest.delivery.claims import CLAIM_RETURNED, Claim, NotClaimed, Outcome, Queued, QueueLength
from springest.errors import WarehouseLocked
from springest.states import Event, State, late_sources_of

RECENT_RUNS: Final = 14
"""Delivering runs whose median is the usual size."""
_SWEEP: Final = text(load_sql("delivery/sweep_expired_leases"))
_QUEUE: Final = text(load_sql("delivery/queue"))
_QUEUE_LENGTH: Final = text(
    "SELECT count(*) AS ready, count(*) FILTER (WHERE staged_run_id = :run_id) AS of_this_run"
    " FROM springest.delivery WHERE site = :site AND indexed_state = 'ready'"
)
UNAPPROVED_RUNS: Final = text(
    load_sql(
        "delivery/unapproved_runs",
        lock=lock_key(Lock.APPROVE, ":site"),
        run_lock=lock_key(Lock.STAGE_RUN, ":site", "run_id"),
    )
)
COUNT_UNAPPROVED: Final = text(load_sql("delivery/count_unapproved"))
_APPROVE: Final = text(
    "INSERT INTO springest.approved_run (site, run_id)"
    " SELECT :site, unnest(CAST(:run_ids AS text[])) ON CONFLICT DO NOTHING"
)
_RECENT_RUN_SIZES: Final = text(load_sql("delivery/recent_run_sizes"))
_SENT_BY_RUN: Final = text(load_sql("delivery/sent_by_run"))
_HIGHEST_ATTEMPT: Final = text(load_sql("delivery/highest_attempt"))
_OTHER_SITES: Final = text("SELECT DISTINCT site FROM springest.delivery WHERE site <> :site ORDER BY site")
_CLAIM: Final = for_driver(load_sql("delivery/claim", lock=lock_key(Lock.CLAIM, ":site")))
_COUNT_UNKNOWN: Final = text(load_sql("delivery/count_unknown"))
_RECORD: Final = for_driver(
    load_sql(
        "delivery/record_outcome",
        late_with_id=quoted(late_sources_of(Event.ACCEPTED_WITH_ID)),
        late_without_id=quoted(late_sources_of(Event.ACCEPTED_WITHOUT_ID)),
    )
)
_FLAG_POSSIBLE_DUPLICATE: Final = text(load_sql("delivery/flag_possible_duplicate"))


@dataclass(frozen=True, slots=True)
class _ClaimRequest:
    queued: Queued
    lease_seconds: float
    document_sha256: str
    document_size: int
    max_unknown: int
    run_limit: int | None
    known_attempt: int


class DeliveryRepository:
    """The deliveries and attempts of one site, as a delivery run reads and changes them.

    :param engine: engine of the warehouse.
    :param site: name of the site.
    :param worker: unique name of this process.
    :param unknown_since: unknown outcomes sent since then count against ``max_unknown``, whichever run sent
        them; the last twelve hours by default.
    :param certification_ids: certifications whose certificates are sent; ``None`` for all.
    """

    def __init__(
        self,
        engine: AsyncEngine,
        *,
        site: str,
        run_id: str,
        worker: str,
        unknown_since: datetime | None = None,
        certification_ids: Collection[int] | None = None,
    ) -> None:
        self._engine = engine.execution_options(isolation_level="AUTOCOMMIT")
        self._site = site
        self._run_id = run_id
        self._worker = worker
        self._unknown_since = unknown_since
        self._certification_ids = None if certification_ids is None else sorted(certification_ids)
        self._claims: StatementBatcher[_ClaimRequest, Claim | NotClaimed] = StatementBatcher(
            engine, _CLAIM, parameters=self._claim_parameters, answers=self._claim_results
        )
        self._outcomes = self._new_outcome_batcher()

    async def sweep_expired_leases(self) -> int:
        """Make every delivery whose lease has expired ``unknown``; return how many there were."""
        return len(await self._rows(_SWEEP, site=self._site))

    async def queue(self, *, after: tuple[bool, datetime, str] | None, limit: int) -> list[Queued]:
        """Return the next deliveries to send: those of this run first, then the oldest.

        :param after: ``order`` of the last delivery that was returned.
        """
        later, created_at, key = after or (False, None, "")
        rows = await self._rows(
            _QUEUE,
            site=self._site,
            run_id=self._run_id,
            certification_ids=self._certification_ids,
            after_later=later,
            after_created_at=created_at,
            after_key=key,
            limit=limit,
        )
        return [Queued(*row) for row in rows]

    async def queue_length(self) -> QueueLength:
        """Return how many deliveries wait."""
        [row] = await self._rows(_QUEUE_LENGTH, site=self._site, run_id=self._run_id)
        return QueueLength(row.ready, row.of_this_run)

    async def count_unknown(self, *, in_flight: bool = False) -> int:
        """Return how many deliveries of the site were sent lately and have an unknown outcome.

        Outcomes that a person or a snapshot has resolved since do not count.

        :param in_flight: also count deliveries that any worker is sending.
        """
        [row] = await self._rows(
            _COUNT_UNKNOWN, site=self._site, since=self._unknown_since, in_flight=in_flight
        )
        return int(row[0])

    async def approve(
        self, choose: Callable[[Mapping[str, int]], Collection[str]]
    ) -> Mapping[str, int] | None:
        """Approve staged runs; only deliveries of approved runs are in the queue.

        :param choose: returns the runs to approve; its argument is the number of waiting deliveries by run,
            of runs that are not approved yet and not being staged right now.
        :returns: the argument of ``choose``; ``None`` while another process is staging this run itself.
        """
        async with self._engine.execution_options(isolation_level="READ COMMITTED").begin() as connection:
            runs = await connection.execute(UNAPPROVED_RUNS, {"site": self._site, "run_id": self._run_id})
            values = {"site": self._site, "run_ids": sorted(runs.scalars())}
            if self._run_id not in values["run_ids"]:
                return None
            rows = await connection.execute(COUNT_UNAPPROVED, values)
            waiting = {row.run_id: int(row.deliveries) for row in rows}
            await connection.execute(_APPROVE, {"site": self._site, "run_ids": sorted(choose(waiting))})
        return waiting

    async def sent_by_run(self) -> int:
        """Return how many certificates this run sent in all its tries, whatever the outcome."""
        [row] = await self._rows(_SENT_BY_RUN, site=self._site, run_id=self._run_id)
        return int(row[0])

    async def highest_attempt(self) -> int:
        """Return the highest attempt number of any site; 0 without any.

        Attempts that a restored ledger has lost count once a person has repaired it.
        """
        [row] = await self._rows(_HIGHEST_ATTEMPT)
        return int(row[0])

    async def other_sites(self) -> list[str]:
        """Return the other sites of this ledger, which share its attempt numbers."""
        return [row.site for row in await self._rows(_OTHER_SITES, site=self._site)]

    async def recent_run_sizes(self, *, last: int = RECENT_RUNS) -> list[int]:
        """Return how many certificates each of the last delivering runs sent, without this run."""
        rows = await self._rows(_RECENT_RUN_SIZES, site=self._site, run_id=self._run_id, last=last)
        return [int(row[0]) for row in rows]

    async def claim(
        self,
        queued: Queued,
        *,
        lease_seconds: float,
        document_sha256: str,
        document_size: int,
        max_unknown: int,
        known_attempt: int,
        run_limit: int | None = None,
    ) -> Claim | NotClaimed:
        """Claim a delivery for one POST; the attempt is committed when this returns.

        :param max_unknown: deliveries that may be unknown or in flight at once, over all workers and runs.
        :param known_attempt: the highest attempt that the worker knows of; the ledger must have it.
        :param run_limit: certificates that the run may send in all its tries; ``None`` for any number.
        :raises CancelledError: the worker is stopped; a claim that was committed meanwhile is returned.
        """
        claiming = self._claims.put(
            _ClaimRequest(
                queued, lease_seconds, document_sha256, document_size, max_unknown, run_limit, known_attempt
            )
        )
        try:
            return await asyncio.shield(claiming)
        except asyncio.CancelledError:
            await asyncio.wait((claiming,))
            if not claiming.cancelled() and claiming.exception() is None:
                claim = claiming.result()
                if isinstance(claim, Claim):
                    await self.record(claim, CLAIM_RETURNED)
            raise

    async def record(self, claim: Claim, outcome: Outcome) -> State | None:
        """Record the outcome of an attempt.

        If the lease has expired, the delivery is ``unknown`` already, and only a late 201 with an id still
        changes it. If it has been released and sent again meanwhile, a person is asked to look: Springest may
        have it twice.

        :returns: the delivery's new state; ``None`` if the outcome came too late to change it.
        """
        try:
            recorded = await self._outcomes.ask((claim, outcome))
        except WarehouseLocked:  # perhaps only the delivery of another outcome in the same statement
            recorded = await self._new_outcome_batcher().ask((claim, outcome))
        if recorded is None and outcome.event is Event.ACCEPTED_WITH_ID:
            await self._rows(
                _FLAG_POSSIBLE_DUPLICATE,
                delivery_key=claim.delivery_key,
                attempt_id=claim.attempt_id,
                springest_certificate_id=outcome.springest_certificate_id,
            )
        return recorded

    @asynccontextmanager
    async def hold_connections(self) -> AsyncIterator[None]:
        """Keep one connection for claims and one for outcomes during the context."""
        async with self._claims.kept(), self._outcomes.kept():
            yield

    def _new_outcome_batcher(self) -> StatementBatcher[tuple[Claim, Outcome], State | None]:
        return StatementBatcher(
            self._engine, _RECORD, parameters=_outcome_parameters, answers=_recorded_states
        )

    def _claim_parameters(self, requests: Sequence[_ClaimRequest]) -> dict[str, Any]:
        values = [
            {
                "position": position,
                "delivery_key": request.queued.delivery_key,
                "version": request.queued.version,
                "lease_seconds": request.lease_seconds,
                "document_sha256": request.document_sha256,
                "document_size": request.document_size,
            }
            for position, request in enumerate(requests)
        ]
        return {
            "site": self._site,
            "run_id": self._run_id,
            "worker": self._worker,
            "since": self._unknown_since,
            "max_unknown": min(request.max_unknown for request in requests),
            "run_limit": min(
                (request.run_limit for request in requests if request.run_limit is not None), default=None
            ),
            "known_attempt": max(request.known_attempt for request in requests),
            "requests": json.dumps(values),
        }

    def _claim_results(self, requests: Sequence[_ClaimRequest], rows: Rows) -> list[Claim | NotClaimed]:
        results: list[Claim | NotClaimed] = [NotClaimed.TAKEN] * len(requests)
        for row in rows:
            queued = requests[row.position].queued
            results[row.position] = (
                NotClaimed(row.refusal)
                if row.attempt_id is None
                else Claim(row.attempt_id, queued.delivery_key, queued.version + 1, self._worker)
            )
        return results

    async def _rows(self, statement: TextClause, **values: Any) -> Sequence[Row[*tuple[Any, ...]]]:
        async with self._engine.connect() as connection:
            result = await connection.execute(statement, values)
            return result.all() if result.returns_rows else []


def _outcome_parameters(attempts: Sequence[tuple[Claim, Outcome]]) -> dict[str, Any]:
    """Return the outcomes as one JSON text, which costs the driver far less CPU time than several arrays."""
    outcomes = [
        {
            "worker": claim.worker,
            "attempt_id": claim.attempt_id,
            "delivery_key": claim.delivery_key,
            "version": claim.version,
            "event": outcome.event.value,
            "state": outcome.state.value,
            "reason": outcome.reason,
            "detail": _storable(outcome.detail),
            "failure": outcome.failure,
            "http_status": outcome.http_status,
            "bytes_handed_over": outcome.bytes_handed_over,
            "springest_certificate_id": outcome.springest_certificate_id,
        }
        for claim, outcome in attempts
    ]
    return {"outcomes": json.dumps(outcomes)}


def _storable(text: str | None) -> str | None:
    """Return a text without characters that PostgreSQL can't store: NUL, and halves of surrogate pairs."""
    return text.replace("\0", "").encode("utf-8", "replace").decode() if text else text


def _recorded_states(attempts: Sequence[tuple[Claim, Outcome]], rows: Rows) -> list[State | None]:
    changed = {row.attempt_id for row in rows}
    return [outcome.state if claim.attempt_id in changed else None for claim, outcome in attempts]
