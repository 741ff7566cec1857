"""Waits for what Airflow does in a started demo, however busy the machine is."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any, Final

from demo.world import World

SECONDS: Final = 900


def until(world: World, find: Callable[[], Any], expected: str) -> Any:
    """Wait until ``find`` returns something true, and return it.

    :param expected: what is waited for, for the error.
    :raises TimeoutError: it is not there after ``SECONDS``.
    """
    end = time.monotonic() + SECONDS
    while not (found := find()):
        world.supervisor.check()
        if time.monotonic() > end:
            raise TimeoutError(f"{expected}: not there after {SECONDS} s")
        time.sleep(0.3)
    return found


def finish(world: World, dag_id: str, run_id: str) -> None:
    """Wait until a run has succeeded."""
    world.airflow.wait_for_run(dag_id, run_id, seconds=SECONDS, tick=world.supervisor.check)


def run_scheduled(world: World, dag_id: str) -> str:
    """Unpause a DAG, wait for the run that its schedule makes, and return the run's id."""
    world.airflow.unpause(dag_id)
    [run, *_] = until(world, lambda: world.airflow.runs(dag_id), f"a run of {dag_id}")
    run_id = str(run["dag_run_id"])
    finish(world, dag_id, run_id)
    return run_id


def wait_for_reconciliation(world: World) -> None:
    """Wait until the reconciliation that follows a delivery has succeeded, and no other is under way."""

    def is_reconciled() -> bool:
        runs = world.airflow.runs("springest_reconcile")
        if any(run["state"] == "failed" for run in runs):
            raise RuntimeError("springest_reconcile failed")
        by_asset = [run for run in runs if run["run_type"] == "asset_triggered"]
        return bool(by_asset) and all(run["state"] == "success" for run in runs)

    until(world, is_reconciled, "the reconciliation")
