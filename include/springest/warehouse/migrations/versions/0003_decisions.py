"""What people decide, and what is known once a ledger came back from a backup.

Revision: 0003; follows 0002
"""

from __future__ import annotations

from include.springest.warehouse.migrations.scripts import run_script

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None


def upgrade() -> None:
    run_script("0003_up.sql")


def downgrade() -> None:
    run_script("0003_down.sql")
