"""README's "Begin small", followed in a real Airflow: the scheduler's own runs of fresh DAGs send nothing."""

from __future__ import annotations

import json
import os
import subprocess
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path
from unittest.mock import ANY

import pytest

from demo.airflow_home import PROJECT
from demo.processes import listening, reachable_by_others
from demo.world import World, complete, started

pytestmark = [pytest.mark.airflow, pytest.mark.xdist_group("airflow")]
SECONDS = 600
"""A busy machine is slow to start tasks."""


def _posts(world: World) -> int:
    return sum(request.method == "POST" for request in world.sandbox.requests())


def _unpaused(world: World, dag_id: str) -> str:
    """Unpause a DAG; returns the run that its schedule makes, once that has ended well."""
    world.airflow.unpause(dag_id)
    until = time.monotonic() + SECONDS
    while not (runs := world.airflow.runs(dag_id)):
        world.supervisor.check()
        assert time.monotonic() < until, f"the scheduler makes no run of {dag_id}"
        time.sleep(0.3)
    assert runs[0]["run_type"] == "scheduled"
    _wait(world, dag_id, run_id := str(runs[0]["dag_run_id"]))
    return run_id


def _wait(world: World, dag_id: str, run_id: str) -> None:
    world.airflow.wait_for_run(dag_id, run_id, seconds=SECONDS, tick=world.supervisor.check)


def _triggered(world: World, run_id: str, **conf: object) -> None:
    world.airflow.trigger("springest_deliver", run_id=run_id, conf=conf)
    _wait(world, "springest_deliver", run_id)


def test_fresh_dags_send_nothing_until_the_site_begins(tmp_path: Path) -> None:
    """Unpausing them sends nothing, and a pilot sends only its own window.

    Then the site begins, and from there on everything is sent, once.
    """
    with started(tmp_path / "first_day", tell=lambda _: None, rows=12) as world:
        until = time.monotonic() + SECONDS
        while not {"springest_catalogue", "springest_deliver"} <= world.airflow.dags():
            assert time.monotonic() < until, world.airflow.import_errors()
            time.sleep(0.3)
        complete(world, world.nights[0])
        _unpaused(world, "springest_catalogue")
        run_id = _unpaused(world, "springest_deliver")
        tasks = world.airflow.task_instances("springest_deliver", run_id)
        assert {task["task_id"]: task["state"] for task in tasks} == {
            "stage": "skipped",
            "deliver": "skipped",
        }
        assert "has not begun" in world.airflow.log("springest_deliver", run_id, "stage")
        assert _posts(world) == 0
        _triggered(world, "pilot", limit=1)
        assert _posts(world) == 1
        _triggered(world, "begin", begin_from=(datetime.now(UTC) - timedelta(days=1)).isoformat())
        stored = len(world.sandbox.certificates())
        assert _posts(world) == stored > 10
        _triggered(world, "night")
        assert _posts(world) == stored
        _everything_is_in_airflow_and_on_loopback(world, tmp_path / "first_day" / "airflow")


def _everything_is_in_airflow_and_on_loopback(world: World, home: Path) -> None:
    """A newcomer's next steps: connections, the command, the asset graph, access by others."""
    assert reachable_by_others(listening()) == []
    assert world.airflow.test_connection("springest_default") == (True, ANY)
    command = [str(PROJECT / "bin" / "springest"), "status", "--json"]
    env = {"PATH": os.environ["PATH"], "AIRFLOW_HOME": str(home)}
    status = subprocess.run(command, env=env, cwd="/", capture_output=True, text=True, check=False)
    assert (status.returncode, status.stderr) == (0, "")
    assert json.loads(status.stdout)["states"]
    doctor = subprocess.run(
        [command[0], "doctor", "--json"], env=env, cwd="/", capture_output=True, text=True, check=False
    )
    found = {check["name"]: check for check in json.loads(doctor.stdout)["checks"]}
    assert (doctor.returncode, doctor.stderr) == (0, ""), doctor.stdout
    assert found["pools"]["status"] == "ok"
    assert "springest_review" in found["DAGs"]["detail"]
    assert "@" not in doctor.stdout
    assert world.airflow.asset_graph()["nodes"]
