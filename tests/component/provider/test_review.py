"""The operator of the morning's review, over a real warehouse, with answers as Airflow passes them on."""

from __future__ import annotations

import json
import logging
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from types import SimpleNamespace
from typing import Any
from uuid import uuid4

import pytest
from airflow.sdk.exceptions import AirflowSkipException, TaskAwaitingInput
from airflow.sdk.execution_time import task_runner
from airflow.sdk.execution_time.comms import CreateHITLDetailPayload, HITLDetailRequestResult
from sqlalchemy import Engine, text

from demo.ports import free_port
from springest.db.schema import approved_run
from springest_provider.operators.review import APPROVED_KEY, REFUSED_KEY, SpringestReviewOperator, until
from springest_provider.review_form import APPLY, Asked
from tests.component.review.ground import Ground
from tests.factories import SECRET, add_rows, add_staging_run, ago


class Review:
    """One run of the task: its form is answered, and its XComs are kept."""

    def __init__(self, warehouse: Engine) -> None:
        self.ground = Ground(warehouse)
        self.xcoms: dict[str, Any] = {}
        self.kept: dict[str, Any] = {}
        self.fields: dict[str, tuple[str, int, str, str]] = {}

    @property
    def operator(self) -> SpringestReviewOperator:
        """The task as each try and each resumption parses it."""
        return SpringestReviewOperator(task_id="review", sql="SELECT 1")

    def context(self, try_number: int = 1) -> Any:
        def push(key: str, value: object) -> None:
            self.xcoms[key] = json.loads(json.dumps(value))

        task_instance = SimpleNamespace(xcom_push=push, try_number=try_number, id=uuid4())
        dag_run = SimpleNamespace(conf={})
        store = SimpleNamespace(get=self.kept.get, set=self.kept.__setitem__)
        return {
            "ti": task_instance,
            "task_instance": task_instance,
            "dag_run": dag_run,
            "task_state_store": store,
        }

    def unknown(self, name: str) -> str:
        """Put a delivery of unknown outcome into the form; returns its field."""
        key = self.ground.delivery("unknown", name, sent=ago(hours=2))
        field = f"delivery_{len(self.fields) + 1}"
        self.fields[field] = (key, self.ground.of(key).version, name, name)
        return field

    def answer(self, given: object, *, user: str = "anna") -> dict[str, int]:
        event = {
            "chosen_options": [APPLY],
            "params_input": given,
            "responded_at": datetime.now(UTC),
            "responded_by_user": {"id": user, "name": user},
        }
        return self.operator.execute_complete(self.context(), event, asked=Asked(self.fields).as_dict())

    def states(self) -> list[str]:
        return [self.ground.of(key).state for key, *_ in self.fields.values()]

    @property
    def refused(self) -> dict[str, str]:
        return dict(self.xcoms[REFUSED_KEY][REFUSED_KEY])


@pytest.fixture
def review(
    connected_warehouse: Engine, connect: Callable[..., str], monkeypatch: pytest.MonkeyPatch
) -> Review:
    """The task, with a source that does not respond."""
    connect()
    source = {"conn_type": "postgres", "host": "127.0.0.1", "port": free_port(), "login": "x", "schema": "x"}
    monkeypatch.setenv("AIRFLOW_CONN_TRAINING_SOURCE", json.dumps(source))
    monkeypatch.setenv("AIRFLOW_VAR_SPRINGEST_LEARNER_SECRET", SECRET)
    return Review(connected_warehouse)


def test_a_source_that_is_down_loses_no_answer(review: Review) -> None:
    """The release comes back with the reason and the remedy, the others are applied."""
    release, first, second = (review.unknown(name) for name in ("T1", "T2", "T3"))
    given = {release: "release", first: "cancel", second: "cancel", "why": "looked"}
    assert review.answer(given) == {"decided": 2, "approved": 0, "refused": 1}
    assert review.states() == ["unknown", "cancelled", "cancelled"]
    [why] = review.refused.values()
    assert "the source can't be read now" in why
    assert "Answer again once it can" in why


def test_a_shared_login_decides_under_a_name(review: Review) -> None:
    """Without one, every answer comes back."""
    field = review.unknown("T1")
    for by in (None, "", "admin"):
        assert review.answer({field: "cancel", "why": "x", "by": by}, user="Anonymous")["refused"] == 1
        assert "several people share" in next(iter(review.refused.values()))
    review.answer({field: "cancel", "why": "x", "by": "zoë"}, user="Anonymous")
    [decision] = review.ground.decisions()
    assert decision.decided_by == "zoë (as Anonymous)"


@pytest.mark.parametrize("field", ["delivery_1", "why", "by"])
def test_any_json_gets_a_clear_refusal(review: Review, field: str) -> None:
    """Answers come over the REST API as well."""
    review.unknown("T1")
    for given in (0, 5, 1.5, True, [], ["cancel"], {}, {"a": {"b": 1}}):
        answers = {"delivery_1": "cancel", "why": "looked", "by": "anna", field: given}
        assert review.answer(answers)["refused"] == 1
        assert "is not a text" in next(iter(review.refused.values()))
    assert review.states() == ["unknown"]


def test_a_field_that_the_form_does_not_have_comes_back(review: Review) -> None:
    """A misspelt name stops no other answer."""
    field = review.unknown("T1")
    assert review.answer({field: "cancel", "delivry_2": "cancel", "why": "x"})["refused"] == 1
    assert review.refused == {"delivry_2": "the form has no such field"}
    assert review.states() == ["cancelled"]


def test_no_address_of_an_answer_is_logged_or_kept(
    review: Review, sandbox: Any, caplog: pytest.LogCaptureFixture
) -> None:
    """Keys and terminal control characters are not logged or kept either."""
    caplog.set_level(logging.DEBUG)
    first, second = review.unknown("T1"), review.unknown("T2")
    key = sandbox.state.api_key
    given = {
        first: "ask\x1b[2J eve@example.com",
        second: key,
        "eve@example.com": "x",
        "why": f"by eve@example.com {key}",
    }
    assert review.answer(given)["refused"] == 3
    for kept in (json.dumps(review.xcoms), caplog.text):
        assert "eve@" not in kept
        assert key not in kept
        assert "\x1b" not in kept


def test_a_try_after_an_approval_triggers_the_delivery(review: Review) -> None:
    """The remaining questions are asked again, by a later try only, and only until a run has staged."""
    key = review.ground.delivery("ready", "T1", staged_run_id="large")
    add_rows(
        review.ground.warehouse,
        approved_run,
        {"site": "default", "run_id": "large", "approved_by": "anna", "approval_reason": "x"},
    )
    with pytest.raises(AirflowSkipException):
        review.operator.execute(review.context())
    assert review.xcoms == {}
    for _ in range(2):
        counts = review.operator.execute(review.context(try_number=2))
        assert counts == {"decided": 0, "approved": 0, "refused": 0}
        assert review.xcoms == {APPROVED_KEY: {}, REFUSED_KEY: {REFUSED_KEY: {}}}
    add_staging_run(review.ground.warehouse, [key], run_id="next")
    review.xcoms.clear()
    with pytest.raises(AirflowSkipException):
        review.operator.execute(review.context(try_number=2))
    assert review.xcoms == {}


class Supervisor:
    """Airflow's supervisor, which keeps the first form of a task."""

    def __init__(self) -> None:
        self.form: dict[str, Any] = {}

    def send(self, msg: object) -> HITLDetailRequestResult | None:
        if not isinstance(msg, CreateHITLDetailPayload):
            return None
        self.form = self.form or msg.model_dump(exclude={"type"})
        return HITLDetailRequestResult(**self.form)


def test_a_retry_shows_its_form_only_if_airflow_shows_no_other(
    review: Review, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Else the fields of the old form would be answers about other deliveries."""
    monkeypatch.setattr(task_runner, "SUPERVISOR_COMMS", Supervisor(), raising=False)
    review.unknown("T1")
    for _ in range(2):
        with pytest.raises(TaskAwaitingInput):
            review.operator.execute(review.context(try_number=2))
    assert review.xcoms == {}
    review.unknown("T2")
    assert review.operator.execute(review.context(try_number=3)) == {
        "decided": 0,
        "approved": 0,
        "refused": 0,
    }
    assert "answer the rest again" in next(iter(review.refused.values()))


def test_a_retry_says_why_an_earlier_try_refused(review: Review, monkeypatch: pytest.MonkeyPatch) -> None:
    """Airflow retries a task that is answered before its worker has ended, although it applies the answer."""
    supervisor = Supervisor()
    monkeypatch.setattr(task_runner, "SUPERVISOR_COMMS", supervisor, raising=False)
    field = review.unknown("T1")
    with pytest.raises(TaskAwaitingInput):
        review.operator.execute(review.context(try_number=2))
    review.answer({field: "confirm me", "why": "looked"})
    [why] = review.refused.values()
    review.xcoms.clear()
    review.operator.execute(review.context(try_number=3))
    assert list(review.refused.values()) == [why]


def test_a_form_expires_when_the_next_one_is_due() -> None:
    """A form that is asked again in the afternoon expires then too, in any time zone of the clock."""
    at = "0 7 * * *"
    morning = datetime(2026, 11, 2, 7, 0, 5, tzinfo=UTC)
    assert until(at, morning) == timedelta(days=1) - timedelta(seconds=5)
    assert until(at, morning.replace(hour=17)) == timedelta(hours=14) - timedelta(seconds=5)
    assert until(at, morning.replace(hour=6)) == timedelta(minutes=59, seconds=55)
    assert until(at, morning.replace(second=0)) == timedelta(days=1)


def _count(warehouse: Engine, table: str) -> int:
    with warehouse.connect() as connection:
        return int(connection.execute(text(f"SELECT count(*) FROM springest.{table}")).scalar_one())  # noqa: S608


def test_waiting_decides_nothing(review: Review) -> None:
    """A form whose every field is *wait* takes no snapshot and asks no further question."""
    field = review.unknown("T1")
    assert review.answer({field: "wait", "why": None}) == {"decided": 0, "approved": 0, "refused": 0}
    assert review.xcoms == {}
    assert _count(review.ground.warehouse, "snapshot") == 0
