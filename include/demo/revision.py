"""``make baseline`` and ``make revision``: write migrations of the warehouse from its ``schema.py``."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterator, Sequence
from typing import Final

from alembic import command
from sqlalchemy import Engine, Table, create_engine
from sqlalchemy.schema import CreateIndex, CreateTable, DDLElement, SetColumnComment, SetTableComment

from demo.airflow_home import PROJECT
from demo.fresh_warehouse import fresh_warehouse
from springest.db.migrate import alembic_config, head_revision
from springest.db.schema import metadata

BASELINE: Final = PROJECT / "include/springest/db/migrations/sql/0001_tables.sql"


def baseline() -> str:
    """Return the statements that create all tables of ``schema.py``, with their indexes and comments."""
    # Named parameters, so that percent signs are not doubled.
    dialect = create_engine("postgresql+psycopg://", paramstyle="named").dialect
    written = ["-- Written from schema.py by `make baseline`; change it there."]
    for table in metadata.sorted_tables:
        written.append("")
        for statement in _creating(table):
            lines = str(statement.compile(dialect=dialect)).strip().replace("\t", "    ").splitlines()
            written.append("\n".join(line.rstrip() for line in lines) + ";")
    return "\n".join(written) + "\n"


def _creating(table: Table) -> Iterator[DDLElement]:
    yield CreateTable(table)
    yield from (CreateIndex(index) for index in sorted(table.indexes, key=lambda index: str(index.name)))
    yield SetTableComment(table)
    yield from (SetColumnComment(column) for column in table.columns)


def write_revision(message: str, engine: Engine) -> None:
    """Write a revision for the differences between the migrations and ``schema.py``; review and test it.

    :param engine: a warehouse that all migrations so far have made.
    """
    number = f"{int(head_revision() or 0) + 1:04d}"
    with engine.begin() as connection:
        command.revision(alembic_config(connection), message, autogenerate=True, rev_id=number)


def main(arguments: Sequence[str]) -> int:
    """Rewrite the baseline, or write the next revision if a message is given."""
    parser = argparse.ArgumentParser(prog="python -m demo.revision", description=__doc__)
    parser.add_argument("message", nargs="?", help="what the next revision does; without it: the baseline")
    message = parser.parse_args(arguments).message
    if message:
        with fresh_warehouse() as engine:
            write_revision(message, engine)
    else:
        BASELINE.write_text(baseline(), encoding="utf-8")
        print(f"wrote {BASELINE.relative_to(PROJECT)}")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
