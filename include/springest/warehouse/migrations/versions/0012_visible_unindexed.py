"""What becomes visible touches no index.

Revision: 0012; follows 0011
"""

from __future__ import annotations

from include.springest.warehouse.migrations.scripts import run_script

revision = "0012"
down_revision = "0011"
branch_labels = None
depends_on = None


def upgrade() -> None:
    run_script("0012_up.sql")


def downgrade() -> None:
    run_script("0012_down.sql")
