"""A MariaDB server of Debian's package ``mariadb-server``, for tests, where it is installed."""

from __future__ import annotations

import os
import pwd
import shutil
import signal
import subprocess
import time
from pathlib import Path
from typing import Self

from sqlalchemy import URL, create_engine
from sqlalchemy.exc import OperationalError

from demo.ports import free_port

SERVER = shutil.which("mariadbd", path=f"{os.environ.get('PATH', '')}:/usr/sbin")
INSTALL = shutil.which("mariadb-install-db")
MISSING = "MariaDB is not installed: `apt-get install mariadb-server`"
_SECONDS = 60


class MariaDb:
    """
    A running server with an administrator without a password, on loopback only.

    :param folder: where it keeps its data; made and removed.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self.port = free_port()

    def __enter__(self) -> Self:
        assert SERVER is not None, MISSING
        assert INSTALL is not None, MISSING
        self._folder.mkdir(parents=True)
        user = []
        if os.geteuid() == 0:  # the server refuses to run as root
            owner = pwd.getpwnam("mysql")
            os.chown(self._folder, owner.pw_uid, owner.pw_gid)
            user = ["--user=mysql"]
        where = ["--no-defaults", f"--datadir={self._folder}", *user]
        install = [INSTALL, *where, "--auth-root-authentication-method=normal", "--skip-test-db"]
        subprocess.run(install, check=True, capture_output=True, timeout=_SECONDS)
        listening = ["--bind-address=127.0.0.1", f"--port={self.port}", f"--socket={self._folder}/socket"]
        durable = ["--innodb-flush-log-at-trx-commit=0", "--skip-log-bin"]
        with (self._folder / "log").open("wb") as log:
            self._server = subprocess.Popen([SERVER, *where, *listening, *durable], stdout=log, stderr=log)
        self._wait()
        return self

    def __exit__(self, *_: object) -> None:
        self._server.send_signal(signal.SIGTERM)
        self._server.wait(_SECONDS)
        shutil.rmtree(self._folder, ignore_errors=True)

    def url(self, database: str = "", *, user: str = "root", password: str | None = None) -> URL:
        """The address of a database, by TCP."""
        return URL.create(
            "mysql+pymysql", user, password, "127.0.0.1", self.port, database, {"charset": "utf8mb4"}
        )

    def _wait(self) -> None:
        engine = create_engine(self.url())
        until = time.monotonic() + _SECONDS
        while True:
            try:
                engine.connect().close()
            except OperationalError:
                if time.monotonic() > until or self._server.poll() is not None:
                    raise
                time.sleep(0.1)
            else:
                break
        engine.dispose()
