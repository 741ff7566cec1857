"""What tests stand on: a real PostgreSQL for the session, a fresh database for each test that wants one."""

from __future__ import annotations

import os
import secrets
from collections.abc import Iterator
from pathlib import Path

import pytest

from include.demo.postgres import EmbeddedPostgres

SCRATCH = Path(__file__).parents[1] / ".springest" / "tests"


@pytest.fixture(scope="session")
def postgres() -> Iterator[EmbeddedPostgres]:
    """A server of this test process's own, not made to survive a power cut."""
    worker = os.environ.get("PYTEST_XDIST_WORKER", "main")
    settings = {"fsync": "off", "full_page_writes": "off", "max_connections": "200"}
    with EmbeddedPostgres(SCRATCH / f"postgres-{worker}", settings=settings) as server:
        yield server


@pytest.fixture
def database(postgres: EmbeddedPostgres) -> Iterator[str]:
    """The address of an empty database."""
    name = f"test_{secrets.token_hex(6)}"
    yield postgres.create_database(name)
    postgres.drop_database(name)
