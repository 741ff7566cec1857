"""Looks at the source and the ledger while everything around them breaks, and gathers evidence afterwards."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Engine, text

from .components import patiently
from .proof import Attempt, Delivery, Evidence, SourceRow
from .world import World

_PROGRESS = """
SELECT (SELECT count(*) FROM springest.delivery_attempt WHERE attempt_id > :after) AS attempts,
       count(*) FILTER (WHERE state = 'ready') AS ready,
       count(*) FILTER (WHERE state = 'sending') AS sending,
       count(*) FILTER (WHERE state = 'sending' AND lease_until < clock_timestamp()) AS leases_over,
       count(*) FILTER (WHERE reason = 'lease_lost') AS leases_lost,
       count(*) AS deliveries
FROM springest.delivery
"""
_SENDING = """
SELECT DISTINCT delivery.lease_owner, attempt.run_id
FROM springest.delivery
JOIN springest.delivery_attempt AS attempt USING (delivery_id)
WHERE delivery.state = 'sending' AND attempt.outcome IS NULL
"""
_ROWS = """
SELECT training_id, learner.email, certification_id, valid_from
FROM completed_training JOIN learner USING (learner_id)
"""
_DELIVERIES = "SELECT delivery_key, training_id, state, springest_certificate_id FROM springest.delivery"
_ATTEMPTS = """
SELECT attempt.attempt_id, delivery.delivery_key, extract(epoch FROM attempt.started_at)::float8,
       attempt.outcome, attempt.document_sha256, attempt.springest_certificate_id
FROM springest.delivery_attempt AS attempt
JOIN springest.delivery USING (delivery_id)
"""


@dataclass(frozen=True, slots=True)
class Progress:
    """Where the ledger stands.

    :param attempts: made since an attempt.
    :param leases_over: ``sending`` deliveries whose lease is over, and which nobody has swept yet.
    :param leases_lost: deliveries that were swept, ever.
    """

    attempts: int
    ready: int
    sending: int
    leases_over: int
    leases_lost: int
    deliveries: int


@dataclass(frozen=True, slots=True)
class Worker:
    """A process that sends just now.

    :param pid: the task's process.
    """

    pid: int
    run_id: str


class Ledger:
    """Reads the databases of a world, however long they are down."""

    def __init__(self, world: World) -> None:
        self._world = world

    def progress(self, *, after: int) -> Progress:
        """Return where it stands.

        :param after: attempts are counted behind this one.
        """
        [row] = _read(self._world.warehouse, _PROGRESS, after=after)
        return Progress(*row)

    def highest_attempt(self) -> int:
        """Return the number of the last attempt."""
        asked = "SELECT COALESCE(max(attempt_id), 0) FROM springest.delivery_attempt"
        return int(_read(self._world.warehouse, asked)[0][0])

    def workers(self) -> list[Worker]:
        """Return who sends just now: the ledger names each worker as host:pid:number."""
        found = _read(self._world.warehouse, _SENDING)
        return [Worker(int(owner.split(":")[-2]), run_id) for owner, run_id in found]

    def trainings(self) -> int:
        """Return the source's own count."""
        return int(_read(self._world.source, "SELECT count(*) FROM completed_training")[0][0])

    def evidence(self) -> Evidence:
        """Return what everybody says, to be judged."""
        warehouse, sandbox = self._world.warehouse, self._world.sandbox
        return Evidence(
            source_count=self.trainings(),
            rows=[
                SourceRow(training_id, email, certification_id, str(valid_from), self._sha256(training_id))
                for training_id, email, certification_id, valid_from in _read(self._world.source, _ROWS)
            ],
            deliveries=[Delivery(*row) for row in _read(warehouse, _DELIVERIES)],
            attempts=[Attempt(*row) for row in _read(warehouse, _ATTEMPTS)],
            stored=sandbox.certificates(),
            posts=[request for request in sandbox.requests() if request.method == "POST"],
        )

    def _sha256(self, training_id: str) -> str:
        content = (self._world.documents / f"{training_id}.pdf").read_bytes()
        return hashlib.sha256(content).hexdigest()


def _read(engine: Engine, statement: str, **values: Any) -> Sequence[Any]:
    def ask() -> Sequence[Any]:
        with engine.connect() as connection:
            return connection.execute(text(statement), values).all()

    return patiently(ask)
