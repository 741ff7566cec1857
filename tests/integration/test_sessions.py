"""Sessions have the project's settings, regardless of the defaults of server, database and role."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from datetime import UTC, date, datetime

import psycopg
import pytest
from sqlalchemy import create_engine, make_url, text
from sqlalchemy.exc import SQLAlchemyError

from demo.world import postgres_connection
from springest.db.engines import async_warehouse_engine
from springest.errors import WarehouseLocked
from springest.rate_limit.limiter import RateLimiter
from springest.staging import repository as ledger
from springest_provider import factories
from tests.integration.conftest import wait_until

SETTINGS = (
    "default_transaction_isolation",
    "transaction_isolation",
    "TimeZone",
    "DateStyle",
    "IntervalStyle",
    "client_encoding",
    "synchronous_commit",
    "lock_timeout",
    "statement_timeout",
    "application_name",
)
EXPECTED = ("read committed",) * 2 + ("UTC", "ISO", "postgres", "UTF8", "on", "2min", "1h", "springest")
UNUSUAL = {
    "default_transaction_isolation": "serializable",
    "TimeZone": "Asia/Kathmandu",
    "DateStyle": "German, DMY",
    "IntervalStyle": "sql_standard",
    "client_encoding": "LATIN1",
    "synchronous_commit": "off",
    "lock_timeout": "3h",
    "statement_timeout": "3h",
}


def connection(url: str, **extra: str) -> str:
    return json.dumps({**postgres_connection(url), "extra": extra})


@pytest.fixture
def set_defaults(warehouse_url: str) -> Callable[..., None]:
    """Set what the warehouse's database gives to each session."""

    def set_them(**settings: str) -> None:
        address = make_url(warehouse_url)
        with psycopg.connect(warehouse_url.replace("+psycopg", ""), autocommit=True) as admin:
            for name, value in settings.items():
                admin.execute(f"ALTER DATABASE \"{address.database}\" SET {name} = '{value}'")

    return set_them


@pytest.fixture
def open_warehouse(warehouse_url: str, monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[..., object]]:
    """Open the warehouse as tasks do, with the extras of its connection."""
    with ExitStack() as stack:

        def open_it(**extra: str) -> object:
            monkeypatch.setenv("AIRFLOW_CONN_CERTIFICATE_WAREHOUSE", connection(warehouse_url, **extra))
            return stack.enter_context(factories.warehouse("certificate_warehouse"))

        yield open_it


def shown(session) -> tuple[str, ...]:
    return tuple(
        session.execute(text(f"SHOW {name}")).scalar_one().split(", MDY")[0].split(", DMY")[0]
        for name in SETTINGS
    )


def test_warehouse_sessions_have_the_projects_settings(open_warehouse, set_defaults):
    """Sessions of the warehouse have the project's settings."""
    set_defaults(**UNUSUAL)
    with open_warehouse().connect() as session:
        assert shown(session) == EXPECTED
    with open_warehouse().connect().execution_options(isolation_level="AUTOCOMMIT") as session:
        assert shown(session) == EXPECTED


async def test_asynchronous_warehouse_sessions_have_them_too(warehouse_url, set_defaults):
    """Asynchronous sessions have the same settings."""
    set_defaults(**UNUSUAL)
    engine = async_warehouse_engine(warehouse_url)
    async with engine.connect() as session:
        assert await session.run_sync(shown) == EXPECTED
    async with engine.execution_options(isolation_level="AUTOCOMMIT").connect() as session:
        assert await session.run_sync(shown) == EXPECTED
    await engine.dispose()


def test_timeouts_and_the_name_of_sessions_can_be_chosen(open_warehouse):
    """A connection may set its own timeouts and application name."""
    engine = open_warehouse(
        options="-c lock_timeout=5s --statement-timeout=90min -c work_mem=5MB", application_name="nightly"
    )
    with engine.connect() as session:
        chosen = shown(session)[-3:]
        assert (*chosen, session.execute(text("SHOW work_mem")).scalar_one()) == (
            "5s", "90min", "nightly", "5MB",
        )  # fmt: skip


def test_a_stricter_commit_stays(open_warehouse, set_defaults):
    """A stricter `synchronous_commit` of the server is kept."""
    set_defaults(synchronous_commit="remote_apply")
    with open_warehouse().connect() as session:
        assert session.execute(text("SHOW synchronous_commit")).scalar_one() == "remote_apply"


def test_a_warehouse_without_utf8_is_refused(postgres, monkeypatch):
    """A database that cannot store every name is refused."""
    with psycopg.connect(postgres.url(driver="postgresql"), autocommit=True) as admin:
        admin.execute("DROP DATABASE IF EXISTS latin")
        admin.execute(
            "CREATE DATABASE latin ENCODING 'LATIN1' TEMPLATE template0 LC_COLLATE 'C' LC_CTYPE 'C'"
        )
    url = make_url(postgres.url()).set(database="latin").render_as_string(hide_password=False)
    monkeypatch.setenv("AIRFLOW_CONN_CERTIFICATE_WAREHOUSE", connection(url))
    with pytest.raises(Exception, match="ENCODING 'UTF8'"), factories.warehouse("certificate_warehouse"):
        pass
    postgres.drop_database("latin")


@pytest.mark.parametrize("isolation", ["read committed", "repeatable read", "serializable"])
def test_of_twins_that_are_staged_at_once_one_is_sent(
    make_world, open_warehouse, set_defaults, warehouse, tmp_path, isolation
):
    """The second waits for the first one's lock, and must see what the first one wrote."""
    set_defaults(default_transaction_isolation=isolation)
    worlds = []
    for number in (1, 2):
        source = create_engine(f"sqlite:///{tmp_path}/source{number}.db")
        world = make_world(source=source, has_begun=number == 1)
        worlds.append(world)
    first, second = worlds
    second.sandbox = first.sandbox
    twin = first.training(training_id="one", completed_at=datetime(2026, 11, 2, 9, tzinfo=UTC))
    first.complete(twin)
    second.complete(second.training(training_id="two", learner=twin.learner, valid_from=date(2026, 11, 2)))
    first.catalogue()
    threads = []
    with warehouse.begin() as holding:
        ledger.lock_staging(holding, "default")
        for number, world in enumerate(worlds):
            world.warehouse = open_warehouse()
            threads.append(threading.Thread(target=world.stage, args=(f"night {number}",)))
            threads[-1].start()
        wait_until(
            lambda: len(first.rows("SELECT 1 FROM pg_locks WHERE NOT granted AND locktype = 'advisory'")) == 2
        )
    for thread in threads:
        thread.join(timeout=60)
    assert sorted(first.states().values()) == [("ready", None), ("review", "duplicate")]


def test_staging_names_the_holder_of_its_lock(world, open_warehouse, warehouse_url):
    """It does not wait for ever."""
    world.complete(world.training())
    world.catalogue()
    world.stage("first")
    world.warehouse = open_warehouse(options="-c lock_timeout=100")
    reader = create_engine(warehouse_url, connect_args={"application_name": "an analyst's tool"})
    with reader.begin() as holding:
        ledger.lock_staging(holding, "default")
        with pytest.raises(WarehouseLocked) as caught:
            world.stage("second")
    assert "springest.stage:default by pid" in str(caught.value)
    assert "an analyst's tool" in str(caught.value)
    reader.dispose()
    world.stage("third")


async def test_asynchronous_statements_name_the_holder_of_a_lock(warehouse_url):
    """The error of an asynchronous statement names the holder as well."""
    engine = async_warehouse_engine(
        make_url(warehouse_url).update_query_dict({"options": "-c lock_timeout=100"})
    )
    limiter = RateLimiter(engine, host="h", key_fingerprint="f", requests_per_hour=1000)
    assert await limiter.acquire() is not None
    with psycopg.connect(warehouse_url.replace("+psycopg", ""), application_name="psql") as holding:
        holding.execute("LOCK TABLE springest.rate_limit IN ACCESS EXCLUSIVE MODE")
        for wait in (limiter.ask, lambda: limiter.freeze(1.0)):
            with pytest.raises(WarehouseLocked, match=r"springest\.rate_limit by pid .*psql"):
                await wait()
    await limiter.freeze(1.0)
    await engine.dispose()


def test_a_lock_of_an_unknown_holder_is_still_reported(open_warehouse, warehouse_url):
    """A lock is reported even if its holder cannot be found."""
    engine = open_warehouse(options="-c lock_timeout=100")
    with (
        psycopg.connect(warehouse_url.replace("+psycopg", "")) as holding,
        engine.connect() as waiting,
    ):
        holding.execute("ALTER TABLE springest.site_identity ADD COLUMN under_way int")
        with pytest.raises(WarehouseLocked, match="held: by nobody any more"):
            waiting.execute(text("SELECT * FROM springest.site_identity"))


def test_other_errors_stay_what_they_are(open_warehouse):
    """Errors that are not about locks are not changed."""
    with open_warehouse().connect() as session, pytest.raises(SQLAlchemyError):
        session.execute(text("SELECT 1 / 0"))
