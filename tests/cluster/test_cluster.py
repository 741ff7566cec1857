"""docker-compose.yaml's services as processes of this machine."""

from __future__ import annotations

import subprocess
import sys

import pytest

from .compose import ROOT
from .containers import VENV

pytestmark = pytest.mark.skipif(
    subprocess.run(["unshare", "--map-root-user", "--net", "--mount", "true"], check=False).returncode != 0,
    reason="the kernel gives no namespaces",
)


def test_the_services_work_with_the_secrets_that_are_made():
    """The short form: secrets, PostgreSQL's first start and the sandbox, by the file's own commands."""
    _run("tests.cluster.short")


@pytest.mark.airflow
@pytest.mark.long
@pytest.mark.xdist_group("airflow")
@pytest.mark.timeout(1500)
@pytest.mark.skipif(not VENV.exists(), reason="its environment is missing: `make cluster` makes it")
@pytest.mark.parametrize("module", ["tests.cluster.first_night", "tests.cluster", "tests.cluster.pods"])
def test_nights_are_delivered_by_what_the_compose_file_starts(module):
    """A first night with the sandbox; two nights with Celery workers; a night in pods."""
    _run(module)


def _run(module: str) -> None:
    """Run it; it prints what it does, and its exit code is its verdict."""
    done = subprocess.run(
        [sys.executable, "-m", module], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout[-6000:] + done.stderr[-2000:]
