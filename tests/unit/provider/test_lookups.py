"""Connections and Variables that are missing, or stand in two places."""

from __future__ import annotations

import pytest
from airflow.sdk import BaseHook, Variable
from airflow.sdk.exceptions import AirflowNotFoundException

from springest.errors import ConfigurationError
from springest_provider import lookups, parts
from springest_provider.hooks.springest import SpringestHook
from springest_provider.retry_policy import RETRY_POLICY

FAILS = "fail"


def fate(error: BaseException) -> str:
    """What Airflow does with a task that ends with this error."""
    return RETRY_POLICY.evaluate(error, 1, 3).action.value


@pytest.fixture(autouse=True)
def waits(monkeypatch):
    """No time passes."""
    waited = []
    monkeypatch.setattr(lookups.time, "sleep", waited.append)
    return waited


@pytest.mark.parametrize(
    "use",
    [
        lambda: parts.warehouse_url("nowhere"),
        lambda: parts.source("nowhere").__enter__(),
        lambda: parts.warehouse("nowhere").__enter__(),
        lambda: SpringestHook("nowhere").get_site(),
    ],
)
def test_a_connection_that_is_missing_is_named_and_not_tried_again(use, waits):
    with pytest.raises(ConfigurationError, match="the connection nowhere is not defined") as caught:
        use()
    assert fate(caught.value) == FAILS
    assert waits == list(lookups.WAITS_SECONDS)


def test_a_connection_that_is_there_at_the_second_look_is_not_missing(monkeypatch):
    """Airflow says the same of an API server that does not answer."""
    answers = iter([AirflowNotFoundException("not defined"), "it"])

    def get(_):
        answer = next(answers)
        if isinstance(answer, Exception):
            raise answer
        return answer

    monkeypatch.setattr(BaseHook, "get_connection", get)
    assert lookups.read_connection("warehouse") == "it"


def test_a_variable_that_is_there_at_the_third_look_is_not_missing(monkeypatch):
    """Taken for missing, the highest attempt would be none, and guard against nothing."""
    answers = iter([None, None, "41"])
    monkeypatch.setattr(Variable, "get", lambda *_, **__: next(answers))
    assert parts.AttemptKeeper("default").read() == 41


@pytest.mark.parametrize("site", ["default", "uk"])
def test_a_copy_that_hides_the_highest_attempt_is_named(monkeypatch, site):
    name = "springest_highest_attempt" + ("" if site == "default" else "_uk")
    monkeypatch.setenv(f"AIRFLOW_VAR_{name.upper()}", "3")
    with pytest.raises(ConfigurationError) as caught:
        parts.AttemptKeeper(site).read()
    assert f"the Variable {name} also stands in EnvironmentVariablesBackend" in str(caught.value)
    assert f"AIRFLOW_VAR_{name.upper()}" in str(caught.value)
    assert fate(caught.value) == FAILS


@pytest.mark.parametrize(
    ("kind", "package"),
    [
        ("mssql", "apache-airflow-providers-microsoft-mssql"),
        ("mysql", "apache-airflow-providers-mysql"),
        ("nosuchdb", "apache-airflow-providers-nosuchdb"),
    ],
)
def test_a_source_whose_provider_is_not_installed_names_it_and_is_not_tried_again(monkeypatch, kind, package):
    monkeypatch.setenv("AIRFLOW_CONN_TRAINING_SOURCE", f'{{"conn_type": "{kind}", "host": "db"}}')
    with pytest.raises(ConfigurationError, match=package) as caught, parts.source("training_source"):
        pass
    assert fate(caught.value) == FAILS
