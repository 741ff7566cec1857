"""Versions that ended get a table of their own, and the history is a view: nothing is lost, up and down."""

from __future__ import annotations

from datetime import UTC, date, datetime

import pytest
from psycopg.errors import DependentObjectsStillExist
from sqlalchemy import Engine, text
from sqlalchemy.exc import IntegrityError

from include.springest.warehouse.migrate import (
    downgrade,
    revisions,
    upgrade,
)
from include.springest.warehouse.schema import JUDGED, VERSIONED

from .ground import VIEWS, fill_verdicts

ENDED = "0009"
BEFORE_ENDED = [one.revision for one in revisions() if one.revision < ENDED]
HISTORY_ROWS = text(
    f"SELECT delivery_key, valid_from_ts, valid_to_ts, is_current, {', '.join(VERSIONED)}"  # noqa: S608
    " FROM springest.certificate_reconciliation_history ORDER BY delivery_key, valid_from_ts"
)
HISTORY_COLUMNS = text("""
SELECT attname, format_type(atttypid, atttypmod), col_description(attrelid, attnum),
       obj_description(attrelid, 'pg_class')
FROM pg_attribute
WHERE attrelid = 'springest.certificate_reconciliation_history'::regclass AND attnum > 0 AND NOT attisdropped
ORDER BY attnum
""")
VERDICT_ROWS = text(
    f"SELECT {', '.join(JUDGED)} FROM springest.reconciled_delivery ORDER BY delivery_key"  # noqa: S608
)


def _day(number: int) -> datetime:
    return datetime(2026, 11, number, tzinfo=UTC)


@pytest.mark.parametrize("before", BEFORE_ENDED)
def test_verdicts_of_every_earlier_version_are_current_versions_of_the_history(
    empty: Engine, before: str
) -> None:
    """Where nobody had written a version, too."""
    upgrade(empty, revision=before)
    fill_verdicts(empty)
    upgrade(empty)
    with empty.connect() as connection:
        versions = connection.execute(HISTORY_ROWS).all()
        assert connection.execute(text("SELECT count(*) FROM springest.ended_verdict")).scalar_one() == 0
    assert [(one.delivery_key, one.valid_to_ts, one.is_current, one.learner_ref) for one in versions] == [
        (key, None, True, "l") for key in "abc"
    ]
    assert [one.valid_from_ts == _day(2) for one in versions] == [True, True, False]


def _said(key: str, number: int) -> dict[str, object]:
    """What a verdict says, another thing in each column and for each number."""
    return {
        "delivery_key": key,
        "site": "t" if key == "i" else "s",
        "training_id": f"training {key}",
        "issue_no": number,
        "learner_ref": None if key == "h" else "f" * 64,
        "certification_id": 10 + number,
        "valid_from": date(2026, 1, number),
        "valid_until": date(2026, 2, number),
        "completed_at": datetime(2026, 3, number, tzinfo=UTC),
        "delivery_state": "visible",
        "delivery_reason": f"reason {number}",
        "verification_status": "verified" if number % 2 else "unknown",
        "springest_certificate_id": 20 + number,
        "springest_status": f"status {number}",
        "match_method": f"method {number}",
        "sent_at": datetime(2026, 4, number, tzinfo=UTC),
        "first_visible_at": datetime(2026, 5, number, tzinfo=UTC),
        "needs_review": number % 2 == 0,
        "review_reason": f"look at {number}",
    }


VERDICTS = {"a": 1, "b": 3, "c": 1, "d": 2, "g": 4, "h": 2, "i": 1}
"""Which number each verdict says."""
VERSIONS = [
    # Whole histories: of one version, of three, and of somebody who was forgotten.
    *(("a", 1, None), ("b", 1, 2), ("b", 2, 3), ("b", 3, None), ("h", 1, 2), ("h", 2, None)),
    # The verdict of d lost its version, versions of e and f their verdict, g's version says something else.
    *(("d", 1, 2), ("e", 1, 2), ("e", 2, None), ("f", 1, 2), ("g", 2, 3), ("g", 3, None)),
]
"""Versions of verdicts: which number was said from which day until which. Those of c and i are missing."""


def _fill_history(engine: Engine) -> None:
    """What version 0008 may hold, and what hands and backups may have left there of it."""
    verdicts = [
        _said(key, number) | {"certification_name": f"name {key}", "match_evidence": f"evidence {key}"}
        for key, number in VERDICTS.items()
    ]
    versions = [
        _said(key, begins) | {"valid_from_ts": _day(begins), "valid_to_ts": ends and _day(ends)}
        for key, begins, ends in VERSIONS
    ]
    with engine.begin() as connection:
        for table, rows in (
            ("reconciled_delivery", verdicts),
            ("certificate_reconciliation_history", versions),
        ):
            names, values = ", ".join(rows[0]), ", ".join(f":{name}" for name in rows[0])
            connection.execute(text(f"INSERT INTO springest.{table} ({names}) VALUES ({values})"), rows)  # noqa: S608
        connection.execute(
            text(
                "INSERT INTO springest.publication (site, run_id, reconciled_at)"
                " VALUES ('s', 'r', '2026-11-05Z')"
            )
        )


def _read(engine: Engine) -> tuple[list[tuple[object, ...]], list[tuple[object, ...]]]:
    """Return the history and the verdicts."""
    with engine.connect() as connection:
        return (
            [tuple(row) for row in connection.execute(HISTORY_ROWS)],
            [tuple(row) for row in connection.execute(VERDICT_ROWS)],
        )


def _columns(engine: Engine) -> list[tuple[object, ...]]:
    with engine.connect() as connection:
        return [tuple(row) for row in connection.execute(HISTORY_COLUMNS)]


def test_no_version_is_lost_when_what_ended_gets_a_table_of_its_own_and_one_step_goes_back(
    empty: Engine,
) -> None:
    """Row by row and column by column, up, down, and up again; readers find what they found."""
    upgrade(empty, revision="0008")
    _fill_history(empty)
    (before, verdicts), columns = _read(empty), _columns(empty)
    assert len(before) == len(VERSIONS)
    assert upgrade(empty, revision=ENDED) == ENDED
    after, verdicts_after = _read(empty)
    assert _columns(empty) == columns
    # Versions that nothing was wrong with, and those without a verdict, are what they were.
    for key in "abefh":
        assert [row for row in after if row[0] == key] == [row for row in before if row[0] == key]
    # What had no version has one from when the last one ended, or else from when all was published.
    said = {key: tuple(_said(key, number)[name] for name in VERSIONED) for key, number in VERDICTS.items()}
    assert [row for row in after if row[0] in "cd"] == [
        ("c", _day(5), None, True, *said["c"]),
        *(row for row in before if row[0] == "d"),
        ("d", _day(2), None, True, *said["d"]),
    ]
    # A version that said something else than its verdict is kept beside it; what was never published begins.
    *_, (_, began, ended, _, *told), (_, since, *now) = [row for row in after if row[0] == "g"]
    assert (began, ended, told) == (_day(3), since, [_said("g", 3)[name] for name in VERSIONED])
    assert now == [None, True, *said["g"]]
    assert [row[2:] for row in after if row[0] == "i"] == [(None, True, *said["i"])]
    assert len(after) == len(before) + len("cdgi")
    # Verdicts say what they said, and e's version is its verdict again.
    assert [row for row in verdicts_after if row[0] != "e"] == verdicts
    assert len(verdicts_after) == len(verdicts) + 1
    with empty.connect() as connection:
        ended_rows = connection.execute(text("SELECT count(*) FROM springest.ended_verdict")).scalar_one()
    assert ended_rows == sum(row[2] is not None for row in after)

    assert downgrade(empty, revision="-1") == "0008"
    assert _read(empty) == (after, verdicts_after)
    assert _columns(empty) == columns
    with pytest.raises(IntegrityError, match="history_current_idx"), empty.begin() as connection:
        connection.execute(
            text(
                "UPDATE springest.certificate_reconciliation_history SET valid_to_ts = NULL"
                " WHERE delivery_key = 'b'"
            )
        )
    assert upgrade(empty, revision=ENDED) == ENDED
    assert _read(empty) == (after, verdicts_after)


def test_whoever_read_or_wrote_the_history_still_may_and_its_views_are_the_same(empty: Engine) -> None:
    """Up and one step down; granting again is not needed."""
    upgrade(empty, revision="0008")
    may = (
        "SELECT has_table_privilege('pg_monitor', relation, 'SELECT'),"
        " has_table_privilege('pg_monitor', relation, 'INSERT'),"
        " has_table_privilege('pg_checkpoint', relation, 'SELECT'),"
        " has_table_privilege('pg_checkpoint', relation, 'INSERT')"
        " FROM unnest(CAST(:relations AS text[])) AS relation"
    )
    history, ended = "springest.certificate_reconciliation_history", "springest.ended_verdict"

    def rights(*names: str) -> list[tuple[object, ...]]:
        with empty.connect() as connection:
            return [tuple(row) for row in connection.execute(text(may), {"relations": list(names)})]

    def views() -> list[tuple[object, ...]]:
        with empty.connect() as connection:
            return [tuple(row) for row in connection.execute(text(VIEWS))]

    with empty.begin() as connection:
        for name in (history, "springest.failed_check", "springest.delivery_review"):
            connection.execute(text(f"GRANT SELECT ON {name} TO pg_monitor"))
        connection.execute(text(f"GRANT SELECT, INSERT, UPDATE ON {history} TO pg_checkpoint"))
    before, may_before = views(), rights(history)
    assert may_before == [(True, False, True, True)]
    upgrade(empty, revision=ENDED)
    # Readers see none of what lies below, and what is below is written by those who wrote the history.
    assert rights(history, ended) == [(True, False, True, False), (False, False, True, True)]
    after = [view for view in views() if view[0] != "certificate_reconciliation_history"]
    assert [(one[0], *one[2:]) for one in after] == [(one[0], *one[2:]) for one in before]
    assert {was[0] for was, now in zip(before, after, strict=True) if was != now} == {"failed_check"}
    downgrade(empty, revision="-1")
    assert (views(), rights(history)) == (before, may_before)


def test_a_view_that_somebody_made_over_the_history_is_not_cut_off_from_what_is_current(
    empty: Engine,
) -> None:
    """It would go on with versions that ended only: the migration refuses, and nothing is changed."""
    upgrade(empty, revision="0008")
    _fill_history(empty)
    before = _read(empty)
    with empty.begin() as connection:
        connection.execute(
            text("CREATE VIEW mine AS SELECT * FROM springest.certificate_reconciliation_history")
        )
    with pytest.raises(DependentObjectsStillExist, match="view mine"):
        upgrade(empty, revision=ENDED)
    assert _read(empty) == before
