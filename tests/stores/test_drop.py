"""Drops in a bucket and on an SFTP server, Parquet files, and large ones."""

from __future__ import annotations

import io
import os
import subprocess
import sys
import time
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from springest.errors import SourceError
from springest.source.reader import SourceReader
from springest_provider import factories
from tests.unit.source.test_drop import HEADER, NOVEMBER, QUERY, ROW, _csv, _problem, _reader, _rows

MOMENT = datetime(2026, 11, 2, 10, tzinfo=UTC)
VALUES = {
    "training_id": [1, 2, 3],
    "certification_id": [Decimal(102), Decimal(102), None],
    "email": ["l1@example.com", "l2@example.com", "l3@example.com"],
    "completed_at": [MOMENT, MOMENT, MOMENT],
    "valid_from": [date(2026, 11, 1)] * 3,
    "valid_until": [None] * 3,
    "certificate_uri": ["/certificates/1.pdf"] * 3,
}


def _parquet(zone: str | None = "UTC", unit: str = "us", **changes: object) -> bytes:
    moments = pa.array([MOMENT.replace(tzinfo=None)] * 3, pa.timestamp(unit, zone))
    written = io.BytesIO()
    pq.write_table(pa.table({**VALUES, "updated_at": moments, **changes}), written)
    return written.getvalue()


def _read(content: bytes):
    return _rows(_reader(**{"a.parquet": content}))


@pytest.mark.parametrize("unit", ["s", "ms", "us", "ns"])
def test_types_of_parquet_become_those_of_the_contract(unit):
    """Whole numbers, decimals, dates and moments."""
    rows = _read(_parquet(unit=unit))
    assert [training.defects for training in rows.values()][:2] == [(), ()]
    assert rows["1"].certification_id == 102
    assert rows["1"].updated_at == MOMENT
    assert [defect.reason for defect in rows["3"].defects] == ["certification_id_missing"]


def test_a_moment_without_a_zone_names_its_row():
    """Parquet has both kinds."""
    [defect] = _read(_parquet(zone=None))["2"].defects
    assert "a.parquet, line 2: has no time zone" in defect.detail


def test_a_value_that_python_cannot_hold_is_its_rows_fault():
    """A moment after the year 9999."""
    far = pa.array([0, 400_000_000_000_000_000, 0], pa.int64()).cast(pa.timestamp("us", "UTC"))
    rows = _read(_parquet(completed_at=far.cast(pa.timestamp("us", "UTC"))))
    assert {name for name, row in rows.items() if row.defects} == {"2", "3"}
    assert "a.parquet, line 2" in "; ".join(defect.detail for defect in rows["2"].defects)


def test_a_parquet_file_that_is_cut_off_stops_the_run():
    """Its end has what leads to all else."""
    with pytest.raises(SourceError, match=r"a\.parquet is no whole Parquet file"):
        _reader(**{"a.parquet": _parquet()[:-20]})
    assert "there is no column email" in _problem(_csv(ROW.format(1), header=HEADER.replace("email", "mail")))


def test_csv_and_parquet_may_be_mixed():
    """The newest row counts here as well."""
    newer = ROW.format(1).replace("T1,", "1,", 1).replace("11-02T10", "11-03T10")
    rows = _rows(_reader(_csv(newer), **{"a.parquet": _parquet()}))
    assert (len(rows), rows["1"].updated_at) == (3, MOMENT + timedelta(days=1))


def _names(source: str) -> set[str]:
    with (
        factories.source(source) as engine,
        SourceReader(engine, query=QUERY).open_window(NOVEMBER) as (_, batches),
    ):
        return {row["training_id"] for batch in batches for row in batch}


def test_a_drop_in_a_bucket(s3):
    """Its prefix is the folder; a file that was just uploaded is whole."""
    for key, number in (("drop/a b+ë.csv", 1), ("drop/b.csv", 2), ("drop/old/c.csv", 3), ("other.csv", 4)):
        s3.client.put_object(Bucket="bucket", Key=key, Body=_csv(ROW.format(number)))
    assert _names("s3://aws@bucket/drop/") == {"T1", "T2"}
    assert _names("s3://aws@bucket/drop/b.csv") == {"T2"}
    for source in ("s3://aws@bucket/none", "s3://aws@buckte/drop"):
        with pytest.raises(SourceError, match="drop"):
            _names(source)
    s3.fail("ExpiredToken", 400)
    with pytest.raises(SourceError, match="ExpiredToken"):
        _names("s3://aws@bucket/drop")


def test_a_drop_on_an_sftp_server(sftp, connect, tmp_path):
    """A file that was just written is left alone."""
    folder = tmp_path / "sftp" / "drop"
    folder.mkdir()
    extra = {"host_key": sftp.host_key}
    connect(
        "sftp_drop",
        conn_type="sftp",
        host="127.0.0.1",
        port=sftp.port,
        login="lms",
        password="secret",
        extra=extra,
    )
    (folder / "a.csv").write_bytes(_csv(ROW.format(1)))
    with pytest.raises(SourceError, match=r"a\.csv was changed less than 60 seconds ago"):
        _names("sftp://sftp_drop@127.0.0.1/drop")
    os.utime(folder / "a.csv", (time.time() - 3600,) * 2)
    assert _names("sftp://sftp_drop@127.0.0.1/drop") == {"T1"}


READ = """
import resource, sys
from springest.source.reader import SourceReader
from springest_provider import factories
from tests.unit.source.test_drop import NOVEMBER, QUERY

def peak():
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024

before = peak()
with factories.source(sys.argv[1]) as engine:
    reader = SourceReader(engine, query=QUERY)
    with reader.open_window(NOVEMBER) as (count, batches):
        assert sum(map(len, batches)) == count == 200_000
    assert len(reader.look_up(["T7", "T199999"])) == 2
print(peak() - before)
"""


@pytest.mark.parametrize("suffix", ["csv", "parquet"])
def test_a_large_file_needs_little_memory(tmp_path, suffix):
    """It is read in pieces."""
    path: Path = tmp_path / f"a.{suffix}"
    with path.open("w", encoding="utf-8") as file:
        file.write(HEADER + "\n")
        file.writelines(ROW.format(number) + "\n" for number in range(200_000))
    if suffix == "parquet":
        from pyarrow import csv

        table = csv.read_csv(
            path,
            convert_options=csv.ConvertOptions(column_types=dict.fromkeys(HEADER.split(","), pa.string())),
        )
        pq.write_table(table, path, row_group_size=20_000)
    os.utime(path, (time.time() - 3600,) * 2)
    done = subprocess.run([sys.executable, "-c", READ, str(path)], check=True, capture_output=True, text=True)
    assert int(done.stdout.splitlines()[-1]) < 120
