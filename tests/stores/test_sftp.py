"""Documents on an SFTP server on loopback."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from demo.pdf import make_pdf
from springest.errors import ConfigurationError, DocumentError, DocumentUnreachable
from tests.stores.conftest import store_under

SERVER = "127.0.0.1"


@pytest.fixture
def log_in(sftp, connect, request):
    """Define a connection of this test's own, and return the root behind it."""
    name = f"sftp_{abs(hash(request.node.nodeid))}"

    def define(password: str = "secret", **extra: object) -> str:
        extra = extra or {"host_key": sftp.host_key}
        connect(
            name, conn_type="sftp", host=SERVER, port=sftp.port, login="lms", password=password, extra=extra
        )
        return f"sftp://{name}@{SERVER}/certificates"

    return define


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """The folder that the root names, on the server."""
    return tmp_path / "sftp" / "certificates"


@pytest.mark.parametrize("name", ["a b.pdf", "Zoë.pdf", "a+b%20.pdf", "50%.pdf", "a#1.pdf", "2026/a.pdf"])
def test_a_document_opens_under_its_name(log_in, folder, name):
    """The name is taken literally."""
    content = make_pdf("wanted")
    (folder / name).parent.mkdir(exist_ok=True)
    (folder / name).write_bytes(content)
    with store_under(log_in()).open(f"sftp://{SERVER}/certificates/{name}") as document:
        assert b"".join(document.chunks()) == content


def test_a_large_document_is_sent_in_pieces(log_in, folder):
    """It is read twice, from the same handle."""
    content = make_pdf(filling=os.urandom(6_000_000))
    (folder / "a.pdf").write_bytes(content)
    with store_under(log_in()).open(f"sftp://{SERVER}/certificates/a.pdf") as document:
        assert b"".join(document.chunks()) == content


def test_a_missing_document_is_one_rows_fault(log_in):
    """Its folder is there."""
    with pytest.raises(DocumentError) as caught:
        store_under(log_in()).probe(f"sftp://{SERVER}/certificates/none.pdf")
    assert caught.value.reason == "document_missing"


def test_a_missing_folder_is_the_stores_fault(log_in, folder):
    """It is not mounted, for example."""
    folder.rmdir()
    with pytest.raises(DocumentUnreachable, match="folder /certificates does not exist") as caught:
        store_under(log_in()).probe(f"sftp://{SERVER}/certificates/a.pdf")
    assert caught.value.whole_store


@pytest.mark.parametrize(
    ("settings", "error"),
    [
        ({"password": "wrong"}, "PermissionError"),
        ({"private_key_passphrase": "none"}, "HostKeyNotVerifiable"),
        ({"host_key": "ssh-ed25519 AAAA"}, "HostKeyNotVerifiable"),
    ],
)
def test_a_refused_login_is_the_stores_fault(sftp, log_in, settings, error):
    """A server without a known key is one: anybody could answer in its name."""
    if "password" in settings:
        settings = {**settings, "host_key": sftp.host_key}
    with pytest.raises(DocumentUnreachable, match=error) as caught:
        store_under(log_in(**settings)).probe(f"sftp://{SERVER}/certificates/a.pdf")
    assert caught.value.whole_store


def test_the_host_key_check_can_be_disabled(log_in, folder):
    """With the extra of the provider."""
    (folder / "a.pdf").write_bytes(make_pdf())
    store_under(log_in(no_host_key_check=True)).probe(f"sftp://{SERVER}/certificates/a.pdf")


def test_the_root_and_its_connection_name_one_host(log_in):
    """A root without a connection has no credentials, and the host is the connection's."""
    with pytest.raises(ConfigurationError, match="names no connection"):
        store_under(f"sftp://{SERVER}/certificates").probe(f"sftp://{SERVER}/certificates/a.pdf")
    elsewhere = store_under(log_in().replace(SERVER, "files.example.com"))
    with pytest.raises(ConfigurationError, match="different hosts"):
        elsewhere.probe("sftp://files.example.com/certificates/a.pdf")
