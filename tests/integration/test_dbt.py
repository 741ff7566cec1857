"""The dbt package for analysts, run by dbt itself, as an analyst, against the warehouse of real nights."""

from __future__ import annotations

import json
import os
import secrets
import subprocess
from pathlib import Path
from urllib.parse import urlsplit

import pytest
from sqlalchemy import text

from springest.states import State
from springest.verification import VerificationStatus

ROOT = Path(__file__).parents[2]
DBT = ROOT / ".springest" / "dbt" / "bin" / "dbt"
PROJECT = ROOT / "include" / "dbt" / "springest"

pytestmark = [
    pytest.mark.long,
    pytest.mark.skipif(not DBT.exists(), reason="dbt is not installed: `make test-dbt` installs and runs it"),
]


class Analyst:
    """Runs dbt with a login that has the role for readers, and nothing else."""

    def __init__(self, url: str, login: str, folder: Path) -> None:
        address = urlsplit(url)
        profile = {
            "type": "postgres",
            "host": address.hostname,
            "port": address.port,
            "user": login,
            "password": login,
            "dbname": address.path.removeprefix("/"),
            "schema": "analyst",
        }
        profiles = {"springest": {"target": "test", "outputs": {"test": profile}}}
        (folder / "profiles.yml").write_text(json.dumps(profiles), encoding="utf-8")
        self.folder = folder

    def dbt(self, *arguments: str) -> tuple[int, str]:
        """Return the exit code and the output."""
        done = subprocess.run(
            [DBT, *arguments],
            cwd=PROJECT,
            env={
                **{name: os.environ[name] for name in ("HOME", "PATH") if name in os.environ},
                "DBT_PROFILES_DIR": str(self.folder),
                "DBT_TARGET_PATH": str(self.folder / "target"),
                "DBT_LOG_PATH": str(self.folder / "logs"),
                "DBT_SEND_ANONYMOUS_USAGE_STATS": "false",
                "DBT_USE_COLORS": "false",
            },
            capture_output=True,
            text=True,
            check=False,
            timeout=500,
        )
        return done.returncode, done.stdout + done.stderr


@pytest.fixture
def analyst(world, roles, tmp_path):
    """An analyst on the morning after a night: one verified, one not, one set aside."""
    world.complete(
        world.training(),
        world.training(certification_id=105),
        world.training(certificate_uri=str(world.folder / "missing.pdf")),
    )
    world.night("first")
    world.complete(world.training())
    world.night("second")
    login = f"ana_{secrets.token_hex(4)}"
    with world.warehouse.begin() as connection:
        connection.execute(text(f"CREATE ROLE {login} LOGIN PASSWORD '{login}' IN ROLE {roles.reader}"))
    folder = tmp_path / "dbt"
    folder.mkdir()
    yield Analyst(world.warehouse_url, login, folder)
    with world.warehouse.begin() as connection:
        connection.execute(text(f"DROP ROLE {login}"))


def test_an_analyst_can_use_the_package(world, analyst):
    """Sources are fresh, tests pass, and what they would find they find."""
    code, output = analyst.dbt("source", "freshness")
    assert code == 0, output
    code, output = analyst.dbt("test")
    assert code == 0, output
    assert "WARN=0 ERROR=0" in output
    assert "Deprecated functionality" not in output, "written for this version of dbt"
    code, output = analyst.dbt("ls", "--resource-type", "exposure")
    assert "exposure:springest.springest_morning" in output

    with world.warehouse.begin() as connection:
        connection.execute(
            text("UPDATE springest.publication SET published_at = published_at - interval '3 days'")
        )
        connection.execute(
            text("UPDATE springest.verdict SET match_method = NULL WHERE match_method IS NOT NULL")
        )
    code, output = analyst.dbt("source", "freshness")
    assert code == 1, output
    assert "ERROR STALE freshness of springest.certificate_reconciliation" in output
    code, output = analyst.dbt("test", "--select", "verified_has_proof")
    assert code == 1, output
    assert "ERROR=1" in output


def test_accepted_values_are_those_of_the_code():
    """A status that is new here is new there."""
    lines = (PROJECT / "models" / "sources.yml").read_text(encoding="utf-8").splitlines()
    listed = {line.strip().removeprefix("- ") for line in lines if line.startswith(" " * 22 + "- ")}
    assert listed == {*map(str, VerificationStatus), *map(str, State)}
