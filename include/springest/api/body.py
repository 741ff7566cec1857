"""Body of a POST that tracks how much of it has been sent.

Its last bytes, without which no server can accept it as complete, are held back until all others have left
this process. So after an earlier failure the server cannot have stored it; after a later one the outcome is
unknown.
"""

from __future__ import annotations

import asyncio
from typing import Final

from aiohttp import ClientConnectionResetError
from aiohttp.abc import AbstractStreamWriter
from aiohttp.http_writer import StreamWriter
from aiohttp.payload import Payload

from springest.api.models import Document, SendHooks
from springest.api.multipart import EncodedBody
from springest.documents.opener import DocumentError

_WAIT_FOR_EMPTY_BUFFER: Final = 1
"""High-water mark in bytes: writes wait until the buffer is empty."""
_LOOK_AGAIN_SECONDS: Final = 0.01


class CertificateBody(Payload):
    """Streams a document between its head and its tail.

    :param encoded: the bytes around the document.
    :param hooks: called before the first byte and before the tail is sent.
    """

    _autoclose = True

    def __init__(
        self,
        encoded: EncodedBody,
        document: Document,
        *,
        hooks: SendHooks | None = None,
    ) -> None:
        super().__init__(None, content_type=encoded.content_type)
        self._size = encoded.content_length
        self._encoded = encoded
        self._document = document
        self._hooks = hooks
        self._before_tail = encoded.content_length - len(encoded.tail)
        self._written = 0
        self.bytes_sent = 0
        self.handed_over = False
        self.error: BaseException | None = None

    def decode(self, encoding: str = "utf-8", errors: str = "strict") -> str:  # noqa: ARG002 - aiohttp's signature
        """Refuse: a body is never turned into text."""
        raise TypeError("the body of a certificate is not text")

    async def write(self, writer: AbstractStreamWriter) -> None:
        """Send the body; the tail only after everything before it has left this process."""
        try:
            await self._write(writer)
        except BaseException as error:
            self.error = error
            _abort(writer)
            raise

    async def _write(self, writer: AbstractStreamWriter) -> None:
        if isinstance(writer, StreamWriter) and writer.transport is not None:
            writer.transport.set_write_buffer_limits(high=_WAIT_FOR_EMPTY_BUFFER, low=0)
        if self._hooks is not None:
            self._hooks.begin()
        content = self._document.content
        if content is not None:
            await self._send_before_tail(writer, self._encoded.head + content)
        else:
            chunks = self._document.chunks()
            await self._send_before_tail(writer, self._encoded.head)
            while (chunk := await asyncio.to_thread(next, chunks, b"")) != b"":
                await self._send_before_tail(writer, chunk)
        if self._written != self._before_tail:
            raise _wrong_size()
        await self._until_all_has_left(writer)
        if self._hooks is not None:
            self._hooks.complete()
        self.handed_over = True
        await self._send(writer, self._encoded.tail)
        await self._until_all_has_left(writer)

    async def _send_before_tail(self, writer: AbstractStreamWriter, chunk: bytes) -> None:
        # An extra byte would take the tail's place, and the server could accept the body as complete.
        if self._written + len(chunk) > self._before_tail:
            raise _wrong_size()
        await self._send(writer, chunk)

    async def _send(self, writer: AbstractStreamWriter, chunk: bytes) -> None:
        await writer.write(chunk)
        self._written += len(chunk)
        await writer.drain()
        self.bytes_sent = max(self.bytes_sent, self._written - _waiting(_transports(writer)))

    async def _until_all_has_left(self, writer: AbstractStreamWriter) -> None:
        """Wait until everything written has left this process.

        :raises ClientConnectionResetError: the connection is lost, with the bytes that waited.
        """
        # No event reports that the socket's own buffer under TLS is empty.
        while _waiting(_open_transports(writer)):  # noqa: ASYNC110
            await asyncio.sleep(_LOOK_AGAIN_SECONDS)
        self.bytes_sent = self._written


def _wrong_size() -> DocumentError:
    return DocumentError("document_changed", "the document's length has changed since it was checked")


def _transports(writer: AbstractStreamWriter) -> list[asyncio.WriteTransport]:
    """Return the transports of the bytes: the connection's and, under TLS, the socket's below it.

    asyncio has no public access to the latter. If its name changes, more failures count as unknown than
    necessary, which is safe.
    """
    if not isinstance(writer, StreamWriter) or writer.transport is None:
        return []
    below = getattr(getattr(writer.transport, "_ssl_protocol", None), "_transport", None)
    return [writer.transport, below] if below is not None else [writer.transport]


def _open_transports(writer: AbstractStreamWriter) -> list[asyncio.WriteTransport]:
    """Return the open transports of the bytes.

    :raises ClientConnectionResetError: the connection is lost.
    """
    transports = _transports(writer)
    if not transports or any(transport.is_closing() for transport in transports):
        raise ClientConnectionResetError("the connection is lost")
    return transports


def _waiting(transports: list[asyncio.WriteTransport]) -> int:
    """Return the number of bytes that wait in this process."""
    return sum(transport.get_write_buffer_size() for transport in transports)


def _abort(writer: AbstractStreamWriter) -> None:
    """Abort the connection, so that the server receives an incomplete body."""
    if isinstance(writer, StreamWriter) and writer.transport is not None:
        writer.transport.abort()
