"""URIs of documents, parsed once, so that the checked path is the opened one.

An address is a local path (``/folder/a.pdf``), a ``file://`` URI (RFC 8089, percent-encoded), or the
``scheme://bucket/key`` of an object store, whose key is used literally, since fsspec decodes nothing. Text
that two parsers could read differently is refused: control characters, and in keys also backslashes and
empty, ``.`` or ``..`` segments.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field, replace
from pathlib import PurePosixPath
from typing import Final
from urllib.parse import unquote

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
_URI: Final = re.compile(
    r"(?P<scheme>[A-Za-z][A-Za-z0-9+.-]*):(?://(?P<host>[^/]*))?(?P<path>(?:/.*)?)", re.DOTALL
)
_CONTROL: Final = re.compile(r"[\x00-\x1f\x7f-\x9f]")
"""Unicode's category Cc."""
_BUCKET: Final = re.compile(r"(?:[\w.:-]+@)?[\w.:-]+", re.ASCII)
"""A bucket or container, optionally after an Airflow connection or before an account."""
_ROOTS_WANTED: Final = (
    "the document roots (springest_document_roots, or those of the site) must be absolute folders "
    "such as /data/certificates, or bucket prefixes such as s3://bucket/prefix "
    f"(supported: {', '.join(PROVIDERS)}), and not the whole file system"
)


@dataclass(frozen=True, slots=True)
class Address:
    """The location of a document.

    :param scheme: ``file``, or that of an object store in lower case.
    :param host: bucket or container, with the Airflow connection before an ``@``; empty for a local file.
    :param path: absolute and literal, without ``..``.
    """

    scheme: str
    host: str
    path: PurePosixPath = field(repr=False)

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
        if not host or not _BUCKET.fullmatch(host):
            raise ValueError("it does not name a bucket")
        if "\\" in path or any(part in {"", ".", ".."} for part in path.rstrip("/").split("/")[1:]):
            raise ValueError("its key has a backslash, or an empty, . or .. segment")
        return cls(scheme, host, PurePosixPath(path or "/"))

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

    def __str__(self) -> str:
        """The form that is opened."""
        return str(self.path) if self.is_local else f"{self.scheme}://{self.host}{self.path}"


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
        if not address.is_local and address.scheme not in PROVIDERS:
            raise ConfigurationError(f"{_ROOTS_WANTED}: {uri!r} has another scheme")
        if address.is_local and len(address.path.parts) < len(("/", "folder")):
            raise ConfigurationError(f"{_ROOTS_WANTED}: {uri!r} is the whole file system")
        return cls(address)

    def locate(self, address: Address) -> Address | None:
        """Return where ``address``, taken literally, is under this root; ``None`` if it is elsewhere.

        An address without a connection is opened with the root's; a row cannot choose another one.
        """
        own = self.address
        if address.scheme != own.scheme or address.host not in {own.host, own.host.rpartition("@")[2]}:
            return None
        if address.path == own.path or not address.path.is_relative_to(own.path):
            return None
        return replace(address, host=own.host)

    def __str__(self) -> str:
        """The form that an operator writes."""
        return str(self.address)


def _refuse_control_characters(text: str) -> None:
    if _CONTROL.search(text):
        raise ValueError("it contains a control character, such as a tab, a line end or NUL")
