"""Closes connections the hard way, as crashing servers and broken networks do."""

from __future__ import annotations

from typing import Any

from starlette.responses import Response
from starlette.types import Receive, Scope, Send
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

_TRANSPORT = "sandbox_transport"


class FaultyProtocol(HttpToolsProtocol):
    """uvicorn's protocol, which also hands its transport to the application."""

    def on_message_begin(self) -> None:
        """Begin a request."""
        super().on_message_begin()
        self.scope["state"][_TRANSPORT] = self.transport


def close_connection(scope: Scope) -> None:
    """Close the connection that a request came on, with a reset if anything is unread."""
    scope["state"][_TRANSPORT].abort()


class Dropped(Response):
    """No answer at all: the connection is closed instead."""

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:  # noqa: ARG002 - ASGI
        """Close the connection."""
        close_connection(scope)


class Truncated(Response):
    """An answer that breaks off in the middle of its body."""

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:  # noqa: ARG002 - ASGI
        """Send half of what the head promises, then close the connection."""
        start: dict[str, Any] = {
            "type": "http.response.start",
            "status": self.status_code,
            "headers": self.raw_headers,
        }
        await send(start)
        half = bytes(self.body)[: len(self.body) // 2]
        await send({"type": "http.response.body", "body": half, "more_body": True})
        scope["state"][_TRANSPORT].close()
