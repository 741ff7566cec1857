"""URIs of documents, parsed once, so that the checked path is the opened one.

An address is a local path (``/folder/a.pdf``), a ``file://`` URI (RFC 8089, percent-encoded), or the
``scheme://bucket/key`` of an object store, whose key is used literally, since fsspec decodes nothing, or a
link (``https://host/path?query``, RFC 3986), which is requested as it is written. Text that two parsers could
read differently is refused: control characters, and in keys and links also backslashes and empty, ``.`` or
``..`` segments, in links in any encoding.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field, replace
from pathlib import PurePosixPath
from typing import Final
from urllib.parse import quote, unquote

from springest.errors import ConfigurationError

LOCAL: Final = "file"
PROVIDERS: Final = {
    "s3": "apache-airflow-providers-amazon[s3fs]",
    "gs": "apache-airflow-providers-google",
    "gcs": "apache-airflow-providers-google",
    "abfs": "apache-airflow-providers-microsoft-azure",
    "abfss": "apache-airflow-providers-microsoft-azure",
    "adl": "apache-airflow-providers-microsoft-azure",
    "sftp": "apache-airflow-providers-sftp[sshfs]",
}
"""Schemes of the supported stores, with the package that each needs."""
_USUAL_PORT: Final = {"http": ":80", "https": ":443"}
WEB: Final = frozenset(_USUAL_PORT)
_URI: Final = re.compile(
    r"(?P<scheme>[A-Za-z][A-Za-z0-9+.-]*):(?://(?P<host>[^/]*))?(?P<path>(?:/.*)?)", re.DOTALL
)
_CONTROL: Final = re.compile(r"[\x00-\x1f\x7f-\x9f]")
"""Unicode's category Cc."""
_BUCKET: Final = re.compile(r"(?:[\w.:-]+@)?[\w.:-]+", re.ASCII)
"""A bucket or container, optionally after an Airflow connection or before an account."""
_WEB_HOST: Final = re.compile(
    r"(?:[\w.-]+@)?(?:[A-Za-z0-9-]+(?:\.[A-Za-z0-9-]+)*|\[[0-9A-Fa-f:.]+\])(?::\d{1,5})?", re.ASCII
)
"""A host, optionally after an Airflow connection; names with other letters are written in Punycode."""
_LOOPBACK: Final = re.compile(r"(?:[\w.-]+@)?(?:localhost|127\.0\.0\.1|\[::1\])(?::\d+)?", re.ASCII)
_ROOTS_WANTED: Final = (
    "the document roots (springest_document_roots, or those of the site) must be absolute folders "
    "such as /data/certificates, bucket prefixes such as s3://bucket/prefix "
    f"(supported: {', '.join(PROVIDERS)}), or links such as https://host/folder, and not "
    "the whole file system"
)


@dataclass(frozen=True, slots=True)
class Address:
    """The location of a document.

    :param scheme: ``file``, or that of an object store in lower case.
    :param host: bucket, container or host, with the Airflow connection before an ``@``; empty for a local
        file.
    :param path: absolute and literal, without ``..``; of a link, decoded.
    :param target: path and query of a link, as they are requested; empty for all others.
    """

    scheme: str
    host: str
    path: PurePosixPath = field(repr=False)
    target: str = field(default="", repr=False)

    @classmethod
    def parse(cls, text: str) -> Address:
        """Parse an address.

        :raises ValueError: it is invalid or ambiguous; the text does not quote the address.
        """
        _refuse_control_characters(text)
        if text.startswith("/"):
            return cls._local(text)
        uri = _URI.fullmatch(text)
        if uri is None:
            raise ValueError("it is neither an absolute path nor a URI")
        scheme, host, path = uri["scheme"].lower(), uri["host"], uri["path"]
        if scheme in {LOCAL, "local"}:
            if host not in {None, "", "localhost"}:
                raise ValueError("the URI of a file must not name a host")
            if "?" in path or "#" in path:
                raise ValueError("in a file's URI, ? is written %3F and # is written %23")
            return cls._local(unquote(path, errors="strict"))
        return (cls._link if scheme in WEB else cls._key)(scheme, host or "", path)

    @classmethod
    def _key(cls, scheme: str, host: str, path: str) -> Address:
        if not _BUCKET.fullmatch(host):
            raise ValueError("it does not name a bucket")
        if "\\" in path or any(part in {"", ".", ".."} for part in path.rstrip("/").split("/")[1:]):
            raise ValueError("its key has a backslash, or an empty, . or .. segment")
        return cls(scheme, host, PurePosixPath(path or "/"))

    @classmethod
    def _link(cls, scheme: str, host: str, rest: str) -> Address:
        if not _WEB_HOST.fullmatch(host):
            raise ValueError("it does not name a host")
        if scheme == "http" and not _LOOPBACK.fullmatch(host):
            raise ValueError("links are https://, except to this machine")
        if "#" in rest:
            raise ValueError("a link to a document has no fragment: write # as %23")
        path, has_query, query = rest.partition("?")
        decoded = [unquote(part, errors="strict") for part in path.strip("/").split("/")]
        if path.strip("/") and any(_is_ambiguous(part) for part in decoded):
            raise ValueError("its path has a backslash, a slash as %2F, or an empty, . or .. segment")
        target = quote(path or "/", safe=_IN_A_PATH) + has_query + quote(query, safe=_IN_A_QUERY)
        connection, has_connection, server = host.rpartition("@")
        server = server.lower().removesuffix(_USUAL_PORT[scheme])
        return cls(scheme, connection + has_connection + server, PurePosixPath("/", *decoded), target)

    @classmethod
    def _local(cls, path: str) -> Address:
        _refuse_control_characters(path)
        read = PurePosixPath(path)
        if ".." in read.parts:
            raise ValueError("it has a .. segment")
        return cls(LOCAL, "", read)

    @property
    def is_local(self) -> bool:
        """Whether it is a file of this machine."""
        return self.scheme == LOCAL

    @property
    def is_link(self) -> bool:
        """Whether it is requested by HTTP."""
        return self.scheme in WEB

    @property
    def without_connection(self) -> str:
        """The host, without the Airflow connection."""
        return self.host.rpartition("@")[2]

    def __str__(self) -> str:
        """The form that is opened."""
        return str(self.path) if self.is_local else f"{self.scheme}://{self.host}{self.target or self.path}"


@dataclass(frozen=True, slots=True)
class Root:
    """A folder or a bucket's prefix under which documents may lie."""

    address: Address

    @classmethod
    def parse(cls, uri: str) -> Root:
        """Parse ``/folder``, ``file:///folder`` or ``s3://bucket/prefix``.

        :raises ConfigurationError: it is invalid, its scheme is not supported, or it is a whole file system.
        """
        try:
            address = Address.parse(uri)
        except ValueError as error:
            raise ConfigurationError(f"{_ROOTS_WANTED}: {uri!r} is invalid, since {error}") from None
        if not address.is_local and address.scheme not in WEB | PROVIDERS.keys():
            raise ConfigurationError(f"{_ROOTS_WANTED}: {uri!r} has another scheme")
        if "?" in address.target:
            raise ConfigurationError(f"{_ROOTS_WANTED}: {uri!r} has a query")
        if address.is_local and len(address.path.parts) < len(("/", "folder")):
            raise ConfigurationError(f"{_ROOTS_WANTED}: {uri!r} is the whole file system")
        return cls(address)

    def locate(self, address: Address) -> Address | None:
        """Return where ``address``, taken literally, is under this root; ``None`` if it is elsewhere.

        An address without a connection is opened with the root's; a row cannot choose another one.
        """
        own = self.address
        if address.scheme != own.scheme or address.host not in {own.host, own.without_connection}:
            return None
        is_root = address.path == own.path and address.target == own.target
        if is_root or not address.path.is_relative_to(own.path):
            return None
        return replace(address, host=own.host)

    def __str__(self) -> str:
        """The form that an operator writes."""
        return str(self.address)

    @property
    def shown(self) -> str:
        """A form for redacted output, where ``connection@bucket`` looks like an e-mail address."""
        connection = self.address.host.rpartition("@")[0]
        plain = str(replace(self.address, host=self.address.without_connection))
        return f"{plain} (connection {connection})" if connection else plain


def _refuse_control_characters(text: str) -> None:
    if _CONTROL.search(text):
        raise ValueError("it contains a control character, such as a tab, a line end or NUL")


_IN_A_PATH: Final = "/%:@!$&'()*+,;=~-._"
_IN_A_QUERY: Final = "?" + _IN_A_PATH
"""Characters that RFC 3986 lets stand there, and ``%``, so that nothing is encoded twice."""


def _is_ambiguous(segment: str) -> bool:
    """Return whether a server may read a segment of a path as another one, however often it decodes it."""
    while (further := unquote(segment)) != segment:
        segment = further
    _refuse_control_characters(segment)
    name = segment.partition(";")[0]  # some servers ignore what follows
    return name in {"", ".", ".."} or "/" in segment or "\\" in segment
