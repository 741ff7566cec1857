"""What the chaos happens to: a real Airflow over two real databases, and the Springest sandbox."""

from __future__ import annotations

import json
import random
import secrets
import shutil
import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from functools import partial
from pathlib import Path

from sqlalchemy import Engine, NullPool, create_engine

from demo import source_database
from demo.airflow_home import AirflowApi, airflow, environment
from demo.nights import CERTIFICATIONS, Training
from demo.people import Learner
from demo.ports import free_port
from demo.postgres import EmbeddedPostgres
from demo.processes import Supervisor
from demo.world import alone, connections, start_sandbox
from sandbox.client import SandboxClient
from springest.staging.window import begin_site
from tests.factories import PDF, make_training

from .components import Components, patiently
from .guard import guarded
from .plan import READ_SECONDS, Plan

CANARY = "canary.zoë"
"""How every learner's address begins: nothing that is written down may hold it."""
EXTRA = {
    "requests_per_hour": 30_000,
    "page_size": 1000,
    "timeout": {"connect": 2, "read": READ_SECONDS, "total": READ_SECONDS + 2},
}
"""A pace at which a round takes some seconds, and time-outs that end within it."""
SETTINGS = {
    "SCHEDULER__SCHEDULER_HEALTH_CHECK_THRESHOLD": "15",
    "SCHEDULER__ORPHANED_TASKS_CHECK_INTERVAL": "5",
    "SCHEDULER__TASK_INSTANCE_HEARTBEAT_TIMEOUT": "12",
    "SCHEDULER__TASK_INSTANCE_HEARTBEAT_TIMEOUT_DETECTION_INTERVAL": "3",
    "SCHEDULER__TASK_QUEUED_TIMEOUT": "30",
    "SCHEDULER__TASK_QUEUED_TIMEOUT_CHECK_INTERVAL": "5",
    "WORKERS__MIN_HEARTBEAT_INTERVAL": "2",
    "WORKERS__MAX_FAILED_HEARTBEATS": "3",
}
"""What Airflow notices after minutes, it notices here after seconds."""
DAGS = ("springest_catalogue", "springest_deliver", "springest_reconcile")


@dataclass(frozen=True, slots=True)
class World:
    """What was started.

    :param learner_keys: the API keys, which nothing may write down.
    """

    folder: Path
    source: Engine
    warehouse: Engine
    sandbox: SandboxClient
    api: AirflowApi
    components: Components
    supervisor: Supervisor
    data_server: EmbeddedPostgres
    metadata_server: EmbeddedPostgres
    keys: tuple[str, str]

    @property
    def documents(self) -> Path:
        """Where certificates lie."""
        return self.folder / "certificates"

    def complete(self, plan: Plan) -> None:
        """Let the institute complete a round's trainings."""
        trainings = [_training(self.documents, plan, number) for number in range(plan.fresh + plan.older)]
        older, fresh = trainings[: plan.older], trainings[plan.older :]
        day = backfill_day(plan)
        for some, moment in ((older, day + timedelta(hours=5)), (fresh, datetime.now(UTC))):
            if some:
                patiently(partial(source_database.add, self.source, some, now=moment))


def backfill_day(plan: Plan) -> datetime:
    """Return the logical date whose interval holds a round's older trainings: each round has its own."""
    today = datetime.now(UTC).replace(hour=1, minute=0, second=0, microsecond=0)
    return today - timedelta(days=3 + plan.number)


@contextmanager
def started(folder: Path, *, tell: Callable[[str], None]) -> Iterator[World]:
    """Start everything under a folder, and end all of it."""
    with ExitStack() as stack:
        stack.enter_context(alone(folder))
        guard = stack.enter_context(guarded())
        supervisor = stack.enter_context(Supervisor(folder / "logs"))
        data = stack.enter_context(EmbeddedPostgres(folder / "data"))
        metadata = stack.enter_context(EmbeddedPostgres(folder / "metadata"))
        source_url, warehouse_url = (data.create_database(name) for name in ("source", "warehouse"))
        keys = (secrets.token_hex(16), secrets.token_hex(16))
        sandbox_url = start_sandbox(supervisor, folder, keys, page_max=1000)
        env = environment(
            folder / "airflow",
            metadata_url=metadata.create_database("airflow").replace("+psycopg:", "+psycopg2:"),
            api_port=free_port(),
            connections=connections(source_url, warehouse_url, sandbox_url, keys, EXTRA),
            variables={
                "springest_learner_secret": secrets.token_hex(32),
                "springest_document_roots": json.dumps([str(folder / "certificates")]),
            },
            settings=SETTINGS,
        )
        _add_policy(folder / "airflow")
        tell("making the databases")
        supervisor.run("migrate", [sys.executable, "-m", "springest_provider.cli", "migrate"], env=env)
        supervisor.run("airflow-db-migrate", airflow("db", "migrate"), env=env)
        engines = [create_engine(url, poolclass=NullPool) for url in (source_url, warehouse_url)]
        source_database.create_schema(engines[0])
        with engines[1].begin() as connection:
            begin_site(connection, site="default", begin_from=datetime.now(UTC) - timedelta(days=1))
        (folder / "certificates").mkdir()
        tell("starting Airflow")
        api = AirflowApi(env["AIRFLOW__API__BASE_URL"], patience=60)
        stack.callback(api.close)
        components = Components(supervisor, guard, env, api)
        components.start()
        yield World(
            folder=folder,
            source=engines[0],
            warehouse=engines[1],
            sandbox=stack.enter_context(SandboxClient(sandbox_url)),
            api=api,
            components=components,
            supervisor=supervisor,
            data_server=data,
            metadata_server=metadata,
            keys=keys,
        )


def _add_policy(home: Path) -> None:
    (home / "config").mkdir(parents=True)
    shutil.copy(Path(__file__).with_name("airflow_local_settings.py"), home / "config")


def _training(folder: Path, plan: Plan, number: int) -> Training:
    name = f"R{plan.number:04d}-{number:03d}"
    chance = random.Random(name)
    path = folder / f"{name}.pdf"
    path.write_bytes(PDF + name.encode() + chance.randbytes(plan.sizes[number]))
    person = 1_000 * plan.number + number
    return make_training(
        person,
        training_id=name,
        learner=Learner(person, "Zoë Canary", f"{CANARY}.{person}@example.com"),
        certification_id=chance.choice(CERTIFICATIONS).id,
        valid_until=date(2029, 11, 2),
        certificate_uri=str(path),
        booking_id=700_000 + person if chance.random() < 0.5 else None,
    )
