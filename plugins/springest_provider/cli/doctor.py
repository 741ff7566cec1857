"""``springest doctor``: check an installation."""

from __future__ import annotations

import argparse
from collections import Counter
from contextlib import closing
from dataclasses import asdict

from springest.errors import SpringestError
from springest_provider import factories
from springest_provider.cli.output import Exit, Output
from springest_provider.cli.session import Sources
from springest_provider.doctor.checkup import Status, run_checks
from springest_provider.doctor.connections import connection_checks
from springest_provider.doctor.installation import Installation
from springest_provider.doctor.scheduling import scheduling_checks
from springest_provider.sites import load_sites


def doctor(options: argparse.Namespace, output: Output) -> int:
    """Run every check and show what it found; nothing is changed or sent."""
    listed = load_sites()
    settings = listed.find(options.site)
    _hide_keys(settings.connection, output)
    installed = Installation(settings.connection, options.warehouse, Sources.of(settings, options))
    checks = (*connection_checks(installed), *scheduling_checks(listed, settings, options.warehouse))
    results = []
    with closing(installed):
        for checked in run_checks(checks):
            results.append(checked)
            output.line(f"{checked.status.upper():<8} {checked.name}: {checked.detail}")
    counts = Counter(result.status for result in results)
    problems = counts[Status.PROBLEM]
    output.document({"ok": not problems, "checks": [asdict(result) for result in results]})
    output.line(
        ", ".join(f"{counts[status]} {status}" for status in Status if counts[status])
        + ("" if problems else ": nothing prevents a delivery")
    )
    return Exit.FAILED if problems else Exit.DONE


def _hide_keys(conn_id: str, output: Output) -> None:
    try:
        output.hide(factories.read_site(conn_id).secrets)
    except SpringestError:
        return  # the first check says so
