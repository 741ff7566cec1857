"""Open a local file that lies in a folder, and that no link leads out of it to."""

from __future__ import annotations

import errno
import io
import os
import stat
from pathlib import Path, PurePosixPath
from typing import BinaryIO, Final

_READING: Final = os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC | os.O_NOCTTY
_NAMING: Final = os.O_PATH | os.O_NOFOLLOW | os.O_CLOEXEC if hasattr(os, "O_PATH") else None
"""How Linux names a file without opening it, so that it can be looked at first."""


class NotMounted(OSError):
    """The folder itself is not there."""


class LeadsOut(OSError):
    """A link leads out of the folder."""


def open_in(folder: PurePosixPath, path: PurePosixPath) -> tuple[BinaryIO, int]:
    """Open a regular file for reading; return the handle and the size, both of the open file itself.

    :param path: lies in ``folder``, taken literally.
    :raises NotMounted, LeadsOut: see there.
    :raises OSError: it can't be opened, or is none; a folder, a device and a pipe are ``EISDIR``.
    """
    descriptor = _open_where_it_says(str(path))
    if descriptor is None:
        descriptor = _open_behind_links(folder, path)
    try:
        status = os.fstat(descriptor)
        if stat.S_ISREG(status.st_mode):
            return io.FileIO(descriptor), status.st_size
    except BaseException:
        os.close(descriptor)
        raise
    os.close(descriptor)
    raise IsADirectoryError(errno.EISDIR, "not a regular file")


def _open_where_it_says(path: str) -> int | None:
    """Open a file without symlinks in its path; ``None`` if this fast check cannot establish that.

    Linux says where a file really lies once it is named. When that is its path, there is no link in it, and
    so none that leads anywhere else. This takes few looks at the file system, however deep the file lies;
    beside a busy event loop, each of them has to wait for the interpreter.
    """
    if _NAMING is None:
        return None
    try:
        name = os.open(path, _NAMING)
    except (OSError, ValueError):  # the slow path finds the cause
        return None
    try:
        named = f"/proc/self/fd/{name}"
        if os.readlink(named) != path:  # noqa: PTH115 - a Path costs more than the call
            return None
        return os.open(named, _READING)
    except OSError:
        return None
    finally:
        os.close(name)


def _open_behind_links(folder: PurePosixPath, path: PurePosixPath) -> int:
    """Open by the real path."""
    if not Path(folder).is_dir():
        raise NotMounted(f"the folder {folder} is not there: is it mounted on this worker?")
    real, real_folder = _real(path), _real(folder)
    if not real.is_relative_to(real_folder):
        raise LeadsOut
    descriptor = os.open(real, _READING | os.O_NOFOLLOW)
    try:
        lies_at = os.readlink(f"/proc/self/fd/{descriptor}")  # noqa: PTH115 - as above
    except OSError:  # only Linux says it
        return descriptor
    if not Path(lies_at).is_relative_to(real_folder):  # a folder on the way became a link meanwhile
        os.close(descriptor)
        raise LeadsOut
    return descriptor


def _real(path: PurePosixPath) -> Path:
    """Return the path without links.

    :raises OSError: there is no such path.
    """
    try:
        return Path(path).resolve(strict=True)
    except (ValueError, RuntimeError):  # a NUL or half a surrogate in the name; links in a circle
        raise FileNotFoundError(errno.ENOENT, "no such path") from None
