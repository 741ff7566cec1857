"""Open certificate documents under allow-listed roots, check them, and send exactly the hashed bytes.

A small document is read into memory once, so the sent bytes are the hashed ones. A large one is hashed again
while it streams from the same handle: if it has changed, the body is aborted before its last bytes, so that
the server cannot store it.

Staging opens a document and has a separate process check it (``inspection``). Sending opens it again, and has
it checked again only if its bytes have changed.

Local files are opened here, all others by a ``RemoteOpener``, which the Airflow side implements with
``ObjectStoragePath``.
"""

from __future__ import annotations

import hashlib
import mimetypes
from collections.abc import Iterable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass, field
from types import TracebackType
from typing import BinaryIO, Final, Protocol, Self

from springest.documents.address import Address, Root
from springest.documents.errors import changed, store_errors
from springest.documents.inspection.inspector import SHARED, Inspection, Inspector, scratch_file
from springest.documents.local_file import open_in
from springest.documents.settings import ALL_CHECKS
from springest.errors import ConfigurationError, DocumentError, DocumentStoreUnreachable, DocumentUnreachable

__all__ = [
    "CheckedDocument",
    "DocumentError",
    "DocumentStore",
    "DocumentStoreUnreachable",
    "DocumentUnreachable",
    "OpenDocument",
    "RemoteOpener",
    "Root",
]

MEGABYTE: Final = 1024 * 1024
LARGEST_DOCUMENT: Final = 256 * MEGABYTE
SENT_FROM_MEMORY: Final = 4 * MEGABYTE
CHUNK: Final = 256 * 1024
_REASONS: Final = {
    "damaged": ("whole", "document_damaged", "render or copy it again"),
    "without_pages": ("pages", "document_without_pages", "render it again"),
    "needs_password": ("no_password", "document_needs_password", "save it without a password for opening"),
}
"""By defect: the check that finds it, the reason, and the remedy."""


class RemoteOpener(Protocol):
    """Opens documents that are not local files."""

    def __call__(self, address: Address, root: Root) -> tuple[BinaryIO, int]:
        """Open for reading; return the handle and the size in bytes.

        :raises FileNotFoundError: there is no such document.
        :raises NotMounted: there is no such bucket, or no such folder on a server.
        :raises Exception: any error of the store's library.
        """


@dataclass(slots=True)
class OpenDocument:
    """A checked document, ready to be sent until it is closed; made by ``DocumentStore.open``.

    :param filename: file name that is sent to Springest; the last part of the URI, or a
        general name for a link that has none.
    :param content: the bytes of a small document, else ``None``.
    :param repaired: defects that readers repair automatically; empty if there are none, or they were logged
        before.
    :param _handle: the open file of a large document.
    """

    filename: str = field(repr=False)
    content_type: str
    size: int
    sha256: str
    content: bytes | None = field(repr=False)
    _handle: BinaryIO | None = field(default=None, repr=False)
    repaired: str = ""

    @property
    def checked(self) -> str:
        """Type and hash to store, so that the same bytes are not checked again."""
        return f"{self.content_type} {self.sha256}"

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
        """Close the file."""
        if self._handle is not None:
            self._handle.close()

    def chunks(self) -> Iterator[bytes]:
        """Yield the document from its start; can be called again.

        :raises DocumentError: the bytes are not the hashed ones any more. It is raised before the last chunk,
            so that no body is ever completed with them.
        :raises DocumentUnreachable: reading failed.
        """
        if self.content is not None or self._handle is None:
            yield self.content or b""
            return
        self._handle.seek(0)
        digest, held, length = hashlib.sha256(), b"", 0
        while chunk := self._read(CHUNK):
            digest.update(chunk)
            length += len(chunk)
            if length > self.size:  # the file grew: further bytes would complete the body
                break
            if held:
                yield held
            held = chunk
        if digest.hexdigest() != self.sha256:
            raise DocumentError("document_changed", "the document changed while it was being sent")
        yield held

    def _read(self, size: int) -> bytes:
        with store_errors():
            return self._handle.read(size) if self._handle is not None else b""


@dataclass(frozen=True, slots=True)
class CheckedDocument:
    """A document that passed its checks; see ``OpenDocument`` for its fields."""

    sha256: str
    checked: str
    repaired: str = ""


@dataclass(frozen=True, slots=True)
class DocumentStore:
    """Opens documents under the allow-listed roots.

    :param roots: folders and buckets of documents.
    :param accepted_types: media types that may be sent, such as ``application/pdf``.
    :param checks: requirements: ``whole``, has ``pages``, needs ``no_password`` to open.
    :param open_remote: opener for anything but local files.
    :param largest: size cap in bytes.
    :param inspector: checks documents.
    """

    roots: tuple[Root, ...]
    accepted_types: tuple[str, ...] = ("application/pdf",)
    checks: tuple[str, ...] = ALL_CHECKS
    open_remote: RemoteOpener | None = None
    largest: int = LARGEST_DOCUMENT
    inspector: Inspector = SHARED

    @classmethod
    def under(cls, roots: Iterable[str], **settings: object) -> DocumentStore:
        """Create a store from the configured roots."""
        parsed = tuple(Root.parse(root) for root in roots)
        if not parsed:
            raise ConfigurationError(
                "the Variable springest_document_roots is empty: list the folders or buckets of the documents"
            )
        return cls(parsed, **settings)  # type: ignore[arg-type]

    def root_of(self, uri: str) -> str:
        """Return the root of a document; empty if there is none."""
        try:
            return str(self._find(uri)[0])
        except DocumentError:
            return ""

    def probe(self, uri: str, checked: str | None = None) -> CheckedDocument:
        """Check a document as ``open`` does, and close it."""
        with self.open(uri, checked) as document:
            return CheckedDocument(document.sha256, document.checked, document.repaired)

    def open(self, uri: str, checked: str | None = None) -> OpenDocument:
        """Open, hash and check a document; it can be sent until it is closed.

        :param checked: ``OpenDocument.checked`` of the last check, if any.
        :raises DocumentError: it can't be sent.
        :raises DocumentUnreachable: it could not be read now.
        """
        root, address = self._find(uri)
        with ExitStack() as stack, store_errors():
            handle, size = self._open(root, address)
            stack.callback(handle.close)
            self._check_size(size)
            is_small = size <= SENT_FROM_MEMORY
            read = self._read if is_small else self._hash
            document = read(handle, size, address, checked)
            if not is_small:
                stack.pop_all()
            return document

    def _read(self, handle: BinaryIO, size: int, address: Address, checked: str | None) -> OpenDocument:
        """Read a small document into memory."""
        content = handle.read(size + 1)  # the extra byte detects that it has grown
        while len(content) < size and (more := handle.read(size + 1 - len(content))):
            content += more
        if len(content) != size:
            raise changed()
        sha256 = hashlib.sha256(content).hexdigest()
        known_type = self._known_type(checked, sha256)
        if known_type:
            return OpenDocument(_filename(address, known_type), known_type, size, sha256, content)
        with scratch_file() as copy:
            copy.write(content)
            found = self._inspect(copy, size)
        return OpenDocument(
            _filename(address, found.type), found.type, size, sha256, content, repaired=found.repaired
        )

    def _hash(self, handle: BinaryIO, size: int, address: Address, checked: str | None) -> OpenDocument:
        """Read a large document once to hash and check it; it is read again when it is sent."""
        if checked is not None:
            sha256 = _copy(handle, size, None)
            known_type = self._known_type(checked, sha256)
            if known_type:
                return OpenDocument(_filename(address, known_type), known_type, size, sha256, None, handle)
            handle.seek(0)
        with scratch_file(in_memory=False) as copy:
            sha256 = _copy(handle, size, copy)
            found = self._inspect(copy, size)
        return OpenDocument(
            _filename(address, found.type), found.type, size, sha256, None, handle, found.repaired
        )

    def _known_type(self, checked: str | None, sha256: str) -> str:
        """Return the type of a document that was checked before and has not changed; else an empty text."""
        media_type, _, digest = (checked or "").partition(" ")
        return media_type if digest == sha256 and media_type in self.accepted_types else ""

    def _inspect(self, copy: BinaryIO, size: int) -> Inspection:
        copy.flush()
        found = self.inspector.inspect(copy, size)
        if found.defect == "too_complex":
            raise DocumentError(
                "document_too_complex",
                f"the document can't be opened safely, since {found.detail}: render it again",
            )
        if found.type not in self.accepted_types:
            raise DocumentError(
                "document_wrong_type",
                f"the document is {found.type or 'of unknown type'}, not "
                f"{' or '.join(self.accepted_types)}: render it again",
            )
        if found.defect is not None:
            check, reason, remedy = _REASONS[found.defect]
            if check in self.checks:
                raise DocumentError(reason, f"the document can't be sent, since {found.detail}: {remedy}")
        return found

    def _open(self, root: Root, address: Address) -> tuple[BinaryIO, int]:
        """Open for reading; return the handle and the size."""
        if address.is_local:
            return open_in(root.address.path, address.path)
        if self.open_remote is None:
            raise ConfigurationError("documents outside the local file system need an opener")
        return self.open_remote(address, root)

    def _find(self, uri: str) -> tuple[Root, Address]:
        """Return the root of a document, and its address."""
        try:
            address = Address.parse(uri)
        except ValueError as error:
            raise DocumentError(
                "certificate_uri_malformed",
                f"certificate_uri is not a document's URI, since {error}",
            ) from None
        for root in self.roots:
            if (located := root.locate(address)) is not None:
                return root, located
        raise DocumentError(
            "document_outside_roots",
            "certificate_uri is under none of the document roots: move the document, or add its folder",
        )

    def _check_size(self, size: int) -> None:
        if size == 0:
            raise DocumentError("document_empty", "the document is empty: render it again")
        if size > self.largest:
            raise DocumentError(
                "document_too_large",
                f"the document has {size / MEGABYTE:.0f} MB, "
                f"more than the {self.largest / MEGABYTE:.0f} MB allowed",
            )


def _filename(address: Address, media_type: str) -> str:
    """Return the file name to send; a link such as ``download.php?id=1`` has none that suits the document."""
    name = address.path.name
    if address.is_link and mimetypes.guess_type(name)[0] != media_type:
        return f"certificate{mimetypes.guess_extension(media_type) or ''}"
    return name


def _copy(handle: BinaryIO, size: int, copy: BinaryIO | None) -> str:
    """Read a document to its end and return its sha256.

    :param copy: file to copy it to, if any.
    :raises DocumentError: its length has changed.
    """
    digest, length = hashlib.sha256(), 0
    while chunk := handle.read(CHUNK):
        digest.update(chunk)
        length += len(chunk)
        if copy is not None:
            copy.write(chunk)
        if length > size:
            break
    if length != size:
        raise changed()
    return digest.hexdigest()
