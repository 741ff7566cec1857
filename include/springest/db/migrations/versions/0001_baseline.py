"""Every table of the first release.

Revision: 0001; follows nothing
"""

from __future__ import annotations

from pathlib import Path

from alembic import op

from springest.db.statements import run_file

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None


def upgrade() -> None:
    run_file(op.get_bind(), Path(__file__).parents[1] / "sql" / "0001_tables.sql")
