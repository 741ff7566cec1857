"""The demo's environment, started and stopped together: databases, sandbox, documents, Airflow."""

from __future__ import annotations

import fcntl
import json
import secrets
import shutil
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any, Final
from urllib.parse import urlsplit

from sqlalchemy import Engine, create_engine

from demo import source_database
from demo.airflow_home import (
    PROJECT,
    AirflowApi,
    airflow,
    environment,
    start_airflow,
    write_config,
)
from demo.documents import render_all
from demo.nights import LISTED, PENDING, Night, nights
from demo.ports import free_port
from demo.postgres import EmbeddedPostgres
from demo.processes import ProcessFailed, Supervisor
from sandbox.client import SandboxClient
from springest.db.migrate import upgrade
from springest.staging.window import begin_site

REQUESTS_PER_HOUR: Final = 1_000_000
"""Rate limit of the demo's connection; its sandbox has no cap, while a real site has the default of 4,000."""
PATIENCE: Final = 180
"""Seconds for which Airflow's API may be slow, on a busy machine or for a first request."""
FIRST_NIGHT: Final = date(2026, 11, 2)


class AlreadyRunning(RuntimeError):
    """Another demo runs in this folder."""


@dataclass(frozen=True, slots=True)
class World:
    """
    The started environment.

    :param keys: API keys for certificates and for certifications.
    """

    source: Engine
    warehouse: Engine
    warehouse_url: str
    sandbox: SandboxClient
    sandbox_url: str
    keys: tuple[str, str]
    airflow: AirflowApi
    airflow_url: str
    nights: tuple[Night, ...]
    logs: Path
    supervisor: Supervisor

    def begin_site(self, site: str = "default") -> None:
        """Begin a site from yesterday."""
        with self.warehouse.begin() as connection:
            begin_site(connection, site=site, begin_from=datetime.now(UTC) - timedelta(days=1))


@contextmanager
def started(
    folder: Path, *, tell: Any, rows: int = 210, settings: Mapping[str, str] | None = None
) -> Iterator[World]:
    """Start everything in a folder, which is emptied first, and stop it at the end.

    :param tell: called with the name of each step.
    :param rows: good rows of a night.
    :param settings: settings of Airflow on top of the usual ones, as ``SECTION__NAME``.
    """
    documents = folder / "certificates"
    with (
        alone(folder),
        Supervisor(folder / "logs") as supervisor,
        EmbeddedPostgres(folder / "postgres") as postgres,
    ):
        tell("PostgreSQL runs; creating Airflow's database, the source and the warehouse")
        metadata_url, source_url, warehouse_url = (
            postgres.create_database(name) for name in ("airflow", "source", "warehouse")
        )
        keys = (secrets.token_hex(16), secrets.token_hex(16))
        sandbox_url = start_sandbox(supervisor, folder, keys)
        tell(f"The Springest sandbox listens at {sandbox_url}")
        home = folder / "airflow"
        env = environment(
            home,
            # With psycopg 3, Airflow's page of the asset graph fails.
            metadata_url=metadata_url.replace("+psycopg:", "+psycopg2:"),
            api_port=free_port(),
            connections={},
            variables={},
            settings=settings,
        )
        write_config(home, env)
        migrate(warehouse_url)
        tell("The warehouse has its schema; making Airflow's database while certificates are rendered")
        migrating = supervisor.start("airflow-db-migrate", airflow("db", "migrate"), env=env)
        made = nights(7, first=FIRST_NIGHT, rows=rows, root=str(documents))
        for night in made:
            render_all(night.trainings, documents)
        source = create_engine(source_url)
        source_database.create_schema(source)
        if migrating.process.wait(180):
            raise ProcessFailed(f"airflow db migrate failed:\n{migrating.tail()}")
        tell("Starting Airflow: an API server, a scheduler and a DAG processor (about half a minute)")
        api = start_airflow(supervisor, env, migrate=False, patience=PATIENCE)
        tell(f"Airflow's UI: {env['AIRFLOW__API__BASE_URL']} (the nights are still to come)")
        made_by_hand = connections(
            source_url, warehouse_url, sandbox_url, keys, {"requests_per_hour": REQUESTS_PER_HOUR}
        )
        for conn_id, fields in made_by_hand.items():
            api.add_connection(conn_id, fields)
        api.add_variable("springest_learner_secret", secrets.token_hex(32))
        api.add_variable("springest_document_roots", json.dumps([str(documents)]))
        warehouse, sandbox = create_engine(warehouse_url), SandboxClient(sandbox_url)
        try:
            yield World(
                source=source,
                warehouse=warehouse,
                warehouse_url=warehouse_url,
                sandbox=sandbox,
                sandbox_url=sandbox_url,
                keys=keys,
                airflow=api,
                airflow_url=env["AIRFLOW__API__BASE_URL"],
                nights=made,
                logs=folder / "logs",
                supervisor=supervisor,
            )
        finally:
            api.close()
            source.dispose()
            warehouse.dispose()
            sandbox.close()


def migrate(warehouse_url: str) -> None:
    """Migrate a warehouse."""
    engine = create_engine(warehouse_url)
    try:
        upgrade(engine)
    finally:
        engine.dispose()


@contextmanager
def alone(folder: Path) -> Iterator[None]:
    """Lock and empty the folder.

    :raises AlreadyRunning: another demo uses it.
    """
    folder.parent.mkdir(parents=True, exist_ok=True)
    with folder.with_suffix(".lock").open("w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise AlreadyRunning(f"one is already running in {folder}: end it first") from None
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir()
        yield


def complete(world: World, night: Night) -> int:
    """Add a night's completed trainings."""
    return source_database.add(world.source, night.trainings, now=datetime.now(UTC))


def start_sandbox(supervisor: Supervisor, folder: Path, keys: tuple[str, str], *, page_max: int = 100) -> str:
    """Start the sandbox with the demo's certifications, and return its URL.

    :param keys: API keys for certificates and for certifications.
    :param page_max: maximum number of rows in a page.
    """
    ready, seed = folder / "sandbox.url", folder / "certifications.json"
    seed.write_text(json.dumps(LISTED), encoding="utf-8")
    arguments = [
        "--ready-file",
        str(ready),
        "--certifications",
        str(seed),
        "--database",
        str(folder / "sandbox.db"),
        "--requests-per-hour",
        "0",
        "--page-max",
        str(page_max),
    ]
    env = {
        "PATH": "/usr/bin:/bin",
        "PYTHONPATH": str(PROJECT / "include"),
        "PYTHONSAFEPATH": "1",
        "PYTHONUTF8": "1",
        "SANDBOX_API_KEY": keys[0],
        "SANDBOX_CERTIFICATIONS_API_KEY": keys[1],
    }
    command = [sys.executable, "-m", "sandbox", *arguments]
    supervisor.start("sandbox", command, env=env, ready=ready.exists)
    return ready.read_text(encoding="utf-8")


def connections(
    source_url: str,
    warehouse_url: str,
    sandbox_url: str,
    keys: tuple[str, str],
    extra: Mapping[str, Any],
) -> Mapping[str, Mapping[str, Any]]:
    """Return Airflow's connections by id.

    :param keys: API keys for certificates and for certifications.
    :param extra: settings of the site on top of what the sandbox needs.
    """
    sandbox = urlsplit(sandbox_url)
    return {
        "training_source": postgres_connection(source_url),
        "certificate_warehouse": postgres_connection(warehouse_url),
        "springest_default": {
            "conn_type": "springest",
            # An explicit port: without one, the Test button of Airflow 3.3.2 fails.
            "host": f"http://{sandbox.hostname}",
            "port": sandbox.port,
            "password": keys[0],
            "extra": {
                "certifications_api_key": keys[1],
                "send_unlisted": list(PENDING),
                **extra,
            },
        },
    }


def postgres_connection(url: str) -> dict[str, Any]:
    """Return an Airflow connection to a database by its URL."""
    split = urlsplit(url)
    return {
        "conn_type": "postgres",
        "host": split.hostname,
        "port": split.port,
        "login": split.username,
        "password": split.password,
        "schema": split.path.removeprefix("/"),
    }
