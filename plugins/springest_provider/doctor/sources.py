"""Checks of the sources and their documents."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from datetime import UTC, datetime, timedelta
from functools import partial
from typing import Any, Final

from springest.errors import SpringestError
from springest.source.contract import COLUMNS, SOURCES, read_row
from springest.source.window import Window
from springest_provider import factories
from springest_provider.doctor.checkup import Check, Problem, Unsure
from springest_provider.doctor.installation import Installation

SAMPLE: Final = timedelta(days=30)
"""How far back in the source a sample row is looked for."""


def for_each_source(
    installed: Installation, checks: Mapping[str, Callable[[Installation, str], str]]
) -> Iterator[Check]:
    """Return the checks of each source, one source after the other."""
    names = installed.sources.names
    for source in names:
        for name, check in checks.items():
            yield f"{name} of {source}" if len(names) > 1 else name, partial(check, installed, source)


def source_check(installed: Installation, source: str) -> str:
    """Count the rows of the last days, and find the first ones by their id."""
    reader = installed.reader(source)
    now = datetime.now(UTC)
    window = Window(now - SAMPLE, now)
    with reader.open_window(window) as (count, batches):
        first = next(batches, [])
    if not first:
        raise Unsure(
            f"its columns are there; it gives no row whose updated_at is in the last {SAMPLE.days} days, so "
            "their types are not checked: check the query and its window if there should be some"
        )
    installed.keep_sample(source, first[0])
    if lost := reader.not_found_again(window):
        raise Problem(
            f"{len(lost)} rows are not found by their training_id: let the query compute it from the row "
            "alone, and use the window only to filter updated_at"
        )
    return f"{count:,} rows in the last {SAMPLE.days} days; {_types(first[0])}"


def _types(row: Mapping[str, Any]) -> str:
    """Describe the type of each column, without values."""
    kinds = {name: row[name] for name in COLUMNS if name in row}
    return ", ".join(
        f"{name} {'empty' if value is None else type(value).__name__}" for name, value in kinds.items()
    )


def ids_check(installed: Installation) -> str:
    """Check that no training of the last days has the id of one in another source."""
    now = datetime.now(UTC)
    with (
        factories.reader(installed.sources.queries) as reader,
        reader.open_window(Window(now - SAMPLE, now)) as (count, batches),
    ):
        shared = {str(row["training_id"]) for batch in batches for row in batch if row[SOURCES]}
    if shared:
        raise Problem(
            f"{len(shared):,} ids are in several sources, such as {', '.join(sorted(shared)[:3])}: none of "
            "these trainings is sent. Make the ids unique in the query of one source, such as 'lms2-' || id"
        )
    return f"none of {count:,} rows of the last {SAMPLE.days} days has the id of a row in another source"


def sample_check(installed: Installation, source: str) -> str:
    """Read a row as staging does."""
    training = read_row(installed.sample(source), site=installed.site.name, pseudonyms=installed.pseudonyms)
    if training.defects:
        raise Unsure(
            f"training {training.training_id}: " + "; ".join(defect.detail for defect in training.defects)
        )
    return f"training {training.training_id} can be read"


def document_check(installed: Installation, source: str) -> str:
    """Check the document of that row."""
    training = read_row(installed.sample(source), site=installed.site.name, pseudonyms=installed.pseudonyms)
    if training.certificate_uri is None:
        raise Unsure(f"training {training.training_id} has no document")
    try:
        checked = installed.documents.probe(training.certificate_uri)
    except SpringestError as error:
        raise Unsure(f"that of training {training.training_id} can't be sent: {error}") from None
    return f"that of training {training.training_id} can be sent ({checked.checked.partition(' ')[0]})"
