"""``python -m tests.cluster.first_night``: docker-compose.yaml's profile `sandbox`, and its first night."""

from __future__ import annotations

import shutil
import sys
import time
from collections.abc import Iterator
from pathlib import Path

from sqlalchemy import text

from demo.airflow_home import PROJECT
from demo.world import alone

from .compose import read
from .containers import enter
from .stack import Stack, started

FOLDER = PROJECT / ".springest" / "cluster-night"
VALUES = {"COMPOSE_PROFILES": "sandbox", "AIRFLOW_EXECUTOR": "LocalExecutor"}
DAGS = ("springest_catalogue", "springest_deliver")
AT_ROLLOUT, AT_LEAST = 22, 30
"""Certificates that are accepted when the scheduler is stopped, and in the whole night."""
SLOW_MACHINE = {"AIRFLOW__WORKERS__EXECUTION_API_TIMEOUT": "60"}


def main() -> int:
    """Run it.

    :returns: 0 if each service is healthy by its own check, a night was delivered, and no secret shows.
    """
    enter("tests.cluster.first_night", sys.argv[1:])
    with alone(FOLDER):
        values = {**VALUES, "CERTIFICATES_FOLDER": str(FOLDER)}
        with started(FOLDER, services=read(values), overrides=SLOW_MACHINE, say=print) as stack:
            wrong = [*_first_night(stack), *_unhealthy(stack), *_again(stack), *_seen_secrets(stack)]
    print("\n".join(wrong) or "a first night, by every service's own command")
    if not wrong:
        shutil.rmtree(FOLDER)
    return 1 if wrong else 0


def _first_night(stack: Stack) -> Iterator[str]:
    """Deliver the night; the scheduler, in which the LocalExecutor's tasks run, is rolled out meanwhile."""
    with stack.airflow() as api:
        for dag_id in DAGS:
            api.unpause(dag_id)
            api.trigger(dag_id, run_id="by-hand")
            if dag_id == DAGS[-1]:
                _wait_for_accepted(stack, AT_ROLLOUT)
                stack.stop("airflow-scheduler")
                yield from _unresolved(stack)
                stack.start("airflow-scheduler")
            api.wait_for_run(dag_id, "by-hand", seconds=400)
    if (accepted := _count(stack, "accepted")) < AT_LEAST:
        yield f"{accepted} certificates were accepted in the first night"
    yield from _unresolved(stack)


def _wait_for_accepted(stack: Stack, number: int) -> None:
    until = time.monotonic() + 300
    while _count(stack, "accepted") < number:
        if time.monotonic() > until:
            raise TimeoutError(f"{_count(stack, 'accepted')} certificates were accepted")
        time.sleep(0.1)


def _unresolved(stack: Stack) -> Iterator[str]:
    for state in ("sending", "unknown"):
        if number := _count(stack, state):
            yield f"{number} certificates are {state} after a rollout of the scheduler"


def _count(stack: Stack, state: str) -> int:
    asked = text("SELECT count(*) FROM springest.delivery WHERE state = :state")
    with stack.database("warehouse", "warehouse_job").connect() as connection:
        return int(connection.scalar(asked, {"state": state}) or 0)


def _unhealthy(stack: Stack) -> Iterator[str]:
    for (name, _), container in stack.running.items():
        code, output = stack.containers.execute(container, container.service.health)
        if code:
            yield f"{name} is not healthy by its own check: {output[-2000:]}"


def _again(stack: Stack) -> Iterator[str]:
    """The one-shot services run at every start, and add nothing."""
    for name, expected in (
        ("secrets", "every secret exists"),
        ("airflow-init", "is at revision"),
        ("trial-data", "0 rows added to the source"),
    ):
        if expected not in (output := stack.containers.run(stack.services[name])):
            yield f"{name} says at the second start: {output[-2000:]}"


def _seen_secrets(stack: Stack) -> Iterator[str]:
    """No secret is in an environment, a command line or a log of any service."""
    secrets = {
        file.read_text(encoding="utf-8").strip(): f"{file.parent.name}/{file.name}"
        for file in stack.folder.glob("volumes/secrets-*/*")
    }
    places = {
        str(path): path
        for path in [*stack.folder.glob("logs/*.log"), *stack.folder.glob("volumes/airflow-logs/**/*.log")]
    }
    for (name, _), container in stack.running.items():
        for process in container.members():
            for file in ("environ", "cmdline"):
                places[f"{file} of {name}"] = Path(f"/proc/{process.pid}/{file}")
    if not places:
        yield "there is nothing to look at"
    for place, path in places.items():
        content = path.read_text(encoding="utf-8", errors="replace") if path.exists() else ""
        yield from (f"{secret} is in {place}" for value, secret in secrets.items() if value in content)


if __name__ == "__main__":
    sys.exit(main())
