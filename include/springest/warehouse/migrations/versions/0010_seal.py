"""What each verdict was made from, so that only what changed is judged again.

Revision: 0010; follows 0009
"""

from __future__ import annotations

from include.springest.warehouse.migrations.scripts import run_script

revision = "0010"
down_revision = "0009"
branch_labels = None
depends_on = None


def upgrade() -> None:
    run_script("0010_up.sql")


def downgrade() -> None:
    run_script("0010_down.sql")
