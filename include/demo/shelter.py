"""A temporary folder that every user can reach, for a server whose user can't reach the project's folder.

A killed process can't remove its folder. So each folder is locked by its process, and creating a folder
removes those whose lock is free.
"""

from __future__ import annotations

import fcntl
import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Final, Self, TextIO

PREFIX: Final = "springest-postgres-"
_LOCK: Final = "in-use.lock"


class Shelter:
    """A folder of this process; create it with :meth:`make`.

    :param path: the folder.
    :param lock: the open lock file that marks the folder as used.
    """

    def __init__(self, path: Path, lock: TextIO) -> None:
        self.path = path
        self._lock = lock

    @classmethod
    def make(cls) -> Self:
        """Create a folder, and remove folders of killed processes."""
        for abandoned in _abandoned():
            shutil.rmtree(abandoned, ignore_errors=True)
        path = Path(tempfile.mkdtemp(prefix=PREFIX))
        try:
            # Locked before its mode changes; until then others ignore it.
            lock = (path / _LOCK).open("w", encoding="utf-8")
            fcntl.flock(lock, fcntl.LOCK_EX)
            path.chmod(0o755)
        except BaseException:
            shutil.rmtree(path, ignore_errors=True)
            raise
        return cls(path, lock)

    def copy(self, *folders: Path) -> None:
        """Copy the folders that exist into this one, under their own names."""
        for folder in folders:
            if folder.is_dir():
                shutil.copytree(folder, self.path / folder.name, symlinks=True)

    def remove(self) -> None:
        """Remove the folder with all that is in it."""
        shutil.rmtree(self.path, ignore_errors=True)
        self._lock.close()


def _abandoned() -> Iterator[Path]:
    for folder in Path(tempfile.gettempdir()).glob(f"{PREFIX}*"):
        with suppress(OSError):
            # A folder with mode 0700 is being created.
            status = folder.lstat()
            if status.st_uid != os.geteuid() or status.st_mode & 0o777 == 0o700:
                continue
            with (folder / _LOCK).open(encoding="utf-8") as lock:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
                yield folder
