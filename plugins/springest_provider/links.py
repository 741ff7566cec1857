"""
Request documents behind links, from the host of a document root and nowhere else.

A link may come from any row, so it could point into the network of the worker. Redirects are followed only
within the root, and the address that was connected to must be public, unless the root names an address or
its connection allows private ones. It is checked after connecting and before anything is sent, so that a
name that resolves differently the next time (DNS rebinding) gains nothing.
"""

from __future__ import annotations

import io
import re
import socket
import tempfile
import time
from contextlib import closing
from functools import lru_cache
from http import HTTPStatus
from ipaddress import IPv6Address, ip_address
from typing import Any, BinaryIO, Final, cast
from urllib.parse import urljoin

import requests
from requests.adapters import HTTPAdapter
from urllib3 import HTTPConnectionPool, HTTPSConnectionPool, Retry
from urllib3.connection import HTTPConnection, HTTPSConnection
from urllib3.exceptions import NewConnectionError

from springest.documents.address import Address, Root
from springest.documents.errors import UNREADABLE, missing
from springest.documents.opener import CHUNK, LARGEST_DOCUMENT, SENT_FROM_MEMORY
from springest.errors import ConfigurationError, DocumentUnreachable
from springest_provider.library_logs import keep_names_out
from springest_provider.lookups import mask, read_connection

MOST_REDIRECTS: Final = 5
TIMEOUTS: Final = (10.0, 60.0)
"""Seconds to connect, and between two pieces of the response."""
LONGEST_SECONDS: Final = 300.0
"""For a whole document."""
RETRIES: Final = Retry(
    total=3,
    connect=1,
    read=1,
    redirect=0,
    backoff_factor=0.5,
    status_forcelist=(HTTPStatus.TOO_MANY_REQUESTS, HTTPStatus.BAD_GATEWAY, HTTPStatus.SERVICE_UNAVAILABLE),
    allowed_methods=("GET",),
    raise_on_status=False,
    retry_after_max=30,
)
PRIVATE: Final = "allow_private_addresses"
OPTIONS: Final = frozenset({PRIVATE, "verify", "cert"})
"""Extras of the connection; all others are headers, as in Airflow's HTTP provider."""
_NAMES_ADDRESS: Final = re.compile(r"localhost|[\d.]+|\[.*\]")


def fetch(address: Address, root: Root) -> tuple[BinaryIO, int]:
    """
    Request a document; return a file with it, and its size in bytes.

    :raises DocumentUnreachable: there is no response with a document.
    :raises ConfigurationError: the connection is unusable, or the host has a private address.
    """
    keep_names_out()
    deadline = time.monotonic() + LONGEST_SECONDS
    session = _session(root.address.host)
    for _ in range(MOST_REDIRECTS + 1):
        try:
            response = session.get(
                _without_connection(address), allow_redirects=False, stream=True, timeout=TIMEOUTS
            )
            with closing(response):
                if not response.is_redirect:
                    _require_document(response)
                    return _stored(response, deadline)
                address = _redirected(response.headers["Location"], address, root)
        except requests.RequestException as error:
            raise _translated(error) from None
    raise DocumentUnreachable(
        "the link leads through too many redirects: correct it", "redirects", UNREADABLE
    )


def _without_connection(address: Address) -> str:
    return f"{address.scheme}://{address.without_connection}{address.target}"


def _redirected(location: str, address: Address, root: Root) -> Address:
    """Return where a redirect leads."""
    try:
        target = root.locate(Address.parse(urljoin(_without_connection(address), location)))
    except ValueError:
        target = None
    if target is None:
        raise DocumentUnreachable(
            "the link redirects to an address outside its document root, such as a login page: check the "
            "credentials in its connection, or let the source give the final link",
            "redirect",
            UNREADABLE,
        )
    return target


def _require_document(response: requests.Response) -> None:
    """Refuse a response that can't have a document; a PDF is recognised by its content, not by its type."""
    status = response.status_code
    if status in {HTTPStatus.NOT_FOUND, HTTPStatus.GONE}:
        raise missing()
    if status in {HTTPStatus.UNAUTHORIZED, HTTPStatus.FORBIDDEN}:
        raise DocumentUnreachable(
            f"the server refuses the document ({status}): check the credentials in the root's connection, "
            "and grant it",
            f"HTTP {status}",
            UNREADABLE,
        )
    if status != HTTPStatus.OK:
        raise DocumentUnreachable(
            f"the server does not send the document now ({status}): open it from a worker", f"HTTP {status}"
        )
    if response.headers.get("Content-Type", "").lower().startswith(("text/html", "application/xhtml")):
        raise DocumentUnreachable(
            "the server sends a web page, such as a login page, instead of the document: check the "
            "credentials in the root's connection, or correct the link",
            "web page",
            UNREADABLE,
        )


def _stored(response: requests.Response, deadline: float) -> tuple[BinaryIO, int]:
    """Return the document in a file; what is too large is not read to its end."""
    declared = response.headers.get("Content-Length", "")
    if declared.isdecimal() and int(declared) > LARGEST_DOCUMENT:
        return io.BytesIO(), int(declared)
    stored = cast("BinaryIO", tempfile.SpooledTemporaryFile(max_size=SENT_FROM_MEMORY))  # noqa: SIM115
    try:
        return stored, _copy(response, stored, deadline)
    except BaseException:
        stored.close()
        raise


def _copy(response: requests.Response, stored: BinaryIO, deadline: float) -> int:
    size = 0
    for chunk in response.iter_content(CHUNK):
        size += stored.write(chunk)
        if size > LARGEST_DOCUMENT:
            break
        if time.monotonic() > deadline:
            raise DocumentUnreachable("the server sends the document too slowly", "too slow")
    stored.seek(0)
    return size


def _translated(error: requests.RequestException) -> DocumentUnreachable:
    """Convert an error of the library, whose text has the link in it."""
    reason = getattr(error.args[0], "reason", None) if error.args else None
    name = type(reason or error).__name__
    if isinstance(error, requests.exceptions.SSLError):
        problem = f"the server has no certificate that this worker trusts ({name})"
    elif isinstance(error, requests.ConnectTimeout) or isinstance(reason, NewConnectionError):
        problem = f"the server can't be reached ({name}): check the host of the document root, or try later"
    else:
        return DocumentUnreachable(f"the server stopped sending the document ({name})", name)
    return DocumentUnreachable(problem, name, whole_store=True)


@lru_cache(maxsize=32)
def _session(host: str) -> requests.Session:
    """
    Return the session of a host, with the credentials of its connection; all threads share its connections.

    :param host: after the connection and an ``@``, if there is one.
    """
    conn_id, _, server = host.rpartition("@")
    session = requests.Session()
    session.trust_env = False  # neither proxies nor credentials of the environment
    session.headers["Accept-Encoding"] = "identity"
    allow_private = _NAMES_ADDRESS.fullmatch(server.rpartition(":")[0] or server) is not None
    if conn_id:
        extra = _log_in(session, conn_id, server)
        allow_private = allow_private or extra.get(PRIVATE) is True
    adapter = _Adapter(f"{server} (document root)", allow_private=allow_private)
    session.mount("https://", adapter)
    session.mount("http://", adapter)
    return session


def _log_in(session: requests.Session, conn_id: str, server: str) -> dict[str, Any]:
    """Give a session the login and the headers of a connection; return its extras."""
    connection = read_connection(conn_id)
    named = (connection.host or "").rpartition("//")[2].partition("/")[0].partition(":")[0]
    if connection.conn_type != "http" or named.lower() != server.partition(":")[0]:
        raise ConfigurationError(
            f"the connection {conn_id} of the document root must be of type http and have the host "
            f"{server.partition(':')[0]}: credentials are sent to no other host"
        )
    extra: dict[str, Any] = connection.extra_dejson
    headers = {name: value for name, value in extra.items() if name not in OPTIONS}
    if not all(isinstance(value, str) for value in headers.values()):
        raise ConfigurationError(
            f"the extras of the connection {conn_id} must be headers, with text as values, or "
            f"{', '.join(sorted(OPTIONS))}"
        )
    mask(headers.values())
    session.headers.update(headers)
    if connection.login:
        session.auth = (connection.login, connection.password or "")
    session.verify, session.cert = extra.get("verify", True), extra.get("cert")
    return extra


class _Adapter(HTTPAdapter):
    """Makes connections to public addresses only."""

    def __init__(self, host: str, *, allow_private: bool) -> None:
        self._pools = {} if allow_private else _pools_of(host)
        super().__init__(max_retries=RETRIES, pool_maxsize=20)

    def init_poolmanager(self, *args: Any, **kwargs: Any) -> None:
        super().init_poolmanager(*args, **kwargs)
        if self._pools:
            self.poolmanager.pool_classes_by_scheme = self._pools


def _pools_of(host: str) -> dict[str, type]:
    class Plain(_Public, HTTPConnection):
        server = host

    class Encrypted(_Public, HTTPSConnection):
        server = host

    return {
        "http": type("_Pool", (HTTPConnectionPool,), {"ConnectionCls": Plain}),
        "https": type("_Pool", (HTTPSConnectionPool,), {"ConnectionCls": Encrypted}),
    }


class _Public:
    """A connection that sends nothing to a private address."""

    server: str

    def _new_conn(self) -> socket.socket:
        made: socket.socket = super()._new_conn()  # type: ignore[misc]
        if not is_public(made.getpeername()[0]):
            made.close()
            raise ConfigurationError(
                f"{self.server} has a private address: if that is intended, set the extra {PRIVATE} of "
                "the root's connection to true"
            )
        return made


def is_public(text: str) -> bool:
    """Return whether an IP address is reachable from everywhere, also one inside another."""
    found = ip_address(text.partition("%")[0])
    if isinstance(found, IPv6Address):
        found = found.ipv4_mapped or found.sixtofour or found
    return found.is_global and not found.is_multicast
