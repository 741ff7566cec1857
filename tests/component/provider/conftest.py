"""The provider inside this process, over the sandbox; connections come by the environment."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator

import pytest
from sqlalchemy import Engine

from demo.world import postgres_connection
from sandbox.server import SandboxServer
from sandbox.store import Certification


@pytest.fixture
def sandbox() -> Iterator[SandboxServer]:
    """A Springest with two verified certifications."""
    certifications = [
        Certification(number, f"Certification {number}", verified=True) for number in (101, 102)
    ]
    with SandboxServer(certifications=certifications, page_max=2) as server:
        yield server


@pytest.fixture
def connected_warehouse(warehouse: Engine, warehouse_url: str, monkeypatch: pytest.MonkeyPatch) -> Engine:
    """The warehouse behind the connection ``certificate_warehouse``."""
    connection = json.dumps(postgres_connection(warehouse_url))
    monkeypatch.setenv("AIRFLOW_CONN_CERTIFICATE_WAREHOUSE", connection)
    return warehouse


@pytest.fixture
def connect(monkeypatch: pytest.MonkeyPatch, sandbox: SandboxServer) -> Callable[..., str]:
    """Set the connection ``springest_default`` to the sandbox, with changes."""

    def set_connection(**changes: object) -> str:
        extra = {"certifications_api_key": sandbox.state.certifications_api_key, "page_size": 2}
        values = {
            "conn_type": "springest",
            "host": sandbox.url,
            "password": sandbox.state.api_key,
            **changes,
        }
        values["extra"] = {**extra, **dict(changes.get("extra") or {})}
        monkeypatch.setenv("AIRFLOW_CONN_SPRINGEST_DEFAULT", json.dumps(values))
        return "springest_default"

    return set_connection
