"""Outlives a runner that is killed outright, and ends what that leaves behind.

Tasks of a scheduler that was killed, and processes that are suspended, end by nothing else. Sessions come on
standard input, one a line; when that closes, every process of theirs is killed.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Collection, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import psutil


class Guard:
    """The runner's side of it.

    :param process: the guard, with its standard input open.
    """

    def __init__(self, process: subprocess.Popen[str]) -> None:
        self._process = process

    def watch(self, session: int) -> None:
        """End this session when the runner is gone."""
        assert self._process.stdin is not None
        self._process.stdin.write(f"{session}\n")
        self._process.stdin.flush()


@contextmanager
def guarded() -> Iterator[Guard]:
    """Give a guard that outlives this process, and let it end afterwards."""
    with subprocess.Popen(
        [sys.executable, str(Path(__file__))], stdin=subprocess.PIPE, text=True, start_new_session=True
    ) as process:
        yield Guard(process)


def members(sessions: Collection[int]) -> Iterator[psutil.Process]:
    """Every process of these sessions."""
    for process in psutil.process_iter():
        with suppress(ProcessLookupError, PermissionError):
            if os.getsid(process.pid) in sessions:
                yield process


def main() -> None:
    """Wait until the runner is gone, then kill what it left."""
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)
    sessions = {int(line) for line in sys.stdin if line.strip()}
    for process in members(sessions):
        with suppress(psutil.NoSuchProcess):
            process.kill()


if __name__ == "__main__":
    main()
