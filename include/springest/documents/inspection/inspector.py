"""Open documents in a separate process, which a hostile document may crash, hang or exhaust.

The process is started for the first document, opens one at a time and remains for the next. It ends with this
process, even if that is killed. It has no secrets: its environment is empty, and it inherits no descriptor
except its socket.
"""

from __future__ import annotations

import atexit
import json
import os
import signal
import socket
import subprocess
import sys
import tempfile
import threading
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO, Final, cast

from springest.errors import InspectionFailed

_READER: Final = Path(__file__).with_name("reader.py")
MEGABYTE: Final = 1024 * 1024
_GRACE_SECONDS: Final = 5.0
"""Time to wait for the process beyond its own limit."""
_TRIES: Final = 2
_READY: Final = b"ready\n"


@dataclass(frozen=True, slots=True)
class Limits:
    """Limits for opening one document.

    :param cpu_seconds: CPU time of the process.
    :param seconds: elapsed time, for an overloaded machine.
    :param memory: address space in bytes, in addition to twice the document's size.
    """

    cpu_seconds: float = 20.0
    seconds: float = 120.0
    memory: int = 1024 * MEGABYTE


@dataclass(frozen=True, slots=True)
class Inspection:
    """Result of opening a document; see ``reader.py``.

    :param type: media type recognised from the content; empty if it is unknown.
    :param defect: ``damaged``, ``without_pages``, ``needs_password``, ``too_complex``, or ``None``.
    :param detail: description of the defect.
    :param repaired: defects that readers repair automatically.
    """

    type: str
    defect: str | None = None
    detail: str = ""
    repaired: str = ""


class Inspector:
    """Opens documents, one at a time; threads may share it.

    :param limits: limits for one document.
    """

    def __init__(self, limits: Limits | None = None) -> None:
        self._limits = limits or Limits()
        self._lock = threading.Lock()
        self._process: subprocess.Popen[bytes] | None = None
        self._socket: socket.socket | None = None
        os.register_at_fork(after_in_child=self._forget)
        atexit.register(self.close)

    def inspect(self, document: BinaryIO, size: int) -> Inspection:
        """Open a document.

        :param document: an open file with a descriptor, to which nothing else writes.
        :param size: its size in bytes.
        :raises InspectionFailed: it could not be opened now.
        """
        limits = self._limits
        request = json.dumps(
            {
                "size": size,
                "cpu_seconds": limits.cpu_seconds,
                "seconds": limits.seconds,
                "memory": limits.memory + 2 * size,
            }
        ).encode()
        ended: int | None = None
        with self._lock:
            for _ in range(_TRIES):  # the document need not be the cause of the process's end
                response, ended = self._ask(request, document.fileno())
                if response:
                    return Inspection(**json.loads(response))
                if ended in {-signal.SIGPROF, -signal.SIGXCPU}:
                    detail = f"opening it takes more than {limits.cpu_seconds:g} seconds of processor time"
                    return Inspection("", "too_complex", detail)
                if ended == -signal.SIGALRM:
                    raise InspectionFailed(f"it could not be opened within {limits.seconds:g} seconds")
        if ended in _CRASHES:
            return Inspection("", "too_complex", "a reader crashes when opening it")
        raise InspectionFailed("the process that opens documents was ended from outside, twice")

    def close(self) -> None:
        """End the process; a new one is started on demand."""
        if self._process is not None and self._socket is not None:
            self._socket.close()
            self._process.kill()
            self._process.wait()
        self._process = self._socket = None

    def _ask(self, request: bytes, descriptor: int) -> tuple[bytes, int | None]:
        """Return the response; without one, the exit code of the process."""
        response = b""
        try:
            channel = self._start()
            socket.send_fds(channel, [request], [descriptor])
            while not response.endswith(b"\n"):
                part = channel.recv(4096)
                if not part:
                    break
                response += part
        except TimeoutError:
            self.close()
            return b"", -signal.SIGALRM
        except (BrokenPipeError, ConnectionResetError):
            pass
        except BaseException:  # a late response must not be used for the next document
            self.close()
            raise
        if response.endswith(b"\n"):
            return response, None
        ended = self._process.wait() if self._process is not None else None
        self.close()
        return b"", ended

    def _start(self) -> socket.socket:
        if self._socket is not None:
            return self._socket
        parent_end, child_end = socket.socketpair()
        with child_end:
            path = json.dumps([entry for entry in sys.path if entry])
            # "-I" ignores the variable PYTHONPYCACHEPREFIX: libraries would be compiled at each start.
            cache = ("-X", f"pycache_prefix={sys.pycache_prefix}") if sys.pycache_prefix else ()
            # The reader is a file of this project, and its only argument the search path.
            self._process = subprocess.Popen(  # noqa: S603
                [sys.executable, "-I", "-B", *cache, str(_READER), path],
                stdin=child_end.fileno(),
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
                env={name: os.environ[name] for name in ("LD_LIBRARY_PATH",) if name in os.environ},
                cwd="/",
                start_new_session=True,
            )
        parent_end.settimeout(self._limits.seconds + _GRACE_SECONDS)
        self._socket = parent_end
        if parent_end.recv(64) != _READY:
            self.close()
            raise InspectionFailed(
                "the process that opens documents does not start: are all packages installed?"
            )
        return parent_end

    def _forget(self) -> None:
        """Leave the process to the parent; runs in a forked child."""
        self._lock = threading.Lock()
        if self._process is not None:
            self._process.returncode = 0  # it is not a child of this process, so there is nothing to wait for
        if self._socket is not None:
            self._socket.close()
        self._process = self._socket = None


_CRASHES: Final = {-signal.SIGSEGV, -signal.SIGABRT, -signal.SIGBUS, -signal.SIGFPE, -signal.SIGILL, 1}
SHARED: Final = Inspector()
"""The inspector of this process, which all stores share."""


def scratch_file(*, in_memory: bool = True) -> BinaryIO:
    """Return a file without a name."""
    if in_memory and hasattr(os, "memfd_create"):
        with suppress(OSError):
            return os.fdopen(os.memfd_create("document"), "w+b")
    return cast("BinaryIO", tempfile.TemporaryFile())
