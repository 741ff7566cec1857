"""What is in a warehouse goes up with it from every earlier version, and one step back."""

from __future__ import annotations

from typing import Any

import pytest
from psycopg.errors import RaiseException
from sqlalchemy import Engine, text
from sqlalchemy.exc import IntegrityError

from include.springest.warehouse.migrate import (
    downgrade,
    head_revision,
    revisions,
    upgrade,
)

from .ground import VIEWS, fill_verdicts, relations


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


HISTORY = "0005"
BEFORE_HISTORY = [one.revision for one in revisions() if one.revision < HISTORY]


@pytest.mark.parametrize("before", BEFORE_HISTORY)
def test_verdicts_of_every_earlier_version_get_their_first_version_and_one_step_goes_back(
    empty: Engine, before: str
) -> None:
    upgrade(empty, revision=before)
    fill_verdicts(empty)
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
    fill_verdicts(empty)
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


def test_a_filled_ledger_is_indexed_but_for_what_was_taken_and_one_step_goes_back(empty: Engine) -> None:
    """Up from 0011 with data in it, and one step down: each delivery is as it was, and found by its state."""
    upgrade(empty, revision="0011")
    with empty.begin() as connection:
        connection.execute(
            text(
                "INSERT INTO springest.delivery (delivery_key, site, training_id, issue_no, state,"
                " row_version, staged_run_id, springest_certificate_id, lease_owner)"
                " VALUES ('a', 's', 'A', 1, 'ready', 'v', 'r', NULL, NULL),"
                " ('b', 's', 'B', 1, 'sending', 'v', 'r', NULL, 'w'),"
                " ('c', 's', 'C', 1, 'accepted', 'v', 'r', 7, NULL),"
                " ('d', 's', 'D', 1, 'visible', 'v', 'r', 8, NULL)"
            )
        )
    indexes = text("SELECT indexname, indexdef FROM pg_indexes WHERE tablename = 'delivery' ORDER BY 1")

    def look(*columns: str) -> tuple[Any, Any]:
        with empty.connect() as connection:
            rows = connection.execute(
                text(f"SELECT {', '.join(columns)} FROM springest.delivery ORDER BY delivery_key")  # noqa: S608
            )
            return rows.all(), connection.execute(indexes).all()

    before = look("*")
    upgrade(empty, revision="0012")
    rows, _ = look("delivery_key", "state", "indexed_state")
    assert rows == [
        ("a", "ready", "ready"),
        ("b", "sending", "sending"),
        ("c", "accepted", None),
        ("d", "visible", None),
    ]
    assert downgrade(empty, revision="-1") == "0011"
    assert look("*") == before


def test_what_was_accepted_as_a_nights_work_stays_so_up_and_down(empty: Engine) -> None:
    """Version 0014: each run is asked about once, also one that died before it was whole."""
    upgrade(empty, revision="0013")
    staged = text(
        "INSERT INTO springest.staging_run (site, run_id, mode, window_start, window_end, source_count,"
        " released_at) VALUES ('s', 'sent', 'watermark', '2026-01-01Z', '2026-01-02Z', 1, '2026-01-02Z'),"
        " ('s', 'waits', 'interval', '2026-01-01Z', '2026-01-02Z', 1, NULL)"
    )
    delivered = text(
        "INSERT INTO springest.delivery (delivery_key, site, training_id, issue_no, state, row_version,"
        " staged_run_id, sent_at) VALUES ('a', 's', 'A', 1, 'ready', 'v', 'sent', NULL),"
        " ('b', 's', 'B', 1, 'unknown', 'v', 'sent', now())"
    )
    with empty.begin() as connection:
        connection.execute(staged)
        connection.execute(delivered)
        before = connection.execute(text("SELECT * FROM springest.staging_run ORDER BY run_id")).all()
    upgrade(empty, revision="0014")
    with empty.connect() as connection:
        released = connection.execute(text("SELECT site, run_id FROM springest.released_run")).all()
        assert released == [("s", "sent")]
        doubts = text("SELECT springest.open_doubts('s', now() - interval '1 hour', false)")
        assert connection.execute(doubts).scalar_one() == 1
    assert downgrade(empty, revision="-1") == "0013"
    with empty.connect() as connection:
        assert connection.execute(text("SELECT * FROM springest.staging_run ORDER BY run_id")).all() == before


def test_who_was_forgotten_before_stays_told_apart_and_peoples_words_leave_what_is_read(
    empty: Engine,
) -> None:
    """Up from 0012 with data in it, and one step down."""
    upgrade(empty, revision="0012")
    with empty.begin() as connection:
        connection.execute(
            text(
                "INSERT INTO springest.delivery (delivery_key, site, training_id, issue_no, state, reason,"
                " reason_detail, row_version, staged_run_id, springest_certificate_id, learner_ref)"
                " VALUES ('a', 's', 'A', 1, 'accepted', NULL, NULL, repeat('0', 64), 'r', 7, NULL),"
                " ('b', 's', 'B', 1, 'cancelled', 'cancelled_by_person', 'cancelled by ann: as by post',"
                "  'v', 'r', NULL, 'l'),"
                " ('c', 's', 'C', 1, 'invalid', 'dates_reversed', 'made by hand', 'v', 'r', NULL, 'l')"
            )
        )
        connection.execute(
            text(
                "INSERT INTO springest.delivery_decision"
                " (delivery_key, decided_by, decision, reason, version, from_state, to_state, evidence)"
                " VALUES ('a', 'ann', 'cancel', 'theirs', 1, 'ready', 'ready', '{}'),"
                " ('b', 'ann', 'cancel', 'ours', 1, 'ready', 'ready', '{}')"
            )
        )
        connection.execute(
            text(
                "INSERT INTO springest.remote_certificate (site, springest_certificate_id, learner_ref,"
                " owner_told_by, first_snapshot_id, first_seen_at, last_snapshot_id, last_seen_at)"
                " SELECT 's', id, owner, told, 1, '2026-11-02Z', 1, '2026-11-02Z' FROM (VALUES"
                " (7, 'of another address', 'list'), (8, NULL, 'filter'), (9, NULL, NULL), (10, 'l', 'list'))"
                " AS shown (id, owner, told)"
            )
        )

    def look(statement: str) -> list[Any]:
        with empty.connect() as connection:
            return list(connection.execute(text(statement)).scalars())

    owners = "SELECT learner_ref FROM springest.remote_certificate ORDER BY springest_certificate_id"
    unmatched = (
        "SELECT learner_ref FROM springest.unmatched_remote_certificate ORDER BY springest_certificate_id"
    )
    details = "SELECT reason_detail FROM springest.delivery ORDER BY delivery_key"
    words = "SELECT reason FROM springest.delivery_decision ORDER BY delivery_key"
    upgrade(empty, revision="0013")
    assert look(owners) == ["other", "forgotten", None, "l"]
    assert look(unmatched) == [None, None, "l"]
    said = [None, "cancelled by a person: `bin/springest review show` tells who and why", "made by hand"]
    assert look(details) == said
    assert look(words) == ["cleared: the learner was forgotten", "ours"]
    assert downgrade(empty, revision="-1") == "0012"
    assert look(owners) == [None, None, None, "l"]
    assert look(details) == said


def test_views_of_what_is_claimed_keep_their_grants_up_and_down(empty: Engine) -> None:
    """Up from 0012 and one step down: one of them gets a column, and has to be made anew without it."""
    changing = {
        "certificate_reconciliation_history",
        "waiting_by_certification",
        "unmatched_remote_certificate",
        "delivery_review",
        "failed_check",
    }
    upgrade(empty, revision="0012")
    with empty.begin() as connection:
        for name in changing:
            connection.execute(text(f"GRANT SELECT ON springest.{name} TO pg_monitor"))
            connection.execute(text(f"GRANT SELECT ON springest.{name} TO PUBLIC"))
        connection.execute(
            text("GRANT SELECT ON springest.waiting_by_certification TO pg_checkpoint WITH GRANT OPTION")
        )

    def views() -> dict[str, tuple[object, ...]]:
        with empty.connect() as connection:
            return {str(name): tuple(rest) for name, *rest in connection.execute(text(VIEWS))}

    before = views()
    assert before.keys() >= changing
    upgrade(empty, revision="0013")
    after = views()
    assert {name for name in before if before[name][0] != after[name][0]} == changing
    assert {name: one[2] for name, one in after.items()} == {name: one[2] for name, one in before.items()}
    assert downgrade(empty, revision="-1") == "0012"
    assert views() == before
