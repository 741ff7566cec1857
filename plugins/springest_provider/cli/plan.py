"""``springest plan``: a dry run."""

from __future__ import annotations

import argparse
import uuid
from dataclasses import asdict

from springest.delivery.plan import Plan, Selection
from springest.delivery.plan_words import in_words
from springest.delivery.run import DeliverySettings
from springest.source.window import Window
from springest_provider.cli.output import Exit, Output
from springest_provider.cli.session import open_site
from springest_provider.dry_run import make_plan
from springest_provider.run_context import seconds_to_deliver_until
from springest_provider.site_settings import SiteSettings
from springest_provider.sites import load_sites


def plan(options: argparse.Namespace, output: Output) -> int:
    """Say what the next run would do; nothing is sent or changed."""
    unclear = _unclear(options)
    if unclear:
        output.error(unclear)
        return Exit.USAGE
    settings = load_sites().find(options.site)
    until, zone = (options.until, "UTC") if options.until else (settings.deliver_until, settings.time_zone)
    with open_site(options, output) as session:
        planned = make_plan(
            session.site,
            f"plan {uuid.uuid4()}",
            _selection(options, settings),
            sources=session.sources.queries,
            warehouse_conn_id=options.warehouse,
            settings=DeliverySettings(
                expected=options.expected or 0,
                limit=options.limit,
                seconds_to_deliver_until=seconds_to_deliver_until(until, since=None, time_zone=zone),
            ),
        )
    output.document(asdict(planned))
    for line in in_words(planned, until=f"{until} {zone}"):
        output.line(line)
    return _exit(options, planned)


def _unclear(options: argparse.Namespace) -> str | None:
    has_window = options.window_start is not None or options.window_end is not None
    if has_window and (options.window_start is None or options.window_end is None):
        return "--from and --to are given together, or neither"
    if sum((has_window, bool(options.training_ids), options.begin_from is not None)) > 1:
        return "give one of TRAINING_ID, --from with --to, or --begin-from"
    return None


def _selection(options: argparse.Namespace, settings: SiteSettings) -> Selection:
    window = None if options.window_start is None else Window(options.window_start, options.window_end)
    return Selection(
        window=window,
        training_ids=options.training_ids or None,
        begin_from=options.begin_from,
        is_pilot=options.limit is not None,
        look_back=settings.look_back,
        certification_ids=options.certification,
    )


def _exit(options: argparse.Namespace, planned: Plan) -> Exit:
    nothing_found = bool(options.training_ids) and len(planned.not_found) == len(set(options.training_ids))
    return Exit.NOTHING if nothing_found else Exit.DONE
