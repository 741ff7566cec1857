"""Runs checks one by one; a failure does not stop the others."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from enum import StrEnum

from springest.errors import SpringestError
from springest_provider.cli.errors import in_one_line


class Status(StrEnum):
    """Result of a check."""

    OK = "ok"
    WARNING = "warning"
    """It works, but something should be looked at."""
    PROBLEM = "problem"
    """It does not work."""
    SKIPPED = "skipped"
    """It needs something that has a problem of its own."""


@dataclass(frozen=True, slots=True)
class Checked:
    """
    Result of one check.

    :param detail: the finding, or the problem with its remedy; without secrets and personal data.
    """

    name: str
    status: Status
    detail: str


class Problem(SpringestError):
    """Something does not work; the text names it and the remedy."""


class Unsure(SpringestError):
    """Something works and should be looked at; the text names it and the remedy."""


class Missing(SpringestError):
    """Something that a check needs has a problem of its own."""


Check = tuple[str, Callable[[], str]]
"""Its name, and a function that returns its finding or raises."""


def run_checks(checks: Sequence[Check]) -> Iterator[Checked]:
    """Run checks in order."""
    for name, check in checks:
        yield _run(name, check)


def _run(name: str, check: Callable[[], str]) -> Checked:
    try:
        return Checked(name, Status.OK, check())
    except Missing as error:
        return Checked(name, Status.SKIPPED, str(error))
    except Unsure as error:
        return Checked(name, Status.WARNING, str(error))
    except Exception as error:  # noqa: BLE001 - whatever it is, the next check is run
        return Checked(name, Status.PROBLEM, in_one_line(error))
