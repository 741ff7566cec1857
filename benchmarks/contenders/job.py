"""What a contender is told and what it tells: one line of JSON each way."""

from __future__ import annotations

import json
import resource
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from pathlib import Path

CERTIFICATION = 102
RUN = "benchmark"
VALID_FROM = "2026-11-02"


@dataclass(frozen=True, slots=True)
class Job:
    """Certificates to post.

    :param count: how many.
    :param documents: folder of the documents, which are taken in turn.
    :param at_once: requests under way at once.
    :param page_size: certificates of a list to ask for at once.
    :param as_planned: read as much of a list as the nightly job would, rather than all of it.
    :param warehouse_url: for contenders with a ledger.
    :param source_url: likewise.
    :param run_id: run that stages or sends.
    :param cutover_date: trainings completed before it are held; their documents are not opened.
    """

    base_url: str
    count: int
    documents: str
    at_once: int = 8
    page_size: int = 100
    as_planned: bool = False
    warehouse_url: str = ""
    source_url: str = ""
    run_id: str = RUN
    cutover_date: str | None = None

    def paths(self) -> list[Path]:
        """Return one document for each certificate."""
        found = sorted(Path(self.documents).iterdir())
        return [found[number % len(found)] for number in range(self.count)]

    @property
    def url(self) -> str:
        """Where certificates are posted to."""
        return f"{self.base_url}/certificates.xml?api_key=benchmark"


@dataclass(frozen=True, slots=True)
class Result:
    """What a contender used.

    :param seconds: from the first certificate to the last.
    :param cpu_seconds: of this process in that time.
    :param peak_mb: largest resident size of this process, from its start.
    :param steps: seconds by name of the step, where there are several.
    """

    count: int
    seconds: float
    cpu_seconds: float
    peak_mb: float
    steps: dict[str, float] = field(default_factory=dict)


class Steps(dict[str, float]):
    """Seconds by name of a step."""

    @contextmanager
    def timed(self, name: str) -> Iterator[None]:
        """Time what happens inside as one step."""
        started = time.perf_counter()
        yield
        self[name] = time.perf_counter() - started


def read_job() -> Job:
    """Return the job given on the command line."""
    return Job(**json.loads(sys.argv[1]))


@contextmanager
def measured(count: int) -> Iterator[Steps]:
    """Measure what happens inside, and print it."""
    steps, before, started = Steps(), _cpu(), time.perf_counter()
    yield steps
    seconds, used = time.perf_counter() - started, _cpu() - before
    sys.stdout.write(json.dumps(asdict(Result(count, seconds, used, peak_mb(), steps))) + "\n")


def peak_mb() -> float:
    """Return this process's largest resident size in MB; `getrusage` would tell its parent's."""
    status = Path("/proc/self/status").read_text(encoding="utf-8")
    return int(status.partition("VmHWM:")[2].split()[0]) / 1024


def _cpu() -> float:
    used = resource.getrusage(resource.RUSAGE_SELF)
    return used.ru_utime + used.ru_stime


def fields(number: int) -> dict[str, str]:
    """Return the form's fields of one certificate."""
    return {
        "certification_id": str(CERTIFICATION),
        "email": f"learner.{number}@example.com",
        "valid_from": VALID_FROM,
    }
