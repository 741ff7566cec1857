"""A narrower index of a learner's deliveries.

Revision: 0008; follows 0007
"""

from __future__ import annotations

from include.springest.warehouse.migrations.scripts import run_script

revision = "0008"
down_revision = "0007"
branch_labels = None
depends_on = None


def upgrade() -> None:
    run_script("0008_up.sql")


def downgrade() -> None:
    run_script("0008_down.sql")
