"""Terminal output: lines, tables or JSON, without keys, e-mail addresses and control characters."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, is_dataclass
from datetime import UTC, date, datetime
from enum import IntEnum
from typing import Any, Final, cast

from springest.redaction import Redactor, show_unseen

LINE_END: Final = "\n"


class Exit(IntEnum):
    """Exit codes; ``--help`` and docs/operations.md list them too."""

    DONE = 0
    FAILED = 1
    """A connection, a setting or the warehouse is missing or wrong; nothing more was done."""
    USAGE = 2
    """The command line is not valid."""
    REFUSED = 3
    """At least one decision was refused; the others were made."""
    NOTHING = 4
    """There is no such training, or nothing matches the filter."""
    UNCONFIRMED = 5
    """Nothing was done: check the output, then add ``--yes``."""


class Output:
    """
    Writes to the terminal, through the redactor.

    :param as_json: write one JSON document instead of text.
    """

    def __init__(self, *, as_json: bool = False) -> None:
        self.as_json = as_json
        self._redactor = Redactor()

    def hide(self, secrets: Iterable[str]) -> None:
        """Redact these secrets from now on."""
        self._redactor = Redactor(secrets)

    def line(self, text: str = "") -> None:
        """Write a line of text; nothing with ``--json``."""
        if not self.as_json:
            sys.stdout.write(f"{self._shown(text)}\n")

    def error(self, text: str) -> None:
        """Write a line to standard error, also with ``--json``."""
        sys.stderr.write(f"springest: {self._shown(text)}\n")

    def document(self, value: Any) -> None:
        """Write the JSON document; nothing without ``--json``."""
        if self.as_json:
            plain = json.dumps(self._plain(value), ensure_ascii=False, indent=2)
            sys.stdout.write(f"{show_unseen(plain, keep=LINE_END)}\n")

    def table(self, headings: Sequence[str], rows: Iterable[Sequence[Any]]) -> None:
        """Write rows in columns."""
        cells = [[_text(cell) for cell in row] for row in rows]
        widths = [max(map(len, column)) for column in zip(headings, *cells, strict=True)]
        for row in (headings, *cells):
            padded = (cell.ljust(width) for cell, width in zip(row, widths, strict=True))
            self.line("  ".join(padded).rstrip())

    def facts(self, facts: Iterable[tuple[str, Any]]) -> None:
        """Write names and values, one line each; empty values are omitted."""
        options = [(name, _text(value)) for name, value in facts if value not in (None, "")]
        width = max((len(name) for name, _ in options), default=0)
        for name, value in options:
            self.line(f"  {name.ljust(width)}  {value}")

    def _shown(self, text: str) -> str:
        return show_unseen(self._redactor.redact(text), keep=LINE_END)

    def _plain(self, value: Any) -> Any:
        if is_dataclass(value) and not isinstance(value, type):
            value = asdict(cast("Any", value))
        if isinstance(value, Mapping):
            return {str(name): self._plain(item) for name, item in value.items()}
        if isinstance(value, list | tuple):
            return [self._plain(item) for item in value]
        if isinstance(value, datetime):
            return value.astimezone(UTC).isoformat()
        if isinstance(value, date):
            return value.isoformat()
        return self._redactor.redact(str(value)) if isinstance(value, str) else value


def _text(value: Any) -> str:
    if value is None:
        return "-"
    if isinstance(value, datetime):
        return value.astimezone(UTC).strftime("%Y-%m-%d %H:%M UTC")
    return show_unseen(str(value))
