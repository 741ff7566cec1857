"""A real Airflow for tests: its own home and database, connections by the environment, canaries planted."""

from __future__ import annotations

import os
import re
import secrets
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import create_engine, text

from demo import source_database
from demo.airflow_home import environment
from demo.nights import Training
from demo.people import Learner
from demo.postgres import EmbeddedPostgres
from demo.world import postgres_connection
from sandbox.server import SandboxServer
from sandbox.store import Certification
from springest.staging.window import begin_site
from tests.factories import PDF, SECRET, make_training

from .commands import Commands

CANARY_KEY = "canary/key+with=odd&signs"
CANARY_CERTIFICATIONS_KEY = "canary-certifications/key"
CANARY_ADDRESS = "canary.zoë"
LOUD = {"AIRFLOW__LOGGING__LOGGING_LEVEL": "DEBUG"}


@dataclass
class AirflowWorld:
    """The environment in which a command of Airflow runs.

    :param commands: the process that runs them.
    """

    env: dict[str, str]
    commands: Commands
    home: Path
    sandbox: SandboxServer
    warehouse_url: str
    source_url: str
    output: list[str] = field(default_factory=list)

    def run(self, *arguments: str, code: int = 0) -> str:
        """Run Airflow's CLI and return its output."""
        ended, output = self.commands.run(self.env, *arguments)
        self.output.append(output)
        assert ended == code, output[-4000:]
        return output

    def script(self, text: str, *arguments: str) -> str:
        """Run a script where Airflow is imported, and return its output."""
        return self.commands.run(self.env, "-c", text, *arguments)[1]

    def rows(self, statement: str) -> list[Any]:
        engine = create_engine(self.warehouse_url)
        with engine.connect() as connection:
            found = list(connection.execute(text(statement)).all())
        engine.dispose()
        return found

    def metadata(self) -> str:
        """Everything in Airflow's own database: XComs, rendered fields, asset events, audit log, …"""
        engine = create_engine(self.env["AIRFLOW__DATABASE__SQL_ALCHEMY_CONN"])
        with engine.connect() as connection:
            names = connection.execute(
                text("SELECT tablename FROM pg_tables WHERE schemaname = 'public'")
            ).scalars()
            found = [str(connection.execute(text(f'SELECT * FROM "{name}"')).all()) for name in names.all()]  # noqa: S608
        engine.dispose()
        return "\n".join(found)

    def written(self) -> str:
        """Return everything that commands and tasks wrote.

        Without the lines of Airflow's own supervisor, which logs at DEBUG the connections and variables that
        it hands out. Nobody but Airflow can help that; docs/security.md says so.
        """
        lines = "\n".join([*self.output, self.logs()]).splitlines()
        return "\n".join(line for line in lines if "loc=supervisor.py" not in line)

    def logs(self) -> str:
        """Everything that Airflow wrote under its home."""
        return "\n".join(
            path.read_text(encoding="utf-8", errors="replace")
            for path in self.home.rglob("*")
            if path.is_file() and path.suffix in {".log", ".json", ".txt"}
        )


@pytest.fixture(scope="session")
def airflow_home(postgres: EmbeddedPostgres, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, str]:
    """A home whose metadata database is made once."""
    home = tmp_path_factory.mktemp("airflow")
    postgres.drop_database("airflow")
    metadata = postgres.create_database("airflow")
    env = environment(home, metadata_url=metadata, api_port=1, connections={}, variables={})
    subprocess.run(
        [sys.executable, "-m", "airflow", "db", "migrate"],
        env=env,
        check=True,
        capture_output=True,
        timeout=500,
    )
    return home, metadata


@pytest.fixture(scope="session")
def commands(airflow_home: tuple[Path, str]) -> Iterator[Commands]:
    """The process that runs the commands of all worlds whose settings are the usual ones, at DEBUG."""
    home, metadata = airflow_home
    env = environment(home, metadata_url=metadata, api_port=1, connections={}, variables={})
    with Commands(env | LOUD, home / "commands.output") as process:
        yield process


def training(folder: Path, number: int, **changes: Any) -> Training:
    """A completed training with its document, whose name and address are canaries."""
    path = folder / f"{CANARY_ADDRESS}.{number}.pdf"
    path.write_bytes(PDF + str(number).encode())
    learner = Learner(number, "Zoë Canary", f"{CANARY_ADDRESS}.{number}@example.com")
    own = {"training_id": f"T{number}", "learner": learner, "certificate_uri": str(path)}
    return make_training(number, **{**own, **changes})


@pytest.fixture
def make_airflow(
    airflow_home: tuple[Path, str],
    commands: Commands,
    postgres: EmbeddedPostgres,
    migrated: str,
    tmp_path: Path,
) -> Iterator[Callable[..., AirflowWorld]]:
    """Make a world: databases of its own, the sandbox, and the environment that points at them.

    With settings of its own, it has a process for its commands, too: Airflow reads some of them only once.
    """
    home, metadata = airflow_home
    opened = ExitStack()

    def make(*, trainings: Callable[[Path], list[Training]], **env: str) -> AirflowWorld:
        name = secrets.token_hex(4)
        _forget_attempts(metadata)
        source_url = postgres.create_database(f"source_{name}")
        opened.callback(postgres.drop_database, f"source_{name}")
        warehouse_url = postgres.create_database(f"warehouse_{name}", template=migrated)
        opened.callback(postgres.drop_database, f"warehouse_{name}")
        folder = tmp_path / "certificates"
        folder.mkdir(exist_ok=True)
        engine = create_engine(source_url)
        source_database.create_schema(engine)
        source_database.add(engine, trainings(folder), now=datetime.now(UTC))
        engine.dispose()
        sandbox = opened.enter_context(
            SandboxServer(
                certifications=[Certification(102, "Project Control", verified=True)],
                api_key=CANARY_KEY,
                certifications_api_key=CANARY_CERTIFICATIONS_KEY,
            )
        )
        connections = {
            "training_source": postgres_connection(source_url),
            "certificate_warehouse": postgres_connection(warehouse_url),
            "springest_default": {
                "conn_type": "springest",
                "host": sandbox.url,
                "password": CANARY_KEY,
                "extra": {"certifications_api_key": CANARY_CERTIFICATIONS_KEY, "requests_per_hour": 100_000},
            },
        }
        variables = {
            "springest_learner_secret": SECRET,
            "springest_document_roots": f'["{folder}"]',
        }
        made = environment(
            home, metadata_url=metadata, api_port=1, connections=connections, variables=variables
        )
        own = {**made, **LOUD, **env}
        running = commands
        if any(re.match("AIRFLOW__(?!SPRINGEST__)", setting) for setting in env):
            running = opened.enter_context(Commands(own, home / f"{name}.output"))
        engine = create_engine(warehouse_url)
        with engine.begin() as connection:
            begin_site(connection, site="default", begin_from=datetime.now(UTC) - timedelta(days=1))
        engine.dispose()
        return AirflowWorld(own, running, home, sandbox, warehouse_url, source_url)

    with opened:
        yield make


def _forget_attempts(metadata: str) -> None:
    """Each world has a ledger of its own, and they share an Airflow that keeps the highest attempt."""
    engine = create_engine(metadata)
    with engine.begin() as connection:
        connection.execute(text("DELETE FROM variable WHERE key LIKE 'springest_highest_attempt%'"))
    engine.dispose()


@pytest.fixture
def parsing_env(tmp_path: Path) -> dict[str, str]:
    """An Airflow that has no connection, no variable and no database to reach."""
    return {
        **environment(
            tmp_path / "home",
            metadata_url=f"sqlite:///{tmp_path}/none.db",
            api_port=1,
            connections={},
            variables={},
        ),
        "HOME": os.environ.get("HOME", "/tmp"),
    }
