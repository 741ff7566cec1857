"""The end of every task: counts and cases for a person in the log, metrics, and counts in asset events.

``SpringestOperator.execute`` is the one place that calls it. A report that can't be made fails no task.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict
from datetime import UTC, datetime
from typing import Any, Final

from airflow.sdk import Asset, Context
from sqlalchemy import Connection

from springest.redaction import Redactor, show_unseen
from springest.review.metrics import measure
from springest.review.run_report import NeedsPerson, RunCounts, count_run, find_attention
from springest.site import Site
from springest_provider import factories
from springest_provider.metrics import emit
from springest_provider.run_notes import NOTE_KEY, OURS
from springest_provider.ui.links import deliveries_url, delivery_url

log = logging.getLogger(__name__)

MOST_LINES: Final = 50
"""Certificates that a log names; the page lists all of them."""


def report(
    context: Context,
    find_site: Callable[[], Site],
    warehouse_conn_id: str,
    result: Mapping[str, Any],
    *,
    of_run: bool,
) -> None:
    """
    Log the counts, emit the metrics of the site, and put the counts into the events of the task's assets.

    :param find_site: returns the site; it may fail, as it may have failed for the task.
    :param result: the task's result; empty if it failed.
    :param of_run: report the counts of the whole run and the cases for a person, and leave a note for the DAG
        run; otherwise report the counts in ``result``.
    """
    if not of_run:
        log_table(dict(_counts(result)))
    try:
        site = find_site()
        with factories.warehouse(warehouse_conn_id) as engine, engine.connect() as connection:
            counts = _report_run(connection, context, site, result) if of_run else dict(_counts(result))
            began = context["ti"].start_date or datetime.now(UTC)
            measured = measure(connection, site, run_id=str(context["run_id"]), since=began)
        emit(site.name, measured)
        for outlet in context["task"].outlets:
            if isinstance(outlet, Asset):
                context["outlet_events"][outlet].extra.update({"site": site.name, **counts})
    except Exception as error:  # noqa: BLE001 - the task's own result stands, whatever happens here
        log.warning("The counts of this run can't be reported: %s", type(error).__name__)


def _report_run(
    connection: Connection, context: Context, site: Site, result: Mapping[str, Any]
) -> dict[str, int]:
    run_id = str(context["run_id"])
    counts = count_run(connection, site=site.name, run_id=run_id)
    found, in_all = find_attention(connection, site=site.name, run_id=run_id, most=MOST_LINES)
    requests = result.get("requests")
    used = "-" if requests is None else f"{requests:,} of {site.requests_per_hour:,}/h"
    log_table({**asdict(counts), "requests": used})
    for line in _attention(found, in_all, deliveries_url(site.name, run=run_id)):
        log.warning("%s", line)
    note = note_of(counts, deliveries_url(site.name, run=run_id))
    if note:
        context["ti"].xcom_push(key=NOTE_KEY, value=note)
    return asdict(counts)


def log_table(counts: Mapping[str, Any]) -> None:
    """Log counts as two lines, headings and numbers, in columns."""
    if not counts:
        return
    columns = [
        (name.replace("_", " "), f"{value:,}" if isinstance(value, int) else str(value))
        for name, value in counts.items()
    ]
    widths = [max(map(len, column)) for column in columns]
    for row in zip(*columns, strict=True):
        log.info("%s", "  ".join(cell.rjust(width) for cell, width in zip(row, widths, strict=True)))


def note_of(counts: RunCounts, url: str) -> str | None:
    """Return the note for a run with cases for a person, even if it is green; else ``None``."""
    notable = {"refused": counts.refused, "unknown": counts.unknown, "set aside": counts.set_aside}
    named = ", ".join(f"{number:,} {word}" for word, number in notable.items() if number)
    return f"{OURS}{named} of {counts.completed:,} completed. {url}" if named else None


def _counts(result: Mapping[str, Any]) -> Iterator[tuple[str, int]]:
    for name, value in result.items():
        if isinstance(value, Mapping):
            yield from _counts(value)
        elif isinstance(value, int) and not isinstance(value, bool) and not name.endswith("_id"):
            yield name, value


def _attention(found: Sequence[NeedsPerson], in_all: int, url: str) -> Iterator[str]:
    redact = Redactor().redact
    for row in found:
        issue = f" issue {row.issue_no}" if row.issue_no != 1 else ""
        because = ": ".join(filter(None, (row.reason, row.detail)))
        text = f"{row.training_id}{issue} is {row.state} ({because}). Remedy: {row.remedy}."
        # Redacted apart from its address: a key of hexadecimal digits looks like nothing else.
        yield f"{show_unseen(redact(text))} {delivery_url(row.delivery_key)}"
    if in_all > len(found):
        yield f"{in_all - len(found):,} more need a person: {url}"
