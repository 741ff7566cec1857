"""An SFTP server on loopback (asyncssh's) with one user."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import asyncssh


@dataclass(frozen=True)
class SftpServer:
    """The server.

    :param host_key: its public key, as a connection's extra ``host_key`` has it.
    """

    port: int
    host_key: str


class _Password(asyncssh.SSHServer):
    def __init__(self, connections: list[Any]) -> None:
        self._connections = connections

    def connection_made(self, conn: Any) -> None:
        self._connections.append(conn)

    def begin_auth(self, username: str) -> bool:
        return True

    def password_auth_supported(self) -> bool:
        return True

    def validate_password(self, username: str, password: str) -> bool:
        return (username, password) == ("lms", "secret")


@contextmanager
def sftp_server(folder: Path) -> Iterator[SftpServer]:
    """Serve a folder as the root of the user ``lms``."""
    connections: list[Any] = []
    key = asyncssh.generate_private_key("ssh-ed25519")
    loop = asyncio.new_event_loop()
    thread = threading.Thread(target=loop.run_forever, daemon=True)
    thread.start()

    async def start() -> Any:
        return await asyncssh.listen(
            "127.0.0.1",
            0,
            server_host_keys=[key],
            server_factory=lambda: _Password(connections),
            sftp_factory=lambda channel: asyncssh.SFTPServer(channel, chroot=str(folder)),
        )

    async def stop(server: Any) -> None:
        server.close()
        for connection in connections:
            connection.abort()
        await server.wait_closed()
        left = asyncio.all_tasks() - {asyncio.current_task()}
        for task in left:
            task.cancel()
        await asyncio.gather(*left, return_exceptions=True)

    server = asyncio.run_coroutine_threadsafe(start(), loop).result(30)
    try:
        yield SftpServer(server.get_port(), key.export_public_key().decode().strip())
    finally:
        asyncio.run_coroutine_threadsafe(stop(server), loop).result(30)
        loop.call_soon_threadsafe(loop.stop)
        thread.join(30)
        loop.close()
