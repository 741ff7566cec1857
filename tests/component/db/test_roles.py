"""Group roles, over a real PostgreSQL: each may do its own work and see nothing else."""

from __future__ import annotations

import secrets
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest
from sqlalchemy import Engine, create_engine, text
from sqlalchemy.exc import DBAPIError, ProgrammingError

from springest.db.migrate import upgrade
from springest.db.roles import READER, RoleNames, grant_roles
from springest.errors import RolesNotAllowed
from tests.factories import add_attempt, add_decision, add_delivery


@pytest.fixture
def names(warehouse: Engine) -> Iterator[RoleNames]:
    """Names of roles that no other test uses: roles belong to the whole server."""
    names = RoleNames.with_prefix(f"t{secrets.token_hex(6)}")
    yield names
    with warehouse.begin() as connection:
        for name, _ in names.grants():
            there = connection.execute(text("SELECT to_regrole(:name)"), {"name": name}).scalar_one()
            if there is not None:
                connection.execute(text(f"DROP OWNED BY {name}"))
                connection.execute(text(f"DROP ROLE {name}"))


def relations(engine: Engine) -> set[str]:
    with engine.connect() as connection:
        found = connection.execute(
            text(
                "SELECT relname FROM pg_class"
                " WHERE relnamespace = to_regnamespace('springest') AND relkind IN ('r', 'v')"
            )
        )
        return set(found.scalars())


def readable(engine: Engine, role: str) -> set[str]:
    found = set()
    for name in relations(engine):
        with engine.connect() as connection:
            connection.execute(text(f"SET ROLE {role}"))
            try:
                connection.execute(text(f"SELECT * FROM springest.{name} LIMIT 1"))  # noqa: S608
                found.add(name)
            except ProgrammingError as error:
                assert "permission denied" in str(error)  # noqa: PT017
    return found


def test_a_reader_can_read_only_what_is_for_analysts(warehouse: Engine, names: RoleNames) -> None:
    """This is tried on every table and view, so a new one is closed until somebody grants it."""
    grant_roles(warehouse, names)
    assert readable(warehouse, names.reader) == READER.keys() & relations(warehouse)
    for name in READER.keys() & relations(warehouse):
        with warehouse.connect() as connection:
            connection.execute(text(f"SET ROLE {names.reader}"))
            with pytest.raises(DBAPIError, match=r"permission denied|cannot delete"):
                connection.execute(text(f"DELETE FROM springest.{name}"))  # noqa: S608


def test_a_publisher_reads_whatever_readers_do(warehouse: Engine, names: RoleNames) -> None:
    """Airflow's page and copies show what analysts read, with Airflow's own login."""
    grant_roles(warehouse, names)
    assert readable(warehouse, names.reader) <= readable(warehouse, names.publisher)


def test_every_table_and_view_is_somebodys(warehouse: Engine, names: RoleNames) -> None:
    """A new table needs an explicit list of roles that may use it."""
    granted = {relation for _, rights in names.grants() for relation in rights}
    assert relations(warehouse) <= granted


def test_granting_again_revokes_additional_rights(warehouse: Engine, names: RoleNames) -> None:
    """Granting again revokes rights that somebody added by hand."""
    grant_roles(warehouse, names)
    with warehouse.begin() as connection:
        connection.execute(text(f"GRANT SELECT ON springest.delivery TO {names.reader}"))
    grant_roles(warehouse, names)
    assert "delivery" not in readable(warehouse, names.reader)


def test_databases_of_one_server_may_be_granted_at_once(
    warehouse: Engine, database: str, names: RoleNames
) -> None:
    """Roles belong to the server: two deployments create the same ones."""
    second = create_engine(database)
    upgrade(second)
    with ThreadPoolExecutor(4) as pool:
        assert list(pool.map(lambda engine: grant_roles(engine, names), [warehouse, second])) == [names] * 2
    with second.begin() as connection:
        for name, _ in names.grants():
            connection.execute(text(f"DROP OWNED BY {name}"))
    second.dispose()


def test_without_createrole_the_statements_are_printed(warehouse: Engine, names: RoleNames) -> None:
    """Without the right to create roles, the command prints statements that an administrator can run as they
    are.
    """
    plain = f"{names.reader}_plain"
    with warehouse.begin() as connection:
        connection.execute(text(f"CREATE ROLE {plain} LOGIN PASSWORD 'plain'"))
    engine = create_engine(warehouse.url.set(username=plain, password="plain"))
    try:
        with pytest.raises(RolesNotAllowed, match="let an administrator run") as refused:
            grant_roles(engine, names)
        with warehouse.connect() as connection:
            raw = connection.connection.driver_connection
            assert raw is not None
            raw.execute(str(refused.value).partition("run:\n")[2])
            raw.commit()
        assert "certificate_reconciliation" in readable(warehouse, names.reader)
    finally:
        engine.dispose()
        with warehouse.begin() as connection:
            connection.execute(text(f"DROP ROLE {plain}"))


def attempt(engine: Engine, role: str, statement: str) -> str | None:
    """Run a statement as a role and take it back; return why it was refused, if it was."""
    with engine.connect() as connection:
        connection.execute(text(f"SET ROLE {role}"))
        try:
            connection.execute(text(statement))
        except DBAPIError as error:
            return str(error.orig)
    return None


@pytest.fixture
def ledger(warehouse: Engine) -> Engine:
    """A warehouse with one delivery that may have been taken, its attempt and a decision about it."""
    key = add_delivery(warehouse, "unknown", delivery_key="k")
    add_attempt(warehouse, key, outcome=None)
    add_decision(warehouse, key, "cancel")
    return warehouse


NOBODY_BUT_THE_OWNER = [
    "UPDATE springest.delivery SET training_id = 'T2'",
    "UPDATE springest.delivery SET created_at = now()",
    "DELETE FROM springest.delivery",
    "UPDATE springest.delivery_attempt SET started_at = now()",
    "UPDATE springest.delivery_attempt SET delivery_id = 1",
    "UPDATE springest.delivery_attempt SET document_sha256 = 'other'",
    "DELETE FROM springest.delivery_attempt",
    "UPDATE springest.delivery_decision SET reason = 'another one'",
    "UPDATE springest.delivery_decision SET decided_by = 'bo'",
    "DELETE FROM springest.delivery_decision",
    "UPDATE springest.verdict_history SET version_to = now()",
    "DELETE FROM springest.verdict_history",
    "UPDATE springest.learner_secret SET verifier = 'other'",
    "INSERT INTO springest.erasure_tombstone (tombstone) VALUES ('t')",
    "DELETE FROM springest.erasure_tombstone",
    "UPDATE springest.schema_version SET version_num = 'other'",
    "CREATE TABLE springest.mine ()",
    "TRUNCATE springest.delivery CASCADE",
]
NO_PUBLISHER = [
    "UPDATE springest.delivery SET state = 'ready'",
    "UPDATE springest.delivery SET state = 'sending'",
    "UPDATE springest.delivery SET learner_ref = 'other'",
    "UPDATE springest.delivery SET certification_id = 1",
    "UPDATE springest.delivery SET document_sha256 = 'other'",
    "UPDATE springest.delivery SET sent_at = NULL",
    "UPDATE springest.delivery SET needs_review = false",
    "INSERT INTO springest.delivery"
    " (delivery_key, site, training_id, issue_no, state, row_version, staged_run_id)"
    " VALUES ('j', 'default', 'T9', 1, 'ready', 'v', 'r')",
    "INSERT INTO springest.delivery_decision SELECT * FROM springest.delivery_decision",
    "INSERT INTO springest.approved_run (site, run_id) VALUES ('default', 'r')",
    "UPDATE springest.delivery_attempt SET outcome = 'not_stored'",
    "SELECT springest.unknown_outcomes('default', NULL, true)",
]
NO_WRITER = [
    "INSERT INTO springest.verdict_history SELECT * FROM springest.verdict_history",
    "UPDATE springest.verdict SET verification_status = 'verified'",
    "UPDATE springest.remote_certificate SET learner_ref = NULL",
    "UPDATE springest.snapshot SET complete = true",
    "UPDATE springest.delivery_attempt SET worker = 'another'",
]


@pytest.mark.parametrize("statement", NOBODY_BUT_THE_OWNER)
def test_no_role_can_rewrite_evidence(ledger: Engine, names: RoleNames, statement: str) -> None:
    """No role can change or delete what is kept as evidence."""
    grant_roles(ledger, names)
    for role, _ in names.grants():
        assert "permission denied" in (attempt(ledger, role, statement) or "nothing"), role


@pytest.mark.parametrize("statement", NO_PUBLISHER)
def test_a_publisher_cannot_change_what_is_sent(ledger: Engine, names: RoleNames, statement: str) -> None:
    """The publisher can queue nothing: a delivery that is made ``ready`` again is sent again."""
    grant_roles(ledger, names)
    for role in (names.publisher, names.reader):
        assert "permission denied" in (attempt(ledger, role, statement) or "nothing"), role


@pytest.mark.parametrize("statement", NO_WRITER)
def test_a_writer_cannot_write_verdicts(ledger: Engine, names: RoleNames, statement: str) -> None:
    """The writer has no right to write verdicts."""
    grant_roles(ledger, names)
    for role in (names.writer, names.reader):
        assert "permission denied" in (attempt(ledger, role, statement) or "nothing"), role


def test_each_role_can_do_its_work(ledger: Engine, names: RoleNames) -> None:
    """Each role has the rights that its work needs."""
    grant_roles(ledger, names)
    for role, statement in (
        (names.writer, "UPDATE springest.delivery SET state = 'ready'"),
        (
            names.writer,
            "UPDATE springest.delivery_attempt SET outcome = 'outcome_unknown', finished_at = now()",
        ),
        (names.writer, "SELECT springest.unknown_outcomes('default', NULL, true)"),
        (names.writer, "SELECT springest.sent_by_run('default', 'r')"),
        (names.publisher, "UPDATE springest.delivery SET state = 'review', reason = 'missing'"),
        (names.publisher, "UPDATE springest.delivery_attempt SET worker = '', message = NULL"),
    ):
        assert attempt(ledger, role, statement) is None


def test_granting_again_takes_back_rights_of_every_kind(warehouse: Engine, names: RoleNames) -> None:
    """Columns, sequences, functions, the schema, and what everybody may do."""
    grant_roles(warehouse, names)
    rights = text(
        "SELECT 'table', relname, privilege_type, grantee::regrole::text FROM pg_class, aclexplode(relacl)"
        " WHERE relnamespace = 'springest'::regnamespace"
        " UNION ALL"
        " SELECT 'column', attrelid::regclass || '.' || attname, privilege_type, grantee::regrole::text"
        " FROM pg_attribute, aclexplode(attacl) WHERE attrelid::regclass::text LIKE 'springest.%'"
        " UNION ALL SELECT 'schema', nspname, privilege_type, grantee::regrole::text"
        " FROM pg_namespace, aclexplode(nspacl) WHERE nspname = 'springest'"
        " UNION ALL SELECT 'function', proname, privilege_type, grantee::regrole::text"
        " FROM pg_proc, aclexplode(COALESCE(proacl, acldefault('f', proowner)))"
        " WHERE pronamespace = 'springest'::regnamespace"
    )
    with warehouse.connect() as connection:
        meant = sorted(map(tuple, connection.execute(rights)))
    with warehouse.begin() as connection:
        for role in ("PUBLIC", names.reader, names.publisher):
            for right in (
                "UPDATE (state, learner_ref) ON springest.delivery",
                "SELECT (learner_ref) ON springest.delivery",
                "DELETE ON springest.delivery_decision",
                "ALL ON ALL SEQUENCES IN SCHEMA springest",
                "ALL ON ALL FUNCTIONS IN SCHEMA springest",
                "ALL ON SCHEMA springest",
            ):
                connection.execute(text(f"GRANT {right} TO {role}"))
    grant_roles(warehouse, names)
    with warehouse.connect() as connection:
        assert sorted(map(tuple, connection.execute(rights))) == meant


def test_no_view_leaks_filtered_rows_to_a_function(warehouse: Engine) -> None:
    """Without a barrier, a reader's own function may be called with rows that the view leaves out."""
    with warehouse.connect() as connection:
        open_views = connection.execute(
            text(
                "SELECT relname FROM pg_class"
                " WHERE relkind = 'v' AND relnamespace = 'springest'::regnamespace"
                " AND NOT COALESCE(reloptions @> '{security_barrier=true}', false)"
                " AND relname = ANY(:read)"
            ),
            {"read": list(READER)},
        )
        assert open_views.scalars().all() == []
