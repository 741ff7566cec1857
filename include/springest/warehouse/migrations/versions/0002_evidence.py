"""Since when a certification is listed, and what proved a match.

Revision: 0002; follows 0001
"""

from __future__ import annotations

from include.springest.warehouse.migrations.scripts import run_script

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None


def upgrade() -> None:
    run_script("0002_up.sql")


def downgrade() -> None:
    run_script("0002_down.sql")
