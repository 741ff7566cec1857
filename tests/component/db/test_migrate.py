"""Migrations, over a real PostgreSQL: they make what schema.py and the files of the views say, once."""

from __future__ import annotations

import re
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from alembic.autogenerate import compare_metadata
from alembic.runtime.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import Engine, create_engine, text
from sqlalchemy.exc import IntegrityError

from demo.revision import BASELINE, baseline
from springest.db import migrate
from springest.db.migrate import check, head_revision, replace_functions_and_views, upgrade
from springest.db.schema import SCHEMA, VERSION_TABLE, metadata
from springest.errors import SchemaOutOfDate
from springest.states import State
from springest.verification import VerificationStatus


@pytest.fixture
def empty(database: str) -> Iterator[Engine]:
    """An engine of a database in which nothing was ever migrated."""
    engine = create_engine(database)
    yield engine
    engine.dispose()


def relations(engine: Engine) -> set[str]:
    with engine.connect() as connection:
        found = connection.execute(
            text(
                "SELECT relname FROM pg_class"
                " WHERE relnamespace = to_regnamespace('springest') AND relkind <> 'i'"
            )
        )
        return set(found.scalars())


def test_the_needed_revision_is_the_one_alembic_finds() -> None:
    """A check finds it by the names of the files, without importing Alembic."""
    folder = Path(migrate.__file__).parent / "migrations"
    assert ScriptDirectory(str(folder)).get_heads() == [head_revision()]


def test_the_baseline_is_written_from_the_metadata() -> None:
    """Until the first release; from then on it never changes, and this test goes."""
    assert BASELINE.read_text(encoding="utf-8") == baseline(), "change schema.py, then run `make baseline`"


def test_the_migrations_make_exactly_the_metadata(warehouse: Engine) -> None:
    """Tables, columns, types, defaults, keys, indexes and comments, in both directions."""
    with warehouse.connect() as connection:
        context = MigrationContext.configure(
            connection,
            opts={
                "include_schemas": True,
                "include_name": lambda name, kind, _: name == SCHEMA if kind == "schema" else True,
                "version_table": VERSION_TABLE,
                "version_table_schema": SCHEMA,
                "compare_type": True,
                "compare_server_default": True,
            },
        )
        assert compare_metadata(context, metadata) == []


CHECKS = """
SELECT conrelid::regclass::text, conname, pg_get_constraintdef(oid)
FROM pg_constraint WHERE contype = 'c' AND connamespace = to_regnamespace('springest')
ORDER BY 1, 2
"""


INDEXES = """
SELECT tablename, indexname, indexdef FROM pg_indexes
WHERE schemaname = 'springest' AND tablename <> 'schema_version'
ORDER BY 1, 2
"""
STORAGE = """
SELECT relname, relpersistence, reloptions FROM pg_class
WHERE relnamespace = to_regnamespace('springest') AND relkind = 'r' AND relname <> 'schema_version'
ORDER BY 1
"""
GENERATED = """
SELECT adrelid::regclass::text, attname, pg_get_expr(adbin, adrelid)
FROM pg_attrdef JOIN pg_attribute ON (attrelid, attnum) = (adrelid, adnum)
WHERE attgenerated <> ''
ORDER BY 1, 2
"""


@pytest.mark.parametrize(("asked", "at_least"), [(CHECKS, 4), (INDEXES, 20), (STORAGE, 20), (GENERATED, 1)])
def test_things_that_alembic_ignores_agree_as_well(
    warehouse: Engine, empty: Engine, asked: str, at_least: int
) -> None:
    """Checks, what an index covers and leaves out, storage options and generated columns are those of the
    metadata.
    """
    with empty.begin() as connection:
        connection.execute(text(f"CREATE SCHEMA {SCHEMA}"))
        metadata.create_all(connection)
    with warehouse.connect() as migrated, empty.connect() as created:
        wanted = created.execute(text(asked)).all()
        assert migrated.execute(text(asked)).all() == wanted
    assert len(wanted) >= at_least


DEFINITIONS = """
SELECT 'views', relname, pg_get_viewdef(oid), obj_description(oid, 'pg_class'),
       ARRAY(SELECT (attname, col_description(attrelid, attnum))::text FROM pg_attribute
             WHERE attrelid = relation.oid ORDER BY attnum)
FROM pg_class AS relation WHERE relnamespace = to_regnamespace('springest') AND relkind = 'v'
UNION ALL
SELECT 'functions', proname, pg_get_functiondef(oid), obj_description(oid, 'pg_proc'), NULL
FROM pg_proc WHERE pronamespace = to_regnamespace('springest')
ORDER BY 1, 2
"""
CREATED = re.compile(r"^CREATE OR REPLACE (?:VIEW|FUNCTION) springest\.(\w+)", re.MULTILINE)


def test_each_view_and_function_has_one_rerunnable_file(warehouse: Engine) -> None:
    """Each view and each function is defined in one file, which can be run repeatedly."""
    folder = Path(migrate.__file__).parent
    files = [*folder.glob("views/*"), *folder.glob("functions/*")]
    with warehouse.begin() as connection:
        before = connection.execute(text(DEFINITIONS)).all()
        replace_functions_and_views(connection)
        assert connection.execute(text(DEFINITIONS)).all() == before
    found = [(kind, name) for kind, name, *_ in before]
    assert found == sorted((file.parent.name, file.stem) for file in files)
    for file in files:
        assert CREATED.findall(file.read_text(encoding="utf-8")) == [file.stem]


def test_every_table_view_function_and_column_has_a_comment(warehouse: Engine) -> None:
    """Every table, view, function and column has a comment."""
    with warehouse.connect() as connection:
        silent = connection.execute(
            text(
                "SELECT relation.relname, attribute.attname FROM pg_class AS relation"
                " JOIN pg_attribute AS attribute"
                "   ON attribute.attrelid = relation.oid AND attribute.attnum >= 0 AND NOT attisdropped"
                " WHERE relation.relnamespace = to_regnamespace('springest')"
                " AND relation.relkind IN ('r', 'v') AND relation.relname <> :version_table"
                " AND (col_description(relation.oid, attribute.attnum) IS NULL"
                "      OR obj_description(relation.oid) IS NULL)"
            ),
            {"version_table": VERSION_TABLE},
        ).all()
        definitions = connection.execute(text(DEFINITIONS)).all()
    assert silent == []
    assert all(comment for _, _, _, comment, _ in definitions)
    assert all(table.comment for table in metadata.tables.values())
    assert all(column.comment for table in metadata.tables.values() for column in table.columns)


def test_no_table_can_hold_an_email_or_a_document_name() -> None:
    """No table has a column for an e-mail address or the name of a document."""
    columns = {column.name for table in metadata.tables.values() for column in table.columns}
    assert not columns & {"email", "address", "learner", "name_of_learner", "certificate_uri", "filename"}


def test_the_schema_check_refuses_an_empty_warehouse(empty: Engine) -> None:
    """The error names the command to run."""
    with pytest.raises(SchemaOutOfDate, match=r"at nothing, this code needs .*springest migrate"):
        check(empty)
    assert relations(empty) == set()


def test_the_schema_check_accepts_only_the_current_revision(empty: Engine) -> None:
    """The check passes after an upgrade and refuses an older or a newer schema."""
    assert upgrade(empty) == head_revision()
    check(empty)
    with empty.begin() as connection:
        connection.execute(text(f"UPDATE {SCHEMA}.{VERSION_TABLE} SET version_num = '9999'"))  # noqa: S608
    with pytest.raises(SchemaOutOfDate, match="9999"):
        check(empty)


def test_upgrading_again_changes_nothing(empty: Engine) -> None:
    """A second upgrade changes nothing."""
    upgrade(empty)
    before = relations(empty)
    with empty.begin() as connection:
        connection.execute(
            text(
                f"INSERT INTO {SCHEMA}.learner_secret (salt, verifier, address_rule)"  # noqa: S608
                " VALUES ('salt', 'verifier', 1)"
            )
        )
    assert upgrade(empty) == head_revision()
    assert relations(empty) == before
    with empty.connect() as connection:
        kept = connection.execute(text(f"SELECT count(*) FROM {SCHEMA}.learner_secret"))  # noqa: S608
        assert kept.scalar_one() == 1


def test_a_warehouse_of_a_newer_revision_is_left_alone(empty: Engine) -> None:
    """An upgrade refuses a warehouse that newer code has migrated."""
    upgrade(empty)
    with empty.begin() as connection:
        connection.execute(text(f"UPDATE {SCHEMA}.{VERSION_TABLE} SET version_num = '9999'"))  # noqa: S608
    with pytest.raises(SchemaOutOfDate, match="at 9999, which this code does not know: deploy newer code"):
        upgrade(empty)


def test_concurrent_deployments_migrate_once(empty: Engine, database: str) -> None:
    """Of concurrent upgrades, one migrates and the others wait."""
    engines = [create_engine(database) for _ in range(4)]
    with ThreadPoolExecutor(len(engines)) as pool:
        assert set(pool.map(upgrade, engines)) == {head_revision()}
    for engine in engines:
        engine.dispose()
    check(empty)


def test_a_warehouse_that_is_not_postgresql_is_refused(tmp_path: Path) -> None:
    """Other databases than PostgreSQL are refused as a warehouse."""
    engine = create_engine(f"sqlite:///{tmp_path}/warehouse.db")
    with pytest.raises(SchemaOutOfDate, match="must be PostgreSQL 15 or newer, this is sqlite"):
        upgrade(engine)
    engine.dispose()


def test_an_older_postgresql_is_refused(empty: Engine) -> None:
    """PostgreSQL before version 15 is refused."""
    with empty.connect():
        empty.dialect.server_version_info = (14, 22)
    with pytest.raises(SchemaOutOfDate, match=r"this is postgresql 14\.22"):
        upgrade(empty)


def test_the_migrations_leave_airflows_own_version_table_alone(empty: Engine) -> None:
    """The warehouse may be a schema in a database that has one."""
    with empty.begin() as connection:
        connection.execute(text("CREATE TABLE alembic_version (version_num text)"))
        connection.execute(text("INSERT INTO alembic_version VALUES ('airflow')"))
    upgrade(empty)
    with empty.connect() as connection:
        assert connection.execute(text("SELECT version_num FROM alembic_version")).scalar_one() == "airflow"


INSERT = (
    "INSERT INTO springest.delivery (delivery_key, site, training_id, issue_no, state, row_version,"
    " staged_run_id, lease_owner) VALUES ('k', 's', 't', 1, :state, 'v', 'r', :owner)"
)


@pytest.mark.parametrize(
    ("state", "owner"), [("sent", None), ("sending", None), ("ready", "worker"), ("accepted", None)]
)
def test_constraints_refuse_an_impossible_delivery(warehouse: Engine, state: str, owner: str | None) -> None:
    """The table's constraints refuse deliveries that no code should write."""
    with pytest.raises(IntegrityError, match="violates check constraint"), warehouse.begin() as connection:
        connection.execute(text(INSERT), {"state": state, "owner": owner})


def test_a_certificate_has_one_row_in_the_ledger(warehouse: Engine) -> None:
    """A delivery key is unique."""
    with warehouse.begin() as connection:
        connection.execute(text(INSERT), {"state": "ready", "owner": None})
    with pytest.raises(IntegrityError, match="unique"), warehouse.begin() as connection:
        connection.execute(text(INSERT), {"state": "held", "owner": None})


def test_statuses_and_methods_are_those_of_the_design() -> None:
    """The verification statuses and match methods are those that analysts were promised."""
    assert {status.value for status in VerificationStatus} == {
        "not_sent",
        "held",
        "invalid",
        "rejected",
        "awaiting_verification",
        "verified",
        "inferred",
        "expired",
        "unknown",
        "ambiguous",
        "missing",
        "vanished",
        "withdrawn",
        "cancelled",
    }
    assert len(State) == 13
