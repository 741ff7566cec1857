"""Reads a multipart form as it streams in: small fields are kept, the file is only hashed and counted."""

from __future__ import annotations

import base64
import binascii
import hashlib
import re
import shutil
import tempfile
from collections.abc import AsyncIterator, Callable
from contextlib import nullcontext
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO

from python_multipart.exceptions import MultipartParseError
from python_multipart.multipart import MultipartParser, parse_options_header

LONGEST_FIELD = 10_000
_HEAD = 4_096
_SHORTEST_BASE64 = 8
"""Shorter texts are not recognised as Base64, since they can contain no document."""
_DATA_URI = re.compile(rb"data:[^,]*;base64,", re.IGNORECASE)


@dataclass(slots=True)
class Form:
    """The content of a form.

    :param values: fields by name.
    :param order: names of all parts, in their order.
    :param file_head: the file's first bytes.
    """

    values: dict[str, str] = field(default_factory=dict)
    order: list[str] = field(default_factory=list)
    file_name: str | None = None
    content_type: str = ""
    transfer_encoding: str = ""
    size: int = 0
    sha256: str = ""
    file_head: bytes = b""

    @property
    def has_file(self) -> bool:
        """Whether there was a part named ``file`` with a file's name."""
        return self.file_name is not None

    @property
    def is_base64(self) -> bool:
        """Whether the file is Base64 instead of raw bytes, which Springest refuses."""
        if self.transfer_encoding.lower() == "base64":
            return True
        head = b"".join(self.file_head.split())
        if _DATA_URI.match(head):
            return True
        whole = self.size <= _HEAD
        if len(head) < _SHORTEST_BASE64 or (whole and len(head) % 4):
            return False
        try:
            base64.b64decode(head[: len(head) // 4 * 4], validate=True)
        except binascii.Error:
            return False
        return True


class MalformedForm(ValueError):
    """The body is not a multipart form."""


async def read_form(content_type: str, body: AsyncIterator[bytes], *, keep_in: Path | None = None) -> Form:
    """Read a form to its end.

    :param keep_in: folder for the file, named by its sha256; without it, no byte is kept.
    :raises MalformedForm: it is not a form, or it is truncated.
    """
    kind, options = parse_options_header(content_type)
    if kind != b"multipart/form-data" or b"boundary" not in options:
        raise MalformedForm("the request must be multipart/form-data")
    with tempfile.TemporaryFile() if keep_in else nullcontext() as copy:
        reader = _Reader(copy)
        parser = MultipartParser(options[b"boundary"], reader.callbacks)  # type: ignore[arg-type]
        try:
            async for chunk in body:
                parser.write(chunk)
            parser.finalize()
        except MultipartParseError:
            raise MalformedForm("the multipart body is malformed") from None
        if not reader.ended:
            raise MalformedForm("the multipart body is cut off")
        reader.form.sha256 = reader.digest.hexdigest()
        if keep_in and copy and reader.form.has_file:
            _keep(copy, keep_in / reader.form.sha256)
    return reader.form


def _keep(copy: IO[bytes], path: Path) -> None:
    copy.seek(0)
    with path.open("wb") as kept:
        shutil.copyfileobj(copy, kept)


class _Reader:
    """Receives the parser's events; of several parts with the same name the last one counts, as in Rails."""

    def __init__(self, copy: IO[bytes] | None) -> None:
        self.form = Form()
        self.digest = hashlib.sha256()
        self._copy = copy
        self.ended = False
        self._headers: dict[str, str] = {}
        self._header_name = b""
        self._header_value = b""
        self._name = ""
        self._is_file = False
        self._value = bytearray()

    @property
    def callbacks(self) -> dict[str, Callable[..., None]]:
        return {
            "on_part_begin": self._part_begin,
            "on_part_data": self._part_data,
            "on_part_end": self._part_end,
            "on_header_field": self._header_field,
            "on_header_value": self._header_value_part,
            "on_header_end": self._header_end,
            "on_headers_finished": self._headers_finished,
            "on_end": self._end,
        }

    def _part_begin(self) -> None:
        self._headers, self._value, self._is_file = {}, bytearray(), False

    def _header_field(self, data: bytes, start: int, end: int) -> None:
        self._header_name += data[start:end]

    def _header_value_part(self, data: bytes, start: int, end: int) -> None:
        self._header_value += data[start:end]

    def _header_end(self) -> None:
        self._headers[self._header_name.decode("latin-1").lower()] = self._header_value.decode("latin-1")
        self._header_name, self._header_value = b"", b""

    def _headers_finished(self) -> None:
        _, options = parse_options_header(self._headers.get("content-disposition", ""))
        self._name = options.get(b"name", b"").decode("utf-8", "replace")
        self.form.order.append(self._name)
        if self._name == "file" and b"filename" in options:
            self._begin_file()
            self.form.file_name = options[b"filename"].decode("utf-8", "replace")
            self.form.content_type = self._headers.get("content-type", "")
            self.form.transfer_encoding = self._headers.get("content-transfer-encoding", "")

    def _begin_file(self) -> None:
        self._is_file = True
        self.digest = hashlib.sha256()
        self.form.size, self.form.file_head = 0, b""
        if self._copy:
            self._copy.seek(0)
            self._copy.truncate()

    def _part_data(self, data: bytes, start: int, end: int) -> None:
        piece = data[start:end]
        if self._is_file:
            self.digest.update(piece)
            self.form.size += len(piece)
            if self._copy:
                self._copy.write(piece)
            if len(self.form.file_head) < _HEAD:
                self.form.file_head += piece[: _HEAD - len(self.form.file_head)]
            return
        self._value += piece
        if len(self._value) > LONGEST_FIELD:
            raise MalformedForm("a field is too long")

    def _part_end(self) -> None:
        if not self._is_file:
            self.form.values[self._name] = self._value.decode("utf-8", "replace")

    def _end(self) -> None:
        self.ended = True
