"""``python -m demo.compose``: the first start of docker-compose.yaml's Airflow.

It creates Airflow's database and the warehouse's schema, and writes the connections and Variables into
Airflow's database, encrypted with its Fernet key. So no other service receives their passwords, and none has
to be escaped in a URL or in JSON. Later changes in the UI are kept.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

from demo.airflow_home import PROJECT, airflow

OWNER: Final = "certificate_warehouse_owner"
TRIAL: Final = "/opt/airflow/trial"
"""Documents of the profile ``sandbox``."""


def connections(env: Mapping[str, str]) -> dict[str, dict[str, Any]]:
    """Return the connections of the nightly job, by id."""
    return {
        "training_source": _postgres(env, "training_reader", env["SOURCE_PASSWORD"], "source"),
        "certificate_warehouse": _postgres(env, "warehouse_job", env["WAREHOUSE_PASSWORD"], "warehouse"),
        "springest_default": {
            "conn_type": "springest",
            "host": "http://127.0.0.1",
            "port": 8765,
            "password": env["SPRINGEST_API_KEY"],
            "extra": json.dumps({"certifications_api_key": env["SPRINGEST_CERTIFICATIONS_API_KEY"]}),
        },
    }


def variables(env: Mapping[str, str]) -> dict[str, str]:
    """Return the Variables by key."""
    return {
        "springest_learner_secret": env["SPRINGEST_LEARNER_SECRET"],
        "springest_document_roots": json.dumps(["/certificates", env.get("TRIAL_DOCUMENTS", TRIAL)]),
    }


def server(env: Mapping[str, str]) -> tuple[str, int]:
    """Return host and port of PostgreSQL; by default those of the compose file's service."""
    return env.get("DATABASE_HOST", "postgres"), int(env.get("DATABASE_PORT", "5432"))


def _postgres(env: Mapping[str, str], login: str, password: str, database: str) -> dict[str, Any]:
    host, port = server(env)
    return {
        "conn_type": "postgres",
        "host": host,
        "port": port,
        "login": login,
        "password": password,
        "schema": database,
    }


def main() -> int:
    """Initialise everything; can be repeated at each start.

    :raises subprocess.CalledProcessError: a command failed; its output has the reason.
    """
    env = dict(os.environ)
    _run(airflow("db", "migrate"), env)
    with tempfile.TemporaryDirectory() as folder:
        for kind, made, keep in (
            ("connections", connections(env), ()),
            ("variables", variables(env), ("--action-on-existing-key", "skip")),
        ):
            file = Path(folder) / f"{kind}.json"
            file.write_text(json.dumps(made), encoding="utf-8")
            _run(airflow(kind, "import", str(file), *keep), env)
    owner = _postgres(env, "warehouse_owner", env["WAREHOUSE_OWNER_PASSWORD"], "warehouse")
    migrate = [str(PROJECT / "bin" / "springest"), "migrate", "--warehouse", OWNER, "--roles"]
    _run(migrate, {**env, f"AIRFLOW_CONN_{OWNER.upper()}": json.dumps(owner)})
    return 0


def _run(command: list[str], env: Mapping[str, str]) -> None:
    subprocess.run(command, env=dict(env), check=True)


if __name__ == "__main__":
    sys.exit(main())
