"""Metrics of real nights, by Airflow's own client to a real UDP socket."""

from __future__ import annotations

import socket
from datetime import UTC, datetime, timedelta

import pytest
from airflow.sdk._shared.observability.metrics.base_stats_logger import NoStatsLogger
from airflow.sdk.observability import stats
from airflow.sdk.observability.metrics.stats_utils import get_stats_factory

from sandbox.faults import Fault, Kind
from springest.review.metrics import Metrics, measure
from springest_provider.metrics import emit


@pytest.fixture
def datagrams(monkeypatch):
    """Names, values and kinds of what Airflow's StatsD client sends."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as server:
        server.bind(("127.0.0.1", 0))
        server.settimeout(10)
        monkeypatch.setenv("AIRFLOW__METRICS__STATSD_ON", "True")
        monkeypatch.setenv("AIRFLOW__METRICS__STATSD_HOST", "127.0.0.1")
        monkeypatch.setenv("AIRFLOW__METRICS__STATSD_PORT", str(server.getsockname()[1]))
        client = get_stats_factory()()  # as a task makes it
        stats.initialize(factory=lambda: client, export_legacy_names=False)

        def receive(count):
            return sorted(server.recv(1_000).decode() for _ in range(count))

        yield receive
        client.statsd.close()
        stats.initialize(factory=NoStatsLogger, export_legacy_names=False)


def _measured(world, run_id, since=None):
    with world.warehouse.connect() as connection:
        began = since or datetime.now(UTC) - timedelta(hours=1)
        return measure(connection, world.site, run_id=run_id, since=began)


def test_metrics_say_what_a_night_did(world):
    """One accepted and shown, one unknown, one that waits."""
    world.complete(world.training())
    world.night("first")
    world.complete(world.training())
    world.stage("second")
    world.sandbox.state.faults.add(Fault(Kind.CLOSE_AFTER_STORING))
    world.deliver("second")
    world.complete(world.training())
    world.stage("third")
    first, second = _measured(world, "first"), _measured(world, "second")
    assert (first.accepted, first.unknown) == (1, 0)
    assert (second.accepted, second.refused, second.unknown, second.not_stored) == (0, 0, 1, 0)
    assert second.queue_length == 1
    assert 0 < second.oldest_unknown_seconds < 600
    assert 0 < second.share_of_cap < 1
    assert 0 <= first.median_verification_seconds <= first.p90_verification_seconds < 600
    assert _measured(world, "first", since=datetime.now(UTC)).accepted == 0, "of an earlier try"


def test_a_site_without_a_night_has_metrics_of_nothing(world):
    """No verification delay is known, and none is emitted."""
    assert _measured(world, "none") == Metrics(0, 0, 0, 0, 0, 0.0, 0.0, None, None)


def test_metrics_reach_statsd(datagrams):
    """Counters and gauges, under Airflow's prefix; a second site has names of its own."""
    emit("default", Metrics(2, 0, 1, 0, 7, 90.0, 0.25, 60.0, None))
    assert datagrams(6) == [
        "airflow.springest.deliveries.accepted:2|c",
        "airflow.springest.deliveries.unknown:1|c",
        "airflow.springest.queue.length:7|g",
        "airflow.springest.requests.share_of_cap:0.25|g",
        "airflow.springest.unknown.oldest_seconds:90.0|g",
        "airflow.springest.verification.median_seconds:60.0|g",
    ]
    emit("uk", Metrics(1, 0, 0, 0, 0, 0.0, 0.0, None, None))
    assert datagrams(4)[0] == "airflow.springest_uk.deliveries.accepted:1|c"
