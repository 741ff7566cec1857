"""Documents in Azure Blob Storage, against Microsoft's emulator where it is installed."""

from __future__ import annotations

import base64
import logging
import os

import pytest
from azure.storage.blob import BlobServiceClient

from demo.pdf import make_pdf
from springest.documents.opener import MEGABYTE
from springest.errors import DocumentError, DocumentUnreachable
from tests.integration.conftest import World
from tests.stores.azurite import COMMAND, azurite, connection_string
from tests.stores.conftest import store_under

pytestmark = pytest.mark.skipif(COMMAND is None, reason="azurite-blob (npm's azurite) is not installed")

ROOT = "abfs://azure@container/certificates"
NAMES = ["a b.pdf", "Zoë.pdf", "日本.pdf", "a+b.pdf", "50%.pdf", "a%20b.pdf", "[a].pdf", "2026/01/a.pdf"]


@pytest.fixture(scope="module")
def port(tmp_path_factory):
    """An emulator."""
    with azurite(tmp_path_factory.mktemp("azurite")) as port:
        yield port


@pytest.fixture
def put(port, connect, monkeypatch):
    """Store a document in a container that is empty at first; the connection ``azure`` leads to it."""
    from airflow.sdk.io import store

    monkeypatch.setattr(store, "_STORE_CACHE", {})
    connect("azure", conn_type="wasb", extra={"connection_string": connection_string(port)})
    client = BlobServiceClient.from_connection_string(connection_string(port)).get_container_client(
        "container"
    )
    client.create_container()

    def upload(name: str, content: bytes) -> None:
        client.upload_blob(f"certificates/{name}", content, overwrite=True)

    yield upload
    client.delete_container()


@pytest.mark.parametrize("name", NAMES)
def test_a_name_is_taken_literally(put, name):
    """Also beside a document whose name is what a URL parser would make of it."""
    content = make_pdf("wanted")
    for beside in {"a", "a b.pdf", "a%20b.pdf", "a+b.pdf", "50"} - {name}:
        put(beside, make_pdf("beside"))
    put(name, content)
    with store_under(ROOT).open(f"abfs://container/certificates/{name}") as document:
        assert b"".join(document.chunks()) == content


def test_document_names_are_not_logged(put, caplog):
    """Azure's library logs the URL of each request."""
    put("Canary.pdf", make_pdf())
    caplog.clear()
    with caplog.at_level(logging.INFO):
        store_under(ROOT).probe("abfs://container/certificates/Canary.pdf")
    assert "Canary" not in caplog.text


def test_a_missing_document_is_one_rows_fault(put):
    """The container is there."""
    with pytest.raises(DocumentError) as caught:
        store_under(ROOT).probe("abfs://container/certificates/none.pdf")
    assert caught.value.reason == "document_missing"


def test_a_missing_container_is_the_stores_fault(put):
    """A mistyped root."""
    with pytest.raises(DocumentUnreachable) as caught:
        store_under("abfs://azure@contianer").probe("abfs://contianer/a.pdf")
    assert caught.value.whole_store


def test_a_wrong_key_is_the_stores_fault(port, put, connect):
    """As one that was rotated."""
    put("a.pdf", make_pdf())
    wrong = connection_string(port, base64.b64encode(b"another key").decode())
    connect("azure", conn_type="wasb", extra={"connection_string": wrong})
    with pytest.raises(DocumentUnreachable) as caught:
        store_under(ROOT).probe("abfs://container/certificates/a.pdf")
    assert caught.value.whole_store


def test_no_connection_is_the_stores_fault(put, connect):
    """Nothing listens at the endpoint."""
    connect("azure", conn_type="wasb", extra={"connection_string": connection_string(9)})
    with pytest.raises(DocumentUnreachable) as caught:
        store_under(ROOT).probe("abfs://container/certificates/a.pdf")
    assert caught.value.whole_store


def test_a_replaced_document_is_not_sent(put):
    """What was hashed is what is sent."""
    put("a.pdf", make_pdf("one", size=12 * MEGABYTE))
    with store_under(ROOT).open("abfs://container/certificates/a.pdf") as document:
        put("a.pdf", make_pdf("two", size=12 * MEGABYTE))
        with pytest.raises(DocumentError) as caught:
            list(document.chunks())
    assert caught.value.reason == "document_changed"


def test_a_large_document(put):
    """It is read in ranges."""
    content = make_pdf(filling=os.urandom(60 * MEGABYTE))
    put("large.pdf", content)
    with store_under(ROOT).open("abfs://container/certificates/large.pdf") as document:
        assert document.size == len(content)
        assert b"".join(document.chunks()) == content


def test_a_night_from_azure(put, world, monkeypatch):
    """Nine certificates are sent, one has no document."""
    monkeypatch.setattr(World, "documents", property(lambda world: store_under(ROOT)))
    for number in range(9):
        put(f"{number} ë.pdf", make_pdf(str(number)))
    uris = (f"abfs://container/certificates/{number} ë.pdf" for number in range(10))
    world.complete(*(world.training(certificate_uri=uri) for uri in uris))
    world.catalogue()
    world.stage()
    world.deliver()
    assert world.posts == 9
    assert [reason for state, reason in world.states().values() if state == "invalid"] == ["document_missing"]
