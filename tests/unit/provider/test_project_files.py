"""The files that belong to the user of an Airflow project."""

from __future__ import annotations

from pathlib import Path

import pytest

from springest.errors import ConfigurationError
from springest_provider.cli.session import Sources
from springest_provider.project_files import include_folder, write_project

ROOT = Path(__file__).parents[3]
QUERY = Path("include", "sql", "completed_trainings.sql")


def test_init_writes_what_a_project_needs(tmp_path):
    """The DAGs and every query, as they are in the checkout."""
    results = dict(write_project(tmp_path / "new"))
    assert set(results.values()) == {"written"}
    assert {file.parts[0] for file in results} == {"dags", "include"}
    assert all((tmp_path / "new" / file).read_bytes() == (ROOT / file).read_bytes() for file in results)
    assert set(results) >= {QUERY, *(path.relative_to(ROOT) for path in (ROOT / "dags").glob("*.py"))}


def test_init_keeps_what_the_user_has_changed(tmp_path):
    """It can be repeated after an upgrade: a changed file stays and is named, a missing one is written."""
    files = dict(write_project(tmp_path))
    deleted = Path("dags", "springest_review.py")
    (tmp_path / QUERY).write_text("SELECT 1")
    (tmp_path / deleted).unlink()
    results = dict(write_project(tmp_path))
    assert (tmp_path / QUERY).read_text() == "SELECT 1"
    assert results == {**dict.fromkeys(files, "unchanged"), QUERY: "kept", deleted: "written"}


def test_the_projects_queries_are_beside_its_dags(tmp_path, monkeypatch):
    """Without a project beside the configured DAGs folder, a checkout uses its own."""
    monkeypatch.setenv("AIRFLOW__CORE__DAGS_FOLDER", str(tmp_path / "dags"))
    assert include_folder() == ROOT / "include"
    list(write_project(tmp_path))
    assert include_folder() == tmp_path / "include"


def test_a_missing_query_is_named_with_the_remedy(tmp_path):
    """An installation whose project has no query yet."""
    with pytest.raises(ConfigurationError, match=f"`bin/springest init {tmp_path}`"):
        _ = Sources([("training_source", tmp_path / QUERY, {})]).queries
