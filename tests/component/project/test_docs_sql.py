"""The SQL that docs/operations.md shows runs as written."""

from __future__ import annotations

import re
from datetime import UTC, datetime
from pathlib import Path

from sqlalchemy import create_engine

from demo import source_database
from demo.postgres import EmbeddedPostgres
from tests.factories import make_training

PAGE = Path(__file__).parents[3] / "docs" / "operations.md"
BLOCK = re.compile(r"^```sql\n(.*?)^```", re.MULTILINE | re.DOTALL)


def test_sql_of_the_operations_page_runs(postgres: EmbeddedPostgres, migrated: str) -> None:
    """Statements about the demo's tables in a source, all others in a warehouse."""
    source = create_engine(postgres.create_database("source_of_docs"))
    warehouse = create_engine(postgres.create_database("warehouse_of_docs", template=migrated))
    source_database.create_schema(source)
    source_database.add(source, [make_training(1, training_id="T261102-0000")], now=datetime.now(UTC))
    ran = []
    for statement in BLOCK.findall(PAGE.read_text(encoding="utf-8")):
        engine = source if "completed_training" in statement else warehouse
        with engine.begin() as connection:
            ran.append(connection.exec_driver_sql(statement).rowcount)
    source.dispose()
    warehouse.dispose()
    for name in ("source_of_docs", "warehouse_of_docs"):
        postgres.drop_database(name)
    assert ran == [0, 1]  # a query of an empty ledger, and one training completed
