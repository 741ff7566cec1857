"""Versions that ended in a table of their own, and the history as a view of them and of what is said now.

Revision: 0009; follows 0008
"""

from __future__ import annotations

from include.springest.warehouse.migrations.scripts import run_script

revision = "0009"
down_revision = "0008"
branch_labels = None
depends_on = None


def upgrade() -> None:
    run_script("0009_up.sql")


def downgrade() -> None:
    run_script("0009_down.sql")
