"""Load a drop, which is a set of CSV or Parquet files, into a database that is queried like any other source.

Each value is checked here, where its file and line are known; one that breaks the contract is an
``UnreadableValue`` in its row, which is then set aside. What makes rows of a file uncertain (a missing
column, an end inside quotes, a last line without an end) raises ``SourceError``: nothing is staged.
"""

from __future__ import annotations

import csv
import io
import itertools
import logging
import re
import sqlite3
from collections.abc import Callable, Generator, Iterable, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass
from datetime import date, datetime
from functools import partial
from typing import Any, BinaryIO, Final

from springest.errors import ConfigurationError, SourceError
from springest.source import values
from springest.source.contract import COLUMNS, REQUIRED_COLUMNS
from springest.source.drivers import UNREADABLE
from springest.source.values import Unreadable

log = logging.getLogger(__name__)

SUFFIXES: Final = (".csv", ".parquet")
BATCH: Final = 1_000
SEPARATORS: Final = ",;\t|"
LONGEST_FIELD: Final = 100_000
_BOMS: Final = ((b"\xef\xbb\xbf", "utf-8-sig"), (b"\xff\xfe", "utf-16"), (b"\xfe\xff", "utf-16"))
_UNDECODED: Final = re.compile(r"[\udc80-\udcff]")
"""Bytes that are no UTF-8, as Python's ``surrogateescape`` represents them."""

Lines = Generator[tuple[Any, int], None, None]
"""The names of the columns; then each line, as values by column or why it can't be read, and its number."""


@dataclass(frozen=True, slots=True)
class DropFile:
    """A file of a drop.

    :param content: an open file of this machine, whose content does not change.
    """

    name: str
    content: BinaryIO


def load(files: Iterable[DropFile], connection: sqlite3.Connection) -> int:
    """Load files into the empty table ``completed_training``; return the number of its rows.

    Of rows with equal ``training_id`` and ``issue_no``, the one with the latest ``updated_at`` counts. If
    several have that time and differ, all stay, and staging sets the training aside.

    :param connection: to an empty SQLite database.
    :raises SourceError: a file can't be read, or lacks a column.
    :raises ConfigurationError: a package for Parquet is missing.
    """
    columns: tuple[str, ...] | None = None
    for file in files:
        read = _parquet if file.name.lower().endswith(".parquet") else _csv
        with closing(read(file)) as lines:
            header, _ = next(lines)
            _check(header, file.name, columns)
            if columns is None:
                columns = tuple(sorted(header))
                _create(connection, columns)
            rows = (_row(content, number, file.name, columns) for content, number in lines)
            marks = ", ".join("?" * (len(_all(columns)) + 1))
            while batch := list(itertools.islice(rows, BATCH)):
                connection.executemany(f"INSERT INTO completed_training VALUES ({marks})", batch)  # noqa: S608
    if columns is None:
        raise SourceError("the drop has no file")
    return _keep_newest(connection, columns)


def _all(columns: Iterable[str]) -> list[str]:
    """Return the contract's columns, then those that a query may use as well."""
    return [*COLUMNS, *(name for name in columns if name not in COLUMNS)]


def _create(connection: sqlite3.Connection, columns: Sequence[str]) -> None:
    listed = ", ".join('"{}"'.format(name.replace('"', '""')) for name in [*_all(columns), "changed_at"])
    connection.execute(f"CREATE TABLE completed_training ({listed})")


def _keep_newest(connection: sqlite3.Connection, columns: Sequence[str]) -> int:
    connection.execute("CREATE INDEX by_training ON completed_training (training_id, issue_no, updated_at)")
    alike = " AND ".join(
        'earlier."{0}" IS completed_training."{0}"'.format(name.replace('"', '""')) for name in _all(columns)
    )
    equal = "{0}.training_id = completed_training.training_id AND {0}.issue_no = completed_training.issue_no"
    removed = connection.execute(
        "DELETE FROM completed_training WHERE changed_at IS NOT NULL AND (EXISTS ("  # noqa: S608 - fixed names
        f" SELECT 1 FROM completed_training AS newer WHERE {equal.format('newer')}"
        " AND newer.changed_at IS NOT NULL AND newer.updated_at > completed_training.updated_at"
        f") OR EXISTS (SELECT 1 FROM completed_training AS earlier WHERE {equal.format('earlier')}"
        f" AND {alike} AND earlier.rowid < completed_training.rowid))"
    ).rowcount
    connection.execute("CREATE INDEX by_change ON completed_training (changed_at)")
    (left,) = connection.execute("SELECT count(*) FROM completed_training").fetchone()
    log.info("The drop has %d rows, and %d older or equal rows of the same trainings", left, removed)
    return int(left)


def _check(names: Sequence[str], file: str, columns: Sequence[str] | None) -> None:
    if missing := [name for name in REQUIRED_COLUMNS if name not in names]:
        raise SourceError(
            f"{file}, line 1: there is no column {', '.join(missing)}: the header must have the columns that "
            "include/sql/completed_trainings.sql lists, separated by a comma, a semicolon, a tab or |"
        )
    twice = sorted({name for name in names if names.count(name) > 1})
    if twice or "changed_at" in names or not all(names):
        problem = ", ".join(twice) or ("changed_at" if "changed_at" in names else "an empty name")
        raise SourceError(f"{file}, line 1: the header has {problem} twice or as a reserved name: rename it")
    if columns is not None and sorted(names) != list(columns):
        raise SourceError(
            f"{file}, line 1: its columns differ from those of the files before it by "
            f"{', '.join(sorted(set(names) ^ set(columns)))}: export all files with the same columns"
        )


def _row(content: Mapping[str, Any] | str, number: int, file: str, columns: Sequence[str]) -> list[Any]:
    """Return the values of a row in the order of the table."""
    where = f"{file}, line {number}"
    if isinstance(content, str):
        # It has no id, and without `updated_at` it is known to be in every window.
        refused: dict[str, str | None] = dict.fromkeys(REQUIRED_COLUMNS, f"{UNREADABLE}{where}")
        refused |= {
            "certification_id": f"{UNREADABLE}{where}: {content}",
            "training_id": None,
            "updated_at": None,
        }
        return [*(refused.get(name) for name in _all(columns)), None]
    given = {name: _checked(name, content.get(name), where) for name in _all(columns)}
    given["issue_no"] = 1 if given["issue_no"] is None else given["issue_no"]
    moment = given["updated_at"]
    is_known = isinstance(moment, str) and not moment.startswith(UNREADABLE)
    return [*given.values(), f"{moment[:10]} {moment[11:19]}" if is_known else None]


def _checked(name: str, value: Any, where: str) -> Any:
    """Return a value in its canonical form, or why it can't be used."""
    if value is None or (isinstance(value, str) and not value.strip()):
        return None
    try:
        return _READ[name](value) if name in _READ else str(value).encode("utf-8", "replace").decode()
    except Unreadable as error:
        is_undecoded = isinstance(value, str) and _UNDECODED.search(value)
        problem = "is not in UTF-8: export the file in UTF-8" if is_undecoded else str(error)
        return f"{UNREADABLE}{where}: {problem}"


def _moment(value: Any) -> str:
    return values.instant(value).isoformat(timespec="microseconds")


_READ: Final[Mapping[str, Callable[[Any], Any]]] = {
    "training_id": values.training_id,
    "issue_no": values.issue,
    "booking_id": values.positive,
    "certification_id": values.positive,
    "email": partial(values.text, longest=values.LONGEST_EMAIL),
    "completed_at": _moment,
    "valid_from": lambda value: values.day(value).isoformat(),
    "valid_until": lambda value: values.day(value).isoformat(),
    "certificate_uri": partial(values.text, longest=values.LONGEST_URI),
    "updated_at": _moment,
}


def _csv(file: DropFile) -> Lines:
    """Yield the lines of a CSV file (RFC 4180, with other separators and line ends)."""
    file.content.seek(0)
    start = file.content.read(4096)
    _require_end(file)
    encoding = next((name for bom, name in _BOMS if start.startswith(bom)), "utf-8")
    if encoding != "utf-16" and b"\0" in start.partition(b"\n")[0]:
        raise SourceError(f"{file.name} is not a text file: export it as CSV in UTF-8")
    file.content.seek(0)
    text = io.TextIOWrapper(file.content, encoding, errors="surrogateescape", newline="")
    try:
        first = text.readline()
        separator = max(SEPARATORS, key=lambda sign: len(next(csv.reader([first], delimiter=sign), [])))
        names = _names(next(csv.reader([first], delimiter=separator), []))
        yield names, 1
        yield from _lines(csv.reader(text, delimiter=separator, strict=True), names, file.name)
    except UnicodeDecodeError:
        raise SourceError(f"{file.name} is not text in {encoding}: export it as CSV in UTF-8") from None
    finally:
        text.detach()  # the file belongs to the caller


def _names(header: Iterable[str]) -> list[str]:
    return [name.strip().lower() for name in header]


def _require_end(file: DropFile) -> None:
    """Refuse a file whose last line has no end: it may be half written, and its last value cut off."""
    size = file.content.seek(0, io.SEEK_END)
    file.content.seek(max(0, size - 2))
    if not size or file.content.read().strip(b"\0")[-1:] not in {b"\n", b"\r"}:
        raise SourceError(
            f"{file.name} does not end with a line break: if it is not being written any more, add one, so "
            "that a cut-off file can be recognised"
        )


def _lines(reader: Any, names: Sequence[str], file: str) -> Lines:
    csv.field_size_limit(LONGEST_FIELD)
    while True:
        number = reader.line_num + 2
        try:
            fields = next(reader)
        except StopIteration:
            return
        except csv.Error as error:
            if "larger than" in str(error) or "unexpected end" in str(error):
                raise SourceError(
                    f'{file}, line {number}: a field in quotes does not end: write " within a field as ""'
                ) from None
            yield f"it is no CSV ({error}): correct its quotes", number
            continue
        if not fields:
            continue
        if len(fields) == len(names):
            yield dict(zip(names, fields, strict=True)), number
        else:
            count = f"it has {len(fields)} fields instead of {len(names)}"
            yield f"{count}: put fields with a separator in quotes", number


def _parquet(file: DropFile) -> Lines:
    try:
        from pyarrow import ArrowException  # type: ignore[import-not-found]
        from pyarrow.parquet import ParquetFile  # type: ignore[import-not-found]
    except ImportError:
        raise ConfigurationError(
            f"reading {file.name} needs the package pyarrow: install the extra parquet on all workers"
        ) from None
    try:
        opened = ParquetFile(file.content)
    except (ArrowException, OSError) as error:
        raise SourceError(
            f"{file.name} is no whole Parquet file ({type(error).__name__}): write it again"
        ) from None
    names = _names(opened.schema_arrow.names)
    yield names, 1
    yield from _rows(opened, names, file.name)


def _rows(opened: Any, names: Sequence[str], file: str) -> Lines:
    numbers = itertools.count(1)
    batches = opened.iter_batches(batch_size=BATCH)
    while True:
        try:
            batch = next(batches, None)
        except Exception as error:  # noqa: BLE001 - the library's own, of many kinds
            problem = f"{file} can't be read to its end ({type(error).__name__}): write it again"
            raise SourceError(problem) from None
        if batch is None:
            return
        for index in range(batch.num_rows):
            cells = (_cell(column[index]) for column in batch.columns)
            yield dict(zip(names, cells, strict=True)), next(numbers)


def _cell(scalar: Any) -> Any:
    """Return a value of Parquet, as text that no column accepts if Python can't represent it."""
    try:
        found = scalar.as_py()
    except (ValueError, OverflowError):
        return "out of range"
    if isinstance(found, datetime) and type(found) is not datetime:  # a time in nanoseconds
        return found.to_pydatetime(warn=False)  # type: ignore[attr-defined]
    return found if isinstance(found, str | int | float | date | None) else str(found)
