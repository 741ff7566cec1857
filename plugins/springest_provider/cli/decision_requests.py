"""The decisions that a person requests, on the command line or in a CSV file."""

from __future__ import annotations

import codecs
import csv
import io
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final

from springest.errors import ConfigurationError
from springest.review.waiting import Waiting

_SAVE_AGAIN: Final = 'save it as "CSV UTF-8"'
COLUMNS: Final = ("training_id", "issue_no", "why", "springest_certificate_id")


@dataclass(frozen=True, slots=True)
class DecisionRequest:
    """
    One requested decision.

    :param found: the current delivery; ``None`` with a ``refusal`` if there is none.
    """

    training_id: str
    issue_no: int | None
    why: str
    springest_certificate_id: int | None = None
    found: Waiting | None = None
    refusal: str | None = None

    def among(self, found: Sequence[Waiting], *, version: int | None = None) -> DecisionRequest:
        """Return the request with its delivery, or with a refusal if there is none."""
        matching = [
            row
            for row in found
            if row.training_id == self.training_id and self.issue_no in (None, row.issue_no)
        ]
        if not matching:
            return replace(self, refusal=f"there is no delivery of training {self.training_id}")
        if len(matching) > 1:
            issues = ", ".join(str(item.issue_no) for item in matching)
            return replace(self, refusal=f"training {self.training_id} has the issues {issues}: choose one")
        return replace(self, found=matching[0] if version is None else replace(matching[0], version=version))


def read_requests(path: Path, *, why: str | None, confirm: bool) -> list[DecisionRequest]:
    """
    Read a CSV file with a header row, as saved by Excel and other programs.

    Commas, semicolons or tabs; UTF-8, UTF-16 with a byte order mark, or Windows-1252.

    :param why: reason for rows without one.
    :raises ConfigurationError: a column or a value is invalid; the text names the line.
    """
    text, encoding = _decoded(path)
    names: list[str] = []
    requests = []
    for number, fields in _records(path, text):
        where = f"{path.name}, line {number}"
        if not names:
            names = fields
            _check_heading(path, names, confirm=confirm)
        elif len(fields) != len(names):
            raise ConfigurationError(f"{where}: has more or fewer fields than the header row")
        elif any(fields):
            requests.append(_wish(where, dict(zip(names, fields, strict=True)), why))
            _check_identity(where, requests[-1].training_id, encoding)
    if not names:
        _check_heading(path, names, confirm=confirm)
    return requests


def _decoded(path: Path) -> tuple[str, str]:
    content = path.read_bytes()
    marked = content.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE))
    for encoding in ("utf-16",) if marked else ("utf-8-sig", "cp1252"):
        try:
            text = content.decode(encoding)
        except UnicodeDecodeError:
            continue
        if "\0" not in text:
            return text, encoding
    raise ConfigurationError(f"{path.name} is not readable as text: {_SAVE_AGAIN}")


def _records(path: Path, text: str) -> Iterator[tuple[int, list[str]]]:
    lines = list(io.StringIO(text, newline=""))
    skipped = int(bool(lines) and lines[0].lower().startswith("sep="))  # Excel's own line
    heading = lines[skipped] if len(lines) > skipped else ""
    delimiter = next((sign for sign in ";\t" if sign in heading), ",")
    reader = csv.reader(lines[skipped:], delimiter=delimiter)
    try:
        for fields in reader:
            if fields:
                yield reader.line_num + skipped, [field.strip() for field in fields]
    except csv.Error as error:
        raise ConfigurationError(f"{path.name}, line {reader.line_num + skipped}: {error}") from None


def _check_identity(where: str, training_id: str, encoding: str) -> None:
    """Refuse to guess a training id: other Windows encodings have other letters at these bytes."""
    if encoding == "cp1252" and not training_id.isascii():
        raise ConfigurationError(f"{where}: training_id has letters of an unknown encoding: {_SAVE_AGAIN}")


def _check_heading(path: Path, names: Sequence[str], *, confirm: bool) -> None:
    allowed = COLUMNS if confirm else COLUMNS[:-1]
    needed = ("training_id", "springest_certificate_id") if confirm else ("training_id",)
    if not set(needed) <= set(names) <= set(allowed):
        raise ConfigurationError(
            f"{path.name} must begin with a header row of {', '.join(needed)} and optionally "
            f"{', '.join(name for name in allowed if name not in needed)}"
        )


def _wish(where: str, values: Mapping[str, str], why: str | None) -> DecisionRequest:
    if not values["training_id"]:
        raise ConfigurationError(f"{where}: training_id is empty")
    return DecisionRequest(
        values["training_id"],
        _number(where, "issue_no", values.get("issue_no")),
        values.get("why") or why or "",
        _number(where, "springest_certificate_id", values.get("springest_certificate_id")),
    )


def _number(where: str, name: str, value: str | None) -> int | None:
    if not value:
        return None
    if not value.isdecimal():
        raise ConfigurationError(f"{where}: {name} must be a whole number")
    return int(value)
