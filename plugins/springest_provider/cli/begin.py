"""``springest begin``: begin a site, so that its trainings are sent from a given moment on."""

from __future__ import annotations

import argparse
from datetime import UTC, datetime

from springest.source.window import Window
from springest.staging.window import begin_site, require_not_begun
from springest_provider.cli.output import Exit, Output
from springest_provider.cli.session import open_site
from springest_provider.sites import load_sites


def begin(options: argparse.Namespace, output: Output) -> int:
    """Show the number of trainings that the first night would stage; with ``--yes``, begin the site."""
    dag_id = load_sites().find(options.site).named("springest_deliver")
    with open_site(options, output) as session:
        site, start = session.site.name, options.begin_from
        with session.engine.connect() as connection:
            require_not_begun(connection, site)
        rows = session.count(Window(start, max(start, datetime.now(UTC))))
        summary = {"site": site, "begin_from": start, "completed_trainings": rows, "begun": options.yes}
        output.line(f"{rows} completed trainings have changed in the source since {start.isoformat()}")
        if options.yes:
            with session.engine.begin() as connection:
                begin_site(connection, site=site, begin_from=start)
            output.line(f"site {site} has begun: the next run of {dag_id} stages and sends them")
    output.document(summary)
    if not options.yes:
        output.error(f"nothing was done. With --yes the next run of {dag_id} stages and sends them")
        return Exit.UNCONFIRMED
    return Exit.DONE
