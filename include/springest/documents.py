"""The certificates' documents: opened under allow-listed roots, checked, and sent as they were hashed.

A document is opened once for sending. Its bytes are hashed from that one handle, and a large one is hashed
again while it streams: should it have changed in between, the body is broken off before its last bytes, so
that the server cannot have taken it.

Local files are opened here. Anything else comes through ``RemoteOpener``, which the Airflow side implements
with ``ObjectStoragePath``.
"""

from __future__ import annotations

import errno
import hashlib
import os
import stat
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath
from typing import BinaryIO, Final, Protocol
from urllib.parse import unquote, urlsplit

import puremagic

from include.springest.errors import ConfigurationError, SpringestError

MEGABYTE: Final = 1024 * 1024
LARGEST_DOCUMENT: Final = 256 * MEGABYTE
SENT_FROM_MEMORY: Final = 4 * MEGABYTE
CHUNK: Final = 256 * 1024
_HEAD: Final = 2048
_PDF_HEADER: Final = b"%PDF-"
_ROOTS_WANTED: Final = (
    "the Variable springest_document_roots must be a JSON list of absolute folders or bucket prefixes "
    "such as file:///data/certificates, and not the whole file system"
)
_NOT_THERE: Final = frozenset({errno.ENOENT, errno.ENOTDIR, errno.ENAMETOOLONG, errno.ELOOP})
_NO_FILE: Final = frozenset({errno.ENXIO, errno.EISDIR})
"""What opening a socket, or reading a folder, says."""


class DocumentError(SpringestError):
    """A document can't be sent as it is.

    :param reason: a fixed word such as ``document_missing``; becomes the delivery's reason.
    :param detail: what is wrong and what to do; never holds the document's name.
    """

    def __init__(self, reason: str, detail: str) -> None:
        super().__init__(detail)
        self.reason = reason
        self.detail = detail

    def __reduce__(self) -> tuple[type[DocumentError], tuple[str, str]]:
        return type(self), (self.reason, self.detail)


class DocumentUnreachable(SpringestError):
    """The store that holds the documents does not answer; that says nothing about one of them."""


class RemoteOpener(Protocol):
    """Opens documents that are not local files."""

    def __call__(self, uri: str) -> tuple[BinaryIO, int]:
        """Open for reading; give the handle and the size in bytes.

        :raises FileNotFoundError: there is no such document.
        :raises OSError: the store did not answer.
        """


@dataclass(frozen=True, slots=True)
class Root:
    """A folder or a bucket's prefix under which documents may lie."""

    scheme: str
    host: str
    path: PurePosixPath

    @classmethod
    def parse(cls, uri: str) -> Root:
        """Read ``/folder``, ``file:///folder`` or ``s3://bucket/prefix``."""
        try:
            scheme, host, path = _split(uri)
        except ValueError:
            raise ConfigurationError(_ROOTS_WANTED) from None
        whole = scheme == "file" and len(path.parts) < len(("/", "folder"))
        if not scheme or not path.is_absolute() or ".." in path.parts or whole:
            raise ConfigurationError(_ROOTS_WANTED)
        return cls(scheme=scheme, host=host, path=path)

    def holds(self, uri: str) -> bool:
        """Tell whether ``uri``, taken literally, lies under this root."""
        try:
            scheme, host, path = _split(uri)
        except ValueError:  # no address at all, such as one with half an IPv6 host
            return False
        if (scheme, host) != (self.scheme, self.host) or ".." in path.parts:
            return False
        return path != self.path and path.is_relative_to(self.path)


def _split(uri: str) -> tuple[str, str, PurePosixPath]:
    if uri.startswith("/"):
        return "file", "", PurePosixPath(uri)
    parts = urlsplit(uri)
    if parts.scheme == "file":
        return "file", parts.netloc.removeprefix("localhost"), PurePosixPath(unquote(parts.path))
    path = uri.partition("://")[2].partition("/")[2]
    return parts.scheme, parts.netloc, PurePosixPath("/" + path)


@dataclass(slots=True)
class OpenDocument:
    """A checked document, ready to be sent; made by ``DocumentStore.open``.

    :param filename: name that Springest is told; taken from the address's last part.
    :param content: all of it when it is small, else ``None``.
    """

    filename: str = field(repr=False)
    content_type: str
    size: int
    sha256: str
    content: bytes | None = field(repr=False)
    _handle: BinaryIO = field(repr=False)

    def chunks(self) -> Iterator[bytes]:
        """Give the document from its start; can be called again.

        :raises DocumentError: the bytes are no longer those that were hashed. It is raised before the last
            chunk is given, so that no body is ever completed with them.
        """
        if self.content is not None:
            yield self.content
            return
        self._handle.seek(0)
        digest, held, length = hashlib.sha256(), b"", 0
        while chunk := self._handle.read(CHUNK):
            digest.update(chunk)
            length += len(chunk)
            if length > self.size:  # it grew: what is given now would fill the body up
                break
            if held:
                yield held
            held = chunk
        if digest.hexdigest() != self.sha256:
            raise DocumentError("document_changed", "the document changed while it was being sent")
        yield held


@dataclass(frozen=True, slots=True)
class DocumentStore:
    """Opens documents under the allow-listed roots.

    :param roots: where documents may lie (Variable ``springest_document_roots``).
    :param accepted_types: media types that may be sent, such as ``application/pdf``.
    :param open_remote: opener for anything but local files.
    :param largest: size cap in bytes.
    """

    roots: tuple[Root, ...]
    accepted_types: tuple[str, ...] = ("application/pdf",)
    open_remote: RemoteOpener | None = None
    largest: int = LARGEST_DOCUMENT

    @classmethod
    def under(cls, roots: Iterable[str], **settings: object) -> DocumentStore:
        """Make a store from roots as they are configured."""
        parsed = tuple(Root.parse(root) for root in roots)
        if not parsed:
            raise ConfigurationError(
                "the Variable springest_document_roots is empty: "
                "list the folders or buckets that documents lie in"
            )
        return cls(parsed, **settings)  # type: ignore[arg-type]

    def probe(self, uri: str) -> None:
        """Check a document without reading all of it: is it there, and may it be sent?

        :raises DocumentError: it can't be sent.
        :raises DocumentUnreachable: the store did not answer.
        """
        with self._opened(uri) as (handle, size), _store_errors():
            self._check(handle, size)

    @contextmanager
    def open(self, uri: str) -> Iterator[OpenDocument]:
        """Open, check and hash a document; it can be sent until the context ends.

        :raises DocumentError: it can't be sent.
        :raises DocumentUnreachable: the store did not answer.
        """
        with self._opened(uri) as (handle, size):
            with _store_errors():
                content_type = self._check(handle, size)
                content, sha256, read = _read(handle, keep=size <= SENT_FROM_MEMORY)
            if read != size:
                raise DocumentError("document_changed", "the document changed while it was being read")
            name = _split(uri)[2].name
            yield OpenDocument(name, content_type, size, sha256, content, handle)

    @contextmanager
    def _opened(self, uri: str) -> Iterator[tuple[BinaryIO, int]]:
        root = next((root for root in self.roots if root.holds(uri)), None)
        if root is None:
            raise DocumentError(
                "document_outside_roots",
                "certificate_uri is under none of the folders in the Variable springest_document_roots: "
                "move the document, or add its folder",
            )
        with _store_errors():
            handle, size = self._open_local(uri, root) if root.scheme == "file" else self._open_remote(uri)
        with handle:
            yield handle, size

    def _open_local(self, uri: str, root: Root) -> tuple[BinaryIO, int]:
        """Open by the real path, so that no link leads out of the root, then look at the open file itself."""
        if not Path(root.path).is_dir():
            raise DocumentUnreachable(f"the folder {root.path} is not there: is it mounted on this worker?")
        real_root, real = _real(root.path), _real(_split(uri)[2])
        if not real.is_relative_to(real_root):
            raise DocumentError(
                "document_outside_roots", "certificate_uri is a link that leads out of its folder"
            )
        descriptor = os.open(real, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
        status = os.fstat(descriptor)
        if not stat.S_ISREG(status.st_mode):
            os.close(descriptor)
            raise _no_file()
        return os.fdopen(descriptor, "rb", buffering=0), status.st_size

    def _open_remote(self, uri: str) -> tuple[BinaryIO, int]:
        if self.open_remote is None:
            raise ConfigurationError("documents outside the local file system need an opener")
        return self.open_remote(uri)

    def _check(self, handle: BinaryIO, size: int) -> str:
        if size == 0:
            raise DocumentError("document_empty", "the document is empty: render it again")
        if size > self.largest:
            raise DocumentError(
                "document_too_large",
                f"the document has {size / MEGABYTE:.0f} MB, "
                f"more than the {self.largest / MEGABYTE:.0f} MB allowed",
            )
        found = _media_type(handle.read(_HEAD))
        handle.seek(0)
        if found not in self.accepted_types:
            raise DocumentError(
                "document_wrong_type",
                f"the document is {found or 'of no known type'}, not {' or '.join(self.accepted_types)}: "
                "render it again",
            )
        return found


@contextmanager
def _store_errors() -> Iterator[None]:
    """Tell a document that can't be sent apart from a store that does not answer."""
    try:
        yield
    except PermissionError:
        raise DocumentError(
            "document_unreadable", "the worker may not read the document: give it the right to"
        ) from None
    except OSError as error:
        if error.errno in _NOT_THERE or isinstance(error, FileNotFoundError):
            raise _missing() from None
        if error.errno in _NO_FILE:
            raise _no_file() from None
        raise DocumentUnreachable(f"the documents can't be read now: {type(error).__name__}") from None


def _missing() -> DocumentError:
    return DocumentError(
        "document_missing",
        "there is no document at certificate_uri: put it there, or correct the address",
    )


def _no_file() -> DocumentError:
    return DocumentError("document_not_a_file", "certificate_uri is not a regular file")


def _real(path: PurePosixPath) -> Path:
    """Return the path without links.

    :raises OSError: there is no such path.
    """
    try:
        return Path(path).resolve(strict=True)
    except (ValueError, RuntimeError):  # a NUL or half a surrogate in the name; links in a circle
        raise _missing() from None


def _media_type(head: bytes) -> str:
    """Return the media type that the content itself tells; empty when it tells none.

    A PDF is known by its header (ISO 32000-1, 7.5.2), which is all that the library would look at; it is
    asked about everything else, since it goes through hundreds of signatures.
    """
    if head.startswith(_PDF_HEADER):
        return "application/pdf"
    try:
        return str(puremagic.from_string(head, mime=True))
    except (puremagic.PureError, ValueError):
        return ""


def _read(handle: BinaryIO, *, keep: bool) -> tuple[bytes | None, str, int]:
    digest, length = hashlib.sha256(), 0
    kept: list[bytes] = []
    while chunk := handle.read(CHUNK):
        digest.update(chunk)
        length += len(chunk)
        if keep:
            kept.append(chunk)
    # Most documents are a single chunk, which is not copied again.
    return (b"".join(kept) if keep else None), digest.hexdigest(), length
