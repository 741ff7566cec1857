"""docker-compose.yaml's services as processes of this machine: a first night, and two among failures."""

from __future__ import annotations

import subprocess
import sys

import pytest

from .compose import ROOT
from .containers import VENV

pytestmark = [
    pytest.mark.airflow,
    pytest.mark.long,
    pytest.mark.xdist_group("airflow"),
    pytest.mark.timeout(1500),
    pytest.mark.skipif(not VENV.exists(), reason="its environment is missing: `make cluster` makes it"),
    pytest.mark.skipif(
        subprocess.run(["unshare", "--map-root-user", "--net", "--mount", "true"], check=False).returncode
        != 0,
        reason="the kernel gives no namespaces",
    ),
]


@pytest.mark.parametrize("module", ["tests.cluster.first_night", "tests.cluster"])
def test_what_the_compose_file_starts_works(module):
    """Each prints what it did; the exit code is its verdict."""
    done = subprocess.run(
        [sys.executable, "-m", module], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout[-6000:] + done.stderr[-2000:]
