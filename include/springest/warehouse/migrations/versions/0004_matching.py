"""What matching without proof needs: matches, what was sent, scopes of snapshots, filters of the list.

Revision: 0004; follows 0003
"""

from __future__ import annotations

from include.springest.warehouse.migrations.scripts import run_script

revision = "0004"
down_revision = "0003"
branch_labels = None
depends_on = None


def upgrade() -> None:
    run_script("0004_up.sql")


def downgrade() -> None:
    run_script("0004_down.sql")
