"""``springest end-trial``: let a new warehouse send after a trial at another Springest."""

from __future__ import annotations

import argparse

from springest.review import recovery as restoration
from springest.review.trial import follow_trial, highest_of
from springest_provider import factories
from springest_provider.cli.output import Exit, Output
from springest_provider.cli.restored import kept_outside
from springest_provider.cli.session import login, open_site


def end(options: argparse.Namespace, output: Output) -> int:
    """Show the trial's highest attempt; with ``--yes``, continue its numbering in the new ledger."""
    with open_site(options, output) as session, factories.warehouse(options.trial_warehouse) as trial:
        by = login(options)
        sites = restoration.sites_of(trial)
        kept = [*kept_outside(session), *(factories.AttemptKeeper(site).read() for site in sites)]
        if not options.yes:
            output.error(
                f"nothing was done. The trial's highest attempt is {highest_of(trial)}. With --yes and --why "
                f"this warehouse may send to {session.site.host}, where the trial must not have sent anything"
            )
            return Exit.UNCONFIRMED
        highest = follow_trial(
            session.engine,
            trial,
            site=session.site,
            kept=kept,
            by=by,
            reason=options.why or "",
            redactor=session.redactor,
        )
    output.document({"site": session.site.name, "highest_attempt": highest})
    output.line(f"the trial is over: new attempts start above {highest}. Begin the site when you are ready")
    return Exit.DONE
