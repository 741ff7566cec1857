"""What is said stays true: after somebody was forgotten, and of what is shown, gone or expired by now.

Revision: 0013; follows 0012
"""

from __future__ import annotations

from include.springest.warehouse.migrations.scripts import run_script

revision = "0013"
down_revision = "0012"
branch_labels = None
depends_on = None


def upgrade() -> None:
    run_script("0013_up.sql")


def downgrade() -> None:
    run_script("0013_down.sql")
