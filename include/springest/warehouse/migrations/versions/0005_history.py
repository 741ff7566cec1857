"""The history of verdicts, what is about to be published, the views for analysts, and who was forgotten.

Revision: 0005; follows 0004
"""

from __future__ import annotations

from include.springest.warehouse.migrations.scripts import run_script

revision = "0005"
down_revision = "0004"
branch_labels = None
depends_on = None


def upgrade() -> None:
    run_script("0005_up.sql")


def downgrade() -> None:
    run_script("0005_down.sql")
