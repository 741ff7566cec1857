"""Starts the demo's processes, and makes sure that none outlives it."""

from __future__ import annotations

import contextlib
import ctypes
import ipaddress
import logging
import os
import signal
import subprocess
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import FrameType, TracebackType
from typing import Final, Self

import psutil

log = logging.getLogger(__name__)

GRACE_SECONDS: Final = 8.0
_PR_SET_PDEATHSIG: Final = 1
_PR_SET_CHILD_SUBREAPER: Final = 36
_LIBC: Final = ctypes.CDLL(None, use_errno=True)
_ENDING: Final = (signal.SIGTERM, signal.SIGHUP, signal.SIGINT)


class ProcessFailed(RuntimeError):
    """A process ended or never became ready; the text ends with its log."""


class Ended(KeyboardInterrupt):
    """This process received a signal to end."""


def die_with_parent(by: signal.Signals = signal.SIGTERM) -> None:
    """Ask the kernel to end this process when its parent dies, even by kill -9. Runs in the new process."""
    _LIBC.prctl(_PR_SET_PDEATHSIG, by)


@dataclass(frozen=True, slots=True)
class Child:
    """A running process.

    :param log_file: file of its output.
    """

    name: str
    process: subprocess.Popen[bytes]
    log_file: Path

    def tail(self, lines: int = 25) -> str:
        """Return the end of its log."""
        text = self.log_file.read_text(encoding="utf-8", errors="replace")
        return "\n".join(text.splitlines()[-lines:])


class Supervisor:
    """Starts processes and ends all of them, with their descendants, in reverse order; a context manager.

    SIGTERM and SIGHUP end it like Ctrl-C. If it is killed, its children get SIGTERM from the kernel and must
    end their own children.

    :param logs: folder for their output.
    """

    def __init__(self, logs: Path) -> None:
        self._logs = logs
        self._children: list[Child] = []
        self._before: dict[signal.Signals, object] = {}

    def __enter__(self) -> Self:
        self._logs.mkdir(parents=True, exist_ok=True)
        _LIBC.prctl(_PR_SET_CHILD_SUBREAPER, 1)
        for number in _ENDING:
            self._before[number] = signal.signal(number, _end)
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        for number in _ENDING:
            signal.signal(number, signal.SIG_IGN)
        try:
            self.stop()
        finally:
            for number, handler in self._before.items():
                signal.signal(number, handler)  # type: ignore[arg-type]

    def start(
        self,
        name: str,
        arguments: Sequence[str],
        *,
        env: Mapping[str, str],
        ready: Callable[[], bool] | None = None,
        seconds: float = 90.0,
    ) -> Child:
        """Start a process and wait until it is ready.

        :param ready: called repeatedly; an error means not yet.
        :raises ProcessFailed: it ended, or was not ready in time.
        """
        child = self._spawn(name, arguments, env)
        if ready is not None:
            self.wait_until(child, ready, seconds=seconds)
        return child

    def run(
        self, name: str, arguments: Sequence[str], *, env: Mapping[str, str], seconds: float = 180.0
    ) -> None:
        """Run a process to its end.

        :raises ProcessFailed: it failed or took too long.
        """
        child = self._spawn(name, arguments, env)
        try:
            code = child.process.wait(seconds)
        except subprocess.TimeoutExpired:
            raise ProcessFailed(f"{name} took more than {seconds:.0f} s:\n{child.tail()}") from None
        if code:
            raise ProcessFailed(f"{name} failed with {code}:\n{child.tail()}")

    def wait_until(self, child: Child, ready: Callable[[], bool], *, seconds: float) -> None:
        """Wait until a process is ready.

        :raises ProcessFailed: it ended, or was not ready in time.
        """
        until = time.monotonic() + seconds
        while time.monotonic() < until:
            if child.process.poll() is not None:
                raise ProcessFailed(f"{child.name} ended with {child.process.returncode}:\n{child.tail()}")
            with contextlib.suppress(Exception):
                if ready():
                    return
            time.sleep(0.1)
        raise ProcessFailed(f"{child.name} was not ready within {seconds:.0f} s:\n{child.tail()}")

    @property
    def running(self) -> tuple[Child, ...]:
        """The running processes."""
        return tuple(child for child in self._children if child.process.poll() is None)

    def kill(self, child: Child) -> None:
        """Kill one process (kill -9), and stop supervising it.

        Its children continue; those of Airflow end with this supervisor.
        """
        child.process.kill()
        child.process.wait(GRACE_SECONDS)
        self.forget(child)

    def forget(self, child: Child) -> None:
        """Stop supervising a process that has ended."""
        self._children.remove(child)

    def check(self) -> None:
        """Check that every process is running.

        :raises ProcessFailed: one is not.
        """
        for child in self._children:
            if child.process.poll() not in (None, 0):
                raise ProcessFailed(f"{child.name} ended with {child.process.returncode}:\n{child.tail()}")

    def stop(self) -> None:
        """End every process and its descendants, the last one first; may be called again."""
        with contextlib.ExitStack() as stack:
            # A process that can't be ended must not keep the others running.
            stack.callback(lambda: _kill(_orphans()))
            while self._children:
                stack.callback(end_tree, self._children.pop(0))

    def _spawn(self, name: str, arguments: Sequence[str], env: Mapping[str, str]) -> Child:
        log_file = self._logs / f"{name}.log"
        with log_file.open("wb") as output:
            process = subprocess.Popen(
                list(arguments),
                env=dict(env),
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                preexec_fn=die_with_parent,
                start_new_session=True,
            )
        child = Child(name, process, log_file)
        self._children.append(child)
        return child


def _end(number: int, frame: FrameType | None) -> None:  # noqa: ARG001 - a signal handler's signature
    raise Ended(signal.Signals(number).name)


def end_tree(child: Child) -> None:
    """End a process and its descendants."""
    members = list(_tree(child.process.pid))
    for member in members:
        with contextlib.suppress(psutil.NoSuchProcess):
            member.terminate()
    _wait_until_gone(members)
    # It may have started more processes meanwhile.
    _kill([*members, *_tree(child.process.pid)])
    with contextlib.suppress(subprocess.TimeoutExpired):
        child.process.wait(GRACE_SECONDS)


def _tree(pid: int) -> Iterator[psutil.Process]:
    with contextlib.suppress(psutil.NoSuchProcess):
        parent = psutil.Process(pid)
        yield parent
        yield from parent.children(recursive=True)


def listening() -> list[tuple[str, int]]:
    """Return the address and port of every TCP socket on which this process or a descendant listens."""
    me = psutil.Process(os.getpid())
    found = set()
    for process in (me, *me.children(recursive=True)):
        with contextlib.suppress(psutil.NoSuchProcess):
            found |= {
                (socket.laddr.ip, socket.laddr.port)
                for socket in process.net_connections(kind="tcp")
                if socket.status == psutil.CONN_LISTEN
            }
    return sorted(found)


def reachable_by_others(sockets: Sequence[tuple[str, int]]) -> list[str]:
    """Return those sockets that are not on loopback, as ``address:port``."""
    return [f"{ip}:{port}" for ip, port in sockets if not ipaddress.ip_address(ip).is_loopback]


def _orphans() -> list[psutil.Process]:
    """Orphaned processes that this process has adopted."""
    return [process for process in psutil.Process(os.getpid()).children() if _is_orphan(process)]


def _is_orphan(process: psutil.Process) -> bool:
    with contextlib.suppress(psutil.NoSuchProcess):
        known = process.name() in {"postgres", "resource_tracker"}
        return not known and "airflow" in " ".join(process.cmdline())
    return False


def _kill(processes: Sequence[psutil.Process]) -> None:
    """Kill all of them before waiting for any, since a parent may be waiting for its killed child."""
    for process in processes:
        with contextlib.suppress(psutil.NoSuchProcess):
            process.kill()
    _wait_until_gone(processes)


def _wait_until_gone(processes: Sequence[psutil.Process]) -> None:
    """Wait until none of them runs, or the grace period is over. A zombie counts as ended."""
    until = time.monotonic() + GRACE_SECONDS
    while any(map(_runs, processes)) and time.monotonic() < until:
        time.sleep(0.05)


def _runs(process: psutil.Process) -> bool:
    try:
        return process.is_running() and process.status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False
