"""``make audit`` says plainly what it could not find out."""

from __future__ import annotations

import re

import pytest

from demo.audit import judge

GOOD = {"name": "lxml", "version": "6.1.3", "vulns": []}
BAD = {"name": "aiohttp", "version": "3.9.0", "vulns": [{"id": "PYSEC-1", "fix_versions": ["3.9.4"]}]}
SKIPPED = {"name": "alembic", "skip_reason": "Dependency not found and could not be audited"}


@pytest.mark.parametrize(
    ("packages", "code", "text"),
    [
        ([GOOD], 0, "1 packages, no known vulnerability"),
        ([GOOD, BAD], 1, "aiohttp 3.9.0: PYSEC-1, fixed in 3.9.4"),
        ([GOOD, SKIPPED], 2, "NOT audited.* 1 of 2 packages, such as alembic"),
        ([BAD, SKIPPED], 1, "(?s)aiohttp.*NOT audited"),
        ([], 2, "NOT audited"),
    ],
)
def test_silence_is_not_taken_for_health(packages, code, text):
    """A database that can't be reached answers nothing, and pip-audit itself calls that success."""
    lines, found = judge(packages)
    assert found == code
    assert re.search(text, "\n".join(lines))
