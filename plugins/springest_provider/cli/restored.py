"""``springest review restored``: repair a ledger that was restored from a backup."""

from __future__ import annotations

import argparse
from dataclasses import asdict

from springest.redaction import Redactor
from springest.review import recovery as restoration
from springest_provider.cli.output import Exit, Output
from springest_provider.cli.session import Session, login, open_site
from springest_provider.factories import AttemptKeeper


def repair(options: argparse.Namespace, output: Output) -> int:
    """Show how far the ledger is behind; with ``--yes``, repair it."""
    with open_site(options, output) as session:
        by = login(options)
        kept = [options.highest, *kept_outside(session)]
        restored = restoration.look(session.engine, kept=kept)
        output.line(
            f"the ledger's highest attempt is {restored.found}; the highest ever made is {restored.highest}"
        )
        queued = ", ".join(f"{count} of site {site}" for site, count in restored.queued.items())
        if restored.is_behind:
            output.line(f"may have been sent already: {queued or 'nothing that is in the queue'}")
        if restored.is_behind and not options.yes:
            output.document(asdict(restored))
            output.error(
                "nothing was done. With --yes and --why these become unknown. So does each training that was "
                "completed before now and that the ledger does not contain, once it is staged"
            )
            return Exit.UNCONFIRMED
        repaired = restoration.repair(
            session.engine,
            kept=kept,
            by=by,
            reason=options.why or "",
            redactor=Redactor(session.site.secrets),
        )
    output.document({**asdict(restored), **asdict(repaired)})
    output.line(
        f"{repaired.deliveries} deliveries are unknown now; new attempts start above {restored.highest}"
    )
    output.line(
        "next: trigger springest_reconcile, then see `bin/springest review list --reason ledger_restored`"
    )
    return Exit.DONE


def kept_outside(session: Session) -> list[int | None]:
    """Return the highest attempts kept outside, for every site: a restore affects the whole warehouse."""
    sites = {session.site.name, "default", *restoration.sites_of(session.engine)}
    return [AttemptKeeper(site).read() for site in sorted(sites)]
