"""Group roles, over a real PostgreSQL: each may do its own work and see nothing else."""

from __future__ import annotations

import secrets
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest
from sqlalchemy import Engine, create_engine, text
from sqlalchemy.exc import DBAPIError, ProgrammingError

from include.springest.warehouse.migrate import upgrade
from include.springest.warehouse.roles import READER, RoleNames, RolesNotAllowed, grant_roles


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


def test_a_reader_sees_what_is_for_analysts_and_nothing_of_the_ledger(
    warehouse: Engine, names: RoleNames
) -> None:
    """Tried on every table and view there is, so that a new one is closed until somebody opens it."""
    grant_roles(warehouse, names)
    assert readable(warehouse, names.reader) == READER.keys() & relations(warehouse)
    for name in READER.keys() & relations(warehouse):
        with warehouse.connect() as connection:
            connection.execute(text(f"SET ROLE {names.reader}"))
            with pytest.raises(DBAPIError, match=r"permission denied|cannot delete"):
                connection.execute(text(f"DELETE FROM springest.{name}"))  # noqa: S608


def test_every_table_and_view_is_somebodys(warehouse: Engine, names: RoleNames) -> None:
    """Whoever adds a table says who may use it."""
    granted = {relation for _, rights in names.grants() for relation in rights}
    assert relations(warehouse) <= granted


def test_granting_again_takes_back_what_somebody_added(warehouse: Engine, names: RoleNames) -> None:
    grant_roles(warehouse, names)
    with warehouse.begin() as connection:
        connection.execute(text(f"GRANT SELECT ON springest.delivery TO {names.reader}"))
    grant_roles(warehouse, names)
    assert "delivery" not in readable(warehouse, names.reader)


def test_databases_of_one_server_may_be_granted_at_once(
    warehouse: Engine, database: str, names: RoleNames
) -> None:
    """Roles belong to the server: two deployments create the same ones."""
    other = create_engine(database)
    upgrade(other)
    with ThreadPoolExecutor(4) as pool:
        assert list(pool.map(lambda engine: grant_roles(engine, names), [warehouse, other])) == [names] * 2
    with other.begin() as connection:
        for name, _ in names.grants():
            connection.execute(text(f"DROP OWNED BY {name}"))
    other.dispose()


def test_a_role_that_may_not_create_roles_gets_the_statements_for_an_administrator(
    warehouse: Engine, names: RoleNames
) -> None:
    """What it says is what an administrator can run as it stands."""
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
