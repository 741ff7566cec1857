"""A temporary warehouse for one command."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from sqlalchemy import Engine, create_engine

from demo.airflow_home import PROJECT
from demo.postgres import EmbeddedPostgres
from springest.db.migrate import upgrade


@contextmanager
def fresh_warehouse() -> Iterator[Engine]:
    """Yield an engine of an empty, migrated warehouse on its own PostgreSQL server."""
    state = PROJECT / ".springest"
    state.mkdir(exist_ok=True)
    with (
        tempfile.TemporaryDirectory(dir=state) as folder,
        EmbeddedPostgres(Path(folder) / "postgres") as server,
    ):
        engine = create_engine(server.create_database("warehouse"))
        upgrade(engine)
        yield engine
        engine.dispose()
