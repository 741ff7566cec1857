"""A pooler that gives each transaction another session of the server, as PgBouncer does in that mode."""

from __future__ import annotations

import os
import socket
import struct
import threading
from types import TracebackType
from typing import Self

import psycopg

_ENCRYPTION = (80877103, 80877104)
"""Codes of SSLRequest and GSSENCRequest; see "Message Formats" in PostgreSQL's documentation."""


class TransactionPooler:
    """Listens on loopback, over sessions that are taken from ``dsn`` when all others are in a transaction."""

    def __init__(self, dsn: str) -> None:
        self._dsn = dsn
        self._owners: list[psycopg.Connection] = []
        self._free: list[socket.socket] = []
        self._clients: list[socket.socket] = []
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port: int = self._listener.getsockname()[1]

    def __enter__(self) -> Self:
        threading.Thread(target=self._accept, daemon=True).start()
        return self

    def __exit__(
        self, _kind: type[BaseException] | None, _error: BaseException | None, _trace: TracebackType | None
    ) -> None:
        for resource in (self._listener, *self._clients, *self._free):
            resource.close()
        for owner in self._owners:
            owner.close()

    def _accept(self) -> None:
        while True:
            try:
                client, _ = self._listener.accept()
            except OSError:
                return
            self._clients.append(client)
            threading.Thread(target=self._serve, args=(client,), daemon=True).start()

    def _take(self) -> socket.socket:
        if self._free:
            return self._free.pop()
        owner = psycopg.connect(self._dsn)
        self._owners.append(owner)
        taken = socket.socket(fileno=os.dup(owner.pgconn.socket))
        taken.setblocking(True)
        return taken

    def _serve(self, client: socket.socket) -> None:
        try:
            self._greet(client)
            server: socket.socket | None = None
            while True:
                asked = kind = b""
                while kind not in (b"Q", b"S"):
                    kind, message = _read(client)
                    if kind == b"X":
                        return
                    asked += message
                server = server or self._take()
                server.sendall(asked)
                kind = b""
                while kind != b"Z":
                    kind, message = _read(server)
                    client.sendall(message)
                if message.endswith(b"I"):  # no transaction is open: the session is free for others
                    self._free.append(server)
                    server = None
        except (OSError, EOFError):
            return

    def _greet(self, client: socket.socket) -> None:
        while True:
            (length,) = struct.unpack("!i", _exactly(client, 4))
            (code,) = struct.unpack("!i", _exactly(client, length - 4)[:4])
            if code not in _ENCRYPTION:
                break
            client.sendall(b"N")
        parameters = {
            "server_version": "18.0",
            "client_encoding": "UTF8",
            "TimeZone": "UTC",
            "DateStyle": "ISO, MDY",
        }
        client.sendall(_message(b"R", struct.pack("!i", 0)))
        for name, value in parameters.items():
            client.sendall(_message(b"S", f"{name}\0{value}\0".encode()))
        client.sendall(_message(b"K", struct.pack("!ii", 7, 7)) + _message(b"Z", b"I"))


def _message(kind: bytes, content: bytes) -> bytes:
    return kind + struct.pack("!i", len(content) + 4) + content


def _read(connection: socket.socket) -> tuple[bytes, bytes]:
    head = _exactly(connection, 5)
    return head[:1], head + _exactly(connection, struct.unpack("!i", head[1:])[0] - 4)


def _exactly(connection: socket.socket, size: int) -> bytes:
    got = b""
    while len(got) < size:
        if not (more := connection.recv(size - len(got))):
            raise EOFError
        got += more
    return got
