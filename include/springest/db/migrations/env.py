"""Alembic's entry: migrates the schema ``springest`` over the connection that ``migrate.py`` hands in."""

from __future__ import annotations

from alembic import context
from sqlalchemy import Connection, text

from springest.db.schema import SCHEMA, VERSION_TABLE, metadata


def _only_ours(name: str | None, kind: str, _parents: object) -> bool:
    return name == SCHEMA if kind == "schema" else True


def _migrate(connection: Connection) -> None:
    connection.execute(text(f"CREATE SCHEMA IF NOT EXISTS {SCHEMA}"))
    context.configure(
        connection=connection,
        target_metadata=metadata,
        version_table=VERSION_TABLE,
        version_table_schema=SCHEMA,
        include_schemas=True,
        include_name=_only_ours,
        compare_type=True,
        compare_server_default=True,
    )
    with context.begin_transaction():
        context.run_migrations()


_migrate(context.config.attributes["connection"])
