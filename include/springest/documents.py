"""The certificates' documents: opened under allow-listed roots, checked, and sent as they were hashed.

A document is opened once for sending. A small one is read whole and closed: the bytes that are sent are those
that were hashed. A large one is hashed again while it streams from the same handle: should it have changed in
between, the body is broken off before its last bytes, so that the server cannot have taken it.

Local files are opened here. Anything else comes through ``RemoteOpener``, which the Airflow side implements
with ``ObjectStoragePath``.
"""

from __future__ import annotations

import errno
import hashlib
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import PurePosixPath
from types import TracebackType
from typing import BinaryIO, Final, Protocol, Self
from urllib.parse import unquote, urlsplit

import puremagic

from include.springest.errors import ConfigurationError, SpringestError
from include.springest.local_file import LeadsOut, NotMounted, open_in

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
            return self._holds(*_split(uri))
        except ValueError:  # no address at all, such as one with half an IPv6 host
            return False

    def _holds(self, scheme: str, host: str, path: PurePosixPath) -> bool:
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
    """A checked document, ready to be sent until it is closed; made by ``DocumentStore.open``.

    :param filename: name that Springest is told; taken from the address's last part.
    :param content: all of it when it is small, else ``None``.
    :param _handle: the open document when it is not small.
    """

    filename: str = field(repr=False)
    content_type: str
    size: int
    sha256: str
    content: bytes | None = field(repr=False)
    _handle: BinaryIO | None = field(default=None, repr=False)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()

    def close(self) -> None:
        """Let go of it."""
        if self._handle is not None:
            self._handle.close()

    def chunks(self) -> Iterator[bytes]:
        """Give the document from its start; can be called again.

        :raises DocumentError: the bytes are no longer those that were hashed. It is raised before the last
            chunk is given, so that no body is ever completed with them.
        """
        if self.content is not None or self._handle is None:
            yield self.content or b""
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
        handle, size, _ = self._open(uri)
        with handle, _store_errors():
            self._check_size(size)
            self._check_type(handle.read(_HEAD))

    def open(self, uri: str) -> OpenDocument:
        """Open, check and hash a document; it can be sent until it is closed.

        :raises DocumentError: it can't be sent.
        :raises DocumentUnreachable: the store did not answer.
        """
        handle, size, name = self._open(uri)
        try:
            with _store_errors():
                self._check_size(size)
                is_small = size <= SENT_FROM_MEMORY
                return self._read(handle, size, name) if is_small else self._hash(handle, size, name)
        except BaseException:
            handle.close()
            raise

    def _read(self, handle: BinaryIO, size: int, name: str) -> OpenDocument:
        """Read a small document whole, and close it."""
        content = handle.read(size + 1)  # one byte more would come if it had grown
        while len(content) < size and (more := handle.read(size + 1 - len(content))):
            content += more
        handle.close()
        if len(content) != size:
            raise _changed()
        content_type = self._check_type(content[:_HEAD])
        return OpenDocument(name, content_type, size, hashlib.sha256(content).hexdigest(), content)

    def _hash(self, handle: BinaryIO, size: int, name: str) -> OpenDocument:
        """Read a large document once, to know what it is; it is read again to be sent."""
        content_type = self._check_type(handle.read(_HEAD))
        handle.seek(0)
        digest, length = hashlib.sha256(), 0
        while chunk := handle.read(CHUNK):
            digest.update(chunk)
            length += len(chunk)
        if length != size:
            raise _changed()
        return OpenDocument(name, content_type, size, digest.hexdigest(), None, handle)

    def _open(self, uri: str) -> tuple[BinaryIO, int, str]:
        """Open for reading; return the handle, the size, and the address's last part."""
        root, path = self._find(uri)
        with _store_errors():
            handle, size = open_in(root.path, path) if root.scheme == "file" else self._open_remote(uri)
        return handle, size, path.name

    def _find(self, uri: str) -> tuple[Root, PurePosixPath]:
        """Return the root that a document lies under, and its path."""
        with suppress(ValueError):  # no address at all
            scheme, host, path = _split(uri)
            for root in self.roots:
                if root._holds(scheme, host, path):  # noqa: SLF001
                    return root, path
        raise DocumentError(
            "document_outside_roots",
            "certificate_uri is under none of the folders in the Variable springest_document_roots: "
            "move the document, or add its folder",
        )

    def _open_remote(self, uri: str) -> tuple[BinaryIO, int]:
        if self.open_remote is None:
            raise ConfigurationError("documents outside the local file system need an opener")
        return self.open_remote(uri)

    def _check_size(self, size: int) -> None:
        if size == 0:
            raise DocumentError("document_empty", "the document is empty: render it again")
        if size > self.largest:
            raise DocumentError(
                "document_too_large",
                f"the document has {size / MEGABYTE:.0f} MB, "
                f"more than the {self.largest / MEGABYTE:.0f} MB allowed",
            )

    def _check_type(self, head: bytes) -> str:
        found = _media_type(head)
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
    except LeadsOut:
        raise DocumentError(
            "document_outside_roots", "certificate_uri is a link that leads out of its folder"
        ) from None
    except NotMounted as error:
        raise DocumentUnreachable(str(error)) from None
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


def _changed() -> DocumentError:
    return DocumentError("document_changed", "the document changed while it was being read")


def _no_file() -> DocumentError:
    return DocumentError("document_not_a_file", "certificate_uri is not a regular file")


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
