"""Airflow's components and the two databases: killed on purpose, and started again."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from typing import TypeVar

import psutil
import psycopg
from sqlalchemy.exc import OperationalError

from demo.airflow_home import COMPONENTS, AirflowApi, start_component, wait_for_component
from demo.postgres import EmbeddedPostgres, PostgresFailed
from demo.processes import Child, Supervisor

from .guard import Guard, members

RESTART_TRIES = 5
T = TypeVar("T")


class Components:
    """Airflow's processes; what ended is started again.

    :param guard: is told of every session.
    """

    def __init__(self, supervisor: Supervisor, guard: Guard, env: Mapping[str, str], api: AirflowApi) -> None:
        self._supervisor = supervisor
        self._guard = guard
        self._env = env
        self._api = api
        self._running: dict[str, Child] = {}
        self._sessions: set[int] = set()
        self._starts = 0
        self.ended_by_themselves = 0

    def start(self) -> None:
        """Start all of them, and wait until they are well."""
        for component in COMPONENTS:
            self._start(component)
        for component, child in self._running.items():
            wait_for_component(self._supervisor, self._api, child, component)

    def kill(self, component: str, *, with_tasks: bool = False) -> None:
        """Kill a component with -9.

        :param with_tasks: with everything that it started, as the end of its container would.
        """
        child = self._running.pop(component)
        self._supervisor.kill(child)
        if with_tasks:
            for process in members({child.process.pid}):
                with suppress(psutil.NoSuchProcess):
                    process.kill()

    def revive(self) -> None:
        """Start what is not running, killed or ended by itself, and end what that left behind."""
        for component in COMPONENTS:
            child = self._running.get(component)
            if child is not None and child.process.poll() is not None:
                self.ended_by_themselves += 1
                self._supervisor.forget(self._running.pop(component))
            if component not in self._running:
                self._start(component)
        self._end_what_killed_ones_left()

    def tasks(self) -> list[psutil.Process]:
        """Processes that run a task's code, of killed schedulers as well."""
        return [
            process
            for process in self._titled("airflow worker -- ")
            if "LocalExecutor" not in _title(process)
        ]

    def _end_what_killed_ones_left(self) -> None:
        """End what is left of killed components and runs no task, as a service manager would.

        Forked workers, and the server of their logs, share their scheduler's connections: while one lives,
        rows that it had locked in Airflow's database stay locked, and the next scheduler passes over them.
        """
        living = {child.process.pid for child in self._running.values()}
        for session in self._sessions - living:
            left = list(members({session}))
            if not left:
                self._sessions.remove(session)
            for process in left:
                if not _runs_a_task(process):
                    _end(process)

    def _titled(self, title: str) -> list[psutil.Process]:
        return [process for process in members(self._sessions) if _title(process).startswith(title)]

    def _start(self, component: str) -> None:
        self._starts += 1
        child = start_component(
            self._supervisor, self._env, component, name=f"airflow-{component}-{self._starts:03d}"
        )
        self._running[component] = child
        self._sessions.add(child.process.pid)
        self._guard.watch(child.process.pid)


def _runs_a_task(process: psutil.Process) -> bool:
    """Whether it is a task or its supervisor."""
    title = _title(process)
    return title.startswith("airflow worker -- ") and "<idle>" not in title


def _end(process: psutil.Process) -> None:
    with suppress(psutil.NoSuchProcess):
        process.kill()
    # An orphan is handed to this process, and nobody else would take notice of its end.
    with suppress(ChildProcessError):
        os.waitpid(process.pid, os.WNOHANG)


def _title(process: psutil.Process) -> str:
    with suppress(psutil.Error):
        return " ".join(process.cmdline())
    return ""


def restart(server: EmbeddedPostgres, *, fast: bool) -> None:
    """Stop a database and start it again.

    While it is down, a client that asks for its port now and then gets that port as its own, and keeps it for
    a moment: so more than one try.
    """
    for last in range(RESTART_TRIES):
        try:
            server.restart(fast=fast)
        except PostgresFailed:
            if last == RESTART_TRIES - 1:
                raise
            time.sleep(0.5)
        else:
            return


def patiently(ask: Callable[[], T], *, seconds: float = 30.0) -> T:
    """Ask a database that may just be down."""
    until = time.monotonic() + seconds
    while True:
        try:
            return ask()
        except (OperationalError, psycopg.OperationalError):
            if time.monotonic() >= until:
                raise
        time.sleep(0.2)
