"""What people write today: a loop over `requests`, by threads, without a ledger."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import requests

from benchmarks.contenders.job import Job, fields, measured, read_job

_of_thread = threading.local()


def post(job: Job, number: int, path: Path) -> None:
    """Post one certificate over this thread's session."""
    session = getattr(_of_thread, "session", None)
    if session is None:
        session = _of_thread.session = requests.Session()
    with path.open("rb") as document:
        answer = session.post(
            job.url,
            data=fields(number),
            files={"file": (path.name, document, "application/pdf")},
            timeout=60,
        )
    answer.raise_for_status()


def main() -> None:
    """Post all of them."""
    job = read_job()
    paths = job.paths()
    with measured(job.count), ThreadPoolExecutor(job.at_once) as pool:
        for done in [pool.submit(post, job, number, path) for number, path in enumerate(paths)]:
            done.result()


if __name__ == "__main__":
    main()
