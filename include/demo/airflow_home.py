"""A real Airflow for the demo and the tests: environment, processes, REST API."""

from __future__ import annotations

import configparser
import json
import os
import secrets
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from datetime import datetime
from pathlib import Path
from typing import Any, Final

import httpx

from demo.processes import Child, Supervisor

PROJECT: Final = Path(__file__).parents[2]
_SIMPLE_AUTH: Final = "airflow.api_fastapi.auth.managers.simple.simple_auth_manager"
COMPONENTS: Final = ("api-server", "scheduler", "dag-processor")
FINISHED: Final = frozenset({"success", "failed"})


class RunFailed(RuntimeError):
    """A run of a DAG failed; the text ends with its failed task's log."""


def environment(
    home: Path,
    *,
    metadata_url: str,
    api_port: int,
    connections: Mapping[str, Mapping[str, Any]],
    variables: Mapping[str, str],
    settings: Mapping[str, str] | None = None,
) -> dict[str, str]:
    """Return the environment of an Airflow with the LocalExecutor, all of it under ``home``.

    :param metadata_url: address of its database.
    :param connections: Airflow connections by id, each a dictionary of a connection's fields.
    :param variables: Airflow variables.
    :param settings: settings of ``airflow.cfg`` on top of the usual ones, as ``SECTION__NAME``.
    """
    home.mkdir(parents=True, exist_ok=True)
    api = f"http://127.0.0.1:{api_port}"
    usual = {
        "CORE__DAGS_FOLDER": str(PROJECT / "dags"),
        "CORE__PLUGINS_FOLDER": str(PROJECT / "plugins"),
        "CORE__LOAD_EXAMPLES": "False",
        "CORE__EXECUTOR": "LocalExecutor",
        "CORE__PARALLELISM": "4",
        "CORE__FERNET_KEY": "",
        "CORE__TEST_CONNECTION": "Enabled",
        "CORE__EXECUTION_API_SERVER_URL": f"{api}/execution/",
        "CORE__AUTH_MANAGER": f"{_SIMPLE_AUTH}.SimpleAuthManager",
        "CORE__SIMPLE_AUTH_MANAGER_ALL_ADMINS": "True",
        "CORE__MIN_SERIALIZED_DAG_UPDATE_INTERVAL": "1",
        "DATABASE__SQL_ALCHEMY_CONN": metadata_url,
        "API__HOST": "127.0.0.1",
        "API__PORT": str(api_port),
        "API__BASE_URL": api,
        "API__WORKERS": "1",
        "API__SECRET_KEY": secrets.token_hex(16),
        "API_AUTH__JWT_SECRET": secrets.token_hex(32),
        "DAG_PROCESSOR__REFRESH_INTERVAL": "300",
        "DAG_PROCESSOR__MIN_FILE_PROCESS_INTERVAL": "300",
        "SCHEDULER__SCHEDULER_IDLE_SLEEP_TIME": "0.2",
        "SCHEDULER__SCHEDULER_HEALTH_CHECK_THRESHOLD": "120",
        # With the default of 5 s, tasks on a busy machine fail before their code runs.
        "WORKERS__EXECUTION_API_TIMEOUT": "60",
        "LOGGING__BASE_LOG_FOLDER": str(home / "logs"),
        "USAGE_DATA_COLLECTION__ENABLED": "False",
    }
    return {
        **_inherited(),
        **{f"AIRFLOW__{name}": value for name, value in {**usual, **(settings or {})}.items()},
        **{
            f"AIRFLOW_CONN_{name.upper()}": json.dumps(connection) for name, connection in connections.items()
        },
        **{f"AIRFLOW_VAR_{name.upper()}": value for name, value in variables.items()},
        "AIRFLOW_HOME": str(home),
        "NO_PROXY": "127.0.0.1,localhost",
    }


def _inherited() -> dict[str, str]:
    """Return the part of this process's environment that the demo's processes need."""
    kept = ("HOME", "LANG", "TMPDIR", "PYTHONPYCACHEPREFIX")
    bin_folder = str(Path(sys.executable).parent)
    return {
        **{name: os.environ[name] for name in kept if name in os.environ},
        "PATH": f"{bin_folder}:{os.environ.get('PATH', '/usr/bin:/bin')}",
        # Use the code of this checkout, not an installed one.
        "PYTHONPATH": os.pathsep.join(str(PROJECT / folder) for folder in ("include", "plugins")),
        "PYTHONSAFEPATH": "1",
        "PYTHONUTF8": "1",
        "PYTHONUNBUFFERED": "1",
    }


def write_config(home: Path, env: Mapping[str, str]) -> None:
    """Write an environment's settings to ``airflow.cfg``, so that commands need only ``AIRFLOW_HOME``.

    Readable by its owner only, since it holds the secrets of the environment.
    """
    config = configparser.RawConfigParser()
    for name, value in env.items():
        if not name.startswith("AIRFLOW__"):
            continue
        _, section, option = name.lower().split("__", 2)
        if not config.has_section(section):
            config.add_section(section)
        # Airflow interpolates the values.
        config.set(section, option, value.replace("%", "%%"))
    file = home / "airflow.cfg"
    file.touch(mode=0o600)
    with file.open("w", encoding="utf-8") as written:
        config.write(written)


def airflow(*arguments: str) -> list[str]:
    """Return the command line of Airflow's CLI in this environment."""
    return [sys.executable, "-m", "airflow", *arguments]


def start_component(
    supervisor: Supervisor, env: Mapping[str, str], component: str, *, name: str | None = None
) -> Child:
    """Start one of Airflow's components, such as ``scheduler``.

    :param name: name of its log; by default after the component.
    """
    # The scheduler's log server would listen on every interface; the API server reads the files themselves.
    options = ("--skip-serve-logs",) if component == "scheduler" else ()
    return supervisor.start(name or f"airflow-{component}", airflow(component, *options), env=env)


def wait_for_component(supervisor: Supervisor, api: AirflowApi, child: Child, component: str) -> None:
    """Wait until a started component is healthy."""
    asked = {"api-server": api.is_well}.get(component, lambda: api.health(component.replace("-", "_")))
    supervisor.wait_until(child, asked, seconds=120)


def start_airflow(
    supervisor: Supervisor, env: Mapping[str, str], *, migrate: bool = True, patience: float = 0.0
) -> AirflowApi:
    """Start an API server, a scheduler and a DAG processor, and wait until they are healthy.

    :param patience: see :class:`AirflowApi`.
    """
    if migrate:
        supervisor.run("airflow-db-migrate", airflow("db", "migrate"), env=env)
    api = AirflowApi(env["AIRFLOW__API__BASE_URL"], patience=patience)
    started = {name: start_component(supervisor, env, name) for name in COMPONENTS}
    for component, child in started.items():
        wait_for_component(supervisor, api, child, component)
    return api


class AirflowApi:
    """Airflow's REST API, as an admin.

    :param patience: seconds for which a request is repeated while the server or its database is unavailable.
    :param login: name and password; not needed on a server on which everybody is admin.
    """

    def __init__(self, url: str, *, patience: float = 0.0, login: tuple[str, str] | None = None) -> None:
        self._login = login
        self._client = httpx.Client(base_url=url, timeout=60, trust_env=False)
        self._patience = patience

    def close(self) -> None:
        """Close the connections."""
        self._client.close()

    def is_well(self) -> bool:
        """Whether the API server responds; also logs in."""
        self._client.get("/api/v2/monitor/health").raise_for_status()
        if "Authorization" not in self._client.headers:
            self._client.headers["Authorization"] = f"Bearer {self._token()}"
        return True

    def _token(self) -> str:
        if self._login is None:
            response = self._client.get("/auth/token")
        else:
            credentials = dict(zip(("username", "password"), self._login, strict=True))
            response = self._client.post("/auth/token", json=credentials)
        return str(response.raise_for_status().json()["access_token"])

    def health(self, component: str) -> bool:
        """Whether a component is healthy."""
        payload = self._client.get("/api/v2/monitor/health").json()
        return bool(payload[component]["status"] == "healthy")

    def add_connection(self, conn_id: str, fields: Mapping[str, Any]) -> None:
        """Create a connection in Airflow's database, as its form does.

        :param fields: a connection's fields; ``extra`` is a dictionary.
        """
        # Of "{}", Airflow 3.3.2 warns in each log that it is too short to be masked.
        extra = {"extra": json.dumps(fields["extra"])} if fields.get("extra") else {}
        body = {**fields, "connection_id": conn_id, **extra}
        self._create("/api/v2/connections", body)

    def change_connection(self, conn_id: str, fields: Mapping[str, Any]) -> None:
        """Change a connection, as its form does.

        :param fields: as for :meth:`add_connection`.
        """
        body = {**fields, "connection_id": conn_id, "extra": json.dumps(fields.get("extra", {}))}
        self._call("PATCH", f"/api/v2/connections/{conn_id}", json=body)

    def test_connection(self, conn_id: str) -> tuple[bool, str]:
        """Test a stored connection, as the form's button does; return whether it works, and the message."""
        stored = self._get(f"/api/v2/connections/{conn_id}")
        form = {name: value for name, value in stored.items() if name != "team_name"}
        result = self._call("POST", "/api/v2/connections/test", json=form).json()
        return bool(result["status"]), str(result["message"])

    def add_variable(self, key: str, value: str) -> None:
        """Create a Variable in Airflow's database, as its form does."""
        self._create("/api/v2/variables", {"key": key, "value": value})

    def asset_graph(self) -> dict[str, Any]:
        """Return the data of the UI's asset graph."""
        return self._get("/ui/dependencies")

    def dags(self) -> set[str]:
        """Return the ids of the parsed DAGs."""
        return {item["dag_id"] for item in self._get("/api/v2/dags")["dags"]}

    def import_errors(self) -> list[str]:
        """Return the import errors."""
        return [item["stack_trace"] for item in self._get("/api/v2/importErrors")["import_errors"]]

    def unpause(self, dag_id: str) -> None:
        """Unpause a DAG."""
        self._call("PATCH", f"/api/v2/dags/{dag_id}", json={"is_paused": False})

    def trigger(self, dag_id: str, *, run_id: str, conf: Mapping[str, Any] | None = None) -> None:
        """Trigger a run."""
        body = {"dag_run_id": run_id, "logical_date": None, "conf": dict(conf or {})}
        self._create(f"/api/v2/dags/{dag_id}/dagRuns", body)

    def backfill(self, dag_id: str, *, first: datetime, last: datetime) -> int:
        """Start a backfill of the logical dates from ``first`` to ``last``; return its id."""
        body = {"dag_id": dag_id, "from_date": first.isoformat(), "to_date": last.isoformat()}
        return int(self._call("POST", "/api/v2/backfills", json=body).json()["id"])

    def end_backfill(self, number: int) -> None:
        """End a backfill: a DAG has only one at a time, and Airflow notices the end only occasionally."""
        self._call("PUT", f"/api/v2/backfills/{number}/cancel")

    def runs(self, dag_id: str, *, states: Sequence[str] = ()) -> list[dict[str, Any]]:
        """Return a DAG's runs, oldest first.

        :param states: only those in one of these states.
        """
        wanted = {"state": list(states)} if states else {}
        payload = self._get(f"/api/v2/dags/{dag_id}/dagRuns", order_by="run_after", limit=100, **wanted)
        return list(payload["dag_runs"])

    def task_instances(self, dag_id: str, run_id: str) -> list[dict[str, Any]]:
        """Return a run's task instances."""
        return list(self._get(f"/api/v2/dags/{dag_id}/dagRuns/{run_id}/taskInstances")["task_instances"])

    def form(self, dag_id: str, run_id: str, task_id: str) -> dict[str, Any]:
        """Return the form of a task that waits for a person."""
        return self._get(f"/api/v2/dags/{dag_id}/dagRuns/{run_id}/taskInstances/{task_id}/-1/hitlDetails")

    def answer(
        self, dag_id: str, run_id: str, task_id: str, *, choose: str, fields: Mapping[str, Any]
    ) -> None:
        """Submit the form, as the page *Required Actions* does."""
        path = f"/api/v2/dags/{dag_id}/dagRuns/{run_id}/taskInstances/{task_id}/-1/hitlDetails"
        self._call("PATCH", path, json={"chosen_options": [choose], "params_input": dict(fields)})

    def clear(self, dag_id: str, run_id: str) -> None:
        """Clear all of a run's tasks, running and finished ones too."""
        body = {"dry_run": False, "dag_run_id": run_id, "only_failed": False}
        self._call("POST", f"/api/v2/dags/{dag_id}/clearTaskInstances", json=body)

    def log(self, dag_id: str, run_id: str, task_id: str, try_number: int = 1) -> str:
        """Return a task's log."""
        path = f"/api/v2/dags/{dag_id}/dagRuns/{run_id}/taskInstances/{task_id}/logs/{try_number}"
        payload = self._client.get(
            path, params={"full_content": True}, headers={"Accept": "application/json"}
        )
        content = payload.json().get("content", [])
        return "\n".join(
            str(line.get("event", line)) if isinstance(line, dict) else str(line) for line in content
        )

    def wait_for_run(
        self, dag_id: str, run_id: str, *, seconds: float = 120, tick: Callable[[], None] | None = None
    ) -> None:
        """Wait until a run has succeeded.

        :raises RunFailed: it failed, or is not done in time.
        """
        until = time.monotonic() + seconds
        while time.monotonic() < until:
            state = self._get(f"/api/v2/dags/{dag_id}/dagRuns/{run_id}")["state"]
            if state == "success":
                return
            if state in FINISHED:
                raise RunFailed(f"{dag_id} {run_id} failed:\n{self._failed_log(dag_id, run_id)}")
            if tick is not None:
                tick()
            time.sleep(0.3)
        raise RunFailed(f"{dag_id} {run_id} is not done after {seconds:.0f} s")

    def _failed_log(self, dag_id: str, run_id: str) -> str:
        for instance in self.task_instances(dag_id, run_id):
            if instance["state"] in {"failed", "up_for_retry"}:
                lines = self.log(dag_id, run_id, instance["task_id"], instance["try_number"]).splitlines()
                return "\n".join(lines[-30:])
        return "no task failed"

    def _get(self, path: str, **params: Any) -> dict[str, Any]:
        return dict(self._call("GET", path, params=params).json())

    def _call(self, method: str, path: str, **arguments: Any) -> httpx.Response:
        until = time.monotonic() + self._patience
        while True:
            try:
                response = self._client.request(method, path, **arguments)
            except httpx.TransportError:
                if time.monotonic() >= until:
                    raise
            else:
                if not response.is_server_error or time.monotonic() >= until:
                    return response.raise_for_status()
            time.sleep(0.3)

    def _create(self, path: str, body: Mapping[str, Any]) -> None:
        """Create a named object; it may exist already, since a response may have been lost."""
        try:
            self._call("POST", path, json=body)
        except httpx.HTTPStatusError as error:
            if error.response.status_code != httpx.codes.CONFLICT:
                raise
