"""Connections and Variables that are missing, or stand in two places."""

from __future__ import annotations

import pytest
from airflow.sdk import BaseHook, Variable
from airflow.sdk.exceptions import AirflowNotFoundException

from springest.errors import ConfigurationError
from springest_provider import factories, lookups
from springest_provider.hooks.springest import SpringestHook
from springest_provider.retry_policy import RETRY_POLICY

FAILS = "fail"


def fate(error: BaseException) -> str:
    """Return how Airflow handles a task that ends with this error."""
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
        lambda: factories.warehouse_url("nowhere"),
        lambda: factories.source("nowhere").__enter__(),
        lambda: factories.warehouse("nowhere").__enter__(),
        lambda: SpringestHook("nowhere").get_site(),
    ],
)
def test_a_missing_connection_is_named_and_not_retried(use, waits):
    """The error names the missing connection, and Airflow does not retry it."""
    with pytest.raises(ConfigurationError, match="the connection nowhere is not defined") as caught:
        use()
    assert fate(caught.value) == FAILS
    assert waits == list(lookups.WAITS_SECONDS)


def test_a_connection_found_at_the_second_try_is_used(monkeypatch):
    """Airflow reports an API server that does not respond as a missing connection."""
    answers = iter([AirflowNotFoundException("not defined"), "it"])

    def get(_):
        answer = next(answers)
        if isinstance(answer, Exception):
            raise answer
        return answer

    monkeypatch.setattr(BaseHook, "get_connection", get)
    assert lookups.read_connection("warehouse") == "it"


def test_a_variable_found_at_the_third_try_is_used(monkeypatch):
    """If it counted as missing, there would be no high-water mark, and it would guard against nothing."""
    answers = iter([None, None, "41"])
    monkeypatch.setattr(Variable, "get", lambda *_, **__: next(answers))
    assert factories.AttemptKeeper("default").read() == 41


@pytest.mark.parametrize("site", ["default", "uk"])
def test_a_copy_that_hides_the_high_water_mark_is_named(monkeypatch, site):
    """A copy of the Variable that is read before the database's is an error that names it."""
    name = "springest_highest_attempt" + ("" if site == "default" else "_uk")
    monkeypatch.setenv(f"AIRFLOW_VAR_{name.upper()}", "3")
    with pytest.raises(ConfigurationError) as caught:
        factories.AttemptKeeper(site).read()
    assert f"a copy of the Variable {name} in the environment" in str(caught.value)
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
def test_a_missing_provider_of_the_source_is_named(monkeypatch, kind, package):
    """The error names the provider that is not installed, and Airflow does not retry it."""
    monkeypatch.setenv("AIRFLOW_CONN_TRAINING_SOURCE", f'{{"conn_type": "{kind}", "host": "db"}}')
    with pytest.raises(ConfigurationError, match=package) as caught, factories.source("training_source"):
        pass
    assert fate(caught.value) == FAILS
