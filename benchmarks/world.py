"""What contenders are measured against: one PostgreSQL, one server, one folder of documents."""

from __future__ import annotations

import random
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any

from sqlalchemy import create_engine, text

from benchmarks.contenders.job import CERTIFICATION, Job
from benchmarks.contenders.whole_path import RUN, stager_of
from demo import source_database
from demo.nights import Training
from demo.pdf import make_pdf
from demo.people import Learner
from demo.postgres import EmbeddedPostgres
from springest.api.models import Certification
from springest.catalogue import store_catalogue
from springest.db.migrate import upgrade
from springest.staging.window import begin_site

DOCUMENTS = 100
DOCUMENT_BYTES = 150_000
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

    def queue(self, job: Job) -> Job:
        """Fill a source with as many rows, and stage them; return the job with both databases."""
        self.postgres.drop_database("source")
        source_url, warehouse_url = self.postgres.create_database("source"), self.warehouse()
        job = Job(**{**_fields(job), "source_url": source_url, "warehouse_url": warehouse_url})
        source, warehouse = create_engine(source_url), create_engine(warehouse_url)
        source_database.create_schema(source)
        paths = [str(path) for path in job.paths()]
        for start in range(0, job.count, _ROWS_AT_ONCE):
            rows = [
                _training(number, paths[number]) for number in range(job.count)[start : start + _ROWS_AT_ONCE]
            ]
            source_database.add(source, rows, now=datetime.now(UTC) - timedelta(minutes=1))
        with warehouse.begin() as connection:
            listed = [Certification(CERTIFICATION, "Project Control", None, requires_valid_until=False)]
            store_catalogue(connection, "default", listed, complete=True, run_id=RUN)
            begin_site(connection, site="default", begin_from=datetime.now(UTC) - timedelta(days=1))
        stager_of(job, warehouse, source).stage(RUN)
        with warehouse.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
            connection.execute(text("ANALYZE"))
        source.dispose()
        warehouse.dispose()
        return job


def write_documents(folder: Path, *, count: int = DOCUMENTS, size: int = DOCUMENT_BYTES) -> None:
    """Write PDFs of this size, each another."""
    folder.mkdir(parents=True, exist_ok=True)
    around = len(make_pdf(filling=bytes(size))) - size
    chance = random.Random(20261102)  # noqa: S311 - the same documents every time
    for number in range(count):
        path = folder / f"certificate-{number:03}.pdf"
        path.write_bytes(make_pdf(filling=chance.randbytes(size - around)))


def _fields(job: Job) -> dict[str, Any]:
    return {name: getattr(job, name) for name in Job.__slots__}


def _training(number: int, path: str) -> Training:
    return Training(
        training_id=f"T{number}",
        learner=Learner(number, f"Learner {number}", f"learner.{number}@example.com"),
        certification_id=CERTIFICATION,
        completed_at=datetime(2026, 11, 2, tzinfo=UTC),
        valid_from=date(2026, 11, 2),
        valid_until=None,
        certificate_uri=path,
    )
