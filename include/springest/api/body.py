"""A POST's body that knows how much of it has left.

Its tail, without which no server can take it for whole, is held back until everything before it has left this
process. So a failure before that is known not to have been taken, and any later one is in doubt.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Final

from aiohttp.abc import AbstractStreamWriter
from aiohttp.http_writer import StreamWriter
from aiohttp.payload import Payload

from include.springest.api.models import Document
from include.springest.api.multipart import EncodedBody

_WAIT_FOR_EMPTY_BUFFER: Final = 1
"""High-water mark in bytes: writing waits until the buffer is empty again."""


class CertificateBody(Payload):
    """Streams a document between its head and its tail.

    :param encoded: what stands around the document's bytes.
    :param on_handed_over: called right before the tail leaves.
    """

    _autoclose = True

    def __init__(
        self,
        encoded: EncodedBody,
        document: Document,
        *,
        on_handed_over: Callable[[], None] | None = None,
    ) -> None:
        super().__init__(None, content_type=encoded.content_type)
        self._size = encoded.content_length
        self._encoded = encoded
        self._document = document
        self._on_handed_over = on_handed_over
        self.bytes_sent = 0
        self.handed_over = False
        self.error: BaseException | None = None

    def decode(self, encoding: str = "utf-8", errors: str = "strict") -> str:  # noqa: ARG002 - aiohttp's signature
        """Refuse: a body is never turned into text."""
        raise TypeError("the body of a certificate is not text")

    async def write(self, writer: AbstractStreamWriter) -> None:
        """Send the body; its tail last, and only when all before it has left."""
        try:
            await self._write(writer)
        except BaseException as error:
            self.error = error
            _abort(writer)
            raise

    async def _write(self, writer: AbstractStreamWriter) -> None:
        if isinstance(writer, StreamWriter) and writer.transport is not None:
            writer.transport.set_write_buffer_limits(high=_WAIT_FOR_EMPTY_BUFFER, low=0)
        chunks = self._document.chunks()
        if self._document.content is not None:
            await self._send(writer, self._encoded.head + b"".join(chunks))
        else:
            await self._send(writer, self._encoded.head)
            while (chunk := await asyncio.to_thread(next, chunks, b"")) != b"":
                await self._send(writer, chunk)
        await writer.drain()
        missing = self._encoded.content_length - len(self._encoded.tail) - self.bytes_sent
        if missing:
            raise ValueError(f"the document's size was told wrongly, by {missing} bytes")
        self.handed_over = True
        if self._on_handed_over is not None:
            self._on_handed_over()
        await self._send(writer, self._encoded.tail)

    async def _send(self, writer: AbstractStreamWriter, chunk: bytes) -> None:
        await writer.write(chunk)
        await writer.drain()
        self.bytes_sent += len(chunk)


def _abort(writer: AbstractStreamWriter) -> None:
    """Break the connection off, so that the server sees a body that never ended."""
    if isinstance(writer, StreamWriter) and writer.transport is not None:
        writer.transport.abort()
