"""The demo's Airflow: what its commands read, and how patient its API's client is."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread
from typing import ClassVar

import httpx
import pytest

from demo.airflow_home import AirflowApi, environment, write_config


def test_a_command_needs_only_the_folder(tmp_path: Path) -> None:
    """With AIRFLOW_HOME alone, Airflow's own configuration reads what the demo's processes are given."""
    url = "postgresql+psycopg2://me:p%40ss%22@127.0.0.1:1/airflow"
    env = environment(tmp_path, metadata_url=url, api_port=1, connections={}, variables={})
    write_config(tmp_path, env)
    assert (tmp_path / "airflow.cfg").stat().st_mode & 0o077 == 0
    script = "from airflow.configuration import conf; print(conf.get('database', 'sql_alchemy_conn'))"
    bare = {name: value for name, value in env.items() if not name.startswith("AIRFLOW__")}
    done = subprocess.run(
        [sys.executable, "-c", script], env=bare, capture_output=True, text=True, check=True
    )
    assert done.stdout.splitlines()[-1] == url


class LosesItsFirstResponse(BaseHTTPRequestHandler):
    """Does what was asked for, and hangs up instead of saying so."""

    created: ClassVar[list[str]] = []

    def do_POST(self) -> None:
        """Create what the path names; the second time it exists."""
        if self.path in self.created:
            self.send_response(409)
            self.send_header("Content-Length", "0")
            self.end_headers()
        else:
            self.created.append(self.path)
        self.close_connection = True

    def log_message(self, *_: object) -> None:
        """Keep quiet."""


@pytest.fixture
def server() -> Iterator[str]:
    LosesItsFirstResponse.created.clear()
    with ThreadingHTTPServer(("127.0.0.1", 0), LosesItsFirstResponse) as http_server:
        Thread(target=http_server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{http_server.server_port}"
        http_server.shutdown()


@pytest.fixture
def patient(server: str) -> Iterator[AirflowApi]:
    api = AirflowApi(server, patience=60)
    yield api
    api.close()


def test_a_lost_response_is_retried_and_creates_nothing_twice(patient: AirflowApi) -> None:
    """If Airflow's response is lost, the request is repeated and creates nothing twice."""
    patient.add_variable("name", "value")
    assert LosesItsFirstResponse.created == ["/api/v2/variables"]


def test_a_lost_response_without_retries_is_an_error(server: str) -> None:
    """Without retries a lost response is an error."""
    api = AirflowApi(server)
    with pytest.raises(httpx.TransportError):
        api.trigger("a_dag", run_id="a_run")
    api.close()
