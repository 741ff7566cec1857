"""The strikes: what is done to the processes and databases of a world while it delivers."""

from __future__ import annotations

import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass

import httpx
import psutil

from .backfills import DELIVER, Backfills
from .components import restart
from .ledger import Ledger, Progress, Worker
from .plan import Action, Plan
from .world import World

SECONDS_TO_PROGRESS = 40.0
SECONDS_SUSPENDED = 40.0
"""How long a suspended worker waits at most: for its lease to run out, and for somebody to take over."""
STOPS = 40
"""How often it is tried to stop a worker in the middle of a POST."""


@dataclass(frozen=True, slots=True)
class Struck:
    """When a strike came.

    :param hit: whether there was something to hit.
    :param attempts: made in the round before.
    :param sending: certificates under way at that moment.
    :param ready: certificates that still waited.
    """

    hit: bool
    attempts: int
    sending: int
    ready: int


class Striker:
    """Strikes when a round has come as far as its plan says."""

    def __init__(self, world: World, ledger: Ledger, backfills: Backfills) -> None:
        self._world = world
        self._ledger = ledger
        self._backfills = backfills

    def strike(self, plan: Plan, action: Action, *, after: int) -> Struck:
        """Wait for the moment, and strike.

        :param after: attempt after which the round's began.
        """
        self._wait_for_progress(action, after=after)
        before = self._ledger.progress(after=after)
        hit = bool(getattr(self, f"_{action.strike.name.lower()}")(plan, action))
        return Struck(hit, before.attempts, before.sending, before.ready)

    def _wait_for_progress(self, action: Action, *, after: int) -> None:
        until = time.monotonic() + SECONDS_TO_PROGRESS
        while time.monotonic() < until:
            if action.after == 0:
                if self._world.components.tasks():
                    return
            elif self._ledger.progress(after=after).attempts >= action.after:
                return
            self._world.components.revive()
            time.sleep(0.03)

    def _kill_task(self, _plan: Plan, _action: Action) -> bool:
        return (task := self._task()) is not None and _kill(task)

    def _kill_supervisor(self, _plan: Plan, _action: Action) -> bool:
        """The task lives on without it, until it wants something of Airflow."""
        return (supervisor := self._supervisor(self._task())) is not None and _kill(supervisor)

    def _kill_scheduler(self, _plan: Plan, action: Action) -> bool:
        return self._kill_component("scheduler", action)

    def _kill_scheduler_and_tasks(self, _plan: Plan, action: Action) -> bool:
        return self._kill_component("scheduler", action, with_tasks=True)

    def _kill_api_server(self, _plan: Plan, action: Action) -> bool:
        return self._kill_component("api-server", action)

    def _kill_component(self, component: str, action: Action, *, with_tasks: bool = False) -> bool:
        self._world.components.kill(component, with_tasks=with_tasks)
        time.sleep(action.pause)
        self._world.components.revive()
        return True

    def _suspend_task(self, plan: Plan, action: Action) -> bool:
        """Airflow takes it to be well, and starts nothing in its place: a backfill takes over."""
        return self._suspend(action, with_supervisor=False, take_over=lambda: self._backfills.start(plan))

    def _suspend_both(self, _plan: Plan, action: Action) -> bool:
        """Airflow misses their heartbeat, and tries the task again beside them."""
        return self._suspend(action, with_supervisor=True, take_over=lambda: None)

    def _restart_warehouse(self, _plan: Plan, _action: Action) -> bool:
        restart(self._world.data_server, fast=True)
        return True

    def _crash_warehouse(self, _plan: Plan, _action: Action) -> bool:
        restart(self._world.data_server, fast=False)
        return True

    def _restart_metadata(self, _plan: Plan, _action: Action) -> bool:
        restart(self._world.metadata_server, fast=True)
        return True

    def _crash_metadata(self, _plan: Plan, _action: Action) -> bool:
        restart(self._world.metadata_server, fast=False)
        return True

    def _clear(self, _plan: Plan, _action: Action) -> bool:
        workers = self._ledger.workers()
        run_ids = [worker.run_id for worker in workers] or [
            run["dag_run_id"] for run in self._world.api.runs(DELIVER, states=["running"])
        ]
        for run_id in run_ids[:1]:
            with suppress(httpx.HTTPStatusError):
                self._world.api.clear(DELIVER, run_id)
                return True
        return False

    def _suspend(self, action: Action, *, with_supervisor: bool, take_over: Callable[[], None]) -> bool:
        """Stop a worker in the middle of a POST, let another take over, and wake it."""
        stopped = self._stop_in_the_middle(with_supervisor=with_supervisor)
        if not stopped:
            return False
        try:
            lost = self._ledger.progress(after=0).leases_lost
            self._wait_until(lambda now: now.leases_over > 0)
            take_over()
            self._wait_until(lambda now: now.leases_lost > lost)
            time.sleep(action.pause)
            return self._ledger.progress(after=0).leases_lost > lost
        finally:
            for process in stopped:
                with suppress(psutil.NoSuchProcess):
                    process.resume()

    def _wait_until(self, reached: Callable[[Progress], bool]) -> None:
        until = time.monotonic() + SECONDS_SUSPENDED
        while time.monotonic() < until and not reached(self._ledger.progress(after=0)):
            self._world.components.revive()
            time.sleep(0.2)

    def _stop_in_the_middle(self, *, with_supervisor: bool) -> list[psutil.Process]:
        for _ in range(STOPS):
            task = self._task()
            supervisor = self._supervisor(task) if with_supervisor else None
            stopped = [process for process in (supervisor, task) if process is not None]
            with suppress(psutil.NoSuchProcess):
                for process in stopped:
                    process.suspend()
                if task is not None and any(worker.pid == task.pid for worker in self._ledger.workers()):
                    return stopped
            for process in stopped:
                with suppress(psutil.NoSuchProcess):
                    process.resume()
            self._world.components.revive()
            time.sleep(0.1)
        return []

    def _task(self) -> psutil.Process | None:
        """Return the process of the task that sends just now; otherwise of any task."""
        tasks = {task.pid: task for task in self._world.components.tasks()}
        sending: list[Worker] = [worker for worker in self._ledger.workers() if worker.pid in tasks]
        if sending:
            return tasks[sending[0].pid]
        return next(iter(tasks.values()), None)

    @staticmethod
    def _supervisor(task: psutil.Process | None) -> psutil.Process | None:
        """Return the task's parent, unless its own was killed before."""
        with suppress(psutil.NoSuchProcess):
            parent = task.parent() if task is not None else None
            if parent is not None and "LocalExecutor" in " ".join(parent.cmdline()):
                return parent
        return None


def _kill(process: psutil.Process) -> bool:
    try:
        process.kill()
    except psutil.NoSuchProcess:
        return False
    return True
