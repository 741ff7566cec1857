"""Room for certificates that are seen once more, an index for a run's part of the queue, and stricter views.

Revision: 0006; follows 0005
"""

from __future__ import annotations

from include.springest.warehouse.migrations.scripts import run_script

revision = "0006"
down_revision = "0005"
branch_labels = None
depends_on = None


def upgrade() -> None:
    run_script("0006_up.sql")


def downgrade() -> None:
    run_script("0006_down.sql")
