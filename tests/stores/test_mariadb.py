"""A source in MariaDB, where Debian's server is installed."""

from __future__ import annotations

import getpass
import shutil
import subprocess
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import pymysql
import pytest
from sqlalchemy import Engine, create_engine, text

from demo import source_database
from springest.db.engines import source_engine
from springest.source.contract import IN_SEVERAL_SOURCES
from springest.source.reader import SourceReader
from tests.integration.conftest import sent
from tests.integration.test_several_sources import Company
from tests.unit.source.test_drop import NOVEMBER

QUERY = (Path(__file__).parents[2] / "include" / "sql" / "completed_trainings_mysql.sql").read_text(
    encoding="utf-8"
)

pytestmark = pytest.mark.skipif(shutil.which("mariadbd") is None, reason="mariadb-server is not installed")


@pytest.fixture(scope="module")
def server() -> Iterator[str]:
    """The socket of a server of this module's own."""
    folder = Path(tempfile.mkdtemp(prefix="mariadb-"))  # a socket's path must be short
    socket = str(folder / "socket")
    user = f"--user={getpass.getuser()}"
    common = ["--no-defaults", f"--datadir={folder}/data", user]
    install = ["mariadb-install-db", *common, "--auth-root-authentication-method=normal", "--skip-test-db"]
    subprocess.run(install, check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    log = (folder / "log").open("w")
    started = ["mariadbd", *common, f"--socket={socket}", "--skip-networking", f"--pid-file={folder}/pid"]
    process = subprocess.Popen(started, stdout=log, stderr=log)
    until = time.monotonic() + 60
    try:
        while not Path(socket).exists():
            assert process.poll() is None, (folder / "log").read_text()
            assert time.monotonic() < until
            time.sleep(0.1)
        yield socket
    finally:
        process.terminate()
        process.wait(60)
        log.close()
        shutil.rmtree(folder)


@pytest.fixture
def source(server: str) -> Iterator[Engine]:
    """An empty database of a server in another zone."""
    connection = pymysql.connect(unix_socket=server, user="root", autocommit=True)
    with connection, connection.cursor() as cursor:
        cursor.execute("SET GLOBAL time_zone = '+05:00'")
        cursor.execute("DROP DATABASE IF EXISTS lms")
        cursor.execute("CREATE DATABASE lms CHARACTER SET utf8mb4")
    engine = source_engine(f"mysql+pymysql://root@/lms?unix_socket={server}")
    yield engine
    engine.dispose()


def test_a_night_from_mariadb(make_world, source):
    """Twenty certificates, one of them with a date that MySQL allows and nothing else does."""
    world = make_world(source=source)
    world.query = QUERY
    world.complete(*(world.training() for _ in range(20)))
    with source.begin() as connection:
        connection.execute(text("SET SESSION sql_mode = ''"))
        changed = "UPDATE completed_training SET valid_from = '0000-00-00' WHERE training_id = :id"
        (first,) = connection.execute(text("SELECT min(training_id) FROM completed_training")).one()
        connection.execute(text(changed), {"id": first})
    world.night()
    assert world.posts == 19
    assert [state for state, _ in world.states().values()].count("invalid") == 1
    world.night("again")
    assert world.posts == 19


def test_mariadb_beside_another_source(make_world, source, tmp_path):
    """It takes the text 7-a for the number 7, which is another training all the same."""
    world = make_world(source=source)
    second = create_engine(f"sqlite:///{tmp_path}/second.db")
    source_database.create_schema(second)
    company = Company(
        world.sandbox, source, world.warehouse_url, world.folder, second=second, has_begun=False
    )
    company.first_query = QUERY.replace(
        "completed.training_id,", "CAST(completed.training_id AS SIGNED) AS training_id,", 1
    )
    company.catalogue()
    numbered = {name: company.training(training_id=name) for name in ("7", "8", "7-a", "x-1")}
    company.complete_in("lms1", numbered["7"], numbered["8"])
    company.complete_in("lms2", numbered["7-a"], numbered["x-1"], company.training(training_id="8"))
    assert company.stage().rows == 5
    company.deliver()
    second.dispose()
    assert company.states().pop("8") == ("invalid", IN_SEVERAL_SOURCES)
    assert company.stored == sent(numbered["7"], numbered["7-a"], numbered["x-1"])


def test_times_of_mariadb_are_read_in_utc(source):
    """Whatever the server's zone is; fractions of a second count."""
    with source.begin() as connection:
        connection.execute(text("CREATE TABLE learner (learner_id int, email varchar(99))"))
        connection.execute(
            text(
                "CREATE TABLE completed_training (training_id int, issue_no int, booking_id int,"
                " certification_id int,"
                " learner_id int, completed_at timestamp(6) NULL, valid_from date, valid_until date,"
                " certificate_uri varchar(99), updated_at timestamp(6) NULL)"
            )
        )
        connection.execute(
            text(
                "INSERT INTO completed_training (training_id, completed_at, updated_at, certificate_uri)"
                " VALUES"
                " (1, '2026-11-02 10:00:00', '2026-11-30 23:59:59.999999', '😀'),"
                " (2, '2026-11-02 10:00:00', '2026-12-01 00:00:00', NULL), (3, NULL, NULL, NULL)"
            )
        )
    reader = SourceReader(source, query=QUERY)
    with reader.open_window(NOVEMBER) as (count, batches):
        rows = {row["training_id"]: row for batch in batches for row in batch}
    assert (count, set(rows)) == (2, {1, 3})
    assert rows[1]["updated_at"] == "2026-11-30 23:59:59.999999+00:00"
    assert rows[1]["certificate_uri"] == "😀"
    assert [row["training_id"] for row in reader.look_up(["1", "x", "3"])] == [1, 3]
    assert reader.not_found_again(NOVEMBER) == []
