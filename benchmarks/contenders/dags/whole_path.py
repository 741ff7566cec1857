"""This project's sending in one task of Airflow, with the attempt's number in a Variable."""

from __future__ import annotations

import json
import os
from contextlib import redirect_stdout
from datetime import UTC, datetime
from pathlib import Path

from airflow.sdk import DAG, task

from benchmarks.contenders import whole_path
from benchmarks.contenders.job import Job
from springest_provider.factories import AttemptKeeper


@task
def deliver() -> None:
    """Deliver what is in the queue, and write what that took to a file."""
    job = Job(**json.loads(os.environ["BENCHMARK_JOB"]))
    with Path(os.environ["BENCHMARK_RESULT"]).open("w", encoding="utf-8") as file, redirect_stdout(file):
        whole_path.measure(job, AttemptKeeper("default"))


with DAG("whole_path", schedule=None, start_date=datetime(2026, 1, 1, tzinfo=UTC)):
    deliver()
