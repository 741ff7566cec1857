"""Connections and variables become the domain's parts, or a clear error."""

from __future__ import annotations

import json

import pytest
from springest_provider import parts

from include.springest.errors import ConfigurationError


def _connection(monkeypatch, name, **values):
    monkeypatch.setenv(f"AIRFLOW_CONN_{name.upper()}", json.dumps(values))


def test_the_warehouse_must_be_postgresql(monkeypatch):
    """It names what the connection is instead."""
    _connection(monkeypatch, "certificate_warehouse", conn_type="sqlite", host="/tmp/x.db")
    with pytest.raises(ConfigurationError, match="sqlite"):
        parts.warehouse_url("certificate_warehouse")


def test_options_of_libpq_reach_the_warehouse(monkeypatch):
    """TLS to the warehouse is set in the connection's extra, as for any PostgreSQL connection."""
    extra = {"sslmode": "verify-full", "cursor": "dictcursor"}
    _connection(monkeypatch, "certificate_warehouse", conn_type="postgres", host="db", extra=extra)
    assert parts.warehouse_url("certificate_warehouse").query == {"sslmode": "verify-full"}


def test_the_source_must_be_an_sql_database(monkeypatch):
    """A connection of another kind is refused by name."""
    _connection(monkeypatch, "training_source", conn_type="springest", host="nl", password="x")
    with pytest.raises(ConfigurationError, match="training_source"), parts.source("training_source"):
        pass


@pytest.mark.parametrize("roots", [None, "", "/data", '{"a": 1}', "[1]", "[]", '["relative"]', '["/"]'])
def test_document_roots_must_be_a_list_of_folders(monkeypatch, roots):
    """Documents may come from nowhere until somebody says from where."""
    monkeypatch.delenv("AIRFLOW_VAR_SPRINGEST_DOCUMENT_ROOTS", raising=False)
    if roots is not None:
        monkeypatch.setenv("AIRFLOW_VAR_SPRINGEST_DOCUMENT_ROOTS", roots)

    class Accepting:
        accepted_types = ("application/pdf",)

    with pytest.raises(ConfigurationError, match="springest_document_roots"):
        parts.documents(Accepting())


@pytest.mark.parametrize("secret", [None, "", "short"])
def test_the_learner_secret_must_be_there_and_long(monkeypatch, secret):
    """The error tells how to make one."""
    monkeypatch.delenv("AIRFLOW_VAR_SPRINGEST_LEARNER_SECRET", raising=False)
    if secret is not None:
        monkeypatch.setenv("AIRFLOW_VAR_SPRINGEST_LEARNER_SECRET", secret)
    with pytest.raises(ConfigurationError, match="token_hex"):
        parts.pseudonyms()


def test_a_document_opens_through_object_storage(tmp_path):
    """Anything that ObjectStoragePath opens may hold documents."""
    (tmp_path / "one.pdf").write_bytes(b"%PDF-1.7")
    handle, size = parts.open_object(f"file://{tmp_path}/one.pdf")
    with handle:
        assert (handle.read(), size) == (b"%PDF-1.7", 8)
