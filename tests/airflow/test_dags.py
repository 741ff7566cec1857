"""The DAGs, run by Airflow itself against real servers, with canaries planted everywhere."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from pathlib import Path
from urllib.parse import quote, quote_plus

import pytest
from sqlalchemy import create_engine, text

from demo import source_database
from demo.airflow_home import PROJECT
from demo.nights import Training
from demo.people import Learner

from .conftest import (
    CANARY_ADDRESS,
    CANARY_CERTIFICATIONS_KEY,
    CANARY_KEY,
    AirflowWorld,
    training,
)

pytestmark = [pytest.mark.airflow, pytest.mark.xdist_group("airflow")]


def _trainings(folder: Path) -> list[Training]:
    """A good one, and two whose addresses the source and the server complain about."""
    return [
        training(folder, 1),
        training(folder, 2, learner=Learner(2, "Zoë Canary", f"{CANARY_ADDRESS}.2@@example.com")),
        training(folder, 3, certificate_uri=str(folder / f"{CANARY_ADDRESS}.3.gone.pdf")),
    ]


def _canaries() -> set[str]:
    keys = {
        form for key in (CANARY_KEY, CANARY_CERTIFICATIONS_KEY) for form in (key, quote(key), quote_plus(key))
    }
    return {*keys, *(quote(key, safe="") for key in (CANARY_KEY, CANARY_CERTIFICATIONS_KEY)), CANARY_ADDRESS}


def _assert_no_canary(world: AirflowWorld) -> None:
    output = world.written()
    assert "Staging" in output, "the tasks' logs are not where this test looks for them"
    kept = world.metadata()
    assert "springest_deliver" in kept
    for canary in _canaries():
        assert canary not in output, f"{canary!r} was written down"
        assert canary not in kept, f"{canary!r} is in Airflow's database"


def _second_source(folder: Path) -> dict[str, str]:
    """The environment of a second source, with one more training, and another one's id."""
    (folder / "sql").symlink_to(PROJECT / "include" / "sql")
    database, documents = folder / "lms2.db", folder / "certificates"
    documents.mkdir()
    engine = create_engine(f"sqlite:///{database}")
    source_database.create_schema(engine)
    rows = [training(documents, 4), training(documents, 5)]
    source_database.add(engine, rows, now=datetime.now(UTC) - timedelta(seconds=5))
    engine.dispose()
    listed = folder / "sites.toml"
    listed.write_text(
        '[default]\n[[default.sources]]\nsource = "training_source"\n'
        '[[default.sources]]\nsource = "lms2"\nquery = "completed_trainings_sqlite.sql"\n'
    )
    return {
        "AIRFLOW__SPRINGEST__SITES_FILE": str(listed),
        "AIRFLOW_CONN_LMS2": json.dumps({"conn_type": "sqlite", "host": str(database)}),
    }


def test_a_night_by_airflow_leaks_nothing_and_sends_once(make_airflow, tmp_path):
    """`airflow dags test` masks nothing: what is not in its output was never written, at DEBUG too."""
    world = make_airflow(
        trainings=lambda folder: [*_trainings(folder), training(folder, 5)], **_second_source(tmp_path)
    )
    for dag_id in ("springest_catalogue", "springest_deliver", "springest_reconcile", "springest_deliver"):
        world.run("dags", "test", dag_id)
    assert world.rows(
        "SELECT training_id, verification_status, delivery_reason"
        " FROM springest.certificate_reconciliation ORDER BY 1"
    ) == [
        ("T1", "verified", None),
        ("T2", "invalid", "email_malformed"),
        ("T3", "invalid", "document_missing"),
        ("T4", "verified", None),
        ("T5", "invalid", "training_id_in_several_sources"),
    ]
    assert len(world.sandbox.store.certificates()) == 2
    assert sum(request.method == "POST" for request in world.sandbox.store.requests()) == 2
    _assert_no_canary(world)


def test_failures_leak_nothing_either(make_airflow):
    """A server that refuses and says why, and a key that it no longer knows."""
    world = make_airflow(trainings=lambda folder: [training(folder, 1, certification_id=102)])
    world.run("dags", "test", "springest_catalogue")
    world.sandbox.state.profile = type(world.sandbox.state.profile)(validation_status=422)
    world.sandbox.store.remove_certification(102)
    world.run("dags", "test", "springest_deliver")
    assert world.rows("SELECT state, reason FROM springest.delivery") == [("rejected", "rejected")]
    world.sandbox.state.api_key = "another key"
    world.run("dags", "test", "springest_reconcile", code=1)
    _assert_no_canary(world)
    everything = str(world.rows("SELECT * FROM springest.delivery_attempt"))
    assert CANARY_ADDRESS not in everything
    assert "Certification must exist" in everything


def test_a_copy_of_the_high_water_mark_stops_delivering(make_airflow):
    """A copy in the environment would never change, so a ledger restored later would not look behind."""
    world = make_airflow(
        trainings=lambda folder: [training(folder, 1)], AIRFLOW_VAR_SPRINGEST_HIGHEST_ATTEMPT="0"
    )
    world.run("dags", "test", "springest_catalogue")
    world.run("dags", "test", "springest_deliver", code=1)
    assert sum(request.method == "POST" for request in world.sandbox.store.requests()) == 0
    output = "\n".join([*world.output, world.logs()])
    assert "there is a copy of the Variable springest_highest_attempt in the environment" in output
    assert world.rows("SELECT state FROM springest.delivery") == [("ready",)]


def test_a_dry_run_by_airflow_sends_and_changes_nothing(make_airflow):
    """Its log says what the real run then does; the reconciliation is not started by it."""
    world = make_airflow(trainings=_trainings)
    world.run("dags", "test", "springest_catalogue")
    output = world.run(
        "dags", "test", "springest_deliver", "--conf", '{"dry_run": true, "certification_ids": ["102"]}'
    )
    output += world.logs()
    assert "DRY RUN of site default: nothing was changed, and nothing was sent." in output
    assert "Would send: 1." in output
    assert "training T1, certification 102" in output
    assert "1 invalid, document_missing: " in output
    assert "training T3, certification 102" in output
    assert "a dry run sends nothing" in output
    assert sum(request.method == "POST" for request in world.sandbox.store.requests()) == 0
    for table in ("delivery", "staged_row", "approved_run", "site_identity"):
        assert world.rows(f"SELECT * FROM springest.{table}") == []  # noqa: S608 - fixed names
    _assert_no_canary(world)


def test_a_run_with_a_deadline_can_be_cleared(make_airflow):
    """Airflow 3.3.2 can't recalculate the deadline of a cleared run if it is stored as a timedelta."""
    world = make_airflow(trainings=_trainings)
    world.run("dags", "reserialize")
    world.run("dags", "trigger", "springest_deliver", "--run-id", "cleared")
    engine = create_engine(world.env["AIRFLOW__DATABASE__SQL_ALCHEMY_CONN"])
    with engine.begin() as connection:
        for table in ("dag_run", "task_instance"):
            connection.execute(text(f"UPDATE {table} SET state = 'failed' WHERE run_id = 'cleared'"))  # noqa: S608
        deadlines = connection.execute(text("SELECT count(*) FROM deadline")).scalar_one()
    assert deadlines == 1
    world.run("tasks", "clear", "springest_deliver", "--yes")
    with engine.connect() as connection:
        states = connection.execute(text("SELECT DISTINCT state FROM task_instance WHERE run_id = 'cleared'"))
        assert states.scalars().all() == [None]
    engine.dispose()
