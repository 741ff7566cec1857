"""Fixtures: a real PostgreSQL for the session, and a fresh database for each test that needs one."""

from __future__ import annotations

import fcntl
import itertools
import os
import secrets
import shutil
from collections.abc import AsyncIterator, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext, suppress
from hashlib import sha256
from pathlib import Path

import psycopg
import psycopg.sql
import pytest
from hypothesis import settings
from hypothesis.configuration import set_hypothesis_home_dir
from hypothesis.database import DirectoryBasedExampleDatabase
from sqlalchemy import Engine, create_engine
from sqlalchemy.ext.asyncio import AsyncEngine, create_async_engine

from demo.postgres import SUPERUSER, EmbeddedPostgres
from springest.db.migrate import upgrade

SCRATCH = Path(__file__).parents[1] / ".springest" / "tests"
MEMORY = Path("/dev/shm")
MEMORY_NEEDED = 4 * 1024**3

# Airflow writes its configuration where it is imported first.
os.environ.setdefault("AIRFLOW_HOME", str(SCRATCH / "airflow"))
set_hypothesis_home_dir(SCRATCH / "hypothesis")
# No deadline: a machine that is busy with something else must not fail a property.
EXAMPLES = DirectoryBasedExampleDatabase(SCRATCH / "hypothesis" / "examples")
settings.register_profile("exploring", deadline=None, derandomize=False, database=EXAMPLES)
# What was built once is built again: a commit passes or fails, whoever asks. `make test-all` explores.
settings.register_profile("repeatable", deadline=None, derandomize=True)
settings.load_profile("exploring")


@pytest.fixture(scope="session", autouse=True)
def one_salt() -> Iterator[None]:
    """Give every warehouse the same salt: a verifier takes 0.1 s, once for a secret and a salt."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("springest.privacy.secret.token_bytes", bytes)
        yield


class SharedPostgres(EmbeddedPostgres):
    """A server on which thousands of databases come and go, so that logging in must cost little."""

    _administrator: psycopg.Connection | None = None

    def start(self) -> None:
        """Start the server, and keep a connection on which databases are created and dropped."""
        super().start()
        self._administrator = psycopg.connect(self.url(driver="postgresql"), autocommit=True)
        # By default a client computes 4,096 hashes to log in.
        self._administrator.execute("SET scram_iterations = 1")
        statement = psycopg.sql.SQL("ALTER USER {} PASSWORD {}")
        values = psycopg.sql.Identifier(SUPERUSER), psycopg.sql.Literal(self.password)
        self._administrator.execute(statement.format(*values))

    def stop(self) -> None:
        """Stop the server."""
        if self._administrator is not None:
            self._administrator.close()
        super().stop()

    def _administering(self) -> AbstractContextManager[psycopg.Connection]:
        assert self._administrator is not None
        return nullcontext(self._administrator)


@pytest.fixture(scope="session")
def postgres() -> Iterator[EmbeddedPostgres]:
    """A server of this test process's own, not made to survive a power cut."""
    settings = {"fsync": "off", "full_page_writes": "off", "max_connections": "200"}
    with _own_place() as data_dir, SharedPostgres(data_dir, settings=settings) as server:
        yield server


@contextmanager
def _own_place() -> Iterator[Path]:
    """Give a data folder that no other test process uses.

    It is in memory if there is room, since half of the tests' time goes into making databases.
    """
    place = SCRATCH
    if MEMORY.is_dir() and shutil.disk_usage(MEMORY).free >= MEMORY_NEEDED:
        place = MEMORY / f"springest-tests-{os.getuid()}-{sha256(os.fsencode(SCRATCH)).hexdigest()[:8]}"
    place.mkdir(parents=True, exist_ok=True)
    for number in itertools.count():
        with (place / f"postgres-{number}.lock").open("w") as lock, suppress(BlockingIOError):
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            yield place / f"postgres-{number}"
            if place is not SCRATCH:
                shutil.rmtree(place / f"postgres-{number}", ignore_errors=True)
            return


@pytest.fixture
def database(postgres: EmbeddedPostgres) -> Iterator[str]:
    """The address of an empty database."""
    name = f"test_{secrets.token_hex(6)}"
    yield postgres.create_database(name)
    postgres.drop_database(name)


@pytest.fixture(scope="session")
def migrated(postgres: EmbeddedPostgres) -> str:
    """Name of a database with the warehouse schema, to copy from."""
    postgres.drop_database("migrated")
    engine = create_engine(postgres.create_database("migrated"))
    upgrade(engine)
    engine.dispose()
    return "migrated"


@pytest.fixture
def warehouse_url(postgres: EmbeddedPostgres, migrated: str) -> Iterator[str]:
    """The address of a database with the warehouse schema and nothing in it."""
    name = f"warehouse_{secrets.token_hex(6)}"
    yield postgres.create_database(name, template=migrated)
    postgres.drop_database(name)


@pytest.fixture
def warehouse(warehouse_url: str) -> Iterator[Engine]:
    """An engine of an empty warehouse."""
    engine = create_engine(warehouse_url)
    yield engine
    engine.dispose()


@pytest.fixture
async def async_warehouse(warehouse_url: str) -> AsyncIterator[AsyncEngine]:
    """An asynchronous engine of the same warehouse as ``warehouse``."""
    engine = create_async_engine(warehouse_url)
    yield engine
    await engine.dispose()
