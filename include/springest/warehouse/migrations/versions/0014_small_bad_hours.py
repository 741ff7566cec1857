"""One bad hour stays small for all runs together: what was weighed, and what is in doubt, by site.

Revision: 0014; follows 0013
"""

from __future__ import annotations

from include.springest.warehouse.migrations.scripts import run_script

revision = "0014"
down_revision = "0013"
branch_labels = None
depends_on = None


def upgrade() -> None:
    run_script("0014_up.sql")


def downgrade() -> None:
    run_script("0014_down.sql")
