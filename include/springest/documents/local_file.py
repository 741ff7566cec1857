"""Open a local file in a folder, refusing symlinks that lead out of the folder."""

from __future__ import annotations

import errno
import io
import os
import stat
from pathlib import Path, PurePosixPath
from typing import BinaryIO, Final

_READING: Final = os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC | os.O_NOCTTY
_NAMING: Final = os.O_PATH | os.O_NOFOLLOW | os.O_CLOEXEC if hasattr(os, "O_PATH") else None
"""Flags with which Linux returns a handle of a file without opening it."""


class NotMounted(OSError):
    """The folder does not exist."""


class LeadsOut(OSError):
    """A symlink leads out of the folder."""


def open_in(folder: PurePosixPath, path: PurePosixPath) -> tuple[BinaryIO, int]:
    """Open a regular file for reading; return the handle and the size, both of the open file itself.

    :param path: a path in ``folder``, taken literally.
    :raises NotMounted, LeadsOut: see there.
    :raises OSError: it can't be opened; ``EISDIR`` if it is a folder, a device or a pipe.
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

    Linux reports the real path of a file handle. If it equals the given path, that has no symlinks. This
    needs few system calls at any depth of the path; next to a busy event loop, each of them waits for the
    interpreter.
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
    """Open a file by its real path."""
    if not Path(folder).is_dir():
        raise NotMounted(f"the folder {folder} does not exist: is it mounted on this worker?")
    real, real_folder = _real(path), _real(folder)
    if not real.is_relative_to(real_folder):
        raise LeadsOut
    descriptor = os.open(real, _READING | os.O_NOFOLLOW)
    try:
        lies_at = os.readlink(f"/proc/self/fd/{descriptor}")  # noqa: PTH115 - as above
    except OSError:  # only Linux reports it
        return descriptor
    if not Path(lies_at).is_relative_to(real_folder):  # a folder in the path has become a symlink meanwhile
        os.close(descriptor)
        raise LeadsOut
    return descriptor


def _real(path: PurePosixPath) -> Path:
    """Return the path without symlinks.

    :raises OSError: there is no such path.
    """
    try:
        return Path(path).resolve(strict=True)
    except (ValueError, RuntimeError):  # a NUL or a surrogate in the name; circular symlinks
        raise FileNotFoundError(errno.ENOENT, "no such path") from None
