"""A next revision of the schema, over a real PostgreSQL, while tasks of the code before it run."""

from __future__ import annotations

import threading
from pathlib import Path

import pytest
from sqlalchemy import Engine, NullPool, text

from springest.db import migrate
from springest.db.engines import warehouse_engine
from springest.db.migrate import schema_in_use, upgrade
from springest.db.roles import RoleNames, grant_roles
from springest.db.schema import metadata
from springest.errors import SchemaInUse, SchemaOutOfDate, WarehouseLocked
from tests.component.published import publish_all, verdict
from tests.factories import add_delivery
from tests.next_release import NOTE, NextRelease


@pytest.fixture
def release(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> NextRelease:
    """Code that knows one revision more."""
    return NextRelease(tmp_path, monkeypatch)


def columns(engine: Engine, table: str = "staging_run") -> set[str]:
    with engine.connect() as connection:
        found = connection.execute(text(f"SELECT * FROM springest.{table} LIMIT 0"))  # noqa: S608
        return set(found.keys())


def test_a_revision_is_written_and_applied(warehouse: Engine, release: NextRelease) -> None:
    """By the same functions as `make revision` and `make migrate`; data, views and grants stay."""
    names = grant_roles(warehouse, RoleNames.with_prefix("upgraded"))
    add_delivery(warehouse, "held")
    publish_all(warehouse)
    before = verdict(warehouse)
    release.add_columns(warehouse, "staging_run")
    written = release.revision.read_text(encoding="utf-8")
    assert "add_column('staging_run'" in written
    assert "runs_beside_tasks = False" in written
    with release.deployed():
        assert upgrade(warehouse) == "0002"
    assert NOTE in columns(warehouse)
    assert verdict(warehouse) == before
    with warehouse.begin() as connection:
        connection.execute(text(f"SET ROLE {names.reader}"))
        assert connection.execute(
            text("SELECT count(*) FROM springest.certificate_reconciliation")
        ).scalar_one()
        connection.execute(text("RESET ROLE"))
        for name, _ in names.grants():
            connection.execute(text(f"DROP OWNED BY {name}"))
            connection.execute(text(f"DROP ROLE {name}"))


def test_every_table_can_get_a_column(warehouse: Engine, release: NextRelease) -> None:
    """No view's columns move when its file is run again: PostgreSQL refuses that."""
    tables = [table.name for table in metadata.sorted_tables]
    release.add_columns(warehouse, *tables)
    with release.deployed():
        upgrade(warehouse)
    assert all(NOTE in columns(warehouse, table) for table in tables)


def test_a_migration_is_refused_while_tasks_use_the_schema(warehouse: Engine, release: NextRelease) -> None:
    """It names them and changes nothing; once they have ended, it is applied."""
    release.add_columns(warehouse, "staging_run")
    with (
        schema_in_use(warehouse),
        schema_in_use(warehouse),
        release.deployed(),
        pytest.raises(SchemaInUse, match=r"pause the DAGs.* in use by springest\.schema by pid \d+"),
    ):
        upgrade(warehouse)
    assert NOTE not in columns(warehouse)
    with release.deployed():
        assert upgrade(warehouse) == "0002"


def test_a_revision_that_tasks_can_bear_is_applied(warehouse: Engine, release: NextRelease) -> None:
    """The tasks that run go on; those that begin later with the code before it are refused."""
    release.add_columns(warehouse, "staging_run")
    release.allow_beside_tasks()
    with schema_in_use(warehouse):
        with release.deployed():
            assert upgrade(warehouse) == "0002"
        add_delivery(warehouse, "held")
        assert publish_all(warehouse).written == 1
    with (
        pytest.raises(SchemaOutOfDate, match="at 0002, this code needs 0001: deploy the code that"),
        schema_in_use(warehouse),
    ):
        pass
    with release.deployed(), schema_in_use(warehouse):
        pass


def test_new_code_before_its_migration_is_refused(warehouse: Engine, release: NextRelease) -> None:
    """Whichever comes first in a rollout, nothing runs on a schema that it does not know."""
    release.add_columns(warehouse, "staging_run")
    with (
        release.deployed(),
        pytest.raises(SchemaOutOfDate, match="at 0001, this code needs 0002: run `bin/springest migrate`"),
        schema_in_use(warehouse),
    ):
        pass


def test_a_task_that_begins_during_a_migration_waits(warehouse: Engine, release: NextRelease) -> None:
    """Then it is refused, since the schema has changed under its code."""
    release.add_columns(warehouse, "staging_run")
    came: list[Exception] = []

    def begin() -> None:
        try:
            with schema_in_use(warehouse):
                pass
        except SchemaOutOfDate as error:
            came.append(error)

    task = threading.Thread(target=begin)
    waits = (
        "\n\n_add = upgrade\n\n\ndef upgrade() -> None:\n    _add()\n    op.execute('SELECT pg_sleep(1)')\n"
    )
    release.revision.write_text(release.revision.read_text(encoding="utf-8") + waits)
    migration = threading.Thread(target=lambda: upgrade(warehouse))
    with release.deployed():
        migration.start()
        held = text("SELECT count(*) FROM pg_locks WHERE locktype = 'advisory' AND mode = 'ExclusiveLock'")
        with warehouse.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
            while connection.execute(held).scalar_one() < 2 and migration.is_alive():
                pass
    task.start()
    migration.join()
    task.join()
    assert [type(error) for error in came] == [SchemaOutOfDate]


def test_a_task_does_not_wait_for_a_hanging_migration(warehouse: Engine) -> None:
    """The error names it, and Airflow tries again."""
    engine = warehouse_engine(warehouse.url.update_query_dict({"options": "-c lock_timeout=200ms"}))
    with warehouse.begin() as migrating:
        migrating.execute(text("SELECT pg_advisory_xact_lock(hashtextextended('springest.schema', 0))"))
        with pytest.raises(WarehouseLocked, match=r"springest\.schema by pid"), schema_in_use(engine):
            pass
    engine.dispose()


def test_a_migration_never_ends_a_tasks_transaction(warehouse: Engine, release: NextRelease) -> None:
    """It locks `delivery`, then waits for the other table; the task does it the other way round."""
    release.add_columns(warehouse, "delivery", "delivery_attempt")
    release.allow_beside_tasks()
    engine = warehouse_engine(warehouse.url, poolclass=NullPool)
    revisions: list[str | None] = []
    migration = threading.Thread(target=lambda: revisions.append(upgrade(engine)))
    waits = text("SELECT count(*) FROM pg_locks WHERE NOT granted AND locktype = 'relation'")
    with release.deployed(), warehouse.begin() as task:
        task.execute(text("LOCK TABLE springest.delivery_attempt IN ROW EXCLUSIVE MODE"))
        migration.start()
        while not task.execute(waits).scalar_one() and migration.is_alive():
            pass
        task.execute(text("UPDATE springest.delivery SET reason = reason"))
        task.commit()
        migration.join()
    assert revisions == ["0002"]
    assert NOTE in columns(warehouse, "delivery_attempt")


@pytest.mark.parametrize(
    ("work", "held"),
    [
        ("LOCK TABLE springest.staging_run IN SHARE MODE", "staging_run"),
        ("SELECT count(*) FROM springest.certificate_reconciliation", r"\w+"),
    ],
)
def test_a_migration_that_finds_no_moment_says_so(
    warehouse: Engine, release: NextRelease, monkeypatch: pytest.MonkeyPatch, work: str, held: str
) -> None:
    """A session that hangs with a lock on a table or a view is named once, and nothing was changed."""
    release.add_columns(warehouse, "staging_run")
    monkeypatch.setattr(migrate, "PATIENCE_SECONDS", 0.6)
    engine = warehouse_engine(warehouse.url, poolclass=NullPool)
    with release.deployed(), warehouse.begin() as hanging:
        hanging.execute(text(work))
        pid = hanging.execute(text("SELECT pg_backend_pid()")).scalar_one()
        with pytest.raises(WarehouseLocked, match=rf"held: springest\.{held} by pid {pid} \([^;]*\)\. The"):
            upgrade(engine)
    assert NOTE not in columns(warehouse)
