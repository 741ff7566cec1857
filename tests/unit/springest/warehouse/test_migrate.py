"""Migrations, over a real PostgreSQL: they make what the metadata says, once, in order, and back."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, date, datetime
from pathlib import Path

import pytest
from alembic.autogenerate import compare_metadata
from alembic.runtime.migration import MigrationContext
from psycopg.errors import DependentObjectsStillExist, RaiseException
from sqlalchemy import Engine, create_engine, text
from sqlalchemy.exc import IntegrityError

from include.springest.ledger.states import State
from include.springest.reconcile.status import VerificationStatus
from include.springest.warehouse.migrate import (
    SchemaOutOfDate,
    check,
    downgrade,
    head_revision,
    revisions,
    upgrade,
)
from include.springest.warehouse.schema import JUDGED, SCHEMA, VERSION_TABLE, VERSIONED, metadata


@pytest.fixture
def empty(database: str) -> Iterator[Engine]:
    """An engine of a database in which nothing was ever migrated."""
    engine = create_engine(database)
    yield engine
    engine.dispose()


def relations(engine: Engine) -> set[str]:
    with engine.connect() as connection:
        found = connection.execute(
            text(
                "SELECT relname FROM pg_class"
                " WHERE relnamespace = to_regnamespace('springest') AND relkind <> 'i'"
            )
        )
        return set(found.scalars())


def test_the_migrations_make_exactly_what_the_metadata_says(warehouse: Engine) -> None:
    """Tables, columns, types, defaults, keys, indexes and comments, in both directions."""
    with warehouse.connect() as connection:
        context = MigrationContext.configure(
            connection,
            opts={
                "include_schemas": True,
                "include_name": lambda name, kind, _: name == SCHEMA if kind == "schema" else True,
                "version_table": VERSION_TABLE,
                "version_table_schema": SCHEMA,
                "compare_type": True,
                "compare_server_default": True,
            },
        )
        assert compare_metadata(context, metadata) == []


def test_tables_leave_the_room_that_the_metadata_says(warehouse: Engine) -> None:
    """What Alembic does not compare."""
    with warehouse.connect() as connection:
        found = connection.execute(
            text(
                "SELECT relname, reloptions FROM pg_class"
                " WHERE relnamespace = to_regnamespace('springest') AND reloptions IS NOT NULL"
            )
        )
        options = {row.relname: row.reloptions for row in found}
    told = {
        table.name: [f"{name}={value}" for name, value in table.dialect_options["postgresql"]["with"].items()]
        for table in metadata.tables.values()
        if table.dialect_options["postgresql"]["with"]
    }
    assert options == told == {"delivery": ["fillfactor=70"], "remote_certificate": ["fillfactor=50"]}


CHECKS = """
SELECT conrelid::regclass::text, conname, pg_get_constraintdef(oid)
FROM pg_constraint WHERE contype = 'c' AND connamespace = to_regnamespace('springest')
ORDER BY 1, 2
"""


def test_the_checks_of_the_migrations_are_those_of_the_metadata(warehouse: Engine, empty: Engine) -> None:
    """Alembic does not compare them."""
    with empty.begin() as connection:
        connection.execute(text(f"CREATE SCHEMA {SCHEMA}"))
        metadata.create_all(connection)
    with warehouse.connect() as migrated, empty.connect() as created:
        wanted = created.execute(text(CHECKS)).all()
        assert migrated.execute(text(CHECKS)).all() == wanted
    assert len(wanted) > 3


def test_every_table_view_and_column_is_explained(warehouse: Engine) -> None:
    with warehouse.connect() as connection:
        silent = connection.execute(
            text(
                "SELECT relation.relname, attribute.attname FROM pg_class AS relation"
                " JOIN pg_attribute AS attribute"
                "   ON attribute.attrelid = relation.oid AND attribute.attnum >= 0 AND NOT attisdropped"
                " WHERE relation.relnamespace = to_regnamespace('springest')"
                " AND relation.relkind IN ('r', 'v') AND relation.relname <> :version_table"
                " AND (col_description(relation.oid, attribute.attnum) IS NULL"
                "      OR obj_description(relation.oid) IS NULL)"
            ),
            {"version_table": VERSION_TABLE},
        ).all()
    assert silent == []
    assert all(table.comment for table in metadata.tables.values())
    assert all(column.comment for table in metadata.tables.values() for column in table.columns)


def test_no_table_has_a_place_for_an_address_or_a_document_name() -> None:
    columns = {column.name for table in metadata.tables.values() for column in table.columns}
    assert not columns & {"email", "address", "learner", "name_of_learner", "certificate_uri", "filename"}


def test_the_check_refuses_an_empty_warehouse_and_says_what_to_run(empty: Engine) -> None:
    with pytest.raises(SchemaOutOfDate, match=r"at nothing, this code needs .*make migrate"):
        check(empty)
    assert relations(empty) == set()


def test_the_check_passes_after_an_upgrade_and_refuses_an_older_or_a_newer_schema(empty: Engine) -> None:
    assert upgrade(empty) == head_revision()
    check(empty)
    with empty.begin() as connection:
        connection.execute(text(f"UPDATE {SCHEMA}.{VERSION_TABLE} SET version_num = '9999'"))  # noqa: S608
    with pytest.raises(SchemaOutOfDate, match="9999"):
        check(empty)


def test_upgrading_again_changes_nothing(empty: Engine) -> None:
    upgrade(empty)
    before = relations(empty)
    with empty.begin() as connection:
        connection.execute(
            text(f"INSERT INTO {SCHEMA}.learner_secret (fingerprint) VALUES ('0123456789abcdef')")  # noqa: S608
        )
    assert upgrade(empty) == head_revision()
    assert relations(empty) == before
    with empty.connect() as connection:
        kept = connection.execute(text(f"SELECT count(*) FROM {SCHEMA}.learner_secret"))  # noqa: S608
        assert kept.scalar_one() == 1


def test_going_back_to_nothing_leaves_nothing_but_the_record_and_the_way_up_again(empty: Engine) -> None:
    upgrade(empty)
    assert downgrade(empty, revision="base") is None
    assert relations(empty) == {VERSION_TABLE}
    with pytest.raises(SchemaOutOfDate):
        check(empty)
    assert upgrade(empty) == head_revision()


def _fill_the_first_version(engine: Engine) -> None:
    """What version 0001 may hold: a listed certification, one that is not, and a visible delivery."""
    with engine.begin() as connection:
        connection.execute(
            text(
                "INSERT INTO springest.certification"
                " (site, certification_id, is_listed, first_seen_at, last_seen_at)"
                " VALUES ('s', 1, true, '2026-01-01Z', '2026-02-01Z'),"
                " ('s', 2, false, '2026-01-01Z', '2026-02-01Z')"
            )
        )
        connection.execute(
            text(
                "INSERT INTO springest.delivery (delivery_key, site, training_id, issue_no, state,"
                " row_version, staged_run_id, springest_certificate_id)"
                " VALUES ('a', 's', 'A', 1, 'visible', 'v', 'r', 7),"
                " ('b', 's', 'B', 1, 'ready', 'v', 'r', NULL)"
            )
        )


def test_the_first_version_is_brought_up_with_what_is_in_it_and_one_step_back(empty: Engine) -> None:
    upgrade(empty, revision="0001")
    _fill_the_first_version(empty)
    upgrade(empty, revision="0002")
    with empty.begin() as connection:
        since = connection.execute(
            text(
                "SELECT certification_id, listed_since = last_seen_at FROM springest.certification ORDER BY 1"
            )
        )
        assert since.all() == [(1, True), (2, None)]
        matched = connection.execute(
            text("SELECT match_method FROM springest.delivery ORDER BY delivery_key")
        )
        assert matched.scalars().all() == ["springest_id", None]
        connection.execute(
            text(
                "UPDATE springest.delivery SET state = 'visible', match_method = 'owner',"
                " springest_certificate_id = 8, sent_at = now() WHERE delivery_key = 'b'"
            )
        )
    assert downgrade(empty, revision="-1") == "0001"
    with empty.connect() as connection:
        rows = connection.execute(
            text("SELECT state, springest_certificate_id FROM springest.delivery ORDER BY delivery_key")
        )
        assert rows.all() == [("visible", 7), ("unknown", None)]
    assert upgrade(empty) == head_revision()


def test_what_people_decided_is_brought_down_without_looking_like_proof(empty: Engine) -> None:
    """Version 0003: from the one before with data in it, and one step back."""
    upgrade(empty, revision="0001")
    _fill_the_first_version(empty)
    upgrade(empty, revision="0002")
    upgrade(empty, revision="0003")
    with empty.begin() as connection:
        kept = connection.execute(
            text("SELECT state, duplicate_released FROM springest.delivery ORDER BY delivery_key")
        )
        assert kept.all() == [("visible", False), ("ready", False)]
        connection.execute(
            text(
                "UPDATE springest.delivery SET state = 'visible', match_method = 'person',"
                " springest_certificate_id = 8 WHERE delivery_key = 'b'"
            )
        )
        connection.execute(
            text(
                "INSERT INTO springest.delivery_decision (delivery_key, decided_by, decision, reason,"
                " springest_certificate_id, version, from_state, to_state, evidence)"
                " VALUES ('b', 'anna', 'confirm', 'seen', 8, 1, 'ready', 'visible', '{}')"
            )
        )
    assert downgrade(empty, revision="-1") == "0002"
    with empty.connect() as connection:
        rows = connection.execute(
            text(
                "SELECT state, springest_certificate_id, match_method"
                " FROM springest.delivery ORDER BY delivery_key"
            )
        )
        assert rows.all() == [("visible", 7, "springest_id"), ("unknown", None, None)]
    assert upgrade(empty) == head_revision()


def test_what_a_person_cancelled_stays_cancelled_one_step_back(empty: Engine) -> None:
    """Also after it had been confirmed: it would be looked for, and could be released, else."""
    upgrade(empty, revision="0001")
    _fill_the_first_version(empty)
    upgrade(empty, revision="0003")
    with empty.begin() as connection:
        connection.execute(
            text(
                "UPDATE springest.delivery SET state = 'cancelled', match_method = 'person',"
                " springest_certificate_id = 8, reason = 'cancelled_by_person' WHERE delivery_key = 'b'"
            )
        )
    assert downgrade(empty, revision="-1") == "0002"
    with empty.connect() as connection:
        kept = "SELECT state, reason, match_method FROM springest.delivery WHERE delivery_key = 'b'"
        assert connection.execute(text(kept)).all() == [("cancelled", "cancelled_by_person", None)]


def test_what_was_sent_is_noted_with_its_attempts_and_owners_with_how_they_were_told(empty: Engine) -> None:
    """Up from 0003 with data in it, and one step down."""
    upgrade(empty, revision="0003")
    with empty.begin() as connection:
        connection.execute(
            text(
                "INSERT INTO springest.delivery (delivery_key, site, training_id, issue_no, state,"
                " row_version, staged_run_id, certification_id, valid_from, valid_until)"
                " VALUES ('a', 's', 'A', 1, 'unknown', 'v', 'r', 102, '2026-11-02', '2030-01-01')"
            )
        )
        connection.execute(
            text(
                "INSERT INTO springest.delivery_attempt (delivery_key, run_id, worker, document_sha256)"
                " VALUES ('a', 'r', 'w', 's')"
            )
        )
        connection.execute(
            text("INSERT INTO springest.snapshot (site, run_id, complete) VALUES ('s', 'r', true)")
        )
        connection.execute(
            text(
                "INSERT INTO springest.remote_certificate (site, springest_certificate_id, learner_ref,"
                " first_snapshot_id, first_seen_at, last_seen_at, last_snapshot_id)"
                " SELECT 's', number, CASE number WHEN 7 THEN 'somebody' END, 1, now(), now(), 1"
                " FROM generate_series(7, 8) AS number"
            )
        )
    upgrade(empty, revision="0004")
    with empty.begin() as connection:
        sent = connection.execute(
            text(
                "SELECT certification_id, valid_from::text, valid_until::text FROM springest.delivery_attempt"
            )
        )
        assert sent.all() == [(102, "2026-11-02", "2030-01-01")]
        told = connection.execute(text("SELECT owner_told_by FROM springest.remote_certificate ORDER BY 1"))
        assert told.scalars().all() == ["list", None]
        assert connection.execute(text("SELECT scope, complete FROM springest.snapshot")).all() == [
            ("full", True)
        ]
        connection.execute(
            text(
                "INSERT INTO springest.delivery_match (delivery_key, site, verification_status, match_method,"
                " springest_certificate_id, candidates, candidate_count, evidence)"
                " VALUES ('a', 's', 'inferred', 'inferred', 8, '{8}', 1, 'why')"
            )
        )
        unmatched = connection.execute(
            text("SELECT springest_certificate_id FROM springest.unmatched_remote_certificate")
        )
        assert unmatched.scalars().all() == [7]
    assert downgrade(empty, revision="-1") == "0003"
    with empty.connect() as connection:
        assert connection.execute(text("SELECT state FROM springest.delivery")).scalars().all() == ["unknown"]
    assert upgrade(empty) == head_revision()


def _fill_verdicts(engine: Engine) -> None:
    """What every earlier version may hold: verdicts of a site that was published, and of one that was not."""
    with engine.begin() as connection:
        connection.execute(
            text(
                "INSERT INTO springest.delivery"
                " (delivery_key, site, training_id, issue_no, state, row_version, staged_run_id, learner_ref)"
                " VALUES ('a', 's', 'A', 1, 'held', 'v', 'r', 'l'),"
                " ('b', 's', 'B', 1, 'held', 'v', 'r', 'l'),"
                " ('c', 't', 'C', 1, 'held', 'v', 'r', 'l')"
            )
        )
        connection.execute(
            text(
                "INSERT INTO springest.reconciled_delivery (delivery_key, site, training_id, issue_no,"
                " delivery_state, verification_status, needs_review, learner_ref)"
                " SELECT delivery_key, site, training_id, 1, state, 'held', false, learner_ref"
                " FROM springest.delivery"
            )
        )
        connection.execute(
            text(
                "INSERT INTO springest.publication (site, run_id, reconciled_at)"
                " VALUES ('s', 'r', '2026-11-02Z')"
            )
        )


HISTORY = "0005"
BEFORE_HISTORY = [one.revision for one in revisions() if one.revision < HISTORY]


@pytest.mark.parametrize("before", BEFORE_HISTORY)
def test_verdicts_of_every_earlier_version_get_their_first_version_and_one_step_goes_back(
    empty: Engine, before: str
) -> None:
    upgrade(empty, revision=before)
    _fill_verdicts(empty)
    assert upgrade(empty, revision=HISTORY) == HISTORY
    told = "SELECT verification_status FROM springest.certificate_reconciliation"
    with empty.connect() as connection:
        versions = connection.execute(
            text(
                "SELECT delivery_key, valid_from_ts = '2026-11-02Z', valid_to_ts, is_current,"
                " verification_status, learner_ref"
                " FROM springest.certificate_reconciliation_history ORDER BY 1"
            )
        ).all()
        assert connection.execute(text(told)).scalars().all() == ["held", "held"]
    assert versions == [
        ("a", True, None, True, "held", "l"),
        ("b", True, None, True, "held", "l"),
        ("c", False, None, True, "held", "l"),
    ]
    assert downgrade(empty, revision="-1") == BEFORE_HISTORY[0]
    with empty.connect() as connection:
        assert connection.execute(text(told)).scalars().all() == ["held", "held"]
    assert upgrade(empty) == head_revision()


def test_history_is_not_taken_back_while_it_would_bring_back_who_was_forgotten(empty: Engine) -> None:
    """The tombstones go with it: a certificate that was delivered could be sent again."""
    upgrade(empty, revision=HISTORY)
    with empty.begin() as connection:
        connection.execute(text("INSERT INTO springest.forgotten_learner (tombstone) VALUES ('t')"))
    with pytest.raises(RaiseException, match="learners were forgotten"):
        downgrade(empty, revision=BEFORE_HISTORY[0])
    with empty.begin() as connection:
        kept = connection.execute(text("DELETE FROM springest.forgotten_learner RETURNING tombstone"))
        assert kept.scalars().all() == ["t"]
    assert downgrade(empty, revision=BEFORE_HISTORY[0]) == BEFORE_HISTORY[0]


def test_certificates_that_are_there_lose_nothing_when_they_get_room_and_one_step_goes_back(
    empty: Engine,
) -> None:
    """Up from 0005 with data in it, and one step down."""
    upgrade(empty, revision="0005")
    with empty.begin() as connection:
        connection.execute(text("INSERT INTO springest.snapshot (site, run_id) VALUES ('s', 'r')"))
        connection.execute(
            text(
                "INSERT INTO springest.remote_certificate (site, springest_certificate_id,"
                " first_snapshot_id, first_seen_at, last_seen_at, last_snapshot_id)"
                " SELECT 's', 7, snapshot_id, now(), now(), snapshot_id FROM springest.snapshot"
            )
        )
    upgrade(empty, revision="0006")
    told = "SELECT springest_certificate_id FROM springest.remote_certificate JOIN springest.snapshot"
    with empty.connect() as connection:
        assert connection.execute(text(f"{told} ON snapshot_id = last_snapshot_id")).scalars().all() == [7]
    assert downgrade(empty, revision="-1") == "0005"
    with empty.connect() as connection:
        assert connection.execute(text(f"{told} ON snapshot_id = first_snapshot_id")).scalars().all() == [7]


CHANGED_VIEWS = {"failed_check", "delivery_review"}
VIEWS = """
SELECT relname, pg_get_viewdef(oid), obj_description(oid), relacl::text,
       (SELECT array_agg(col_description(oid, attnum) ORDER BY attnum) FROM pg_attribute WHERE attrelid = oid)
FROM pg_class WHERE relnamespace = to_regnamespace('springest') AND relkind = 'v' ORDER BY 1
"""


def test_views_that_change_keep_their_comments_and_grants_and_are_what_they_were_after_a_step_back(
    empty: Engine,
) -> None:
    upgrade(empty, revision="0005")

    def views() -> list[tuple[object, ...]]:
        with empty.connect() as connection:
            return [tuple(row) for row in connection.execute(text(VIEWS))]

    with empty.begin() as connection:
        for name in ("failed_check", "delivery_review"):
            connection.execute(text(f"GRANT SELECT ON springest.{name} TO pg_monitor"))
    before = views()
    upgrade(empty, revision="0006")
    changed = views()
    assert [(one[0], *one[2:]) for one in changed] == [(one[0], *one[2:]) for one in before]
    assert {was[0] for was, now in zip(before, changed, strict=True) if was != now} == CHANGED_VIEWS
    downgrade(empty, revision="-1")
    assert views() == before


def test_a_filled_ledger_gets_an_empty_table_of_sites_and_one_step_goes_back(empty: Engine) -> None:
    """Up from 0006 with data in it, first use, and one step down: deliveries stay as they are."""
    upgrade(empty, revision="0006")
    told = text("SELECT delivery_key, state, springest_certificate_id FROM springest.delivery")
    with empty.begin() as connection:
        connection.execute(
            text(
                "INSERT INTO springest.delivery (delivery_key, site, training_id, issue_no, state,"
                " row_version, staged_run_id, springest_certificate_id)"
                " VALUES ('a', 's', 'A', 1, 'visible', 'v', 'r', 7)"
            )
        )
    assert upgrade(empty, revision="0007") == "0007"
    with empty.begin() as connection:
        assert connection.execute(text("SELECT * FROM springest.site_identity")).all() == []
        connection.execute(
            text("INSERT INTO springest.site_identity (site, host, key_fingerprint) VALUES ('s', 'h', 'k')")
        )
        assert connection.execute(told).all() == [("a", "visible", 7)]
    with pytest.raises(IntegrityError, match="site_identity_host_key"), empty.begin() as connection:
        connection.execute(
            text("INSERT INTO springest.site_identity (site, host, key_fingerprint) VALUES ('t', 'h', 'k')")
        )
    assert downgrade(empty, revision="-1") == "0006"
    assert "site_identity" not in relations(empty)
    with empty.connect() as connection:
        assert connection.execute(told).all() == [("a", "visible", 7)]


LEARNERS = """
SELECT indexrelid::regclass::text, pg_get_indexdef(indexrelid)
FROM pg_index
WHERE indrelid = 'springest.delivery'::regclass AND pg_get_indexdef(indexrelid) LIKE '%learner_ref%'
"""


def test_a_filled_ledger_gets_a_narrower_index_and_one_step_goes_back(empty: Engine) -> None:
    """Up from 0007 with data in it, and one step down: what is asked for by learner is found."""
    upgrade(empty, revision="0007")
    _fill_verdicts(empty)
    found = text("SELECT delivery_key FROM springest.delivery WHERE learner_ref = 'l' ORDER BY 1")

    def look() -> tuple[list[str], dict[str, str]]:
        with empty.begin() as connection:
            connection.execute(text("SET LOCAL enable_seqscan = off"))
            keys = list(connection.execute(found).scalars())
            return keys, {str(name): str(made) for name, made in connection.execute(text(LEARNERS))}

    before = look()
    assert (before[0], before[1].keys()) == (["a", "b", "c"], {"springest.delivery_same_certificate_idx"})
    upgrade(empty, revision="0008")
    keys, indexes = look()
    assert keys == ["a", "b", "c"]
    assert indexes.keys() == {"springest.delivery_learner_ref_idx"}
    assert "USING hash (learner_ref)" in indexes["springest.delivery_learner_ref_idx"]
    assert downgrade(empty, revision="-1") == "0007"
    assert look() == before


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
    _fill_verdicts(empty)
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


def test_two_deployments_at_once_migrate_once(empty: Engine, database: str) -> None:
    others = [create_engine(database) for _ in range(4)]
    with ThreadPoolExecutor(len(others)) as pool:
        assert set(pool.map(upgrade, others)) == {head_revision()}
    for other in others:
        other.dispose()
    check(empty)


def test_a_warehouse_that_is_not_postgresql_is_refused(tmp_path: Path) -> None:
    engine = create_engine(f"sqlite:///{tmp_path}/warehouse.db")
    with pytest.raises(SchemaOutOfDate, match="must be PostgreSQL 15 or newer, this is sqlite"):
        upgrade(engine)
    engine.dispose()


def test_an_older_postgresql_is_refused(empty: Engine) -> None:
    with empty.connect():
        empty.dialect.server_version_info = (14, 22)
    with pytest.raises(SchemaOutOfDate, match=r"this is postgresql 14\.22"):
        upgrade(empty)


def test_the_migrations_leave_airflows_own_version_table_alone(empty: Engine) -> None:
    """The warehouse may be a schema in a database that has one."""
    with empty.begin() as connection:
        connection.execute(text("CREATE TABLE alembic_version (version_num text)"))
        connection.execute(text("INSERT INTO alembic_version VALUES ('airflow')"))
    upgrade(empty)
    with empty.connect() as connection:
        assert connection.execute(text("SELECT version_num FROM alembic_version")).scalar_one() == "airflow"


INSERT = (
    "INSERT INTO springest.delivery (delivery_key, site, training_id, issue_no, state, row_version,"
    " staged_run_id, lease_owner) VALUES ('k', 's', 't', 1, :state, 'v', 'r', :owner)"
)


@pytest.mark.parametrize(
    ("state", "owner"), [("sent", None), ("sending", None), ("ready", "worker"), ("accepted", None)]
)
def test_the_database_itself_refuses_a_delivery_that_cannot_be(
    warehouse: Engine, state: str, owner: str | None
) -> None:
    with pytest.raises(IntegrityError, match="violates check constraint"), warehouse.begin() as connection:
        connection.execute(text(INSERT), {"state": state, "owner": owner})


def test_a_certificate_has_one_row_in_the_ledger(warehouse: Engine) -> None:
    with warehouse.begin() as connection:
        connection.execute(text(INSERT), {"state": "ready", "owner": None})
    with pytest.raises(IntegrityError, match="unique"), warehouse.begin() as connection:
        connection.execute(text(INSERT), {"state": "held", "owner": None})


def test_analysts_words_are_those_of_the_design() -> None:
    assert {one.value for one in VerificationStatus} == {
        "not_sent",
        "held",
        "invalid",
        "rejected",
        "awaiting_verification",
        "verified",
        "inferred",
        "expired",
        "unknown",
        "ambiguous",
        "missing",
        "vanished",
        "withdrawn",
        "cancelled",
    }
    assert len(State) == 13
