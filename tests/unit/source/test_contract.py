"""The source contract: what a row may hold, what is wrong with one that does not, and that nothing raises."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta, timezone
from decimal import Decimal
from typing import Any
from uuid import UUID
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from springest.identity import delivery_key
from springest.source.contract import COLUMNS, CompletedTraining, read_row
from springest.source.values import LONGEST_TRAINING_ID, WITHOUT_TRAINING_ID, UnreadableValue
from tests.factories import PSEUDONYMS


class Odd:
    """A value that can't be asked what it is."""

    def __repr__(self) -> str:
        raise RuntimeError

    __str__ = __repr__


GOOD: dict[str, Any] = {
    "training_id": "T1",
    "issue_no": 1,
    "booking_id": None,
    "certification_id": 102,
    "email": "zoë@example.com",
    "completed_at": datetime(2026, 11, 2, 9, tzinfo=UTC),
    "valid_from": date(2026, 11, 2),
    "valid_until": date(2028, 11, 2),
    "certificate_uri": "/certificates/T1.pdf",
    "updated_at": datetime(2026, 11, 2, 10, tzinfo=UTC),
}


def read(**changes: Any) -> CompletedTraining:
    return read_row({**GOOD, **changes}, site="default", pseudonyms=PSEUDONYMS)


def reasons(training: CompletedTraining) -> set[str]:
    return {defect.reason for defect in training.defects}


def test_a_good_row_has_no_defects_and_keeps_its_values() -> None:
    """A good row has no defects, and its values are read as they are."""
    training = read()
    assert training.defects == ()
    assert (training.certification_id, training.valid_from, training.issue_no) == (102, date(2026, 11, 2), 1)
    assert training.delivery_key == delivery_key(site="default", training_id="T1", issue_no=1)


def test_missing_optional_columns_get_their_defaults() -> None:
    """Without the optional columns a row is the first issue and has no booking."""
    row = {name: value for name, value in GOOD.items() if name not in {"issue_no", "booking_id"}}
    training = read_row(row, site="default", pseudonyms=PSEUDONYMS)
    assert (training.defects, training.issue_no, training.booking_id) == ((), 1, None)


@pytest.mark.parametrize(
    ("column", "value"),
    [
        ("training_id", 1.5),
        ("training_id", True),
        ("training_id", Decimal("1.5")),
        ("training_id", Decimal("Infinity")),
        ("training_id", "T" * (LONGEST_TRAINING_ID + 1)),
        ("training_id", "T\0001"),
        ("training_id", "T1\n"),
        ("training_id", b"T1"),
        ("training_id", 10**5000),
        ("training_id", memoryview(b"T1")),
        ("training_id", ["T1"]),
        ("training_id", "zoe@example.com"),
        ("training_id", "T1 zoe%40example.com"),
        ("training_id", "=1+1"),
        ("training_id", "+cmd|' /C calc'!A0"),
        ("training_id", "-2+3"),
        ("training_id", "@SUM(1)"),
        ("training_id", "\t=1"),
        ("training_id", "row:1"),
        ("training_id", UnreadableValue("DataError (22P02)")),
        ("issue_no", 0),
        ("issue_no", -1),
        ("issue_no", 2**31),
        ("issue_no", "one"),
        ("issue_no", True),
        ("booking_id", 2**63),
        ("booking_id", "7000000000000000000000"),
        ("booking_id", float("nan")),
        ("booking_id", Decimal("sNaN")),
        ("booking_id", "\u0667"),
        ("certification_id", "10 2"),
        ("certification_id", 102.5),
        ("certification_id", float("inf")),
        ("certification_id", Decimal("1E+400")),
        ("certification_id", date(2026, 1, 1)),
        ("email", 7),
        ("email", b"zoe@example.com"),
        ("email", {"address": "zoe@example.com"}),
        ("email", "z\0e@example.com"),
        ("email", "z\ud800e@example.com"),
        ("email", "z" * 10_000_000),
        ("email", UUID(int=7)),
        ("email", Odd()),
        ("completed_at", datetime(2026, 11, 2, 9)),  # noqa: DTZ001 - the defect
        ("completed_at", "2026-11-02 09:00:00"),
        ("completed_at", "yesterday"),
        ("completed_at", 1_793_000_000),
        ("completed_at", date(2026, 11, 2)),
        ("completed_at", datetime(9999, 12, 31, 23, 59, 59, tzinfo=timezone(timedelta(hours=-5)))),
        ("completed_at", datetime(9999, 12, 31, 12, tzinfo=UTC)),
        ("completed_at", datetime(1, 1, 1, tzinfo=timezone(timedelta(hours=1)))),
        ("completed_at", datetime(1, 1, 1, 12, tzinfo=UTC)),
        ("completed_at", "9999-12-31 23:59:59-05:00"),
        ("completed_at", "infinity"),
        ("updated_at", datetime(1899, 12, 31, tzinfo=UTC)),
        ("updated_at", UnreadableValue("ValueError")),
        ("valid_from", datetime(2026, 11, 2, tzinfo=UTC)),
        ("valid_from", "2026-11-02T00:00:00"),
        ("valid_from", "02-11-2026"),
        ("valid_from", "2026-02-30"),
        ("valid_from", "2026-W45-1"),
        ("valid_from", 20261102),
        ("valid_until", datetime(2028, 11, 2)),  # noqa: DTZ001 - the defect
        ("valid_until", "2028-11"),
        ("certificate_uri", 5),
        ("certificate_uri", "/certificates/.\t./x.pdf"),
        ("certificate_uri", "/certificates/x\n.pdf"),
        ("certificate_uri", "/certificates/\udcff.pdf"),
        ("certificate_uri", "/" + "x" * 5_000),
        ("certificate_uri", b"/certificates/T1.pdf"),
        ("updated_at", datetime(2026, 11, 2, 10)),  # noqa: DTZ001 - the defect
        ("updated_at", "now"),
    ],
    ids=lambda value: value if isinstance(value, str) and len(value) < 20 else type(value).__name__,
)
def test_a_value_of_the_wrong_type_is_named_by_its_column(column: str, value: object) -> None:
    """Each is exactly one defect, names its column, and does not repeat the value."""
    training = read(**{column: value})
    assert reasons(training) == {f"{column}_unreadable"}
    assert training.defects[0].detail.startswith(f"{column} ")
    assert "example.com" not in training.defects[0].detail


@pytest.mark.parametrize(
    "column",
    [name for name in COLUMNS if name not in {"training_id", "issue_no", "booking_id", "valid_until"}],
)
@pytest.mark.parametrize("blank", [None, "", "  \t"])
def test_a_required_value_that_is_blank_is_missing(column: str, blank: str | None) -> None:
    """A blank text counts as no value."""
    assert reasons(read(**{column: blank})) == {f"{column}_missing"}


@pytest.mark.parametrize("column", ["issue_no", "booking_id", "valid_until"])
@pytest.mark.parametrize("blank", [None, "", " "])
def test_an_optional_value_may_be_blank(column: str, blank: str | None) -> None:
    """A blank optional value is None."""
    assert read(**{column: blank}).defects == ()


@pytest.mark.parametrize("blank", [None, "", " "])
def test_a_row_without_a_number_is_kept_under_a_name_of_its_own(blank: str | None) -> None:
    """Two such rows that differ stay two, and the same one read twice stays one."""
    training, again = read(training_id=blank), read(training_id=blank)
    different = read(training_id=blank, certification_id=103)
    assert reasons(training) == {"training_id_missing"}
    assert training.training_id.startswith(WITHOUT_TRAINING_ID)
    assert training.delivery_key == again.delivery_key
    assert training.delivery_key != different.delivery_key


@pytest.mark.parametrize("number", [102, "102", " 102 ", Decimal(102), Decimal("102.00"), 102.0])
def test_a_number_is_equal_in_every_type_of_a_driver(number: object) -> None:
    """A number reads the same, whatever type the driver returns."""
    training = read(certification_id=number, booking_id=number)
    assert (training.certification_id, training.booking_id, training.defects) == (102, 102, ())


@pytest.mark.parametrize("number", ["-7", "+31", "T=1", UUID(int=7), "Zoë 1"])
def test_an_unusual_but_valid_number_is_accepted(number: object) -> None:
    """Unusual spellings of a valid number are accepted."""
    assert read(training_id=number).defects == ()


def test_a_value_of_no_type_of_ours_is_the_same_at_each_look() -> None:
    """Its own text may hold its place in memory."""
    assert read(email=memoryview(b"a")).row_version == read(email=memoryview(b"a")).row_version
    assert read(email=Odd()).row_version == read(email=Odd()).row_version


@pytest.mark.parametrize("number", [77, "77", Decimal(77), Decimal("77.0")])
def test_a_training_id_has_one_key_as_text_or_number(number: object) -> None:
    """The delivery key does not depend on whether the driver returns the id as text or as a number."""
    assert read(training_id=number).delivery_key == read(training_id="77").delivery_key


def test_dates_and_instants_may_come_as_iso_text() -> None:
    """SQLite has no types for them."""
    training = read(
        valid_from="2026-11-02",
        valid_until=" 2028-11-02 ",
        completed_at="2026-11-02 09:00:00+00:00",
        updated_at="2026-11-02T10:00:00Z",
    )
    assert (training.defects, training.valid_from, training.completed_at) == (
        (),
        date(2026, 11, 2),
        datetime(2026, 11, 2, 9, tzinfo=UTC),
    )


@pytest.mark.parametrize(
    "address",
    ["zoe", "zoe@@example.com", "zoe@example", "zoe@example.com, jo@example.com", "@"],
)
def test_a_malformed_email_is_reported_without_the_value(address: str) -> None:
    """The error about a malformed e-mail address does not repeat it."""
    training = read(email=address)
    assert reasons(training) == {"email_malformed"}
    assert address not in repr(training)


@pytest.mark.parametrize(
    "address", ["Zoë.de-Vries+it@example.com", "o'connor@example.org", "a@sub.example.net"]
)
def test_an_unusual_but_valid_email_passes(address: str) -> None:
    """Unusual but valid e-mail addresses are accepted."""
    assert read(email=address).defects == ()


@pytest.mark.parametrize("address", ["zoe@corp.local", "ZOE@CORP.LOCAL", "zoe@school.test", "zoe@localhost"])
def test_an_email_under_a_reserved_domain_has_its_own_text(address: str) -> None:
    """It is well-formed; that Springest can't reach it is another thing to correct."""
    training = read(email=address)
    assert reasons(training) == {"email_malformed"}
    detail = training.defects[0].detail
    assert f"reserved domain .{address.lower().rpartition('.')[2].rpartition('@')[2]}" in detail
    assert "zoe" not in detail.lower()


def test_a_valid_until_before_valid_from_is_a_defect() -> None:
    """`valid_until` before `valid_from` is a defect; the same day is not."""
    assert reasons(read(valid_until=date(2026, 11, 1))) == {"dates_reversed"}
    assert reasons(read(valid_until=date(2026, 11, 2))) == set()


def test_all_defects_of_a_row_are_reported_together() -> None:
    """A row with several defects reports all of them."""
    training = read(email="nobody", valid_from=None, certification_id="x")
    assert reasons(training) == {"email_malformed", "valid_from_missing", "certification_id_unreadable"}


def test_the_row_version_changes_with_every_column() -> None:
    """A change of any column changes the row version."""
    before = read().row_version
    changed = {name: read(**{name: "something else"}).row_version for name in COLUMNS}
    assert before not in changed.values()
    assert len(set(changed.values())) == len(COLUMNS)


def test_the_row_version_depends_on_the_column_of_a_value() -> None:
    """A value that moves to another column changes the row version."""
    assert read(issue_no=1, booking_id=2).row_version != read(issue_no=2, booking_id=1).row_version


ZONES = st.sampled_from(
    [UTC, ZoneInfo("Europe/Amsterdam"), ZoneInfo("Asia/Kathmandu"), timezone(timedelta(hours=-11))]
)
INSTANTS = st.datetimes(
    min_value=datetime(1900, 1, 2),  # noqa: DTZ001 - the strategy adds the zone
    max_value=datetime(9999, 12, 30),  # noqa: DTZ001
    timezones=st.just(UTC),
)


@given(instant=INSTANTS, first_zone=ZONES, second_zone=ZONES)
def test_the_row_version_ignores_the_sessions_time_zone(
    instant: datetime, first_zone: Any, second_zone: Any
) -> None:
    """The same moment in another time zone gives the same row version."""
    versions = {
        read(updated_at=instant.astimezone(zone), completed_at=instant.astimezone(zone)).row_version
        for zone in (first_zone, second_zone)
    }
    assert len(versions) == 1


ANYTHING = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(),
    st.integers(min_value=2**62),
    st.floats(),
    st.decimals(),
    st.text(alphabet=st.characters(codec=None)),
    st.emails(),
    st.binary(),
    st.dates(),
    st.times(),
    st.datetimes(timezones=st.none() | ZONES),
    st.uuids(),
    st.lists(st.integers()),
    st.builds(Odd),
    st.builds(memoryview, st.binary()),
    st.sampled_from([10**5000, Decimal("sNaN"), Decimal("1E+400"), "\ud800@example.com"]),
)


@given(row=st.dictionaries(st.sampled_from(COLUMNS), ANYTHING))
def test_no_row_whatsoever_raises_and_every_row_has_its_key(row: dict[str, Any]) -> None:
    """A bad row must never stop the others."""
    training = read_row(row, site="default", pseudonyms=PSEUDONYMS)
    assert len(training.delivery_key) == len(training.row_version) == 64
    assert training.training_id
    assert 1 <= training.issue_no < 2**31
    assert training.defects or None not in (training.email, training.valid_from, training.updated_at)


@given(row=st.dictionaries(st.sampled_from(COLUMNS), ANYTHING))
def test_reading_a_row_twice_gives_the_same(row: dict[str, Any]) -> None:
    """Reading a row has no side effects."""
    first, two = (read_row(row, site="default", pseudonyms=PSEUDONYMS) for _ in range(2))
    assert (first.delivery_key, first.row_version, first.defects) == (
        two.delivery_key,
        two.row_version,
        two.defects,
    )
