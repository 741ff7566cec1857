"""Which certificates a person wants to decide about, given one by one or in a CSV file."""

from __future__ import annotations

import csv
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final

from include.springest.errors import ConfigurationError
from include.springest.insight.review import Waiting

COLUMNS: Final = ("training_id", "issue_no", "why", "springest_certificate_id")


@dataclass(frozen=True, slots=True)
class Wish:
    """
    A certificate that a person wants to decide about.

    :param found: the delivery as it stands; ``None`` with a ``refusal`` when there is none.
    """

    training_id: str
    issue_no: int | None
    why: str
    springest_certificate_id: int | None = None
    found: Waiting | None = None
    refusal: str | None = None

    def among(self, found: Sequence[Waiting], *, version: int | None = None) -> Wish:
        """Return it with its delivery, or with why there is none."""
        mine = [
            one
            for one in found
            if one.training_id == self.training_id and self.issue_no in (None, one.issue_no)
        ]
        if not mine:
            return replace(self, refusal=f"there is no delivery of training {self.training_id}")
        if len(mine) > 1:
            issues = ", ".join(str(one.issue_no) for one in mine)
            return replace(
                self, refusal=f"training {self.training_id} has the issues {issues}: say which one"
            )
        return replace(self, found=mine[0] if version is None else replace(mine[0], version=version))


def read_wishes(path: Path, *, why: str | None, confirm: bool) -> list[Wish]:
    """
    Read a CSV file with a heading; commas or semicolons.

    :param why: the reason of the rows that give none.
    :raises ConfigurationError: a column or a value is not what it should be; the text names the line.
    """
    with path.open(encoding="utf-8-sig", newline="") as lines:
        heading = lines.readline()
        delimiter = ";" if ";" in heading else ","
        names = [name.strip() for name in heading.strip().split(delimiter)]
        _check_heading(path, names, confirm=confirm)
        rows = csv.DictReader(lines, fieldnames=names, delimiter=delimiter)
        return [_wish(path, number, row, why) for number, row in _numbered(rows)]


def _check_heading(path: Path, names: Sequence[str], *, confirm: bool) -> None:
    allowed = COLUMNS if confirm else COLUMNS[:-1]
    needed = ("training_id", "springest_certificate_id") if confirm else ("training_id",)
    if not set(needed) <= set(names) <= set(allowed):
        raise ConfigurationError(
            f"{path.name} must begin with a heading of {', '.join(needed)} and, if wanted, "
            f"{', '.join(name for name in allowed if name not in needed)}"
        )


def _numbered(rows: Iterable[dict[str, str]]) -> Iterable[tuple[int, dict[str, str]]]:
    return enumerate(rows, start=2)


def _wish(path: Path, number: int, row: dict[str, str], why: str | None) -> Wish:
    where = f"{path.name}, line {number}"
    if None in row or None in row.values():
        raise ConfigurationError(f"{where}: has more or fewer fields than the heading")
    values = {name: value.strip() for name, value in row.items()}
    if not values["training_id"]:
        raise ConfigurationError(f"{where}: training_id is empty")
    certificate_id = values.get("springest_certificate_id")
    return Wish(
        values["training_id"],
        _number(where, "issue_no", values.get("issue_no")),
        values.get("why") or why or "",
        _number(where, "springest_certificate_id", certificate_id),
    )


def _number(where: str, name: str, told: str | None) -> int | None:
    if not told:
        return None
    if not told.isdecimal():
        raise ConfigurationError(f"{where}: {name} must be a whole number")
    return int(told)
