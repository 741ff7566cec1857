"""Room for certificates that are seen once more.

Revision: 0011; follows 0010
"""

from __future__ import annotations

from include.springest.warehouse.migrations.scripts import run_script

revision = "0011"
down_revision = "0010"
branch_labels = None
depends_on = None


def upgrade() -> None:
    run_script("0011_up.sql")


def downgrade() -> None:
    run_script("0011_down.sql")
