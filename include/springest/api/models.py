"""Requests and results of Springest's API as plain values."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import date, datetime
from typing import Generic, NamedTuple, Protocol, TypeVar

T = TypeVar("T")


class Document(Protocol):
    """A certificate's file, opened and checked."""

    @property
    def filename(self) -> str:
        """File name that is sent to Springest."""

    @property
    def content_type(self) -> str:
        """Media type, such as ``application/pdf``."""

    @property
    def size(self) -> int:
        """Size in bytes."""

    @property
    def content(self) -> bytes | None:
        """The bytes of a document that is small enough to be kept in memory, else ``None``."""

    def chunks(self) -> Iterator[bytes]:
        """Yield the bytes from the start; may be called again."""


class SendHooks(Protocol):
    """Called while a body is sent; an exception stops it."""

    def begin(self) -> None:
        """Called right before the first byte of the request is sent."""

    def complete(self) -> None:
        """Called right before the body's last bytes are sent; afterwards the server may have stored it."""


@dataclass(frozen=True, slots=True)
class CertificateUpload:
    """A certificate to POST.

    :param valid_until: required by Springest if the certification's ``requires_valid_until`` is true.
    """

    certification_id: int
    email: str = field(repr=False)
    valid_from: date
    document: Document = field(repr=False)
    valid_until: date | None = None
    booking_id: int | None = None


@dataclass(frozen=True, slots=True)
class PostResponse:
    """Springest stored the certificate.

    :param certificate_id: the new certificate's id; ``None`` if the response has no usable one.
    :param bytes_sent: bytes of the body that were sent.
    """

    status: int
    certificate_id: int | None
    bytes_sent: int


class Certificate(NamedTuple):
    """A certificate that Springest shows; a tuple, because lists may have a million rows.

    :param created_at: when Springest stored it; naive if the server reported no zone.
    :param user_email: the owner, on sites that name one.
    """

    id: int
    certification_id: int | None = None
    valid_from: date | None = None
    valid_until: date | None = None
    status: str | None = None
    created_at: datetime | None = None
    user_email: str | None = None
    certification_name: str | None = None

    def __repr__(self) -> str:
        """Show every field except the owner."""
        values = self._asdict()
        del values["user_email"]
        return f"Certificate({', '.join(f'{name}={value!r}' for name, value in values.items())})"

    @property
    def created_at_has_zone(self) -> bool:
        """Whether ``created_at`` has a time zone."""
        return self.created_at is not None and self.created_at.tzinfo is not None


@dataclass(frozen=True, slots=True)
class Certification:
    """A listed certification.

    :param requires_valid_until: ``None`` if the server does not report it.
    """

    id: int
    name: str | None = None
    description: str | None = None
    requires_valid_until: bool | None = None


@dataclass(frozen=True, slots=True)
class Page(Generic[T]):
    """One page of a list.

    :param total: number of rows in the whole list, as reported by the server (``meta/results``).
    :param offset: number of rows before this page, as reported by the server.
    :param ids: ids of all rows in order; a row without a usable id, which is not in ``items``, has a negative
        number that depends on its content.
    """

    items: tuple[T, ...]
    total: int | None
    offset: int | None
    ids: tuple[int, ...] = ()
