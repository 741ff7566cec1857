"""``make migrate``: bring the schema of the connection ``certificate_warehouse`` up to date."""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Sequence

# Connections made in the UI are seen only from Airflow's server context.
os.environ.setdefault("_AIRFLOW_PROCESS_CONTEXT", "server")


def main(arguments: Sequence[str]) -> int:
    """
    Migrate, and grant if that is asked for.

    :returns: 0 when it is done.
    """
    parser = argparse.ArgumentParser(prog="python -m springest_provider.migrate", description=__doc__)
    parser.add_argument(
        "conn_id", nargs="?", default="certificate_warehouse", help="connection of the warehouse"
    )
    parser.add_argument(
        "--roles",
        nargs="?",
        const="springest",
        metavar="PREFIX",
        help="create PREFIX_writer, PREFIX_publisher and PREFIX_reader, and grant each what is its own",
    )
    options = parser.parse_args(arguments)

    from sqlalchemy import create_engine

    from include.springest.errors import SpringestError
    from include.springest.warehouse.migrate import upgrade
    from include.springest.warehouse.roles import RoleNames, grant_roles
    from springest_provider.parts import warehouse_url

    try:
        engine = create_engine(warehouse_url(options.conn_id), hide_parameters=True)
        sys.stdout.write(f"{options.conn_id}: schema springest is at revision {upgrade(engine)}\n")
        if options.roles:
            names = grant_roles(engine, RoleNames.with_prefix(options.roles))
            sys.stdout.write(f"granted: {names.writer}, {names.publisher}, {names.reader}\n")
    except SpringestError as error:
        sys.stderr.write(f"{error}\n")
        return 1
    return 0


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
