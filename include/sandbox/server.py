"""Runs the sandbox: in a thread of a test, or as a process of its own."""

from __future__ import annotations

import secrets
import socket
import threading
import time
from collections.abc import Callable, Iterable
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


def listening_socket(port: int = 0) -> socket.socket:
    """Return a socket that listens on loopback; port 0 takes a free one."""
    listener = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    listener.bind(("127.0.0.1", port))
    listener.listen(256)
    return listener


def make_server(state: SandboxState, *, idle_seconds: float = IDLE_SECONDS) -> uvicorn.Server:
    """Return a server that logs no addresses of requests, which hold keys.

    :param idle_seconds: how long a connection may be idle before the server closes it.
    """
    return uvicorn.Server(
        uvicorn.Config(
            create_app(state),
            http=FaultyProtocol,
            access_log=False,
            log_level="critical",
            lifespan="off",
            timeout_graceful_shutdown=1,
            timeout_keep_alive=cast("int", idle_seconds),  # any number of seconds will do
        )
    )


class SandboxServer:
    """The sandbox in a thread of this process; a context manager.

    :param profile: how it behaves; a name from ``PROFILES``, or a profile.
    :param certifications: what its admin holds at first.
    :param database: file that keeps everything over a restart.
    :param requests_per_hour: cap for each key; ``None`` is none.
    :param page_max: rows of a page at most.
    :param clock: seconds since the epoch, for the cap, for what is stored late and for ``created-at``.
    :param keep_files: folder that gets every file it took, named by its sha256.
    :param idle_seconds: how long a connection may be idle before the server closes it.
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
        """Where it listens, or listened."""
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
        self._server.should_exit = True
        self._server.force_exit = True
        self._thread.join(timeout=STOP_SECONDS)
        self._listener.close()
        self.store.close()
        if self._thread.is_alive():
            raise RuntimeError("the sandbox did not stop")
