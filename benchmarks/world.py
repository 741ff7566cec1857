"""What contenders are measured against: one PostgreSQL, one server, one folder of documents."""

from __future__ import annotations

import random
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from sqlalchemy import create_engine, insert, text

from benchmarks.contenders.job import CERTIFICATION, RUN, Job
from benchmarks.contenders.whole_path import stager_of
from demo import source_database
from demo.pdf import make_pdf
from demo.postgres import EmbeddedPostgres
from springest.api.models import Certification
from springest.catalogue import store_catalogue
from springest.db.migrate import upgrade
from springest.staging.window import begin_site

DOCUMENTS = 100
DOCUMENT_BYTES = 150_000
COMPLETED_AT = datetime(2026, 11, 2, tzinfo=UTC)
_ROWS_AT_ONCE = 10_000


@dataclass
class Server:
    """The loopback server as a process of its own."""

    process: subprocess.Popen[str]
    url: str
    posts: int = 0
    gets: int = 0

    @classmethod
    @contextmanager
    def started(cls, *, listed: int | Path = 0) -> Iterator[Server]:
        """Start it, and note at the end what it was asked for.

        :param listed: certificates in its list, or a file with one a line.
        """
        command = [sys.executable, "-m", "benchmarks.server", str(listed)]
        process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
        if process.stdout is None:
            raise RuntimeError("the server has no output")
        server = cls(process, f"http://127.0.0.1:{int(process.stdout.readline())}")
        try:
            yield server
        finally:
            process.send_signal(signal.SIGTERM)
            counts = process.stdout.read().split()
            process.wait(10)
            server.posts, server.gets = int(counts[0]), int(counts[1])


@dataclass
class Bench:
    """The databases and documents that all contenders share."""

    postgres: EmbeddedPostgres
    folder: Path

    @classmethod
    @contextmanager
    def started(cls, folder: Path) -> Iterator[Bench]:
        """Start PostgreSQL with its own defaults, which are safe ones, and write the documents."""
        with ExitStack() as stack:
            postgres = stack.enter_context(EmbeddedPostgres(folder / "postgres"))
            write_documents(folder / "documents")
            yield cls(postgres, folder)

    @property
    def documents(self) -> str:
        """Folder of the 150 kB documents."""
        return str(self.folder / "documents")

    def job(self, server: Server, count: int, **values: Any) -> Job:
        """Return a job without databases."""
        return Job(**{"base_url": server.url, "count": count, "documents": self.documents, **values})

    def warehouse(self) -> str:
        """Return the address of an empty warehouse."""
        self.postgres.drop_database("warehouse")
        url = self.postgres.create_database("warehouse")
        engine = create_engine(url)
        upgrade(engine)
        engine.dispose()
        return url

    def staging(self, job: Job, *, sqlite: bool = False) -> Job:
        """Fill a source with as many rows, and begin a site; return the job with both databases."""
        if sqlite:
            file = self.folder / "source.sqlite"
            file.unlink(missing_ok=True)
            source_url = f"sqlite:///{file}"
        else:
            self.postgres.drop_database("source")
            source_url = self.postgres.create_database("source")
        job = replace(job, source_url=source_url, warehouse_url=self.warehouse())
        fill_source(job)
        warehouse = create_engine(job.warehouse_url)
        with warehouse.begin() as connection:
            listed = [Certification(CERTIFICATION, "Project Control", None, requires_valid_until=False)]
            store_catalogue(connection, "default", listed, complete=True, run_id=RUN)
            begin_site(connection, site="default", begin_from=datetime.now(UTC) - timedelta(days=1))
        warehouse.dispose()
        return job

    def queue(self, job: Job) -> Job:
        """Fill a source with as many rows, and stage them; return the job with both databases."""
        job = self.staging(job)
        source, warehouse = create_engine(job.source_url), create_engine(job.warehouse_url)
        stager_of(job, warehouse, source).stage(RUN)
        with warehouse.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
            connection.execute(text("ANALYZE"))
        source.dispose()
        warehouse.dispose()
        return job


def fill_source(job: Job, *, prefix: str = "T") -> None:
    """
    Fill a source with one training of its own learner for each certificate.

    :param prefix: of the trainings' ids.
    """
    engine = create_engine(job.source_url)
    source_database.create_schema(engine)
    changed, paths = datetime.now(UTC) - timedelta(minutes=1), [str(path) for path in job.paths()]
    for start in range(0, job.count, _ROWS_AT_ONCE):
        numbers = range(start, min(start + _ROWS_AT_ONCE, job.count))
        learners = [
            {
                "learner_id": number,
                "full_name": f"Learner {number}",
                "email": f"learner.{prefix}{number}@example.com",
            }
            for number in numbers
        ]
        trainings = [
            {
                "training_id": f"{prefix}{number}",
                "issue_no": 1,
                "certification_id": CERTIFICATION,
                "learner_id": number,
                "completed_at": COMPLETED_AT,
                "valid_from": COMPLETED_AT.date(),
                "certificate_uri": paths[number],
                "updated_at": changed,
            }
            for number in numbers
        ]
        with engine.begin() as connection:
            connection.execute(insert(source_database.learner), learners)
            connection.execute(insert(source_database.completed_training), trainings)
    with engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
        connection.execute(text("ANALYZE"))
    engine.dispose()


def write_documents(folder: Path, *, count: int = DOCUMENTS, size: int = DOCUMENT_BYTES) -> None:
    """Write PDFs of this size, each another."""
    folder.mkdir(parents=True, exist_ok=True)
    around = len(make_pdf(filling=bytes(size))) - size
    chance = random.Random(20261102)  # noqa: S311 - the same documents every time
    for number in range(count):
        path = folder / f"certificate-{number:03}.pdf"
        path.write_bytes(make_pdf(filling=chance.randbytes(size - around)))
