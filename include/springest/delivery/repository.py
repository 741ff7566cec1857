"""The ledger while certificates are being sent: claim before the first byte, record the outcome after it.

Every change is a compare-and-set in one statement with a commit of its own, on the database's clock, so that
any number of workers, runs and backfills may work on one ledger.
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

from springest.db.batching import Lane, Rows, for_driver
from springest.db.locks import Lock, lock_key
from springest.db.statements import load_sql, quoted
from springest.delivery.claims import GIVEN_BACK, Claim, NotClaimed, Outcome, Queued, QueueLength
from springest.errors import WarehouseLocked
from springest.states import Event, State, late_sources_of

_SWEEP: Final = text(load_sql("delivery/sweep_expired_leases"))
_QUEUE: Final = text(load_sql("delivery/queue"))
_LENGTH: Final = text(
    "SELECT count(*) AS ready, count(*) FILTER (WHERE staged_run_id = :run_id) AS of_this_run"
    " FROM springest.delivery WHERE site = :site AND indexed_state = 'ready'"
)
UNRELEASED_RUNS: Final = text(
    load_sql(
        "delivery/unreleased_runs",
        lock=lock_key(Lock.APPROVE, ":site"),
        run_lock=lock_key(Lock.STAGE_RUN, ":site", "run_id"),
    )
)
UNRELEASED: Final = text(load_sql("delivery/count_unreleased"))
_NIGHTS: Final = text(load_sql("delivery/last_nights"))
_SENT_BY_RUN: Final = text(load_sql("delivery/sent_by_run"))
NIGHTS: Final = 14
"""Delivering runs that say what is usual."""
_HIGHEST: Final = text(load_sql("delivery/highest_attempt"))
_CLAIM: Final = for_driver(load_sql("delivery/claim", lock=lock_key(Lock.CLAIM, ":site")))
_DOUBTS: Final = text(load_sql("delivery/open_doubts"))
_RECORD: Final = for_driver(
    load_sql(
        "delivery/record_outcome",
        late_with_id=quoted(late_sources_of(Event.ACCEPTED_WITH_ID)),
        late_without_id=quoted(late_sources_of(Event.ACCEPTED_WITHOUT_ID)),
    )
)
_FLAG_SECOND: Final = text(load_sql("delivery/flag_second_certificate"))


@dataclass(frozen=True, slots=True)
class _Wanted:
    """A delivery that a worker wants to claim."""

    queued: Queued
    lease_seconds: float
    document_sha256: str
    document_size: int
    most_in_doubt: int
    most_by_run: int | None
    known_attempt: int


class SendingLedger:
    """What the delivering task does to the ledger.

    :param engine: engine of the warehouse.
    :param site: name of the site.
    :param worker: this process, unique.
    :param doubts_since: from when on outcomes that are in doubt count against what may become unknown; the
        last twelve hours by default, whichever run left them.
    :param certification_ids: certifications whose certificates are sent; ``None`` for all.
    """

    def __init__(
        self,
        engine: AsyncEngine,
        *,
        site: str,
        run_id: str,
        worker: str,
        doubts_since: datetime | None = None,
        certification_ids: Collection[int] | None = None,
    ) -> None:
        self._engine = engine.execution_options(isolation_level="AUTOCOMMIT")
        self._site = site
        self._run_id = run_id
        self._worker = worker
        self._doubts_since = doubts_since
        self._certification_ids = None if certification_ids is None else sorted(certification_ids)
        self._claims: Lane[_Wanted, Claim | NotClaimed] = Lane(
            engine, _CLAIM, parameters=self._claim_values, answers=self._claims_of
        )
        self._outcomes = self._lane_of_outcomes()

    async def sweep(self) -> int:
        """Make ``unknown`` of every delivery whose worker let its lease run out; nothing is sent.

        :returns: how many there were.
        """
        return len(await self._rows(_SWEEP, site=self._site))

    async def queue(self, *, after: tuple[bool, datetime, str] | None, limit: int) -> list[Queued]:
        """Return the next deliveries to send: this run's first, then the oldest."""
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

    async def length(self) -> QueueLength:
        """Return how many deliveries wait."""
        [row] = await self._rows(_LENGTH, site=self._site, run_id=self._run_id)
        return QueueLength(row.ready, row.of_this_run)

    async def in_doubt(self, *, under_way: bool = False) -> int:
        """Return how many deliveries of the site were sent lately and are in doubt, whichever run sent them.

        Outcomes that a person or a snapshot has resolved since no longer count.

        :param under_way: count what any worker has under way as well.
        """
        [row] = await self._rows(_DOUBTS, site=self._site, since=self._doubts_since, under_way=under_way)
        return int(row[0])

    async def release(
        self, choose: Callable[[Mapping[str, int]], Collection[str]]
    ) -> Mapping[str, int] | None:
        """Accept staged runs as work to be sent; only what is accepted is sent.

        :param choose: returns the runs to accept, given how many certificates wait of each run that is not
            accepted yet and that nobody is staging right now.
        :returns: what ``choose`` was given; ``None`` while another process is staging this run itself.
        """
        async with self._engine.execution_options(isolation_level="READ COMMITTED").begin() as connection:
            runs = await connection.execute(UNRELEASED_RUNS, {"site": self._site, "run_id": self._run_id})
            values = {"site": self._site, "run_ids": sorted(runs.scalars())}
            if self._run_id not in values["run_ids"]:
                return None
            waiting = {run: int(number) for run, number in await connection.execute(UNRELEASED, values)}
            await connection.execute(
                text(
                    "INSERT INTO springest.released_run (site, run_id)"
                    " SELECT :site, unnest(CAST(:run_ids AS text[])) ON CONFLICT DO NOTHING"
                ),
                {"site": self._site, "run_ids": sorted(choose(waiting))},
            )
        return waiting

    async def sent_by_run(self) -> int:
        """Return how many certificates this run sent, answered or not, in all its tries."""
        [row] = await self._rows(_SENT_BY_RUN, site=self._site, run_id=self._run_id)
        return int(row[0])

    async def highest_attempt(self) -> int:
        """Return the number of the last attempt of any site that the ledger knows of; 0 without any.

        Attempts that a restored ledger has forgotten count once a person has set it right.
        """
        [row] = await self._rows(_HIGHEST)
        return int(row[0])

    async def other_sites(self) -> list[str]:
        """Return the other sites that the ledger knows: it is restored, and numbered, with them."""
        found = await self._rows(
            text("SELECT DISTINCT site FROM springest.delivery WHERE site <> :site ORDER BY site"),
            site=self._site,
        )
        return [str(row[0]) for row in found]

    async def nights(self, *, last: int = NIGHTS) -> list[int]:
        """Return how many certificates each of the last delivering runs sent, without this one."""
        return [
            int(row[0]) for row in await self._rows(_NIGHTS, site=self._site, run_id=self._run_id, last=last)
        ]

    async def claim(
        self,
        queued: Queued,
        *,
        lease_seconds: float,
        document_sha256: str,
        document_size: int,
        most_in_doubt: int,
        known_attempt: int,
        most_by_run: int | None = None,
    ) -> Claim | NotClaimed:
        """Take a delivery for one POST; the attempt is committed when this returns.

        :param most_in_doubt: what may be under way and in doubt at once, of all workers and runs together.
        :param most_by_run: certificates that the run may send in all its tries; ``None`` for any number.
        :param known_attempt: the highest attempt that the worker knows of; the ledger must know it as well.
        :raises CancelledError: the worker is stopped; a claim that was committed meanwhile is given back.
        """
        claiming = self._claims.put(
            _Wanted(
                queued,
                lease_seconds,
                document_sha256,
                document_size,
                most_in_doubt,
                most_by_run,
                known_attempt,
            )
        )
        try:
            return await asyncio.shield(claiming)
        except asyncio.CancelledError:
            await asyncio.wait((claiming,))
            if not claiming.cancelled() and claiming.exception() is None:
                claim = claiming.result()
                if isinstance(claim, Claim):
                    await self.record(claim, GIVEN_BACK)
            raise

    async def record(self, claim: Claim, outcome: Outcome) -> State | None:
        """Record what became of an attempt.

        When the lease was lost meanwhile, the delivery is ``unknown`` already; only the worker's own
        201 with an id still counts. If it has been sent again by then, by a person's release, a person is
        warned that Springest may have it twice.

        :returns: the delivery's state now; ``None`` when the outcome came too late to change it.
        """
        try:
            recorded = await self._outcomes.ask((claim, outcome))
        except WarehouseLocked:  # perhaps only the delivery of another outcome in the same statement is
            recorded = await self._lane_of_outcomes().ask((claim, outcome))
        if recorded is None and outcome.event is Event.ACCEPTED_WITH_ID:
            await self._rows(
                _FLAG_SECOND,
                delivery_key=claim.delivery_key,
                attempt_id=claim.attempt_id,
                springest_certificate_id=outcome.springest_certificate_id,
            )
        return recorded

    @asynccontextmanager
    async def kept(self) -> AsyncIterator[None]:
        """Keep the connections for claims and outcomes meanwhile."""
        async with self._claims.kept(), self._outcomes.kept():
            yield

    def _lane_of_outcomes(self) -> Lane[tuple[Claim, Outcome], State | None]:
        return Lane(self._engine, _RECORD, parameters=_outcome_values, answers=_states_of)

    def _claim_values(self, wanted: Sequence[_Wanted]) -> dict[str, Any]:
        asked = [
            {
                "place": place,
                "delivery_key": one.queued.delivery_key,
                "version": one.queued.version,
                "lease_seconds": one.lease_seconds,
                "document_sha256": one.document_sha256,
                "document_size": one.document_size,
            }
            for place, one in enumerate(wanted)
        ]
        return {
            "site": self._site,
            "run_id": self._run_id,
            "worker": self._worker,
            "since": self._doubts_since,
            "most_in_doubt": min(one.most_in_doubt for one in wanted),
            "most_by_run": min(
                (one.most_by_run for one in wanted if one.most_by_run is not None), default=None
            ),
            "known_attempt": max(one.known_attempt for one in wanted),
            "asked": json.dumps(asked),
        }

    def _claims_of(self, wanted: Sequence[_Wanted], rows: Rows) -> list[Claim | NotClaimed]:
        attempts: dict[str, int] = {key: attempt_id for key, attempt_id, _, _ in rows if key is not None}
        [(places, places_of_run, is_whole)] = [counts for key, *counts in rows if key is None]
        why_not = NotClaimed.NO_ROOM if len(attempts) >= places else NotClaimed.TAKEN
        if places_of_run is not None and len(attempts) >= places_of_run:
            why_not = NotClaimed.LIMIT_REACHED
        why_not = why_not if is_whole else NotClaimed.FORGOTTEN
        made: list[Claim | NotClaimed] = []
        for one in wanted:
            attempt_id = attempts.pop(one.queued.delivery_key, None)
            version = one.queued.version + 1
            made.append(
                Claim(attempt_id, one.queued.delivery_key, version, self._worker) if attempt_id else why_not
            )
        return made

    async def _rows(self, statement: TextClause, **values: Any) -> Sequence[Row[*tuple[Any, ...]]]:
        async with self._engine.connect() as connection:
            result = await connection.execute(statement, values)
            return result.all() if result.returns_rows else []


def _outcome_values(told: Sequence[tuple[Claim, Outcome]]) -> dict[str, Any]:
    """Return the outcomes as one JSON text, which costs the driver far less than as many arrays."""
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
        for claim, outcome in told
    ]
    return {"told": json.dumps(outcomes)}


def _storable(text: str | None) -> str | None:
    """Return a text without what PostgreSQL can't store: NUL characters and halves of surrogates."""
    return text.replace("\0", "").encode("utf-8", "replace").decode() if text else text


def _states_of(told: Sequence[tuple[Claim, Outcome]], rows: Rows) -> list[State | None]:
    recorded = {attempt_id for (attempt_id,) in rows}
    return [outcome.state if claim.attempt_id in recorded else None for claim, outcome in told]
