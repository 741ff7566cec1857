"""The addresses that notifications and operators link to."""

from __future__ import annotations

from types import SimpleNamespace

import pytest

from springest_provider.operators.deliver import SpringestDeliverOperator, SpringestStageOperator
from springest_provider.operators.reconcile import SpringestSnapshotOperator
from springest_provider.ui import links


@pytest.fixture
def base_url(monkeypatch):
    def set_to(value: str) -> None:
        monkeypatch.setenv("AIRFLOW__API__BASE_URL", value)

    return set_to


def test_links_begin_with_the_base_url(base_url):
    """Links begin with Airflow's `base_url`."""
    base_url("https://airflow.example.com/etl/")
    assert links.overview_url() == "https://airflow.example.com/etl/springest/"
    assert links.delivery_url("ab12") == "https://airflow.example.com/etl/springest/deliveries/ab12"


def test_links_without_a_base_url_are_paths(base_url):
    """Without a `base_url` links are absolute paths."""
    base_url("")
    assert links.overview_url() == "/springest/"


def test_filters_are_encoded_and_none_is_left_out(base_url):
    """Filters of a link are URL-encoded, and a filter that is None is left out."""
    base_url("")
    url = links.deliveries_url(run="scheduled__2026-11-02T01:00:00+00:00", state=None, certification=101)
    assert url == "/springest/deliveries?run=scheduled__2026-11-02T01%3A00%3A00%2B00%3A00&certification=101"


def test_operators_link_to_the_page(base_url):
    """The operators have a link to the page."""
    base_url("https://airflow.example.com")
    key = SimpleNamespace(run_id="night 1")
    stage = SpringestStageOperator(task_id="stage", sql="SELECT 1")
    assert {link.name: link.get_link(stage, ti_key=key) for link in stage.operator_extra_links} == {
        "Deliveries of this run": "https://airflow.example.com/springest/deliveries?run=night+1"
    }
    deliver = SpringestDeliverOperator(task_id="deliver", sql="SELECT 1")
    assert [link.name for link in deliver.operator_extra_links] == ["Deliveries of this run"]
    snapshot = SpringestSnapshotOperator(task_id="snapshot")
    assert {link.get_link(snapshot, ti_key=key) for link in snapshot.operator_extra_links} == {
        "https://airflow.example.com/springest/"
    }
