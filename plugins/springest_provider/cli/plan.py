"""``springest plan``: a dry run."""

from __future__ import annotations

import argparse
import uuid
from dataclasses import asdict

from springest.delivery.deliver import DeliverSettings
from springest.delivery.plan import Plan, Selection
from springest.delivery.plan_words import in_words
from springest.source.reader import Window
from springest_provider.cli.output import Exit, Output
from springest_provider.cli.session import opened, read_query
from springest_provider.dry_run import make_plan
from springest_provider.windows import seconds_until


def plan(told: argparse.Namespace, output: Output) -> int:
    """Say what the next run would do; nothing is sent or changed."""
    unclear = _unclear(told)
    if unclear:
        output.complain(unclear)
        return Exit.USAGE
    with opened(told, output) as session:
        planned = make_plan(
            session.site,
            f"plan {uuid.uuid4()}",
            _selection(told),
            sql=read_query(told.sql),
            source_conn_id=told.source,
            warehouse_conn_id=told.warehouse,
            settings=DeliverSettings(
                expected=told.expected or 0, limit=told.limit, seconds=seconds_until(told.until, since=None)
            ),
        )
    output.document(asdict(planned))
    for line in in_words(planned, until=f"{told.until} UTC"):
        output.line(line)
    return _exit(told, planned)


def _unclear(told: argparse.Namespace) -> str | None:
    has_window = told.window_start is not None or told.window_end is not None
    if has_window and (told.window_start is None or told.window_end is None):
        return "--from and --to are given together, or neither"
    if sum((has_window, bool(told.training_ids), told.begin_from is not None)) > 1:
        return "give one of TRAINING_ID, --from with --to, or --begin-from"
    return None


def _selection(told: argparse.Namespace) -> Selection:
    window = None if told.window_start is None else Window(told.window_start, told.window_end)
    return Selection(
        window=window,
        training_ids=told.training_ids or None,
        begin_from=told.begin_from,
        is_pilot=told.limit is not None,
        certification_ids=told.certification,
    )


def _exit(told: argparse.Namespace, planned: Plan) -> Exit:
    nothing_found = bool(told.training_ids) and len(planned.not_found) == len(set(told.training_ids))
    return Exit.NOTHING if nothing_found else Exit.DONE
