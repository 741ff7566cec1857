"""Which account each site's name stands for.

Revision: 0007; follows 0006
"""

from __future__ import annotations

from include.springest.warehouse.migrations.scripts import run_script

revision = "0007"
down_revision = "0006"
branch_labels = None
depends_on = None


def upgrade() -> None:
    run_script("0007_up.sql")


def downgrade() -> None:
    run_script("0007_down.sql")
