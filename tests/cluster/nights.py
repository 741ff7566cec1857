"""Two nights, each with a backfill beside it, on two Celery workers that fail and are rolled out."""

from __future__ import annotations

import secrets
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field, replace
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Self

import yaml
from sqlalchemy import Engine, create_engine, text

from demo import source_database
from demo.airflow_home import AirflowApi
from demo.nights import CERTIFICATIONS, PENDING, Training
from demo.people import Learner
from demo.world import start_sandbox
from sandbox.client import SandboxClient
from sandbox.faults import Fault, Kind
from springest.staging.window import begin_site
from tests.chaos.ledger import Ledger
from tests.factories import PDF, make_training

from .compose import ROOT
from .containers import Container
from .kubernetes import Cluster, Pod
from .stack import Stack

DELIVER = "springest_deliver"
WORKER = "airflow-worker"
CHART = ROOT / "docs" / "kubernetes" / "values.yaml"
DAGS = ("springest_catalogue", DELIVER, "springest_reconcile")
REQUESTS_PER_HOUR = 18_000
SLOW = Fault(Kind.SLOW, times=None, seconds=1.0)
"""Each response takes so long that some POSTs are in flight whenever something is killed or stopped."""
FRESH, OLDER = 300, 120
"""Trainings of a night, and of the past day that its backfill reads."""
SECONDS_TO_FINISH = 400.0


class NotFinished(RuntimeError):
    """A night did not come to its end."""


@dataclass(frozen=True, slots=True)
class World:
    """What is outside of the stack, and what the ledger reads.

    :param documents: folder of the certificates, as the services see it too.
    """

    source: Engine
    warehouse: Engine
    sandbox: SandboxClient
    documents: Path


@dataclass(frozen=True, slots=True)
class Rollout:
    """A worker's stop.

    :param seconds: until it had ended.
    :param in_flight: POSTs at its beginning.
    :param left: POSTs of its tasks without an outcome, or with an unknown one.
    """

    kind: str
    seconds: float
    in_flight: int
    left: int

    def __str__(self) -> str:
        counts = f"{self.in_flight} POSTs in flight, {self.left} left unresolved"
        return f"{self.kind}: {self.seconds:.1f} s, {counts}"


@dataclass(slots=True)
class Nights:
    """Plays them."""

    stack: Stack
    world: World
    api: AirflowApi
    say: Callable[[str], None]
    rollouts: list[Rollout] = field(default_factory=list)
    runs_again: int = 0
    _backfill: int = 0

    @classmethod
    @contextmanager
    def prepared(cls, running: Stack, folder: Path, say: Callable[[str], None]) -> Iterator[Self]:
        """Start a sandbox beside a stack, and set up what a person would.

        :param folder: of the stack; the certificates are in it, and the sandbox's files go there.
        """
        keys = (secrets.token_hex(16), secrets.token_hex(16))
        url = start_sandbox(running.supervisor, folder, keys, page_max=1000)
        with SandboxClient(url) as sandbox, running.airflow() as api:
            source = running.database("source", "source_owner")
            warehouse = create_engine(running.postgres.url("warehouse"))
            nights = cls(running, World(source, warehouse, sandbox, folder / "certificates"), api, say)
            say("Airflow is up; preparing source, connection and site")
            nights.prepare(keys, int(url.rpartition(":")[2]))
            yield nights

    def prepare(self, keys: tuple[str, str], sandbox_port: int) -> None:
        """Set up what a person would: the source's tables, the connection, the start of the site."""
        source_database.create_schema(self.world.source)
        with self.world.warehouse.begin() as connection:
            begin_site(connection, site="default", begin_from=datetime.now(UTC) - timedelta(days=1))
        extra = {
            "certifications_api_key": keys[1],
            "requests_per_hour": REQUESTS_PER_HOUR,
            "send_unlisted": list(PENDING),
            "page_size": 1000,
            "timeout": {"connect": 2, "read": 10, "total": 12},
        }
        self.api.change_connection(
            "springest_default",
            {"conn_type": "springest", "host": "http://127.0.0.1", "port": sandbox_port, "password": keys[0],
             "extra": extra},
        )  # fmt: skip
        self.world.sandbox.add_fault(SLOW)
        for dag_id in DAGS:
            self.api.unpause(dag_id)
        self.api.trigger("springest_catalogue", run_id="first")
        self.api.wait_for_run("springest_catalogue", "first", seconds=240)

    def play(self) -> None:
        """Play both nights, then reconcile."""
        ledger = Ledger(self.world)
        base = self._begin(1, ledger)
        self._after(ledger, base, 60)
        self._kill_worker()
        self._after(ledger, base, 140)
        self._roll_out("SIGTERM as docker-compose.yaml sends it")
        self._after(ledger, base, 220)
        self._restart("redis")
        self._after(ledger, base, 280)
        self._restart("airflow-scheduler")
        self._finish(1, ledger)
        self._become_as_the_chart_has_them()
        base = self._begin(2, ledger)
        self._after(ledger, base, 80)
        self._roll_out("SIGTERM as the official chart sends it")
        self._after(ledger, base, 200)
        self._roll_out("SIGTERM as the official chart sends it")
        self._finish(2, ledger)
        self.api.trigger("springest_reconcile", run_id="last")
        self.api.wait_for_run("springest_reconcile", "last", seconds=300)

    def play_with_pods(self, cluster: Cluster, evicted_after: tuple[int, ...]) -> list[str]:
        """Play one night, and evict the delivering pod; return what went wrong."""
        ledger, left = Ledger(self.world), 0
        base = self._begin(1, ledger)
        for attempts in evicted_after:
            self._after(ledger, base, attempts)
            name, pod = self._delivering_pod(cluster)
            owned = {process.pid for process in pod.container.members()}
            in_flight = len([pid for pid in self._owners() if pid in owned])
            begun = time.monotonic()
            cluster.delete(name)
            pod.container.child.process.wait(pod.content["spec"]["terminationGracePeriodSeconds"] + 5)
            left += (now := self._unresolved(owned))
            self.say(
                f"pod evicted: {time.monotonic() - begun:.1f} s, {in_flight} POSTs in flight, {now} left"
            )
        self._finish(1, ledger)
        return [f"{left} POSTs of evicted pods are unresolved"] if left else []

    def _delivering_pod(self, cluster: Cluster) -> tuple[str, Pod]:
        until = time.monotonic() + SECONDS_TO_FINISH
        while time.monotonic() < until:
            for name, pod in list(cluster.pods.items()):
                if pod.container is not None and pod.container.is_running and self._sending(pod.container):
                    return name, pod
            time.sleep(0.02)
        raise NotFinished("no pod sends")

    def _begin(self, number: int, ledger: Ledger) -> int:
        """Complete a night's trainings and start its runs; return the last attempt before."""
        day = datetime.now(UTC).replace(hour=1, minute=0, second=0, microsecond=0) - timedelta(
            days=3 + number
        )
        base = ledger.highest_attempt()
        for older, count, moment in (
            (True, OLDER, day + timedelta(hours=5)),
            (False, FRESH, datetime.now(UTC)),
        ):
            made = [
                _training(self.world.documents, number, older=older, index=index) for index in range(count)
            ]
            source_database.add(self.world.source, made, now=moment)
        self.api.trigger(DELIVER, run_id=f"night-{number}")
        self._backfill = self.api.backfill(DELIVER, first=day, last=day)
        self.say(f"night {number}: {FRESH} trainings, and a backfill of {OLDER} more beside it")
        return base

    def _after(self, ledger: Ledger, base: int, attempts: int) -> None:
        """Wait until this many POSTs of the night were started, or fail with the reason."""
        until = time.monotonic() + SECONDS_TO_FINISH
        while ledger.progress(after=base).attempts < attempts:
            if time.monotonic() > until:
                raise NotFinished(f"no {attempts} attempts: {ledger.progress(after=base)}")
            time.sleep(0.05)

    def _kill_worker(self) -> None:
        worker = self._delivering()
        owned = {process.pid for process in worker.members()}
        in_flight = len(self._sending(worker))
        self.stack.kill(worker.service.name, number=worker.number)
        left = self._unresolved(owned)
        self.say(
            f"kill -9 of worker {worker.number} with everything in it: {in_flight} POSTs in flight, "
            f"{left} left unresolved"
        )
        self.stack.start(worker.service.name, number=worker.number)

    def _become_as_the_chart_has_them(self) -> None:
        """Start the workers again with the official chart's environment, and this project's values for it."""
        for number in (1, 2):
            self.stack.stop(WORKER, number=number)
        worker = self.stack.services[WORKER]
        values = yaml.safe_load(CHART.read_text(encoding="utf-8"))
        self.stack.services[WORKER] = replace(
            worker,
            command=[*values["workers"]["celery"]["command"], *worker.text["command"]],
            environment={**worker.environment, "DUMB_INIT_SETSID": "0"},
        )
        for number in (1, 2):
            self.stack.start(WORKER, number=number)

    def _roll_out(self, kind: str) -> None:
        worker = self._delivering()
        owned = {process.pid for process in worker.members()}
        in_flight = len(self._sending(worker))
        seconds = self.stack.stop(worker.service.name, number=worker.number)
        left = self._unresolved(owned)
        self.rollouts.append(Rollout(kind, seconds, in_flight, left))
        self.say(f"rollout of worker {worker.number}, {self.rollouts[-1]}")
        self.stack.start(worker.service.name, number=worker.number)

    def _restart(self, name: str) -> None:
        if name == "redis":
            self.stack.stop(name)
        else:
            self.stack.kill(name)
        self.stack.start(name)
        self.say(f"{name} {'restarted' if name == 'redis' else 'killed with -9 and started again'}")

    def _delivering(self) -> Container:
        """Wait for a worker that sends, and return it."""
        until = time.monotonic() + SECONDS_TO_FINISH
        while time.monotonic() < until:
            for container in self.stack.running.values():
                if container.service.name == WORKER and self._sending(container):
                    return container
            time.sleep(0.02)
        raise NotFinished("no worker sends")

    def _sending(self, container: Container) -> list[int]:
        members = {process.pid for process in container.members()}
        return [pid for pid in self._owners() if pid in members]

    def _owners(self) -> list[int]:
        """Return the process of each certificate that is being sent."""
        asked = text("SELECT lease_owner FROM springest.delivery WHERE state = 'sending'")
        with self.world.warehouse.connect() as connection:
            return [int(owner.split(":")[-2]) for owner in connection.scalars(asked)]

    def _unresolved(self, pids: set[int]) -> int:
        """Return how many POSTs of these processes have no outcome, or an unknown one."""
        asked = text(
            "SELECT count(*) FROM springest.delivery_attempt "
            "WHERE split_part(worker, ':', 2)::integer = ANY(:pids) "
            "AND coalesce(outcome, 'outcome_unknown') = 'outcome_unknown'"
        )
        with self.world.warehouse.connect() as connection:
            return int(connection.scalar(asked, {"pids": sorted(pids)}) or 0)

    def _finish(self, number: int, ledger: Ledger) -> None:
        """Wait for the runs; what failed is cleared, as an operator would, until the queue is empty."""
        until = time.monotonic() + SECONDS_TO_FINISH
        while not self._is_finished(ledger):
            if time.monotonic() > until:
                raise NotFinished(f"night {number}: {ledger.progress(after=0)}")
            if not self.api.runs(DELIVER, states=["queued", "running"]):
                failed = self.api.runs(DELIVER, states=["failed"])
                self.runs_again += 1
                if failed:
                    self.api.clear(DELIVER, failed[-1]["dag_run_id"])
                else:
                    self.api.trigger(DELIVER, run_id=f"again-{number}-{self.runs_again}")
            time.sleep(1)
        with suppress(Exception):  # it may have ended
            self.api.end_backfill(self._backfill)

    def _is_finished(self, ledger: Ledger) -> bool:
        now = ledger.progress(after=0)
        runs = self.api.runs(DELIVER, states=["queued", "running"])
        return not (runs or now.ready or now.sending) and now.deliveries == ledger.trainings()


def _training(folder: Path, night: int, *, older: bool, index: int) -> Training:
    name = f"N{night}-{'B' if older else 'A'}{index:03d}"
    path = folder / f"{name}.pdf"
    path.write_bytes(PDF + name.encode())
    person = 10_000 * night + 5_000 * older + index
    return make_training(
        person,
        training_id=name,
        learner=Learner(person, f"Zoë {person}", f"zoë.{person}@example.com"),
        certification_id=CERTIFICATIONS[index % len(CERTIFICATIONS)].id,
        valid_until=date(2029, 11, 2),
        certificate_uri=f"/certificates/{name}.pdf",
    )
