"""Secrets backends: Airflow's local files, and Vault by its own provider over a server that speaks KV v2."""

from __future__ import annotations

import json
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest
from airflow.sdk.configuration import clear_secrets_backends_cache

from springest.errors import ConfigurationError, SettingsUnreachable
from springest_provider import factories, lookups
from springest_provider.doctor.scheduling import _secrets
from springest_provider.retry_policy import RETRY_POLICY
from springest_provider.secret_places import places_of_connection, places_of_variable
from springest_provider.site_settings import SiteSettings

TOKEN = "canary-token"
SPRINGEST = {
    "conn_type": "springest",
    "host": "https://springest.example.com",
    "password": "a-key-from-the-backend",
    "extra": {"certifications_api_key": "another-key"},
}
WAREHOUSE = {"conn_type": "postgres", "host": "db", "schema": "warehouse", "login": "u", "password": "p/w"}
SECRET = "a secret that is long enough for tests"
CONNECTIONS = {
    "springest_default": SPRINGEST,
    "certificate_warehouse": WAREHOUSE,
    "training_source": WAREHOUSE,
}
VARIABLES = {"springest_learner_secret": SECRET, "springest_document_roots": ["file:///data/certificates"]}


class Vault:
    """A server that responds like Vault's KV version 2, mounted at ``airflow``."""

    def __init__(self) -> None:
        self.secrets: dict[str, Any] = {}
        self.is_sealed = False
        vault = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                secret = vault.secrets.get(self.path.partition("?")[0].removeprefix("/v1/airflow/data/"))
                if vault.is_sealed:
                    self._send(503, {"errors": ["Vault is sealed"]})
                elif self.headers["X-Vault-Token"] != TOKEN:
                    self._send(403, {"errors": ["permission denied"]})
                elif self.path == "/v1/auth/token/lookup-self":
                    self._send(200, {"data": {"id": TOKEN}})
                elif secret is None:
                    self._send(404, {"errors": []})
                else:
                    self._send(200, {"data": {"data": secret, "metadata": {"version": 1}}})

            def _send(self, status: int, body: Any) -> None:
                content = json.dumps(body).encode()
                self.send_response(status)
                self.send_header("Content-Type", "application/json")
                self.send_header("Content-Length", str(len(content)))
                self.end_headers()
                self.wfile.write(content)

            def log_message(self, *_: Any) -> None:
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self._server.server_port}"
        threading.Thread(target=self._server.serve_forever, daemon=True).start()

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()


@pytest.fixture
def configure(monkeypatch):
    """Configure a secrets backend as an environment does; nothing else has the settings."""
    monkeypatch.setattr(lookups, "WAITS_SECONDS", (0, 0))
    for name in (*CONNECTIONS, "copy"):
        monkeypatch.delenv(f"AIRFLOW_CONN_{name.upper()}", raising=False)
    for name in VARIABLES:
        monkeypatch.delenv(f"AIRFLOW_VAR_{name.upper()}", raising=False)

    def set_backend(path, **settings):
        monkeypatch.setenv("AIRFLOW__SECRETS__BACKEND", path)
        monkeypatch.setenv("AIRFLOW__SECRETS__BACKEND_KWARGS", json.dumps(settings))
        clear_secrets_backends_cache()

    yield set_backend
    monkeypatch.undo()
    clear_secrets_backends_cache()


@pytest.fixture
def files(configure, tmp_path):
    """Airflow's local files, in which a Variable may be JSON."""
    paths = {"connections": tmp_path / "connections.json", "variables": tmp_path / "variables.json"}
    paths["connections"].write_text(json.dumps(CONNECTIONS))
    paths["variables"].write_text(json.dumps(VARIABLES))
    settings = {f"{name}_file_path": str(path) for name, path in paths.items()}
    configure("airflow.secrets.local_filesystem.LocalFilesystemBackend", **settings)
    return paths


@pytest.fixture
def vault(configure):
    """Vault, by the backend of Airflow's provider."""
    server = Vault()
    server.secrets = {
        **{f"connections/{name}": values for name, values in CONNECTIONS.items()},
        **{f"variables/{name}": {"value": value} for name, value in VARIABLES.items()},
    }
    configure(
        "airflow.providers.hashicorp.secrets.vault.VaultBackend",
        url=server.url,
        token=TOKEN,
        mount_point="airflow",
    )
    yield server
    server.close()


@pytest.fixture(params=["files", "vault"])
def backend(request):
    """Each of the two; the class that has the settings."""
    request.getfixturevalue(request.param)
    return {"files": "LocalFilesystemBackend", "vault": "VaultBackend"}[request.param]


def test_every_setting_may_come_from_a_backend(backend):
    """Both keys, the warehouse, the secret and the roots, which are JSON in the backend."""
    site = factories.read_site("springest_default")
    assert (site.api_key, site.certifications_api_key) == ("a-key-from-the-backend", "another-key")
    assert factories.warehouse_url("certificate_warehouse").password == "p/w"
    assert factories.pseudonyms().secrets == (SECRET,)
    assert factories.document_roots("default")[1] == ["file:///data/certificates"]


def test_what_stands_twice_is_noticed(backend, monkeypatch):
    """Airflow reads the backend first: a value in the environment has no effect, however new it is."""
    drop = SiteSettings(name="default", connection="springest_default", source="s3://exports/lms")
    assert "exports" not in _secrets(drop, "certificate_warehouse")
    settings = SiteSettings(name="default", connection="springest_default")
    found = _secrets(settings, "certificate_warehouse")
    assert f"connection springest_default from {backend}" in found
    assert f"Variable springest_learner_secret from {backend}" in found
    monkeypatch.setenv("AIRFLOW_CONN_SPRINGEST_DEFAULT", json.dumps({**SPRINGEST, "password": "newer"}))
    monkeypatch.setenv("AIRFLOW_VAR_SPRINGEST_LEARNER_SECRET", "newer")
    assert places_of_connection("springest_default") == [backend, "the environment"]
    assert places_of_variable("springest_learner_secret") == [backend, "the environment"]
    with pytest.raises(Exception, match=r"springest_default is in .* and the environment.*Only the first"):
        _secrets(settings, "certificate_warehouse")
    assert factories.read_site("springest_default").api_key == "a-key-from-the-backend"


def test_a_high_water_mark_in_a_backend_is_refused(files):
    """It would never change, while the one in the database does."""
    files["variables"].write_text(json.dumps({"springest_highest_attempt": 7}))
    with pytest.raises(ConfigurationError, match=r"highest_attempt in LocalFilesystemBackend, which"):
        factories.AttemptKeeper("default").read()


def test_a_missing_setting_is_missing_in_every_place(backend):
    """All have responded, so it is an error for a person and not tried again."""
    with pytest.raises(ConfigurationError, match="the connection copy is not defined"):
        lookups.read_connection("copy")
    assert lookups.read_variable("springest_highest_attempt") is None


@pytest.mark.parametrize("away", ["sealed", "closed", "token"])
def test_a_backend_that_is_away_is_tried_again(vault, configure, away):
    """Airflow goes on to the next place and calls the setting missing; a night would end for that."""
    if away == "sealed":
        vault.is_sealed = True
    elif away == "closed":
        vault.close()
        vault.close = lambda: None
    else:
        settings = {"url": vault.url, "token": "canary-former", "mount_point": "airflow"}
        configure("airflow.providers.hashicorp.secrets.vault.VaultBackend", **settings)
    for read in (
        lambda: factories.read_site("springest_default"),
        factories.pseudonyms,
        lambda: factories.AttemptKeeper("default").read(),
    ):
        with pytest.raises(SettingsUnreachable, match=r"^VaultBackend does not respond") as caught:
            read()
        assert "canary" not in str(caught.value)
        assert RETRY_POLICY.evaluate(caught.value, 1, 3).action.value == "retry"


def test_a_broken_file_is_named(files):
    """Airflow's backend raises for a file that is not JSON."""
    files["connections"].write_text("{")
    with pytest.raises(SettingsUnreachable, match="LocalFilesystemBackend"):
        factories.read_site("springest_default")
