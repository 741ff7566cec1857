"""``make cluster``: docker-compose.yaml's services with two Celery workers, and nights among failures."""

from __future__ import annotations

import json
import shutil
import sys
import time
from collections import Counter
from collections.abc import Iterable, Iterator
from contextlib import ExitStack
from dataclasses import asdict

from demo.airflow_home import PROJECT
from demo.processes import Ended
from demo.world import alone
from sandbox.store import Request
from tests.chaos.ledger import Ledger
from tests.chaos.proof import failures

from .compose import read
from .containers import VENV, enter
from .nights import REQUESTS_PER_HOUR, Nights, World
from .stack import started

FOLDER = PROJECT / ".springest" / "cluster-run"
POLICY = PROJECT / "tests" / "chaos" / "airflow_local_settings.py"
BURST, SECONDS_LATE = 20, 5
"""Requests that may be made at once, and how long one may be on its way after its grant."""
HURRIED = {
    "AIRFLOW__CORE__MIN_SERIALIZED_DAG_UPDATE_INTERVAL": "1",
    "AIRFLOW__SCHEDULER__SCHEDULER_HEALTH_CHECK_THRESHOLD": "20",
    "AIRFLOW__SCHEDULER__ORPHANED_TASKS_CHECK_INTERVAL": "10",
    "AIRFLOW__SCHEDULER__TASK_INSTANCE_HEARTBEAT_TIMEOUT": "30",
    "AIRFLOW__SCHEDULER__TASK_INSTANCE_HEARTBEAT_TIMEOUT_DETECTION_INTERVAL": "5",
    "AIRFLOW__SCHEDULER__TASK_QUEUED_TIMEOUT": "45",
    "AIRFLOW__SCHEDULER__TASK_QUEUED_TIMEOUT_CHECK_INTERVAL": "10",
    "AIRFLOW__WORKERS__EXECUTION_API_TIMEOUT": "60",
}
"""What Airflow notices after minutes, it notices here after seconds."""


def main() -> int:
    """Play the nights.

    :returns: 0 if nothing was doubled or lost, the cap was kept, and no rollout left an unknown outcome.
    """
    enter("tests.cluster", sys.argv[1:])
    if not VENV.exists():
        print("the services' environment is missing: run `make cluster`")
        return 2
    begun = time.monotonic()

    def say(text: str) -> None:
        print(f"{time.monotonic() - begun:5.0f} s  {text}", flush=True)

    try:
        wrong = _play(say)
    except Ended as ended:
        print(f"Ended by {ended}; everything that was started has been stopped")
        return 130
    for failure in wrong:
        print(f"WRONG  {failure}")
    if not wrong:
        shutil.rmtree(FOLDER, ignore_errors=True)
    print(f"Not passed; logs and evidence are in {FOLDER.relative_to(PROJECT)}" if wrong else "Passed.")
    return 1 if wrong else 0


def _play(say) -> list[str]:
    with ExitStack() as stack:
        stack.enter_context(alone(FOLDER))
        documents = FOLDER / "certificates"
        documents.mkdir()
        (FOLDER / "config").mkdir()
        shutil.copy(POLICY, FOLDER / "config")
        values = {
            "COMPOSE_PROFILES": "celery",
            "AIRFLOW_EXECUTOR": "CeleryExecutor",
            "CERTIFICATES_FOLDER": str(documents),
        }
        running = stack.enter_context(
            started(FOLDER, services=read(values), overrides=HURRIED, scale={"airflow-worker": 2}, say=say)
        )
        nights = stack.enter_context(Nights.prepared(running, FOLDER, say))
        nights.play()
        return _judge(nights)


def _judge(nights: Nights) -> list[str]:
    world = nights.world
    evidence = Ledger(world).evidence()
    (FOLDER / "evidence.json").write_text(json.dumps(asdict(evidence), default=str), encoding="utf-8")
    requests = world.sandbox.requests()
    print(f"\n{evidence.source_count} trainings, {len(evidence.posts)} POSTs by two workers")
    print(f"{world.sandbox.summary().duplicates} certificates doubled, by the sandbox's own record")
    print(f"states: {_counts(delivery.state for delivery in evidence.deliveries)}")
    print(f"attempts: {_counts(attempt.outcome or 'open' for attempt in evidence.attempts)}")
    print(f"rate: {most_above_pace(requests):.0f} requests above the pace at most, {BURST} and "
          f"{SECONDS_LATE} s of it are allowed")  # fmt: skip
    print(*(f"rollout, {rollout}" for rollout in nights.rollouts), sep="\n")
    print(f"runs repeated by hand: {nights.runs_again}\n")
    return [*failures(evidence), *_cap(requests), *_rollouts(nights), *_conservation(world)]


def most_above_pace(requests: Iterable[Request]) -> float:
    """Return by how many requests any stretch of time was above ``REQUESTS_PER_HOUR``."""
    above = most = 0.0
    last = None
    for at in sorted(request.at for request in requests if request.key_name != "none"):
        above = max(above - (at - (last or at)) * REQUESTS_PER_HOUR / 3600, 0.0) + 1
        last, most = at, max(most, above)
    return most


def _cap(requests: Iterable[Request]) -> Iterator[str]:
    allowed = BURST + SECONDS_LATE * REQUESTS_PER_HOUR / 3600
    if (above := most_above_pace(requests)) > allowed:
        yield f"{above:.0f} requests above the pace, and {allowed:.0f} are allowed"


def _rollouts(nights: Nights) -> Iterator[str]:
    yield from (f"a rollout, {rollout}" for rollout in nights.rollouts if rollout.left)


def _conservation(world: World) -> Iterator[str]:
    asked = """
        SELECT run.run_id, run.source_count, count(row.run_id)
        FROM springest.staging_run AS run LEFT JOIN springest.staged_row AS row USING (site, run_id)
        GROUP BY run.site, run.run_id, run.source_count
        HAVING run.source_count <> count(row.run_id)
    """
    with world.warehouse.connect() as connection:
        for run_id, rows, counted in connection.exec_driver_sql(asked):
            yield f"run {run_id} read {rows} rows, and the ledger has {counted} of them"


def _counts(values: Iterable[str]) -> str:
    return ", ".join(f"{name} {number}" for name, number in sorted(Counter(values).items()))


if __name__ == "__main__":
    sys.exit(main())
