"""One round: trainings are delivered while everything breaks, then calm returns and all must add up."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path

from demo.airflow_home import RunFailed

from .backfills import DELIVER, Backfills, already_done
from .ledger import Ledger
from .plan import Plan
from .proof import failures
from .strikes import Striker
from .world import CANARY, DAGS, World, backfill_day

RECONCILE = "springest_reconcile"
ACTIVE = ("queued", "running")
SECONDS_TO_SETTLE = 240.0
SECONDS_OF_FAULTS = 40.0
"""How long runs may go on among faults once all strikes are through."""


class NotSettled(RuntimeError):
    """The queue did not get empty after the chaos was over."""


@dataclass(slots=True)
class Figures:
    """What happened, over all rounds.

    :param hits: strikes that met something.
    :param misses: strikes that found nothing to hit.
    """

    rounds: int = 0
    hits: Counter[str] = field(default_factory=Counter)
    misses: Counter[str] = field(default_factory=Counter)
    faults: Counter[str] = field(default_factory=Counter)
    runs_to_settle: int = 0
    backfills: int = 0


@dataclass(frozen=True, slots=True)
class RoundReport:
    """Result of a round, to be printed."""

    seconds: float
    struck: tuple[str, ...]
    failures: tuple[str, ...]


class Rounds:
    """Plays rounds in one world, one after the other."""

    def __init__(self, world: World) -> None:
        self._world = world
        self._ledger = Ledger(world)
        self._backfills = Backfills(world.api)
        self._striker = Striker(world, self._ledger, self._backfills)
        self.figures = Figures()

    def begin(self) -> None:
        """Let Airflow parse the DAGs, read the catalogue, and start its schedule."""
        until = time.monotonic() + 120
        while not set(DAGS) <= self._world.api.dags():
            errors = self._world.api.import_errors()
            if errors or time.monotonic() > until:
                raise RuntimeError(f"the DAGs can't be parsed:\n{''.join(errors)}")
            self._world.components.revive()
            time.sleep(0.3)
        self._world.api.unpause("springest_catalogue")
        self._world.api.trigger("springest_catalogue", run_id="chaos-catalogue")
        self._world.api.wait_for_run(
            "springest_catalogue", "chaos-catalogue", tick=self._world.components.revive
        )
        for dag_id in (DELIVER, RECONCILE):
            self._world.api.unpause(dag_id)

    def play(self, plan: Plan) -> RoundReport:
        """Play one round."""
        begun = time.monotonic()
        base = self._ledger.highest_attempt()
        self._world.complete(plan)
        for fault in plan.faults:
            self._world.sandbox.add_fault(fault)
            self.figures.faults[fault.kind] += 1
        self._world.api.trigger(DELIVER, run_id=f"chaos-{plan.number:04d}")
        if plan.older:
            self._backfills.start(plan)
        struck = tuple(self._strikes(plan, base))
        self._calm(plan)
        self._backfills.end()
        self.figures.rounds, self.figures.backfills = self.figures.rounds + 1, self._backfills.made
        return RoundReport(time.monotonic() - begun, struck, tuple(failures(self._ledger.evidence())))

    def finish(self) -> list[str]:
        """Reconcile once more, undisturbed, and look for what nothing may have written down."""
        try:
            self._world.api.trigger(RECONCILE, run_id="chaos-end")
            self._world.api.wait_for_run(
                RECONCILE, "chaos-end", seconds=180, tick=self._world.components.revive
            )
        except RunFailed as failed:
            return [str(failed)]
        return [*failures(self._ledger.evidence()), *self._written_down()]

    def _strikes(self, plan: Plan, base: int) -> Iterator[str]:
        for action in plan.actions:
            struck = self._striker.strike(plan, action, after=base)
            (self.figures.hits if struck.hit else self.figures.misses)[action.strike] += 1
            yield (
                f"{action.strike}{'' if struck.hit else ' (nothing hit)'} after {struck.attempts} attempts, "
                f"{struck.sending} under way"
            )

    def _calm(self, plan: Plan) -> None:
        """Let the server's faults happen, then nothing more, and run until the queue is empty."""
        with suppress(NotSettled):
            self._wait_for_runs(time.monotonic() + SECONDS_OF_FAULTS)
        self._world.sandbox.clear_faults()
        self._world.sandbox.release()
        until = time.monotonic() + SECONDS_TO_SETTLE
        runs = 0
        while True:
            self._wait_for_runs(until)
            if self._is_settled():
                break
            if time.monotonic() > until:
                raise NotSettled(f"{self._ledger.progress(after=0)} after {runs} more runs")
            runs += 1
            self._run_again(plan, runs)
        self.figures.runs_to_settle += runs

    def _is_settled(self) -> bool:
        """Wait for leases that dead workers hold, and tell whether all is sent and all is staged."""
        while (now := self._ledger.progress(after=0)).sending > now.leases_over:
            self._world.components.revive()
            time.sleep(0.2)
        return not now.ready and not now.sending and now.deliveries == self._ledger.trainings()

    def _wait_for_runs(self, until: float) -> None:
        while self._world.api.runs(DELIVER, states=ACTIVE):
            if time.monotonic() > until:
                raise NotSettled(f"runs are not through: {self._world.api.runs(DELIVER, states=ACTIVE)}")
            self._world.components.revive()
            time.sleep(0.3)

    def _run_again(self, plan: Plan, times: int) -> None:
        """Clear what failed, as an operator would, or trigger a run over the round's whole window."""
        failed = self._world.api.runs(DELIVER, states=["failed"])
        if times == 1 and failed:
            self._world.api.clear(DELIVER, failed[-1]["dag_run_id"])
            return
        window = {
            "window_start": (backfill_day(plan) - timedelta(days=1)).isoformat(),
            "window_end": datetime.now(UTC).isoformat(),
        }
        with already_done():
            self._world.api.trigger(DELIVER, run_id=f"settle-{plan.number:04d}-{times}", conf=window)

    def _wait(self, dag_id: str, run_id: str) -> None:
        self._world.api.wait_for_run(dag_id, run_id, seconds=180, tick=self._world.components.revive)

    def _written_down(self) -> Iterator[str]:
        """No address and no key is in a log of Airflow, of its tasks or of a database."""
        secrets = {CANARY: "a learner's address", **dict.fromkeys(self._world.keys, "an API key")}
        logs = [
            *self._world.folder.joinpath("airflow", "logs").rglob("*.log"),
            *self._world.folder.joinpath("logs").glob("airflow-*.log"),
        ]
        if not any("Staging" in _text(log) for log in logs):
            yield "the tasks' logs are not where they are looked for"
        for path in logs:
            content = _text(path)
            yield from (f"{kind} is in {path}" for secret, kind in secrets.items() if secret in content)


def _text(path: Path) -> str:
    return path.read_text(encoding="utf-8", errors="replace")
