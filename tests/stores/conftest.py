"""Real servers of other stores; `make test-stores` has the packages that these tests need."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest

from springest.documents.opener import DocumentStore
from springest_provider.object_storage import open_object
from tests.integration.conftest import make_world, world

__all__ = ["make_world", "world"]

collect_ignore_glob = [] if find_spec("moto") else ["test_*.py"]


@pytest.fixture
def connect(monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
    """Define a connection of Airflow."""

    def define(name: str, **values: Any) -> None:
        monkeypatch.setenv(f"AIRFLOW_CONN_{name.upper()}", json.dumps(values))

    return define


@pytest.fixture
def s3(connect: Callable[..., None], monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    """An S3 server with a bucket, and the connection ``aws`` to it."""
    from airflow.sdk.io import store

    from tests.stores.s3_server import s3_server

    monkeypatch.setattr(store, "_STORE_CACHE", {})
    with s3_server() as server:
        extra = {"endpoint_url": server.url, "region_name": "us-east-1"}
        connect("aws", conn_type="aws", login="key", password="secret", extra=extra)
        server.client.create_bucket(Bucket="bucket")
        server.requests.clear()
        yield server


@pytest.fixture
def sftp(tmp_path: Path) -> Iterator[Any]:
    """An SFTP server whose user sees a folder."""
    from tests.stores.sftp_server import sftp_server

    folder = tmp_path / "sftp"
    (folder / "certificates").mkdir(parents=True)
    with sftp_server(folder) as server:
        yield server


def store_under(root: str, **settings: Any) -> DocumentStore:
    """Return a store of documents under one root, opened as in a run."""
    return DocumentStore.under([root], open_remote=open_object, **settings)
