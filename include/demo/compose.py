"""``python -m demo.compose``: the first start of docker-compose.yaml's Airflow.

It creates Airflow's database, its first user and the warehouse's schema, and writes the connections and
Variables into Airflow's database, encrypted with its Fernet key. So no other service receives their
passwords, and none has to be escaped in a URL or in JSON. Later changes in the UI are kept.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from typing import Any, Final

from demo.airflow_home import PROJECT, airflow
from demo.compose_secrets import FOLDER, read_secret

OWNER: Final = "certificate_warehouse_owner"
TRIAL: Final = "/opt/airflow/trial"
"""Documents of the profile ``sandbox``."""
ADMIN: Final = "admin"
Read = Callable[[str], str]
"""Returns a secret by its name."""


def connections(read: Read) -> dict[str, dict[str, Any]]:
    """Return the connections of the nightly job, by id."""
    return {
        "training_source": _postgres("training_reader", read, "source"),
        "certificate_warehouse": _postgres("warehouse_job", read, "warehouse"),
        "springest_default": {
            "conn_type": "springest",
            "host": "http://127.0.0.1",
            "port": 8765,
            "password": read("api_key"),
            "extra": json.dumps({"certifications_api_key": read("certifications_api_key")}),
        },
    }


def variables(read: Read) -> dict[str, str]:
    """Return the Variables by key."""
    return {
        "springest_learner_secret": read("learner_secret"),
        "springest_document_roots": json.dumps(["/certificates", TRIAL]),
    }


def _postgres(login: str, read: Read, database: str) -> dict[str, Any]:
    return {
        "conn_type": "postgres",
        "host": "postgres",
        "port": 5432,
        "login": login,
        "password": read(login),
        "schema": database,
    }


def unfit(env: Mapping[str, str]) -> str | None:
    """Return what has to be changed in ``.env``; ``None`` if profiles and executor fit each other."""
    profiles = {name.strip() for name in env.get("COMPOSE_PROFILES", "").split(",")}
    executor = env["AIRFLOW__CORE__EXECUTOR"]
    if {"celery", "sandbox"} <= profiles:
        return "choose one of celery and sandbox in COMPOSE_PROFILES: Celery workers can't reach the sandbox"
    if ("celery" in profiles) != ("Celery" in executor):
        fitting = "CeleryExecutor" if "celery" in profiles else "LocalExecutor"
        return f"set AIRFLOW_EXECUTOR={fitting}: COMPOSE_PROFILES={','.join(sorted(profiles))} needs it"
    return None


def main() -> int:
    """Initialise everything; can be repeated at each start.

    :raises subprocess.CalledProcessError: a command failed; its output has the reason.
    """
    env = dict(os.environ)
    if problem := unfit(env):
        print(f"in .env, {problem}", file=sys.stderr)
        return 1
    read = partial(read_secret, "init")
    _run(airflow("db", "migrate"), env)
    person = ("--firstname", "First", "--lastname", "User", "--email", "admin@example.com")
    login = ("--username", ADMIN, "--password", read("admin"), "--role", "Admin")
    _run(airflow("users", "create", *login, *person), env)
    with tempfile.TemporaryDirectory() as folder:
        for kind, made, keep in (
            ("connections", connections(read), ()),
            ("variables", variables(read), ("--action-on-existing-key", "skip")),
        ):
            file = Path(folder) / f"{kind}.json"
            file.write_text(json.dumps(made), encoding="utf-8")
            _run(airflow(kind, "import", str(file), *keep), env)
    owner = _postgres("warehouse_owner", read, "warehouse")
    migrate = [str(PROJECT / "bin" / "springest"), "migrate", "--warehouse", OWNER, "--roles"]
    _run(migrate, {**env, f"AIRFLOW_CONN_{OWNER.upper()}": json.dumps(owner)})
    print(f"Log in as {ADMIN} at {env['AIRFLOW__API__BASE_URL']}. This prints the password:")
    print(f"docker compose run --rm --no-deps --entrypoint cat airflow-init {FOLDER}/init/admin")
    return 0


def _run(command: list[str], env: Mapping[str, str]) -> None:
    subprocess.run(command, env=dict(env), check=True)


if __name__ == "__main__":
    sys.exit(main())
