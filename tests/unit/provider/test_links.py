"""Documents behind links, from a real HTTP server on loopback."""

from __future__ import annotations

import json
import logging
import socket
import ssl
import threading
from base64 import b64encode
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from demo.pdf import make_pdf
from springest.documents.opener import DocumentStore
from springest.errors import ConfigurationError, DocumentError, DocumentUnreachable
from springest_provider import links
from springest_provider.links import fetch, is_public

PDF = make_pdf("certificate")
Answer = tuple[int, dict[str, str], bytes]


@dataclass
class Lms:
    """A server of documents.

    :param answers: status, headers and body by path with query; all others are 404.
    :param requests: path and headers of each request.
    """

    port: int = 0
    answers: dict[str, Answer | Callable[[], Answer]] = field(default_factory=dict)
    requests: list[tuple[str, dict[str, str]]] = field(default_factory=list)

    @property
    def paths(self) -> list[str]:
        return [path for path, _ in self.requests]


@pytest.fixture
def lms() -> Iterator[Lms]:
    """A plain server."""
    with _serving(None) as lms:
        yield lms


class _serving:  # noqa: N801 - a context manager
    def __init__(self, context: ssl.SSLContext | None) -> None:
        self.lms = lms = Lms()

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                lms.requests.append((self.path, dict(self.headers)))
                answer = lms.answers.get(self.path, (404, {}, b""))
                status, headers, body = answer() if callable(answer) else answer
                self.send_response(status)
                for name, value in {"Content-Length": str(len(body)), **headers}.items():
                    self.send_header(name, value)
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, *args: Any) -> None:
                pass

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.server.handle_error = lambda *args: None  # type: ignore[method-assign]
        if context is not None:
            self.server.socket = context.wrap_socket(self.server.socket, server_side=True)
        lms.port = self.server.server_port
        self.thread = threading.Thread(target=self.server.serve_forever, daemon=True)

    def __enter__(self) -> Lms:
        links._session.cache_clear()
        self.thread.start()
        return self.lms

    def __exit__(self, *error: object) -> None:
        links._session.cache_clear()
        self.server.shutdown()
        self.thread.join()
        self.server.server_close()


def _store(root: str, **settings: Any) -> DocumentStore:
    return DocumentStore.under([root], open_remote=fetch, **settings)


def _failure(lms: Lms, path: str = "/certificates/1.pdf", **settings: Any) -> DocumentUnreachable:
    with pytest.raises(DocumentUnreachable) as caught:
        _store(f"http://127.0.0.1:{lms.port}/certificates", **settings).probe(
            f"http://127.0.0.1:{lms.port}{path}"
        )
    assert path not in str(caught.value)
    return caught.value


@pytest.mark.parametrize(
    ("link", "filename"),
    [
        ("/certificates/1.pdf", "1.pdf"),
        ("/certificates/Zo%C3%AB%201.pdf", "Zoë 1.pdf"),
        ("/certificates/a+b.pdf?token=a%2Fb+c", "a+b.pdf"),
        ("/certificates/download.php?id=1&course=2", "certificate.pdf"),
        ("/certificates/1/", "certificate.pdf"),
        ("/certificates?id=1", "certificate.pdf"),
    ],
)
def test_a_link_is_requested_as_it_is_written(lms, link, filename):
    """Nothing is decoded or encoded again, and a document without a name of its own gets a general one."""
    lms.answers[link] = (200, {"Content-Type": "application/octet-stream"}, PDF)
    store = _store(f"http://127.0.0.1:{lms.port}/certificates/")
    with store.open(f"http://127.0.0.1:{lms.port}{link}") as document:
        assert (b"".join(document.chunks()), document.filename) == (PDF, filename)
    assert lms.paths == [link]


def test_a_large_document_is_fetched_once(lms):
    """The bytes that were hashed are those that are sent, whatever the server has later."""
    large = make_pdf(size=6_000_000)
    lms.answers["/certificates/1.pdf"] = (200, {}, large)
    store = _store(f"http://127.0.0.1:{lms.port}/certificates")
    with store.open(f"http://127.0.0.1:{lms.port}/certificates/1.pdf") as document:
        lms.answers["/certificates/1.pdf"] = (200, {}, PDF)
        assert b"".join(document.chunks()) == large
    assert len(lms.paths) == 1


@pytest.mark.parametrize("status", [404, 410])
def test_a_missing_document_is_one_rows_fault(lms, status):
    """Its row is invalid."""
    lms.answers["/certificates/1.pdf"] = (status, {}, b"")
    with pytest.raises(DocumentError) as caught:
        _store(f"http://127.0.0.1:{lms.port}").probe(f"http://127.0.0.1:{lms.port}/certificates/1.pdf")
    assert caught.value.reason == "document_missing"


@pytest.mark.parametrize(
    ("answer", "kind", "remedy"),
    [
        ((401, {}, b""), "HTTP 401", "check the credentials"),
        ((403, {}, b""), "HTTP 403", "check the credentials"),
        ((500, {}, b""), "HTTP 500", "open it from a worker"),
        ((200, {"Content-Type": "text/html; charset=utf-8"}, b"<form>"), "web page", "login page"),
        ((302, {"Location": "/login?next=1.pdf"}, b""), "redirect", "login page"),
        ((302, {"Location": "https://files.example.com/certificates/1.pdf"}, b""), "redirect", "outside"),
        ((302, {"Location": "http://169.254.169.254/certificates/1.pdf"}, b""), "redirect", "outside"),
        ((302, {"Location": "/certificates/../../admin"}, b""), "redirect", "outside"),
        ((302, {"Location": "/certificates/1.pdf"}, b""), "redirects", "too many redirects"),
        ((200, {"Content-Length": "1000"}, PDF), "ChunkedEncodingError", "stopped sending"),
    ],
)
def test_a_response_without_a_document_has_its_kind(lms, answer, kind, remedy):
    """Several in a row of a kind stop the run; one is its row's own."""
    lms.answers["/certificates/1.pdf"] = answer
    found = _failure(lms)
    assert (found.kind, found.whole_store) == (kind, False)
    assert remedy in found.detail
    assert set(lms.paths) == {"/certificates/1.pdf"}


def test_a_redirect_within_the_root_is_followed(lms):
    """Relative ones too."""
    lms.answers["/certificates/1"] = (302, {"Location": "files/1.pdf?x=1"}, b"")
    lms.answers["/certificates/files/1.pdf?x=1"] = (200, {}, PDF)
    root = f"http://127.0.0.1:{lms.port}/certificates"
    assert _store(root).probe(f"{root}/1").checked.startswith("application/pdf")


def test_a_busy_server_is_asked_again(lms, monkeypatch):
    """As it asks for, but not for ever."""
    monkeypatch.setattr("urllib3.util.retry.time.sleep", lambda seconds: None)
    answers = iter([(429, {"Retry-After": "1"}, b""), (503, {}, b""), (200, {}, PDF)])
    lms.answers["/certificates/1.pdf"] = lambda: next(answers)
    root = f"http://127.0.0.1:{lms.port}/certificates"
    _store(root).probe(f"{root}/1.pdf")
    assert len(lms.paths) == 3
    lms.answers["/certificates/1.pdf"] = (503, {}, b"")
    assert _failure(lms).kind == "HTTP 503"


def test_a_request_that_is_repeated_does_not_log_the_link(lms, caplog):
    """Its query may contain a key; urllib3 logs it when a connection breaks."""
    link = "/certificates/canary.pdf?token=canary"
    answers = iter([None, (200, {}, PDF)])
    lms.answers[link] = lambda: next(answers)
    logging.getLogger("urllib3").setLevel(logging.NOTSET)
    with caplog.at_level(logging.INFO):
        _store(f"http://127.0.0.1:{lms.port}").probe(f"http://127.0.0.1:{lms.port}{link}")
    assert len(lms.paths) == 2
    assert "canary" not in caplog.text


@pytest.mark.parametrize("is_declared", [True, False])
def test_what_is_too_large_is_not_read_to_its_end(lms, monkeypatch, is_declared):
    """Whether the server names the size or not."""
    monkeypatch.setattr(links, "LARGEST_DOCUMENT", 1_000_000)
    headers = {} if is_declared else {"Content-Length": "", "Connection": "close"}
    lms.answers["/certificates/1.pdf"] = (200, headers, make_pdf(size=2_000_000))
    with pytest.raises(DocumentError) as caught:
        _store(f"http://127.0.0.1:{lms.port}", largest=1_000_000).probe(
            f"http://127.0.0.1:{lms.port}/certificates/1.pdf"
        )
    assert caught.value.reason == "document_too_large"


def test_a_slow_server_does_not_hold_a_worker(lms, monkeypatch):
    """The whole document has a deadline."""
    monkeypatch.setattr(links, "LONGEST_SECONDS", 0)
    lms.answers["/certificates/1.pdf"] = (200, {}, PDF)
    assert _failure(lms).kind == "too slow"


def _connection(monkeypatch, host: str, **extra: Any) -> None:
    values = {"conn_type": "http", "host": host, "login": "lms", "password": "secret-word", "extra": extra}
    monkeypatch.setenv("AIRFLOW_CONN_LMS", json.dumps(values))


def test_the_roots_connection_logs_in(lms, monkeypatch):
    """The link in the row names no connection."""
    _connection(monkeypatch, "http://127.0.0.1", **{"X-Api-Key": "key-word"})
    lms.answers["/certificates/1.pdf"] = (200, {}, PDF)
    _store(f"http://lms@127.0.0.1:{lms.port}/certificates").probe(
        f"http://127.0.0.1:{lms.port}/certificates/1.pdf"
    )
    [(_, headers)] = lms.requests
    assert headers["Authorization"] == "Basic " + b64encode(b"lms:secret-word").decode()
    assert headers["X-Api-Key"] == "key-word"


def test_credentials_are_sent_to_the_connections_host_only(monkeypatch):
    """The root can't direct them elsewhere."""
    links._session.cache_clear()
    _connection(monkeypatch, "other.example.com")
    with pytest.raises(ConfigurationError, match="credentials are sent to no other host"):
        _store("https://lms@lms.example.com").probe("https://lms.example.com/1.pdf")


def test_the_environment_adds_no_credentials_and_no_proxy(lms, monkeypatch, tmp_path):
    """A proxy would see the links, and a .netrc would log in."""
    (tmp_path / "netrc").write_text("machine 127.0.0.1 login a password b")
    monkeypatch.setenv("NETRC", str(tmp_path / "netrc"))
    monkeypatch.setenv("HTTP_PROXY", "http://127.0.0.1:9")
    lms.answers["/1.pdf"] = (200, {}, PDF)
    _store(f"http://127.0.0.1:{lms.port}").probe(f"http://127.0.0.1:{lms.port}/1.pdf")
    assert "Authorization" not in lms.requests[0][1]


@pytest.mark.parametrize(
    ("address", "public"),
    [
        ("93.184.216.34", True),
        ("2606:2800:220:1::1", True),
        ("127.0.0.1", False),
        ("10.1.2.3", False),
        ("172.16.0.1", False),
        ("192.168.1.1", False),
        ("169.254.169.254", False),
        ("100.64.0.1", False),
        ("0.0.0.0", False),  # noqa: S104 - not bound
        ("::1", False),
        ("fe80::1%eth0", False),
        ("fd00::1", False),
        ("::ffff:10.0.0.1", False),
        ("2002:7f00:1::", False),
        ("224.0.0.1", False),
    ],
)
def test_private_addresses_are_recognised(address, public):
    """Also inside an IPv6 address."""
    assert is_public(address) is public


@pytest.fixture
def name_of_loopback(monkeypatch):
    """Let a public name lead to this machine, as the name server of an attacker does."""
    ask = socket.getaddrinfo
    monkeypatch.setattr(
        socket,
        "getaddrinfo",
        lambda host, *rest, **more: ask("127.0.0.1" if host == "lms.example.com" else host, *rest, **more),
    )


def test_a_name_with_a_private_address_gets_no_request(lms, name_of_loopback):
    """The address that counts is the one that the socket has."""
    with pytest.raises(ConfigurationError, match="allow_private_addresses"):
        _store(f"https://lms.example.com:{lms.port}").probe(f"https://lms.example.com:{lms.port}/1.pdf")
    assert lms.requests == []


def test_a_private_address_can_be_allowed_and_is_encrypted(name_of_loopback, monkeypatch, tmp_path):
    """An LMS in the same network, with a certificate of its own authority."""
    context, authority = _certificate("lms.example.com", tmp_path)
    with _serving(context) as lms:
        lms.answers["/1.pdf"] = (200, {}, PDF)
        root = f"https://lms@lms.example.com:{lms.port}"
        link = f"https://lms.example.com:{lms.port}/1.pdf"
        _connection(monkeypatch, "https://lms.example.com", allow_private_addresses=True, verify=authority)
        _store(root).probe(link)
        links._session.cache_clear()
        _connection(monkeypatch, "https://lms.example.com", allow_private_addresses=True)
        with pytest.raises(DocumentUnreachable, match="no certificate that this worker trusts") as caught:
            _store(root).probe(link)
    assert caught.value.whole_store


def _certificate(name: str, folder: Path) -> tuple[ssl.SSLContext, str]:
    key = ec.generate_private_key(ec.SECP256R1())
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
    now = datetime.now(UTC)
    made = (
        x509.CertificateBuilder(subject, subject, key.public_key(), x509.random_serial_number())
        .not_valid_before(now - timedelta(hours=1))
        .not_valid_after(now + timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([x509.DNSName(name)]), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(key, hashes.SHA256())
    )
    path = folder / "certificate.pem"
    private = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    path.write_bytes(private + made.public_bytes(serialization.Encoding.PEM))
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(path)
    return context, str(path)


def test_no_connection_is_the_stores_fault(monkeypatch):
    """Nothing listens there, or the name is unknown."""
    links._session.cache_clear()
    for root in ("http://127.0.0.1:9", "https://lms.invalid"):
        with pytest.raises(DocumentUnreachable, match="can't be reached") as caught:
            _store(root).probe(f"{root}/1.pdf")
        assert caught.value.whole_store


@pytest.mark.parametrize(
    "link",
    [
        "http://lms.example.com/certificates/1.pdf",
        "https://lms.example.com/certificates/../1.pdf",
        "https://lms.example.com/certificates/%2e%2e/1.pdf",
        "https://lms.example.com/certificates/%252e%252e/1.pdf",
        "https://lms.example.com/certificates/..;/1.pdf",
        "https://lms.example.com/certificates/a%2f..%2f1.pdf",
        "https://lms.example.com/certificates/a\\1.pdf",
        "https://lms.example.com/certificates//1.pdf",
        "https://lms.example.com/certificates/1.pdf#page=2",
        "https://lms.example.com/certificates/1%00.pdf",
        "https://user:word@lms.example.com/certificates/1.pdf",
        "https://lms.example.com@files.example.com/certificates/1.pdf",
        "https://lms.example.com.files.example.com/certificates/1.pdf",
        "https://lms.example.com:8443/certificates/1.pdf",
        "https://lms.example.com\\@files.example.com/certificates/1.pdf",
        "https:///certificates/1.pdf",
        "https://lms.example.com/other/1.pdf",
        "https://lms.example.com/certificates",
        "https://lms.example.com",
    ],
)
def test_a_link_that_leads_elsewhere_is_refused(link):
    """Before anything is requested."""
    with pytest.raises(DocumentError) as caught:
        DocumentStore.under(["https://lms.example.com/certificates"]).probe(link)
    assert caught.value.reason in {"certificate_uri_malformed", "document_outside_roots"}


@pytest.mark.parametrize(
    "root",
    ["http://lms.example.com/", "https://lms.example.com/?a=b", "https://ümlaut.example.com", "ftp://a/b"],
)
def test_a_root_is_an_encrypted_host_without_a_query(root):
    """Plain HTTP is for this machine."""
    with pytest.raises(ConfigurationError):
        DocumentStore.under([root])
