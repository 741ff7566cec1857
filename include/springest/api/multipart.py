"""The body of a POST as Springest's API page requires it: ``multipart/form-data`` (RFC 7578).

Field names and their order are those of the page; missing optional fields are omitted; the file is sent as
raw bytes with its name and type, never as Base64.
"""

from __future__ import annotations

import re
import secrets
import unicodedata
from dataclasses import dataclass, field
from typing import Final

from springest.api.models import CertificateUpload

_CRLF: Final = b"\r\n"
_BOUNDARY: Final = re.compile(r"[0-9A-Za-z'()+_,./:=?-]{1,70}")
_CONTROL: Final = re.compile(r"[\x00-\x1f\x7f]")
_FALLBACK_NAME: Final = "certificate.pdf"
_UNSAFE_IN_NAME: Final = re.compile(r"[^\w .,()'+-]")
MAX_FILE_NAME_BYTES: Final = 200
MAX_SUFFIX_BYTES: Final = 16


@dataclass(frozen=True, slots=True)
class EncodedBody:
    """The bytes around the file.

    :param head: bytes before the file.
    :param tail: bytes after the file, without which the body is incomplete.
    :param content_length: length of the whole body in bytes.
    :param content_type: the request's header, with the boundary.
    """

    head: bytes = field(repr=False)
    tail: bytes
    content_length: int
    content_type: str


def encode(
    upload: CertificateUpload, *, booking_field: str = "booking_id", boundary: str | None = None
) -> EncodedBody:
    """Return the body around a certificate's file.

    :param booking_field: the site's name for the booking field.
    :param boundary: separates the parts; random except in tests.
    :raises ValueError: a value contains a control character, or the boundary is malformed.
    """
    boundary = boundary or f"springest-{secrets.token_hex(16)}"
    if not _BOUNDARY.fullmatch(boundary):
        raise ValueError("not a boundary by RFC 2046")
    delimiter = b"--" + boundary.encode()
    lines: list[bytes] = []
    for name, value in _fields(upload, booking_field):
        lines += [delimiter, _disposition(name), b"", _one_line(value)]
    lines += [
        delimiter,
        _disposition("file", filename=upload.document.filename),
        b"Content-Type: " + _one_line(upload.document.content_type),
        b"",
        b"",
    ]
    head = _CRLF.join(lines)
    tail = _CRLF + delimiter + b"--" + _CRLF
    return EncodedBody(
        head=head,
        tail=tail,
        content_length=len(head) + upload.document.size + len(tail),
        content_type=f"multipart/form-data; boundary={boundary}",
    )


def _fields(upload: CertificateUpload, booking_field: str) -> list[tuple[str, str]]:
    fields = {
        booking_field: upload.booking_id,
        "certification_id": upload.certification_id,
        "email": upload.email,
        "valid_from": upload.valid_from.isoformat(),
        "valid_until": upload.valid_until.isoformat() if upload.valid_until else None,
    }
    return [(name, str(value)) for name, value in fields.items() if value is not None]


def _disposition(name: str, *, filename: str | None = None) -> bytes:
    header = f'Content-Disposition: form-data; name="{_quoted(name)}"'
    if filename is not None:
        header += f'; filename="{_quoted(_file_name(filename))}"'
    return header.encode("utf-8", "replace")


def _file_name(name: str) -> str:
    """Return a name that all multipart parsers read in the same way.

    Parsers treat quotes, semicolons, backslashes and percent signs differently: browsers send ``%22`` for a
    quote, RFC 2183 uses a backslash, and Rack decodes percent signs. So letters, digits and a few harmless
    characters are kept, and every other one becomes an underscore.
    """
    base = unicodedata.normalize("NFC", name).replace("\\", "/").rsplit("/", 1)[-1]
    plain = _UNSAFE_IN_NAME.sub("_", base).strip(" .")
    stem, dot, suffix = plain.rpartition(".")
    if len(suffix.encode()) > MAX_SUFFIX_BYTES:
        stem, dot, suffix = plain, "", ""
    room = MAX_FILE_NAME_BYTES - len((dot + suffix).encode())
    return stem.encode()[:room].decode("utf-8", "ignore") + dot + suffix or _FALLBACK_NAME


def _quoted(value: str) -> str:
    """Escape as browsers do (HTML, "multipart/form-data encoding"), which keeps a value inside its quotes."""
    return value.replace('"', "%22").replace("\r", "%0D").replace("\n", "%0A")


def _one_line(value: str) -> bytes:
    if _CONTROL.search(value):
        raise ValueError("a field's value contains a control character")
    return value.encode("utf-8")
