"""Connections and variables become the domain's parts, or a clear error."""

from __future__ import annotations

import json
import logging

import pytest
from airflow.sdk import lineage
from airflow.sdk.lineage import HookLineageCollector

from springest.documents.address import Address, Root
from springest.documents.local_file import NotMounted
from springest.documents.opener import DocumentError
from springest.errors import ConfigurationError
from springest.site import Site
from springest_provider import factories, object_storage
from springest_provider.operators.base import sources_of
from tests.faulty_store import faulty_s3

SITE = Site(name="default", base_url="https://api.springest.nl", api_key="k", certifications_api_key="k")


def _connection(monkeypatch, name, **values):
    monkeypatch.setenv(f"AIRFLOW_CONN_{name.upper()}", json.dumps(values))


def _open_object(uri):
    address = Address.parse(uri)
    return factories.open_object(address, Root(address))


def test_the_warehouse_must_be_postgresql(monkeypatch):
    """It names what the connection is instead."""
    _connection(monkeypatch, "certificate_warehouse", conn_type="sqlite", host="/tmp/x.db")
    with pytest.raises(ConfigurationError, match="sqlite"):
        factories.warehouse_url("certificate_warehouse")


def test_options_of_libpq_reach_the_warehouse(monkeypatch):
    """TLS to the warehouse is set in the connection's extra, as for any PostgreSQL connection."""
    extra = {"sslmode": "verify-full", "cursor": "dictcursor"}
    _connection(monkeypatch, "certificate_warehouse", conn_type="postgres", host="db", extra=extra)
    assert factories.warehouse_url("certificate_warehouse").query == {"sslmode": "verify-full"}


def test_the_source_must_be_an_sql_database(monkeypatch):
    """A connection of another kind is refused by name."""
    _connection(monkeypatch, "training_source", conn_type="springest", host="nl", password="x")
    with pytest.raises(ConfigurationError, match="training_source"), factories.source("training_source"):
        pass


@pytest.mark.parametrize("roots", [None, "", "/data", '{"a": 1}', "[1]", "[]", '["relative"]', '["/"]'])
def test_document_roots_must_be_a_list_of_folders(monkeypatch, roots):
    """Documents may come from nowhere until somebody says from where."""
    monkeypatch.delenv("AIRFLOW_VAR_SPRINGEST_DOCUMENT_ROOTS", raising=False)
    if roots is not None:
        monkeypatch.setenv("AIRFLOW_VAR_SPRINGEST_DOCUMENT_ROOTS", roots)

    with pytest.raises(ConfigurationError, match="springest_document_roots"):
        factories.documents(SITE)


@pytest.mark.parametrize("secret", [None, "", "short"])
def test_the_learner_secret_must_be_there_and_long(monkeypatch, secret):
    """The error contains the command that makes one."""
    monkeypatch.delenv("AIRFLOW_VAR_SPRINGEST_LEARNER_SECRET", raising=False)
    if secret is not None:
        monkeypatch.setenv("AIRFLOW_VAR_SPRINGEST_LEARNER_SECRET", secret)
    with pytest.raises(ConfigurationError, match="token_hex"):
        factories.pseudonyms()


def test_a_document_opens_through_object_storage(tmp_path):
    """Anything that ObjectStoragePath opens may hold documents."""
    (tmp_path / "one.pdf").write_bytes(b"%PDF-1.7")
    handle, size = _open_object(f"file://{tmp_path}/one.pdf")
    with handle:
        assert (handle.read(), size) == (b"%PDF-1.7", 8)


def test_the_uri_of_a_document_is_not_reported_as_lineage(tmp_path, monkeypatch):
    """OpenLineage's collector would put it into events; a URI may have a learner's name in it."""
    collector = HookLineageCollector()
    monkeypatch.setattr(lineage, "get_hook_lineage_collector", lambda: collector)
    (tmp_path / "name.pdf").write_bytes(b"%PDF-1.7")
    with _open_object(f"file://{tmp_path}/name.pdf")[0] as handle:
        handle.read()
    assert not collector.has_collected


@pytest.mark.parametrize(
    ("root", "package"), [("s3://bucket", "amazon"), ("gs://b/p", "google"), ("abfs://c", "azure")]
)
def test_a_missing_provider_of_a_root_is_named(monkeypatch, root, package):
    """No retry helps, so it is found before anything is staged."""
    monkeypatch.setenv("AIRFLOW_VAR_SPRINGEST_DOCUMENT_ROOTS", json.dumps([root]))
    monkeypatch.setattr(object_storage, "has_fs", lambda scheme: False)
    with pytest.raises(ConfigurationError, match=f"apache-airflow-providers-.*{package}"):
        factories.documents(SITE)


def test_a_document_in_a_bucket_opens_as_it_was_named(monkeypatch):
    """Its key is taken literally, whatever signs are in it."""
    with faulty_s3(monkeypatch) as store:
        for key in ("a.pdf", "Zo%C3%AB 1.pdf", "a#1.pdf", "a?b.pdf", "2026/a@b.pdf"):
            store.files[f"bucket/{key}"] = key.encode()
            handle, size = _open_object(f"s3://bucket/{key}")
            assert (handle.read(), size) == (key.encode(), len(key.encode()))
        with pytest.raises(DocumentError, match="parses certificate_uri differently"):
            _open_object("s3://bucket/a.pdf#")  # the standard library drops an empty fragment
        with pytest.raises(FileNotFoundError):
            _open_object("s3://bucket/none.pdf")
        with pytest.raises(NotMounted, match="bucket other does not exist"):
            _open_object("s3://other/none.pdf")


def test_an_operator_lists_each_source_once():
    """The rows of one would replace those of the other."""
    twice = ["training_source", "training_source"]
    with pytest.raises(ConfigurationError, match="training_source is listed twice: read it once"):
        sources_of(["SELECT 1", "SELECT 2"], twice, [{}, {}])


@pytest.mark.parametrize(
    ("name", "level"),
    [
        ("azure.core.pipeline.policies.http_logging_policy", logging.INFO),
        ("urllib3.connectionpool", logging.WARNING),
        ("gcsfs", logging.ERROR),
    ],
)
def test_libraries_do_not_log_the_names_of_documents(tmp_path, caplog, name, level):
    """As they do at these levels, if somebody has not set others."""
    (tmp_path / "canary.pdf").write_bytes(b"%PDF")
    logging.getLogger(name).setLevel(logging.NOTSET)
    with caplog.at_level(logging.INFO):
        _open_object(f"file://{tmp_path}/canary.pdf")[0].close()
        logging.getLogger(name).log(level, "canary.pdf")
    assert "canary" not in caplog.text
