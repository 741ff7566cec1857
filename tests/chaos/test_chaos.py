"""A few rounds of chaos; ``make chaos ROUNDS=50`` is the long form."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]


@pytest.mark.airflow
@pytest.mark.long
@pytest.mark.xdist_group("airflow")
@pytest.mark.timeout(700)
def test_whatever_is_killed_nothing_is_doubled_and_nothing_lost():
    """Three rounds by a seed that is drawn anew; what it says names the seed and how to see it again."""
    done = subprocess.run(
        [sys.executable, "-m", "tests.chaos", "--rounds", "3"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout[-6000:] + done.stderr[-2000:]
