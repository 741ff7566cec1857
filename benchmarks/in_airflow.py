"""Deliveries by Airflow: a mapped task for each certificate, and this project in one task."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, replace
from pathlib import Path

import psutil

from benchmarks.contenders.job import Job, Result
from benchmarks.world import Bench, Server
from demo.airflow_home import AirflowApi, environment, start_airflow
from demo.ports import free_port
from demo.processes import Supervisor

PROJECT = Path(__file__).parents[1]
MAPPED_DAG = "mapped_operators"
WHOLE_PATH_DAG = "whole_path"
IDLE_SECONDS = 10.0


def mapped_in_one_process(bench: Bench, count: int) -> Result:
    """Measure `airflow dags test` with one task and with many; the difference is what the tasks cost."""
    with Server.started() as server:
        single, several = (bench.job(server, tasks) for tasks in (1, count + 1))
        env = _environment(bench, single)
        _run(("-m", "airflow", "db", "migrate"), env)
        item, many = _dags_test(single, env), _dags_test(several, env)
    if server.posts != count + 2:
        raise RuntimeError(f"the mapped operators made {server.posts} POSTs")
    seconds, used = many.seconds - item.seconds, many.cpu_seconds - item.cpu_seconds
    return replace(many, count=count, seconds=seconds, cpu_seconds=used)


def mapped_by_an_executor(bench: Bench, count: int) -> Result:
    """Measure a run under the LocalExecutor; what all of Airflow uses while idle is taken off."""
    with Server.started() as server, _airflow(bench, bench.job(server, count), MAPPED_DAG) as (api, pids):
        idle = _used(pids)
        time.sleep(IDLE_SECONDS)
        before, started = _used(pids), time.perf_counter()
        idle_rate = (before - idle) / IDLE_SECONDS
        api.trigger(MAPPED_DAG, run_id="measured")
        api.wait_for_run(MAPPED_DAG, "measured", seconds=600)
        seconds = time.perf_counter() - started
        used = _used(pids) - before - idle_rate * seconds
        memory = sum(item.memory_info().rss for item in _family(pids)) / 1024**2
    if server.posts != count:
        raise RuntimeError(f"the mapped operators made {server.posts} POSTs")
    return Result(count=count, seconds=seconds, cpu_seconds=used, peak_mb=memory)


def whole_path_by_an_executor(bench: Bench, count: int, *, at_once: int) -> Result:
    """Measure this project's sending within a task, which notes each attempt in a Variable of Airflow."""
    with Server.started() as server:
        job = bench.queue(bench.job(server, count, at_once=at_once))
        with _airflow(bench, job, WHOLE_PATH_DAG) as (api, _):
            api.trigger(WHOLE_PATH_DAG, run_id="measured")
            api.wait_for_run(WHOLE_PATH_DAG, "measured", seconds=600)
    if server.posts != count:
        raise RuntimeError(f"this project made {server.posts} POSTs")
    return Result(**json.loads(_result(bench).read_text(encoding="utf-8")))


@contextmanager
def _airflow(bench: Bench, job: Job, dag: str) -> Iterator[tuple[AirflowApi, list[int]]]:
    """Start an Airflow with the LocalExecutor for one DAG; yield its API and the ids of its processes."""
    with Supervisor(bench.folder / "airflow" / "processes") as supervisor:
        api = start_airflow(supervisor, _environment(bench, job))
        api.unpause(dag)
        yield api, [item.process.pid for item in supervisor.running]


def _result(bench: Bench) -> Path:
    return bench.folder / "airflow" / "result.json"


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


def _environment(bench: Bench, job: Job) -> dict[str, str]:
    bench.postgres.drop_database("airflow")
    env = environment(
        bench.folder / "airflow",
        metadata_url=bench.postgres.create_database("airflow"),
        api_port=free_port(),
        connections={"benchmark_http": {"conn_type": "http", "host": job.base_url}},
        variables={},
    )
    folders = (PROJECT, PROJECT / "include", PROJECT / "plugins")
    return {
        **env,
        "AIRFLOW__CORE__DAGS_FOLDER": str(PROJECT / "benchmarks" / "contenders" / "dags"),
        "PYTHONPATH": os.pathsep.join(str(folder) for folder in folders),
        "BENCHMARK_JOB": json.dumps(asdict(job)),
        "BENCHMARK_RESULT": str(_result(bench)),
    }


def _dags_test(job: Job, env: Mapping[str, str]) -> Result:
    written = json.dumps(asdict(job))
    command = ("-m", "benchmarks.contenders.dags_test", written)
    output = _run(command, {**env, "BENCHMARK_JOB": written})
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
