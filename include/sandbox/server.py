"""Runs the sandbox in a thread of a test, or as a separate process."""

from __future__ import annotations

import asyncio
import secrets
import socket
import threading
import time
from collections.abc import Callable, Iterable
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import Self, cast

import uvicorn

from sandbox.app import create_app
from sandbox.connection import FaultyProtocol
from sandbox.profiles import PROFILES, Profile
from sandbox.state import SandboxState
from sandbox.store import Certification, Store

START_SECONDS = 20.0
STOP_SECONDS = 20.0
IDLE_SECONDS = 30.0
ENDING_SECONDS = 0.1


def listening_socket(port: int = 0) -> socket.socket:
    """Return a socket that listens on loopback; port 0 selects a free port."""
    listener = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    listener.bind(("127.0.0.1", port))
    listener.listen(256)
    return listener


class Server(uvicorn.Server):
    """A server that can be stopped at once; uvicorn's own takes 0.1 to 0.2 s for it.

    uvicorn looks ten times a second whether it should stop, and then sleeps for 0.1 s.
    """

    def __init__(self, config: uvicorn.Config) -> None:
        super().__init__(config)
        self._stopped = asyncio.Event()

    def stop(self) -> None:
        """Stop a started server, called in another thread; may be called again."""
        with suppress(RuntimeError):  # the loop is closed: it has stopped
            self._loop.call_soon_threadsafe(self._stopped.set)

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """Start to listen."""
        self._loop = asyncio.get_running_loop()
        await super().startup(sockets)

    async def main_loop(self) -> None:
        """Serve until a signal or :meth:`stop`."""
        tasks = [asyncio.create_task(super().main_loop()), asyncio.create_task(self._stopped.wait())]
        _, waiting = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
        for task in waiting:
            task.cancel()

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        """Close everything; requests in progress have a moment to end."""
        for server in self.servers:
            server.close()
        for listener in sockets or []:
            listener.close()
        for connection in list(self.server_state.connections):
            connection.shutdown()
        if self.server_state.tasks:
            await asyncio.wait(self.server_state.tasks, timeout=ENDING_SECONDS)
        await asyncio.sleep(0)  # the connections close in this turn of the loop


def make_server(state: SandboxState, *, idle_seconds: float = IDLE_SECONDS) -> Server:
    """Return a server that logs no URLs of requests, which contain keys.

    :param idle_seconds: idle time after which the server closes a connection.
    """
    return Server(
        uvicorn.Config(
            create_app(state),
            http=FaultyProtocol,
            access_log=False,
            log_level="critical",
            lifespan="off",
            timeout_keep_alive=cast("int", idle_seconds),  # any number of seconds will do
        )
    )


class SandboxServer:
    """The sandbox in a thread of this process; a context manager.

    :param profile: its behaviour; a name from ``PROFILES``, or a profile.
    :param certifications: its initial certifications.
    :param database: file that keeps all data over a restart.
    :param requests_per_hour: cap for each key; ``None`` means none.
    :param page_max: maximum number of rows in a page.
    :param clock: seconds since the epoch, for the cap, for late storing and for ``created-at``.
    :param keep_files: folder for every stored file, named by its sha256.
    :param idle_seconds: idle time after which the server closes a connection.
    """

    def __init__(
        self,
        *,
        profile: str | Profile = "documented",
        certifications: Iterable[Certification] = (),
        database: str = ":memory:",
        requests_per_hour: int | None = None,
        page_max: int = 100,
        api_key: str | None = None,
        certifications_api_key: str | None = None,
        clock: Callable[[], float] = time.time,
        keep_files: Path | None = None,
        idle_seconds: float = IDLE_SECONDS,
    ) -> None:
        self.store = Store(database, clock=clock)
        self.state = SandboxState(
            store=self.store,
            api_key=api_key or f"certificates-{secrets.token_hex(8)}",
            certifications_api_key=certifications_api_key or f"certifications-{secrets.token_hex(8)}",
            profile=PROFILES[profile] if isinstance(profile, str) else profile,
            requests_per_hour=requests_per_hour,
            page_max=page_max,
            clock=clock,
            keep_files=keep_files,
        )
        for certification in certifications:
            self.store.add_certification(certification)
        self._listener = listening_socket()
        self._port = self._listener.getsockname()[1]
        self._server = make_server(self.state, idle_seconds=idle_seconds)
        self._thread = threading.Thread(
            target=self._server.run, kwargs={"sockets": [self._listener]}, name="sandbox", daemon=True
        )

    @property
    def url(self) -> str:
        """The URL, also after it has stopped."""
        return f"http://127.0.0.1:{self._port}"

    def __enter__(self) -> Self:
        self._thread.start()
        until = time.monotonic() + START_SECONDS
        while not self._server.started:
            if time.monotonic() > until or not self._thread.is_alive():
                raise RuntimeError("the sandbox did not start")
            time.sleep(0.005)
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._server.stop()
        self._thread.join(timeout=STOP_SECONDS)
        self._listener.close()
        self.store.close()
        if self._thread.is_alive():
            raise RuntimeError("the sandbox did not stop")
