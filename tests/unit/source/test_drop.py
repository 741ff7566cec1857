"""Files of a drop become rows, and what is wrong with them names file, line and remedy."""

from __future__ import annotations

import io
import re
import sqlite3
from datetime import UTC, datetime
from pathlib import Path

import pytest

from springest.db.engines import sqlite_engine
from springest.errors import SourceError
from springest.source.contract import read_row
from springest.source.drop import DropFile, load
from springest.source.reader import SourceReader
from springest.source.window import Window
from tests.factories import PSEUDONYMS

QUERY = (Path(__file__).parents[3] / "include" / "sql" / "completed_trainings_drop.sql").read_text(
    encoding="utf-8"
)
HEADER = "training_id,certification_id,email,completed_at,valid_from,valid_until,certificate_uri,updated_at"
ROW = (
    "T{0},102,l{0}@example.com,2026-11-01T10:00:00+01:00,2026-11-01,,/certificates/{0}.pdf,"
    "2026-11-02T10:00:00Z"
)
NOVEMBER = Window(datetime(2026, 11, 1, tzinfo=UTC), datetime(2026, 12, 1, tzinfo=UTC))


class Connection(sqlite3.Connection):
    """Stays open when the engine closes it."""

    def close(self) -> None:
        pass


def _csv(*lines: str, header: str = HEADER) -> bytes:
    return "".join(f"{line}\n" for line in (header, *lines)).encode()


def _reader(*contents: bytes, **named: bytes) -> SourceReader:
    connection = sqlite3.connect(
        ":memory:", factory=Connection, isolation_level=None, check_same_thread=False
    )
    files = {**{f"{number}.csv": content for number, content in enumerate(contents)}, **named}
    load([DropFile(name, io.BytesIO(content)) for name, content in files.items()], connection)
    return SourceReader(sqlite_engine(lambda: connection), query=QUERY)


def _rows(reader: SourceReader, window: Window = NOVEMBER):
    with reader.open_window(window) as (count, batches):
        rows = [row for batch in batches for row in batch]
    assert len(rows) == count
    return {training.training_id: training for training in map(_read, rows)}


def _read(row):
    return read_row(row, site="default", pseudonyms=PSEUDONYMS)


def _problem(*contents: bytes) -> str:
    with pytest.raises(SourceError) as caught:
        _reader(*contents)
    assert "example.com" not in str(caught.value)
    return str(caught.value)


def test_a_row_becomes_a_training():
    """With its values in the types of the contract."""
    [training] = _rows(_reader(_csv(ROW.format(1)))).values()
    assert training.defects == ()
    assert (training.training_id, training.issue_no, training.certification_id) == ("T1", 1, 102)
    assert training.completed_at == datetime(2026, 11, 1, 9, tzinfo=UTC)
    assert training.valid_until is None


@pytest.mark.parametrize("separator", [",", ";", "\t", "|"])
@pytest.mark.parametrize(
    ("encoding", "end"), [("utf-8", "\n"), ("utf-8-sig", "\r\n"), ("utf-16", "\r\n"), ("utf-8", "\r")]
)
def test_separators_encodings_and_line_ends_are_recognised(separator, encoding, end):
    """As Excel and others write them; the header's letters may be capitals."""
    text = _csv(ROW.format("Zoë"), header=HEADER.upper()).decode().replace("\n", end).replace(",", separator)
    assert _rows(_reader(text.encode(encoding)))["TZoë"].defects == ()


def test_quoted_fields_may_hold_separators_and_line_ends():
    """RFC 4180; further columns are kept for the query."""
    line = ROW.format(1) + ',"a ""b"", c\nd"'
    assert set(_rows(_reader(_csv(line, ROW.format(2) + ",", header=f"{HEADER},note")))) == {"T1", "T2"}


@pytest.mark.parametrize(
    ("line", "detail"),
    [
        (ROW.format(2).replace("T10:00:00Z", "T10:00:00"), "updated_at .*0.csv, line 3: has no time zone"),
        (ROW.format(2).replace("2026-11-01,,", "01-11-2026,,"), "valid_from .*0.csv, line 3: must be a date"),
        (ROW.format(2).replace("102", "1.5"), "certification_id .*0.csv, line 3: must be a whole number"),
        (ROW.format(2).replace("l2@", "l\x002@"), "email .*0.csv, line 3: must not contain control"),
    ],
)
def test_a_value_that_breaks_the_contract_names_its_line(line, detail):
    """Its row is set aside, and the others are not."""
    rows = _rows(_reader(_csv(ROW.format(1), line, ROW.format(3))))
    assert {name for name, training in rows.items() if training.defects} == {"T2"}
    assert re.search(detail, "; ".join(defect.detail for defect in rows["T2"].defects))


def test_bytes_that_are_no_utf8_are_their_rows_fault():
    """An export in another encoding, of which most rows are ASCII."""
    content = _csv(ROW.format(1), ROW.format(2).replace("/2.pdf", "/Zoë.pdf")).replace("ë".encode(), b"\xeb")
    rows = _rows(_reader(content))
    [defect] = rows["T2"].defects
    assert "0.csv, line 3: is not in UTF-8: export the file in UTF-8" in defect.detail
    assert rows["T1"].defects == ()


@pytest.mark.parametrize(
    ("line", "detail"),
    [
        (ROW.format(2) + ",extra", "0.csv, line 3: it has 9 fields instead of 8"),
        ("T2,102", "0.csv, line 3: it has 2 fields instead of 8"),
        ('T2,"1"02,l2@example.com', "0.csv, line 3: it is no CSV"),
    ],
)
def test_a_line_that_is_not_whole_is_set_aside(line, detail):
    """Its id is uncertain, so it has none; it is in every window, so that its correction is noticed."""
    reader = _reader(_csv(ROW.format(1), line, ROW.format(3)))
    for window in (NOVEMBER, Window(datetime(2025, 1, 1, tzinfo=UTC), datetime(2025, 1, 2, tzinfo=UTC))):
        [aside] = [training for training in _rows(reader, window).values() if training.defects]
        assert aside.training_id.startswith("row:")
        assert detail in "; ".join(defect.detail for defect in aside.defects)
    assert {"T1", "T3"} < set(_rows(reader))


@pytest.mark.parametrize(
    ("content", "problem"),
    [
        (b"", "does not end with a line break"),
        (_csv(ROW.format(1))[:-1], "does not end with a line break"),
        (_csv(ROW.format(1), '"' + ROW.format(2)), "line 3: a field in quotes does not end"),
        (
            _csv('"' + ROW.format(1), *map(ROW.format, range(2, 2000))),
            "line 2: a field in quotes does not end",
        ),
        (_csv(ROW.format(1), header=HEADER.replace(",email", "")), "line 1: there is no column email"),
        (
            _csv(ROW.format(1), header=HEADER.replace(",email", ",valid_from")),
            "line 1: there is no column email",
        ),
        (_csv(ROW.format(1) + ",", header=HEADER + ",email"), "line 1: the header has email twice"),
        (b"PK\x03\x04\x00\x00\n", "is not a text file"),
    ],
)
def test_a_file_whose_rows_are_uncertain_stops_the_run(content, problem):
    """Nothing is staged, so nothing is lost: the next try reads it again."""
    assert problem in _problem(content)


def test_files_of_a_drop_have_the_same_columns():
    """Otherwise a column would be empty in all rows of a file."""
    wider = _csv(ROW.format(2) + ",x", header=f"{HEADER},note")
    assert "1.csv, line 1: its columns differ from those of the files before it by note" in _problem(
        _csv(ROW.format(1)), wider
    )
    assert "no file" in _problem()


def test_the_newest_row_of_a_training_counts():
    """Over all files, whatever their order; equal rows are one."""
    older = ROW.format(1)
    newer = older.replace("102", "101").replace("2026-11-02T10:00:00Z", "2026-11-02T12:00:00.5+01:00")
    for files in ([_csv(older), _csv(newer)], [_csv(newer), _csv(older)], [_csv(newer, older, newer, older)]):
        [training] = _rows(_reader(*files)).values()
        assert training.certification_id == 101


def test_different_rows_of_one_moment_both_stay():
    """Staging sets such a training aside, since nobody knows which is right."""
    reader = _reader(_csv(ROW.format(1), ROW.format(2)), _csv(ROW.format(1).replace("102", "101")))
    with reader.open_window(NOVEMBER) as (count, _):
        assert count == 3
    assert len(reader.look_up(["T1"])) == 2


def test_trainings_are_looked_up_by_id():
    """Ids that look like numbers are text."""
    reader = _reader(_csv(*(ROW.format(number).replace("T", "", 1) for number in range(1, 30))))
    assert [row["email"] for row in reader.look_up(["7", "99"])] == ["l7@example.com"]
    assert reader.not_found_again(NOVEMBER) == []


def test_the_window_selects_by_updated_at():
    """Start inclusive, end exclusive, in any offset."""
    late = ROW.format(2).replace("2026-11-02T10:00:00Z", "2026-12-01T00:30:00+01:00")
    out = ROW.format(3).replace("2026-11-02T10:00:00Z", "2026-12-01T00:00:00Z")
    assert set(_rows(_reader(_csv(ROW.format(1), late, out)))) == {"T1", "T2"}
