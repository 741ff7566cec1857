"""What a mapped task for each certificate costs, in one process and by a real executor."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Mapping
from dataclasses import asdict, replace
from pathlib import Path

import psutil

from benchmarks.contenders.job import Job, Result
from benchmarks.world import Bench, Server
from demo.airflow_home import environment, start_airflow
from demo.ports import free_port
from demo.processes import Supervisor

PROJECT = Path(__file__).parents[1]
DAG = "mapped_operators"
IDLE_SECONDS = 10.0


def in_one_process(bench: Bench, count: int) -> Result:
    """Measure `airflow dags test` with one task and with many; the difference is what the tasks cost."""
    with Server.started() as server:
        env = _environment(bench, server)
        _run(("-m", "airflow", "db", "migrate"), env)
        item, many = (_dags_test(bench.job(server, tasks), env) for tasks in (1, count + 1))
    if server.posts != count + 2:
        raise RuntimeError(f"the mapped operators made {server.posts} POSTs")
    seconds, used = many.seconds - item.seconds, many.cpu_seconds - item.cpu_seconds
    return replace(many, count=count, seconds=seconds, cpu_seconds=used)


def by_an_executor(bench: Bench, count: int) -> Result:
    """Measure a run under the LocalExecutor; what all of Airflow uses while idle is taken off."""
    folder = bench.folder / "mapped"
    with Server.started() as server, Supervisor(folder / "logs") as supervisor:
        env = _for_job(_environment(bench, server), bench.job(server, count))
        api = start_airflow(supervisor, env)
        api.unpause(DAG)
        pids = [item.process.pid for item in supervisor.running]
        idle = _used(pids)
        time.sleep(IDLE_SECONDS)
        before, started = _used(pids), time.perf_counter()
        idle_rate = (before - idle) / IDLE_SECONDS
        api.trigger(DAG, run_id="measured")
        api.wait_for_run(DAG, "measured", seconds=600)
        seconds = time.perf_counter() - started
        used = _used(pids) - before - idle_rate * seconds
        memory = sum(item.memory_info().rss for item in _family(pids)) / 1024**2
    if server.posts != count:
        raise RuntimeError(f"the mapped operators made {server.posts} POSTs")
    return Result(count=count, seconds=seconds, cpu_seconds=used, peak_mb=memory)


def _family(pids: list[int]) -> list[psutil.Process]:
    parents = [psutil.Process(pid) for pid in pids]
    return parents + [child for parent in parents for child in parent.children(recursive=True)]


def _used(pids: list[int]) -> float:
    """Return the CPU seconds of these processes, of those below them, and of those that have ended."""
    seconds = 0.0
    for item in _family(pids):
        times = item.cpu_times()
        seconds += times.user + times.system + times.children_user + times.children_system
    return seconds


def _environment(bench: Bench, server: Server) -> dict[str, str]:
    bench.postgres.drop_database("airflow")
    env = environment(
        bench.folder / "mapped" / "airflow",
        metadata_url=bench.postgres.create_database("airflow"),
        api_port=free_port(),
        connections={"benchmark_http": {"conn_type": "http", "host": server.url}},
        variables={},
    )
    dags = str(PROJECT / "benchmarks" / "contenders" / "dags")
    return {**env, "AIRFLOW__CORE__DAGS_FOLDER": dags, "PYTHONPATH": f"{PROJECT}:{PROJECT / 'plugins'}"}


def _for_job(env: Mapping[str, str], job: Job) -> dict[str, str]:
    return {**env, "BENCHMARK_JOB": json.dumps(asdict(job))}


def _dags_test(job: Job, env: Mapping[str, str]) -> Result:
    output = _run(("-m", "benchmarks.contenders.dags_test", json.dumps(asdict(job))), _for_job(env, job))
    return Result(**json.loads(output.splitlines()[-1]))


def _run(arguments: tuple[str, ...], env: Mapping[str, str]) -> str:
    done = subprocess.run(
        [sys.executable, *arguments],
        check=True,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
        cwd=PROJECT,
        env={**os.environ, **env},
    )
    return done.stdout
