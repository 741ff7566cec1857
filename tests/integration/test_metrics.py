"""Metrics of real nights, by Airflow's own clients to a real UDP socket and a real OTLP receiver."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, HTTPServer
from threading import Thread

import pytest
from airflow.sdk._shared.observability.metrics.base_stats_logger import NoStatsLogger
from airflow.sdk.observability import stats
from airflow.sdk.observability.metrics.stats_utils import get_stats_factory
from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import ExportMetricsServiceRequest

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


# As a task does it: Airflow sends the metrics when the process ends.
EMIT = """
from airflow.sdk.observability import stats
from airflow.sdk.observability.metrics.stats_utils import get_stats_factory
from springest.review.metrics import Metrics
from springest_provider.metrics import emit

stats.initialize(factory=get_stats_factory(), export_legacy_names=False)
emit("uk", Metrics(2, 0, 1, 0, 7, 90.0, 0.25, 60.0, None))
"""


@contextmanager
def otlp_receiver():
    """A receiver of OTLP over HTTP: its URL, and the requests that it was sent."""
    received = []

    class Receiver(BaseHTTPRequestHandler):
        def do_POST(self):
            body = self.rfile.read(int(self.headers["Content-Length"]))
            received.append((self.path, ExportMetricsServiceRequest.FromString(body)))
            self.send_response(200)
            self.end_headers()

        def log_message(self, *_):
            """Write no log."""

    with HTTPServer(("127.0.0.1", 0), Receiver) as server:
        thread = Thread(target=server.serve_forever)
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.server_port}", received
        finally:
            server.shutdown()
            thread.join()


def test_metrics_reach_an_otlp_receiver():
    """Counters and gauges with the tag ``site``, by the settings that docs/operations.md gives."""
    with otlp_receiver() as (url, received):
        settings = {
            "AIRFLOW__METRICS__OTEL_ON": "True",
            "OTEL_EXPORTER_OTLP_ENDPOINT": url,
            "OTEL_EXPORTER_OTLP_PROTOCOL": "http/protobuf",
            "OTEL_SERVICE_NAME": "airflow",
        }
        path = os.pathsep.join(sys.path)
        done = subprocess.run(
            [sys.executable, "-c", EMIT],
            env={**os.environ, **settings, "PYTHONPATH": path},
            capture_output=True,
            text=True,
            check=False,
            timeout=120,
        )
    assert done.returncode == 0, done.stderr
    path, request = received[0]  # another one follows when the process ends
    assert path == "/v1/metrics"
    sent = {}
    for metric in request.resource_metrics[0].scope_metrics[0].metrics:
        [point] = (metric.sum if metric.HasField("sum") else metric.gauge).data_points
        [tag] = point.attributes
        assert (tag.key, tag.value.string_value) == ("site", "uk")
        sent[metric.name] = point.as_int or point.as_double
    assert sent == {
        "airflow.springest_uk.deliveries.accepted": 2,
        "airflow.springest_uk.deliveries.unknown": 1,
        "airflow.springest_uk.queue.length": 7,
        "airflow.springest_uk.unknown.oldest_seconds": 90.0,
        "airflow.springest_uk.requests.share_of_cap": 0.25,
        "airflow.springest_uk.verification.median_seconds": 60.0,
    }
