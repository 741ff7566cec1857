"""${message}

Revision: ${up_revision}; follows ${down_revision | comma,n}
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op
${imports if imports else ""}
revision = ${repr(up_revision)}
down_revision = ${repr(down_revision)}
branch_labels = None
depends_on = None
# True if tasks of the code before this revision can go on beside it: it only adds what they don't use.
runs_beside_tasks = False


def upgrade() -> None:
    ${upgrades if upgrades else "pass"}
