"""Breaks connections, as crashing servers and networks do."""

from __future__ import annotations

import asyncio
import socket
import struct
from typing import Any, Final

from starlette.responses import Response
from starlette.types import Receive, Scope, Send
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

_TRANSPORT: Final = "sandbox_transport"
_PIECES: Final = 20
_RESET_ON_CLOSE: Final = struct.pack("ii", 1, 0)


class FaultyProtocol(HttpToolsProtocol):
    """uvicorn's protocol, which also passes its transport to the application."""

    def on_message_begin(self) -> None:
        """Begin a request."""
        super().on_message_begin()
        self.scope["state"][_TRANSPORT] = self.transport


class Dropped(Response):
    """No response: the connection is closed instead.

    :param reset: close it with RST; otherwise with FIN, unless data is unread.
    """

    def __init__(self, *, reset: bool = False) -> None:
        super().__init__()
        self._reset = reset

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:  # noqa: ARG002 - ASGI
        """Close the connection."""
        transport = scope["state"][_TRANSPORT]
        if self._reset:
            transport.get_extra_info("socket").setsockopt(
                socket.SOL_SOCKET, socket.SO_LINGER, _RESET_ON_CLOSE
            )
        transport.abort()


class Truncated(Response):
    """A response that ends within its body."""

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:  # noqa: ARG002 - ASGI
        """Send half of the announced length, then close the connection."""
        await send(_start(self))
        half = bytes(self.body)[: len(self.body) // 2]
        await send({"type": "http.response.body", "body": half, "more_body": True})
        scope["state"][_TRANSPORT].close()


class Trickled(Response):
    """A response that is sent in small pieces.

    :param seconds: its duration.
    """

    def __init__(self, answer: Response, *, seconds: float) -> None:
        super().__init__(answer.body, status_code=answer.status_code)
        self.raw_headers = answer.raw_headers
        self._seconds = seconds

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:  # noqa: ARG002 - ASGI
        """Send piece by piece."""
        await send(_start(self))
        whole = bytes(self.body)
        step = max(1, -(-len(whole) // _PIECES))
        pieces = [whole[begin : begin + step] for begin in range(0, len(whole), step)]
        for piece in pieces:
            await asyncio.sleep(self._seconds / len(pieces))
            await send({"type": "http.response.body", "body": piece, "more_body": True})
        await send({"type": "http.response.body", "body": b""})


def _start(response: Response) -> dict[str, Any]:
    return {
        "type": "http.response.start",
        "status": response.status_code,
        "headers": response.raw_headers,
    }
