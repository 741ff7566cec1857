"""``springest migrate``: bring the schema of the warehouse up to date."""

from __future__ import annotations

import argparse

from springest.db.engines import require_own_session, warehouse_engine
from springest.db.migrate import upgrade
from springest.db.roles import RoleNames, grant_roles
from springest_provider.cli.output import Exit, Output
from springest_provider.factories import warehouse_url


def migrate(options: argparse.Namespace, output: Output) -> int:
    """Migrate, and grant roles with ``--roles``."""
    url = warehouse_url(options.warehouse)
    require_own_session(url)
    engine = warehouse_engine(url)
    try:
        output.line(f"{options.warehouse}: schema springest is at revision {upgrade(engine)}")
        if options.roles:
            names = grant_roles(engine, RoleNames.with_prefix(options.roles))
            output.line(f"granted: {names.writer}, {names.publisher}, {names.reader}")
    finally:
        engine.dispose()
    return Exit.DONE
