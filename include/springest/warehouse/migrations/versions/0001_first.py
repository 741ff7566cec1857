"""The ledger, the snapshots, the verdicts, and the view that analysts read.

Revision: 0001; follows nothing
"""

from __future__ import annotations

from include.springest.warehouse.migrations.scripts import run_script

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None


def upgrade() -> None:
    run_script("0001_up.sql")


def downgrade() -> None:
    run_script("0001_down.sql")
