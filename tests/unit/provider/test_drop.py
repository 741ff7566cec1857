"""A drop in a folder is read once it is quiet, and again once it has changed."""

from __future__ import annotations

import os
import time
from pathlib import Path

import pytest

from springest.errors import ConfigurationError, SourceError
from springest.source.reader import SourceReader
from springest_provider import drop as drops
from springest_provider import factories
from springest_provider.lineage import Lineage, lineage_of
from tests.unit.source.test_drop import NOVEMBER, QUERY, ROW, _csv


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A folder of a drop."""
    made = tmp_path / "drop"
    made.mkdir()
    return made


def _write(path: Path, content: bytes, age: float = 3600) -> None:
    path.write_bytes(content)
    os.utime(path, (time.time() - age, time.time() - age))


def _names(reader: SourceReader) -> set[str]:
    with reader.open_window(NOVEMBER) as (_, batches):
        return {row["training_id"] for batch in batches for row in batch}


def test_all_files_of_the_folder_are_read(folder):
    """Unfinished and hidden ones, other kinds and subfolders are not."""
    _write(folder / "a.csv", _csv(ROW.format(1)))
    _write(folder / "b.CSV", _csv(ROW.format(2)))
    for name in (".c.csv", "_c.csv", "c.csv.part", "c.csv.tmp", "c.xlsx"):
        _write(folder / name, b"unreadable")
    (folder / "old.csv").mkdir()
    with factories.source(str(folder)) as engine:
        assert _names(SourceReader(engine, query=QUERY)) == {"T1", "T2"}


def test_a_drop_may_be_one_file(folder):
    """It is replaced by each export."""
    _write(folder / "a.csv", _csv(ROW.format(1)))
    _write(folder / "b.csv", _csv(ROW.format(2)))
    with factories.source(f"file://{folder}/b.csv") as engine:
        assert _names(SourceReader(engine, query=QUERY)) == {"T2"}


def test_a_drop_without_a_file_stops_the_run(folder):
    """Nothing counts as withdrawn."""
    for source in (str(folder), str(folder / "none"), str(folder / "none.csv")):
        with factories.source(source) as engine, pytest.raises(SourceError, match="drop"):
            SourceReader(engine, query=QUERY).count(NOVEMBER)


def test_a_file_that_may_still_be_written_is_not_read(folder):
    """The task is retried later."""
    _write(folder / "a.csv", _csv(ROW.format(1)), age=5)
    with (
        factories.source(str(folder)) as engine,
        pytest.raises(SourceError, match=r"a\.csv was changed less"),
    ):
        SourceReader(engine, query=QUERY).count(NOVEMBER)


def test_a_file_that_changes_while_it_is_read_is_not_used(folder, monkeypatch):
    """Its copy may have parts of both."""
    _write(folder / "a.csv", _csv(ROW.format(1)))
    load = drops.load

    def load_slowly(files, connection):
        load(files, connection)
        _write(folder / "a.csv", _csv(ROW.format(1), ROW.format(2)))

    monkeypatch.setattr(drops, "load", load_slowly)
    with factories.source(str(folder)) as engine, pytest.raises(SourceError, match="changed while"):
        SourceReader(engine, query=QUERY).count(NOVEMBER)


def test_a_look_up_sees_a_new_file(folder, monkeypatch):
    """A row is read again at the moment of sending, which may be hours later."""
    monkeypatch.setattr(drops, "LOOK_AGAIN_SECONDS", 0)
    _write(folder / "a.csv", _csv(ROW.format(1)))
    with factories.source(str(folder)) as engine:
        reader = SourceReader(engine, query=QUERY)
        assert [row["certification_id"] for row in reader.look_up(["T1"])] == [102]
        _write(folder / "b.csv", b"half a line", age=5)
        assert [row["certification_id"] for row in reader.look_up(["T1"])] == [102], "it is not there yet"
        _write(folder / "b.csv", _csv(ROW.format(1).replace("102", "101").replace("11-02T10", "11-02T11")))
        assert [row["certification_id"] for row in reader.look_up(["T1"])] == [101]
        (folder / "a.csv").unlink()
        (folder / "b.csv").unlink()
        with pytest.raises(SourceError, match="no file"):
            reader.look_up(["T1"])


def test_no_copy_is_left_on_the_disk(folder, tmp_path, monkeypatch):
    """It has the addresses of learners, and a killed process removes nothing."""
    scratch = tmp_path / "scratch"
    scratch.mkdir()
    monkeypatch.setattr("tempfile.tempdir", str(scratch))
    _write(folder / "a.csv", _csv(ROW.format(1)))
    with factories.source(str(folder)) as engine:
        assert _names(SourceReader(engine, query=QUERY)) == {"T1"}
        assert list(scratch.rglob("*")) == []


@pytest.mark.parametrize("source", ["relative/folder", "ftp://host/drop", "/", "https://host/drop"])
def test_a_source_is_a_folder_as_a_document_root(source):
    """Anything else with a slash is refused."""
    with pytest.raises(ConfigurationError), factories.source(source):
        pass


@pytest.mark.parametrize(
    ("source", "dataset"),
    [("s3://aws@bucket/drop/uk", ("s3://bucket", "drop/uk")), ("/data/drop", ("file", "/data/drop"))],
)
def test_the_lineage_of_a_drop_is_its_folder(source, dataset):
    """Without the connection, which is no part of its name."""
    sources = [factories.SourceQuery(source, "SELECT 1", {})]
    found = lineage_of(
        Lineage(reads=("source",)), springest_conn_id="x", warehouse_conn_id="x", sources=sources
    )
    assert [(item.namespace, item.name) for item in found.inputs] == [dataset]
