"""``springest status``."""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from dataclasses import asdict
from datetime import datetime
from typing import Any, Final

from springest.delivery.volume import describe_too_large
from springest.rate_limit.limiter import SHARE_USED
from springest.review import recovery as restoration
from springest.review.status import Status, look
from springest_provider.cli.output import Exit, Output
from springest_provider.cli.restored import kept_outside
from springest_provider.cli.session import open_site

_NOT_BEGUN: Final = (
    "not begun: nothing is sent by schedule until `bin/springest begin` or a run with begin_from"
)


def show(options: argparse.Namespace, output: Output) -> int:
    """Show the site's status."""
    with open_site(options, output) as session:
        status = look(session.engine, session.site)
        ledger = restoration.look(session.engine, kept=kept_outside(session))
    attempts = {
        "in_ledger": ledger.found,
        "kept_outside": ledger.highest,
        "ledger_is_behind": ledger.is_behind,
    }
    output.document({**asdict(status), "attempts": attempts})
    output.line(f"site {status.site} ({status.host})")
    output.facts(_facts(status))
    if ledger.is_behind:
        output.line(
            f"THE LEDGER IS BEHIND: its highest attempt is {ledger.found}, but attempt {ledger.highest} was "
            "made. Nothing is sent; see 'A restored ledger' in docs/operations.md"
        )
    if status.runs:
        output.line()
        output.table(
            ("last runs", "staged", "attempts", "accepted", "refused", "not stored", "unknown", "in flight"),
            (
                (run.run_id, run.staged_rows, run.attempts, run.accepted, run.refused, run.not_stored,
                 run.unknown, run.under_way)
                for run in status.runs
            ),
        )  # fmt: skip
    return Exit.DONE


def _facts(status: Status) -> Iterator[tuple[str, Any]]:
    yield "queue", _queue(status)
    yield "states", ", ".join(f"{number} {state}" for state, number in status.states.items()) or "none yet"
    yield "for a person", _for_a_person(status.for_a_person)
    yield (
        "too large",
        describe_too_large(status.too_large, max_size=status.usual) if status.too_large else None,
    )
    yield "rate limit", _rate(status)
    yield "staged up to", status.watermark or _NOT_BEGUN
    yield "snapshot", _snapshot(status)
    yield "verdicts", _ago(status, status.reconciled_at)
    yield "catalogue", _catalogue(status)
    yield "ledger restored", status.restored_at


def _queue(status: Status) -> str:
    if not status.ready:
        return "empty"
    oldest = f"the oldest staged {_ago(status, status.oldest_ready)}"
    return f"{status.ready} left, {_duration(status.hours_left)} at the site's pace; {oldest}"


def _duration(hours: float) -> str:
    minutes = round(hours * 60)
    if minutes < 1:
        return "less than a minute"
    return f"about {minutes} min" if minutes < 120 else f"about {hours:.1f} hours"


def _for_a_person(number: int) -> str:
    return f"{number}: see `bin/springest review list`" if number else "nothing"


def _rate(status: Status) -> str:
    pace = (
        f"{status.requests_per_hour:,.0f} requests an hour, {SHARE_USED:.0%} of the site's cap; "
        f"{status.granted:,} granted so far"
    )
    return (
        f"FROZEN until {status.frozen_until:%H:%M:%S} UTC; {pace}" if status.frozen_until else f"open; {pace}"
    )


def _snapshot(status: Status) -> str:
    if status.snapshot_id is None:
        return "never"
    last = f"{status.snapshot_certificates} certificates, {_ago(status, status.snapshot_finished_at)}"
    if status.snapshot_complete:
        return f"complete, {last}"
    return f"NOT complete, {last}; the last complete one {_ago(status, status.complete_snapshot_finished_at)}"


def _catalogue(status: Status) -> str:
    if status.scanned_at is None:
        return "never"
    whole = "" if status.catalogue_complete else "NOT complete, "
    return f"{whole}{status.listed} certifications listed, {_ago(status, status.scanned_at)}"


def _ago(status: Status, moment: datetime | None) -> str:
    if moment is None:
        return "never"
    minutes = int((status.now - moment).total_seconds() // 60)
    if minutes < 2 * 60:
        return f"{minutes} min ago"
    return f"{minutes // 60} hours ago" if minutes < 72 * 60 else f"{minutes // 1440} days ago"
