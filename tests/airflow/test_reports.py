"""The report of a run in Airflow: the end of its tasks' logs, and the note on the run."""

from __future__ import annotations

import json
import re
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from demo.nights import Training
from sandbox.faults import Fault, Kind

from .conftest import (
    CANARY_ADDRESS,
    CANARY_CERTIFICATIONS_KEY,
    CANARY_KEY,
    AirflowWorld,
    training,
)

pytestmark = [pytest.mark.airflow, pytest.mark.xdist_group("airflow")]


def _trainings(folder: Path) -> list[Training]:
    """Two that can be sent, and one whose document is not there."""
    return [
        training(folder, 1),
        training(folder, 2),
        training(folder, 3, certificate_uri=str(folder / "gone.pdf")),
    ]


END_RUN = """
import sys
from airflow.listeners.listener import get_listener_manager
from airflow.models.dagrun import DagRun
from airflow.models.xcom import XComModel
from airflow.utils.session import create_session
from airflow.utils.sqlalchemy import prohibit_commit
from sqlalchemy import delete, select

ended, note, forget = sys.argv[1:]
with create_session() as session:
    with prohibit_commit(session) as guard:
        wanted = select(DagRun).where(DagRun.dag_id == "springest_deliver").order_by(DagRun.id.desc())
        run = session.scalars(wanted).first()
        if note:
            run.note = note
        if forget:
            session.execute(delete(XComModel).where(XComModel.dag_run_id == run.id))
        hook = get_listener_manager().hook
        getattr(hook, f"on_dag_run_{ended}")(dag_run=run, msg="as the scheduler calls it")
        guard.commit()
    print(f"NOTE<{run.note}>")
"""


def _end_run(world: AirflowWorld, ended: str, note: str = "", *, forget: bool = False) -> str:
    """End the last run as the scheduler does, in its session that nobody else may commit; return its note.

    :param note: written by a person before.
    :param forget: let its tasks have left nothing.
    """
    output = world.script(END_RUN, ended, note, "yes" if forget else "")
    found = re.search(r"NOTE<(.*)>", output, re.DOTALL)
    assert found, output[-4000:]
    return found[1]


def _key(world: AirflowWorld, training_id: str) -> str:
    keys = dict(map(tuple, world.rows("SELECT training_id, delivery_key FROM springest.delivery")))
    return str(keys[training_id])


def _check_lineage(text: str, world: AirflowWorld) -> None:
    """Each task's lineage is complete and contains no e-mail address or key."""
    events = [event for event in map(json.loads, text.splitlines()) if event["eventType"] == "COMPLETE"]
    by_task = {event["job"]["name"]: event for event in events}
    deliver = by_task["springest_deliver.deliver"]
    reads, writes = ({dataset["name"] for dataset in deliver[side]} for side in ("inputs", "outputs"))
    source = urlsplit(world.source_url).path.removeprefix("/")
    warehouse = urlsplit(world.warehouse_url).path.removeprefix("/")
    assert {f"{source}.completed_training", f"{source}.learner", f"{warehouse}.springest.delivery"} == reads
    assert {"/certificates", f"{warehouse}.springest.delivery_attempt"} < writes
    assert "FROM completed_training" in deliver["job"]["facets"]["sql"]["query"]
    assert "springest_catalogue.catalogue" in by_task
    for canary in (CANARY_KEY, CANARY_CERTIFICATIONS_KEY, CANARY_ADDRESS):
        assert canary not in text


def test_a_log_ends_with_the_counts_and_a_green_run_has_a_note(make_airflow, tmp_path):
    """One unknown, one set aside: the run is green, and still nobody overlooks them."""
    lineage = tmp_path / "lineage.json"
    transport = {"type": "file", "log_file_path": str(lineage), "append": True}
    world = make_airflow(trainings=_trainings, AIRFLOW__OPENLINEAGE__TRANSPORT=json.dumps(transport))
    catalogue = world.run("dags", "test", "springest_catalogue")
    assert re.search(r"listed +added +unlisted", catalogue)
    world.sandbox.state.faults.add(Fault(Kind.CLOSE_AFTER_STORING))
    log = world.run("dags", "test", "springest_deliver")
    assert re.search(r"completed +staged +set aside +sent +accepted +refused +unknown +left +requests", log)
    assert re.search(r" 3 +2 +1 +2 +1 +0 +1 +0 +2 of 100,000/h", log)
    assert "'sent': 2" in world.metadata(), "the asset's event has the counts"
    [[unknown]] = world.rows("SELECT training_id FROM springest.delivery WHERE state = 'unknown'")
    for training_id, state in ((unknown, "unknown"), ("T3", "invalid")):
        story = f"http://127.0.0.1:1/springest/deliveries/{_key(world, training_id)}"
        assert re.search(rf"warning.*{training_id} is {state} \(.*Remedy: .*{story}", log)
    assert "alembic" not in log
    _check_lineage(lineage.read_text(encoding="utf-8"), world)
    note = _end_run(world, "success")
    assert note.startswith("Springest: 1 unknown, 1 set aside of 3 completed. http://127.0.0.1:1/springest/")
    assert _end_run(world, "failed") == note, "a run that ends again says it once"
    assert _end_run(world, "success", "Mia is on it") == f"Mia is on it\n{note}"
    assert _end_run(world, "success", forget=True) == "Mia is on it", "what a person wrote stays"
