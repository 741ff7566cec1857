"""A running Airflow with two sites: README's "Begin small" on the one, the morning's review of the other."""

from __future__ import annotations

import json
import os
import subprocess
import time
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any
from unittest.mock import ANY

import httpx
import pytest
from sqlalchemy import create_engine, text

from demo import source_database
from demo.airflow_home import PROJECT
from demo.documents import render_all
from demo.nights import LISTED, nights
from demo.postgres import EmbeddedPostgres
from demo.processes import listening, reachable_by_others
from demo.world import REQUESTS_PER_HOUR, World, complete, connections, started
from sandbox.client import SandboxClient
from sandbox.faults import Fault, Kind
from sandbox.server import SandboxServer
from sandbox.store import Certification
from springest_provider.review_form import APPLY, WAIT_FOR_ALL

pytestmark = [pytest.mark.airflow, pytest.mark.xdist_group("airflow"), pytest.mark.timeout(2400)]
SECONDS = 600
"""A busy machine is slow to start tasks."""
MORNING_KEYS = ("morning-key-for-tests", "morning-certifications-key-for-tests")
CATALOGUE, DELIVER, REVIEW = (f"springest_{name}_morning" for name in ("catalogue", "deliver", "review"))
IN_STATE = "FROM springest.delivery WHERE site = 'morning' AND state = :state"
MANY = """
INSERT INTO springest.delivery (delivery_key, site, training_id, issue_no, state, row_version,
                                staged_run_id, certification_id, learner_ref, valid_from)
SELECT md5(n::text) || md5('x' || n), 'morning', 'gone-' || n, 1, 'ready', repeat(md5(n::text), 2),
       'staged-only', 102, repeat(md5(n::text), 2), '2026-11-02'
FROM generate_series(1, 600) AS n
RETURNING 1
"""
"""Certificates of a run that grew too large; the source has none of them."""


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    """An Airflow that has just been started; its list of sites names a second one."""
    folder = tmp_path_factory.mktemp("running")
    (folder / "sql").symlink_to(PROJECT / "include" / "sql")
    (folder / "sites.toml").write_text('[morning]\nsource = "morning_source"\n')
    settings = {"SPRINGEST__SITES_FILE": str(folder / "sites.toml")}
    with started(folder / "world", tell=lambda _: None, rows=12, settings=settings) as world:
        wanted = {"springest_catalogue", "springest_deliver", CATALOGUE, DELIVER, REVIEW}
        _until(world, lambda: wanted <= world.airflow.dags(), "the DAGs are not parsed")
        yield world


@pytest.fixture
def morning(running: World, postgres: EmbeddedPostgres) -> Iterator[World]:
    """The second site, with a source and a sandbox of its own."""
    documents = running.logs.parent / "certificates"
    made = nights(8, first=date(2026, 10, 5), rows=8, root=str(documents))
    for night in made:
        render_all(night.trainings, documents)
    source_url = postgres.create_database("morning_source")
    source = create_engine(source_url)
    source_database.create_schema(source)
    with (
        SandboxServer(
            certifications=[Certification(**listed) for listed in LISTED],
            api_key=MORNING_KEYS[0],
            certifications_api_key=MORNING_KEYS[1],
        ) as server,
        SandboxClient(server.url) as sandbox,
    ):
        extra = {"requests_per_hour": REQUESTS_PER_HOUR}
        fields = connections(source_url, running.warehouse_url, server.url, MORNING_KEYS, extra)
        running.airflow.add_connection("morning_source", fields["training_source"])
        running.airflow.add_connection("springest_morning", fields["springest_default"])
        yield replace(
            running,
            source=source,
            sandbox=sandbox,
            sandbox_url=server.url,
            keys=MORNING_KEYS,
            nights=made,
        )
    source.dispose()
    postgres.drop_database("morning_source")


def _until(world: World, is_so: Any, expected: str) -> Any:
    until = time.monotonic() + SECONDS
    while not (found := is_so()):
        world.supervisor.check()
        assert time.monotonic() < until, expected
        time.sleep(0.1)
    return found


def _run(world: World, dag_id: str, run_id: str, **conf: object) -> None:
    world.airflow.trigger(dag_id, run_id=run_id, conf=conf)
    world.airflow.wait_for_run(dag_id, run_id, seconds=SECONDS, tick=world.supervisor.check)


def _scheduled(world: World, dag_id: str) -> str:
    """Unpause a DAG, and wait for the run that its schedule makes."""
    world.airflow.unpause(dag_id)
    [run] = _until(world, lambda: world.airflow.runs(dag_id), f"no run of {dag_id}")
    assert run["run_type"] == "scheduled"
    run_id = str(run["dag_run_id"])
    world.airflow.wait_for_run(dag_id, run_id, seconds=SECONDS, tick=world.supervisor.check)
    return run_id


def _states(world: World, run_id: str) -> dict[str, str]:
    tasks = world.airflow.task_instances(REVIEW, run_id)
    return {task["task_id"]: task["state"] for task in tasks}


def _asked(world: World, run_id: str) -> dict[str, Any]:
    """Wait until the run's form is there, and return it; its worker may still be parking the task."""

    def form() -> dict[str, Any] | None:
        try:
            return world.airflow.form(REVIEW, run_id, "review")
        except httpx.HTTPStatusError as error:
            if error.response.status_code == httpx.codes.NOT_FOUND:
                return None
            raise

    return dict(_until(world, form, f"{run_id} asks nothing"))


def _parked(world: World, run_id: str) -> dict[str, Any]:
    """Wait until the run's form is there and its worker has ended, as for a person; return the form."""
    form = _asked(world, run_id)
    ended = f"state success for task instance TaskInstanceKey(dag_id='{REVIEW}', task_id='review', "
    log = next(world.logs.glob("airflow-scheduler*.log"))
    _until(world, lambda: f"{ended}run_id='{run_id}'" in log.read_text(), f"{run_id} is not parked")
    return form


def _answer(world: World, run_id: str, fields: dict[str, str]) -> None:
    """Apply decisions."""
    world.airflow.answer(REVIEW, run_id, "review", choose=APPLY, fields=fields)
    _until(world, lambda: _states(world, run_id)["review"] == "success", "the answer is not applied")


def _rows(world: World, statement: str, **values: Any) -> list[Any]:
    with world.warehouse.begin() as connection:
        return list(connection.execute(text(statement), values).all())


def _posts(world: World) -> int:
    return sum(request.method == "POST" for request in world.sandbox.requests())


def test_fresh_dags_send_nothing_until_the_site_begins(running: World) -> None:
    """Unpausing them sends nothing, and a pilot sends only its own window.

    Then the site begins, and from there on everything is sent, once.
    """
    world = running
    complete(world, world.nights[0])
    _scheduled(world, "springest_catalogue")
    run_id = _scheduled(world, "springest_deliver")
    tasks = world.airflow.task_instances("springest_deliver", run_id)
    assert {task["task_id"]: task["state"] for task in tasks} == {
        "stage": "skipped",
        "deliver": "skipped",
    }
    assert "has not begun" in world.airflow.log("springest_deliver", run_id, "stage")
    assert _posts(world) == 0
    _run(world, "springest_deliver", "pilot", limit=1)
    assert _posts(world) == 1
    _run(world, "springest_deliver", "begin", begin_from=(datetime.now(UTC) - timedelta(days=1)).isoformat())
    stored = len(world.sandbox.certificates())
    assert _posts(world) == stored > 10
    _run(world, "springest_deliver", "night")
    assert _posts(world) == stored
    _everything_is_in_airflow_and_on_loopback(world, world.logs.parent / "airflow")


def _everything_is_in_airflow_and_on_loopback(world: World, home: Path) -> None:
    """A newcomer's next steps: connections, the command, the asset graph, access by others."""
    assert reachable_by_others(listening()) == []
    assert world.airflow.test_connection("springest_default") == (True, ANY)
    command = [str(PROJECT / "bin" / "springest"), "status", "--json"]
    env = {"PATH": os.environ["PATH"], "AIRFLOW_HOME": str(home)}
    status = subprocess.run(command, env=env, cwd="/", capture_output=True, text=True, check=False)
    assert (status.returncode, status.stderr) == (0, "")
    assert json.loads(status.stdout)["states"]
    doctor = subprocess.run(
        [command[0], "doctor", "--json"], env=env, cwd="/", capture_output=True, text=True, check=False
    )
    found = {check["name"]: check for check in json.loads(doctor.stdout)["checks"]}
    assert (doctor.returncode, doctor.stderr) == (0, ""), doctor.stdout
    assert found["pools"]["status"] == "ok"
    assert "springest_review" in found["DAGs"]["detail"]
    assert "@" not in doctor.stdout
    assert world.airflow.asset_graph()["nodes"]


def test_a_person_answers_what_a_night_left_open(morning: World) -> None:
    """Nothing to decide, a lost response, a refused answer that comes back, a confirmation, a large run.

    The user of an Airflow in which everybody is an admin is called Anonymous: a name goes with the answers.
    """
    complete(morning, morning.nights[0])
    _scheduled(morning, CATALOGUE)
    _nothing_to_decide(morning)
    morning.begin_site("morning")
    morning.sandbox.add_fault(Fault(Kind.CLOSE_AFTER_STORING))
    _scheduled(morning, DELIVER)
    asked_again = _a_refused_answer_comes_back(morning)
    _a_confirmation_is_applied_and_a_large_run_goes_on(morning, *asked_again)


def _nothing_to_decide(world: World) -> None:
    """The scheduled run of a morning without questions is skipped: no form, no noise."""
    run_id = _scheduled(world, REVIEW)
    assert set(_states(world, run_id).values()) == {"skipped"}


def _a_refused_answer_comes_back(world: World) -> tuple[str, str, str]:
    """Return the run that asks again, the field of the unknown delivery, and its answer."""
    [(key, training_id)] = _rows(world, f"SELECT delivery_key, training_id {IN_STATE}", state="unknown")
    world.airflow.trigger(REVIEW, run_id="morning")
    form = _parked(world, "morning")
    assert form["options"] == [APPLY, WAIT_FOR_ALL]
    assert form["defaults"] == [WAIT_FOR_ALL]
    fields = [name for name in form["params"] if name.startswith("delivery_")]
    shown = {name: form["params"][name] for name in fields}
    [own] = [name for name, item in shown.items() if training_id in str(item["schema"]["title"])]
    assert all(certificate["value"] == "wait" for certificate in shown.values())
    assert f"/deliveries/{key}" in form["body"]
    assert "@example.com" not in str(form)
    answers = dict.fromkeys(fields, "wait") | {
        own: "release without evidence",
        "why": "looked for it",
        "by": "anna",
    }
    # Sent, and Springest has a certificate that could be it: even so, it is not released.
    _answer(world, "morning", answers)
    again = _triggered(world, REVIEW)
    form = _parked(world, again)
    assert "Your answer was refused" in form["body"]
    assert "Springest shows certificate" in form["body"]
    assert _rows(world, "SELECT count(*) FROM springest.delivery_decision") == [(0,)]
    [certificate] = [item for item in form["params"][own]["schema"]["examples"] if item.startswith("confirm")]
    return again, own, certificate


def _triggered(world: World, dag_id: str, *, number: int = 1) -> str:
    """Wait for the run that a review triggers.

    :param number: how many a review has triggered then.
    """

    def triggered() -> str | None:
        runs = [str(run["dag_run_id"]) for run in world.airflow.runs(dag_id)]
        of_review = [run for run in runs if run.startswith("review__")]
        return of_review[-1] if len(of_review) == number else None

    return str(_until(world, triggered, f"no review has triggered {dag_id}"))


def _a_confirmation_is_applied_and_a_large_run_goes_on(
    world: World, again: str, own: str, certificate: str
) -> None:
    """600 certificates wait of a run that nobody has approved; the person agrees to the number shown."""
    complete(world, world.nights[1])
    _run(world, DELIVER, "staged-only", limit=1)
    posts = _posts(world)
    waiting = _rows(world, f"SELECT count(*) {IN_STATE}", state="ready")[0][0]
    assert waiting > 5
    assert _rows(world, "DELETE FROM springest.approved_run WHERE run_id = 'staged-only' RETURNING 1")
    _rows(world, MANY)
    # Airflow keeps the form of a cleared task, with the old text: a new run asks about what is there now.
    world.airflow.clear(REVIEW, again)
    large = _triggered(world, REVIEW, number=2)
    form = _parked(world, large)
    assert f"{waiting + 600:,} certificates" in form["body"]
    assert "Your answer was refused" in form["body"]
    assert "answer the rest again" in form["body"]
    [field] = [name for name in form["params"] if name.startswith("run_")]
    assert form["params"][field]["schema"]["enum"] == ["wait", "approve"]
    _answer(world, large, {own: certificate, field: "approve", "why": "seen in the admin", "by": "anna"})
    world.airflow.wait_for_run(REVIEW, large, seconds=SECONDS, tick=world.supervisor.check)
    assert _states(world, large) == {"review": "success", "deliver": "success", "again": "skipped"}
    decided = _rows(world, "SELECT decided_by, decision, reason, to_state FROM springest.delivery_decision")
    assert decided == [("anna (as Anonymous)", "confirm", "seen in the admin", "visible")]
    run_id = _triggered(world, DELIVER)
    world.airflow.wait_for_run(DELIVER, run_id, seconds=SECONDS, tick=world.supervisor.check)
    assert _posts(world) == posts + waiting  # the others are not in the source any more
    approved = "SELECT approved_by, approval_reason FROM springest.approved_run WHERE run_id = 'staged-only'"
    assert _rows(world, approved) == [("anna (as Anonymous)", "seen in the admin")]
