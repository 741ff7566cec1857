"""``make migrate``: bring the schema of the connection ``certificate_warehouse`` up to date."""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence

# Connections made in the UI are seen only from Airflow's server context.
os.environ.setdefault("_AIRFLOW_PROCESS_CONTEXT", "server")


def main(arguments: Sequence[str]) -> int:
    """
    Migrate.

    :param arguments: the connection's id, if it is another.
    """
    from sqlalchemy import create_engine

    from include.springest.errors import SpringestError
    from include.springest.warehouse.migrate import upgrade
    from springest_provider.parts import warehouse_url

    conn_id = arguments[0] if arguments else "certificate_warehouse"
    try:
        engine = create_engine(warehouse_url(conn_id), hide_parameters=True)
        sys.stdout.write(f"{conn_id}: schema springest is at revision {upgrade(engine)}\n")
    except SpringestError as error:
        sys.stderr.write(f"{error}\n")
        return 1
    return 0


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
