"""The pinned tree beside the packages of Airflow's own image. Needs the package index."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[3]
COMPILE = (
    sys.executable,
    "-m",
    "uv",
    "pip",
    "compile",
    "--quiet",
    "--no-annotate",
    "--python-version",
    "3.11",
)
INPUTS = ("requirements-image.in", "pyproject.toml", "--all-extras")


def _compile(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([*COMPILE, *arguments], cwd=ROOT, capture_output=True, text=True, check=False)


@pytest.mark.long
@pytest.mark.parametrize(
    "bounds",
    [("--constraints", "requirements.txt"), ("--resolution", "lowest-direct")],
    ids=["pinned", "floors"],
)
def test_the_project_fits_into_airflows_image(bounds):
    """Every pin, or every floor in pyproject.toml, has a version of all other packages that fits: the image's
    extras and this project's own.
    """
    done = _compile(*INPUTS, *bounds)
    assert done.returncode == 0, done.stderr
    assert {"s3fs", "gcsfs", "adlfs"} <= {line.partition("==")[0] for line in done.stdout.splitlines()}


@pytest.mark.long
def test_a_pin_that_does_not_fit_is_found(tmp_path):
    """The newest python-dateutil, which no botocore accepts."""
    pins = (ROOT / "requirements.txt").read_text(encoding="utf-8")
    misfit = tmp_path / "misfit.txt"
    misfit.write_text("python-dateutil==4.0.0\n")
    assert "\npython-dateutil==4.0.0 " not in pins
    done = _compile(*INPUTS, "--constraints", str(misfit))
    assert done.returncode == 1
    assert "python-dateutil" in done.stderr
