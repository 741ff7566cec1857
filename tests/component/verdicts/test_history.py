"""The history of verdicts, over a real PostgreSQL: one version per change, without gaps, whatever happens."""

from __future__ import annotations

from contextlib import suppress
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sqlalchemy import Engine, event, text

from springest.db.schema import (
    BOOKKEEPING_COLUMNS,
    COMPUTED_COLUMNS,
    EXPLANATORY_COLUMNS,
    VERSIONED_COLUMNS,
    verdict,
    verdict_history,
)
from springest.errors import PendingVerdictsLost
from springest.verdicts.publish import publish_pending, reconcile
from tests.component.conftest import Deliver, Show
from tests.factories import SITE
from tests.verdicts import publish

TODAY = datetime.now(UTC).date()


def rows(warehouse: Engine, statement: str, **values: Any) -> list[Any]:
    with warehouse.connect() as connection:
        return list(connection.execute(text(statement), values))


def run(warehouse: Engine, statement: str, **values: Any) -> None:
    with warehouse.begin() as connection:
        connection.execute(text(statement), values)


def versions(warehouse: Engine, training_id: str = "T1") -> list[Any]:
    return rows(
        warehouse,
        "SELECT delivery_state, verification_status, valid_from_ts, valid_to_ts, is_current"
        " FROM springest.certificate_reconciliation_history WHERE training_id = :name ORDER BY valid_from_ts",
        name=training_id,
    )


BROKEN = """
SELECT delivery_key, 'gap or overlap' FROM (
    SELECT delivery_key, valid_to_ts,
           lead(valid_from_ts) OVER (PARTITION BY delivery_key ORDER BY valid_from_ts) AS next_from_ts
    FROM springest.certificate_reconciliation_history) AS version
WHERE valid_to_ts IS DISTINCT FROM next_from_ts
UNION ALL
SELECT delivery_key, 'a version that changes nothing' FROM (
    SELECT delivery_key, row(verification_status, delivery_state, delivery_reason, sent_at, review_reason,
                             springest_certificate_id, valid_from, valid_until) AS now,
           lag(row(verification_status, delivery_state, delivery_reason, sent_at, review_reason,
                   springest_certificate_id, valid_from, valid_until))
               OVER (PARTITION BY delivery_key ORDER BY valid_from_ts) AS before
    FROM springest.certificate_reconciliation_history) AS version
WHERE now = before
"""


def test_every_column_makes_a_version_or_only_explains_it() -> None:
    """A new column of a verdict must be assigned to one of the two."""
    columns = {column.name for column in verdict.columns}
    computed = {"delivery_id", *VERSIONED_COLUMNS, *EXPLANATORY_COLUMNS}
    assert computed == set(COMPUTED_COLUMNS) == columns - {*BOOKKEEPING_COLUMNS}


BEFORE = {
    **{name: f"'some {name}'" for name in VERSIONED_COLUMNS},
    **dict(zip(("issue_no", "certification_id", "springest_certificate_id"), "234", strict=True)),
    "valid_from": "'2026-11-01'",
    "valid_until": "'2027-01-01'",
    "completed_at": "'2026-10-01Z'",
    "sent_at": "'2026-10-02Z'",
    "first_visible_at": "'2026-10-03Z'",
    "site": "'default'",
    "delivery_state": "'held'",
    "verification_status": "'rejected'",
    "needs_review": "true",
}
"""A verdict with another value in each column."""
CHANGES = {
    **{name: f"'another {name}'" for name in VERSIONED_COLUMNS},
    **dict.fromkeys(("issue_no", "certification_id", "springest_certificate_id"), "8"),
    **dict.fromkeys(("valid_from", "valid_until"), "'2026-12-01'"),
    **dict.fromkeys(("completed_at", "sent_at", "first_visible_at"), "'2026-12-01Z'"),
    **dict.fromkeys(("delivery_state", "verification_status"), "'invalid'"),
    "needs_review": "false",
}


ALTERED = [(name, CHANGES[name]) for name in VERSIONED_COLUMNS if name != "site"]
EMPTIED = [(name, "NULL") for name in VERSIONED_COLUMNS if verdict_history.columns[name].nullable]


@pytest.mark.parametrize(("column", "becomes"), [*ALTERED, *EMPTIED])
def test_a_change_of_each_column_is_in_the_history(
    warehouse: Engine, deliver: Deliver, column: str, becomes: str
) -> None:
    """The ended version has the former value, the next one the new value.

    A column that a statement forgot would be wrong in the history for ever.
    """
    deliver("held")
    publish(warehouse, site=SITE, run_id="first")
    run(warehouse, f"UPDATE springest.verdict SET {', '.join(f'{name} = {BEFORE[name]}' for name in BEFORE)}")  # noqa: S608
    kept = f"SELECT {', '.join(VERSIONED_COLUMNS)}, version_from FROM springest.current_verdict"  # noqa: S608
    [before] = rows(warehouse, kept)
    assert None not in before
    reconcile(warehouse, site=SITE, run_id="second")
    computed = ", ".join(COMPUTED_COLUMNS)
    [(pending,)] = rows(warehouse, "SELECT max(publication_id) FROM springest.publication")
    run(warehouse, f"DELETE FROM springest.verdict WHERE publication_id = {pending}")  # noqa: S608
    copied = f"SELECT {pending}, {computed} FROM springest.verdict"  # noqa: S608
    run(warehouse, f"INSERT INTO springest.verdict (publication_id, {computed}) {copied}")
    # What is published needs a reason where it needs a person; no check is about the rest.
    for change in (f"{column} = {becomes}", "needs_review = needs_review AND review_reason IS NOT NULL"):
        run(warehouse, f"UPDATE springest.verdict SET {change} WHERE publication_id = {pending}")  # noqa: S608
    assert publish_pending(warehouse, site=SITE, run_id="second").versions == 1
    [now] = rows(warehouse, kept)
    history = f"SELECT {', '.join(VERSIONED_COLUMNS)}, valid_from_ts, valid_to_ts"
    [was, current] = rows(
        warehouse, f"{history} FROM springest.certificate_reconciliation_history ORDER BY valid_from_ts"
    )
    assert tuple(was) == (*before, now.version_from)
    assert tuple(current) == (*now, None)
    differing = {name for name in VERSIONED_COLUMNS if getattr(was, name) != getattr(current, name)}
    assert differing - {"needs_review"} == {column} - {"needs_review"}


def test_a_version_ends_when_the_next_begins(warehouse: Engine, deliver: Deliver, show: Show) -> None:
    """A change ends one version and begins the next at the same moment."""
    deliver("accepted")
    publish(warehouse, site=SITE, run_id="first")
    show()
    assert publish(warehouse, site=SITE, run_id="second").versions == 1
    before, after = versions(warehouse)
    assert before[:2] == ("accepted", "awaiting_verification")
    assert after[:2] == ("visible", "verified")
    assert before.valid_to_ts == after.valid_from_ts
    assert (before.is_current, after.is_current, after.valid_to_ts) == (False, True, None)
    [(reconciled_at,)] = rows(warehouse, "SELECT max(published_at) FROM springest.publication")
    assert after.valid_from_ts == reconciled_at


def test_one_publication_has_one_moment(warehouse: Engine, deliver: Deliver) -> None:
    """All versions of a publication begin at the same moment."""
    for number in range(50):
        deliver("held", f"T{number}")
    publish(warehouse, site=SITE, run_id="night")
    assert rows(
        warehouse,
        "SELECT count(*), count(DISTINCT valid_from_ts) FROM springest.certificate_reconciliation_history",
    ) == [(50, 1)]


def test_publications_move_forward_if_the_clock_goes_back(warehouse: Engine, deliver: Deliver) -> None:
    """A version that ended before it began would be refused, and the night with it."""
    deliver("held")
    publish(warehouse, site=SITE, run_id="first")
    run(warehouse, "UPDATE springest.publication SET published_at = '2099-01-01Z'")
    run(warehouse, "UPDATE springest.delivery SET state = 'invalid'")
    reconcile(warehouse, site=SITE, run_id="second")
    assert publish_pending(warehouse, site=SITE, run_id="second").written == 1
    before, after = versions(warehouse)
    assert before.valid_from_ts < before.valid_to_ts == after.valid_from_ts


def test_words_that_only_explain_a_verdict_make_no_version(warehouse: Engine, deliver: Deliver) -> None:
    """A certification that is renamed, or a longer explanation, is no news about a certificate."""
    deliver("held", reason="a_reason", reason_detail="before")
    publish(warehouse, site=SITE, run_id="first")
    run(warehouse, "UPDATE springest.delivery SET reason_detail = 'after'")
    report = publish(warehouse, site=SITE, run_id="second")
    assert (report.written, report.versions) == (1, 0)
    assert len(versions(warehouse)) == 1
    details = rows(warehouse, "SELECT delivery_reason_detail FROM springest.certificate_reconciliation")
    assert details == [("after",)]


@pytest.mark.parametrize("table", ["verdict_history", "verdict"])
def test_a_night_without_changes_rewrites_no_row(
    warehouse: Engine, deliver: Deliver, show: Show, table: str
) -> None:
    """A night without changes rewrites no verdict and no version."""
    deliver("accepted", "T1")
    deliver("invalid", "T2")
    publish(warehouse, site=SITE, run_id="first")
    show()
    publish(warehouse, site=SITE, run_id="second")
    where = f"SELECT ctid::text, xmin::text FROM springest.{table} ORDER BY 1"  # noqa: S608
    before = rows(warehouse, where)
    assert before
    report = publish(warehouse, site=SITE, run_id="third")
    assert (report.written, report.versions, rows(warehouse, where)) == (0, 0, before)


def test_a_night_writes_only_changes(warehouse: Engine, deliver: Deliver, show: Show) -> None:
    """One verdict changes, one only in its explanation, one stays, one is new: two versions."""
    deliver("accepted", "T1")
    deliver("held", "T2", reason="a_reason", reason_detail="before")
    deliver("held", "T3")
    publish(warehouse, site=SITE, run_id="first")
    where = (
        "SELECT training_id, verdict.xmin::text, current.version_from FROM springest.verdict"
        " JOIN springest.current_verdict AS current USING (delivery_id, training_id) ORDER BY 1"
    )
    before = rows(warehouse, where)
    show()
    run(warehouse, "UPDATE springest.delivery SET reason_detail = 'after' WHERE training_id = 'T2'")
    deliver("held", "T4")
    report = publish(warehouse, site=SITE, run_id="second")
    assert (report.written, report.versions) == (3, 2)
    after = rows(warehouse, where)
    assert {was.training_id for was, now in zip(before, after[:3], strict=True) if was[1] != now[1]} == {
        "T1",
        "T2",
    }
    [(published,)] = rows(warehouse, "SELECT max(published_at) FROM springest.publication")
    assert [version.version_from == published for version in after] == [True, False, False, True]
    assert rows(warehouse, "SELECT training_id, version_to FROM springest.verdict_history") == [
        ("T1", published)
    ]
    assert rows(warehouse, BROKEN) == []


def test_a_certificate_expires_without_a_run(warehouse: Engine, deliver: Deliver, show: Show) -> None:
    """`expired` follows from valid_until alone; the next run writes it, and the history says when it was
    published.
    """
    yesterday = TODAY - timedelta(days=1)
    deliver("accepted", valid_until=yesterday)
    show(valid_until=yesterday)
    publish(warehouse, site=SITE, run_id="first")
    run(warehouse, "UPDATE springest.verdict SET verification_status = 'verified'")
    query = "SELECT verification_status FROM springest.certificate_reconciliation"
    assert rows(warehouse, query) == [("expired",)]
    assert publish(warehouse, site=SITE, run_id="second").versions == 1
    assert [version.verification_status for version in versions(warehouse)] == ["verified", "expired"]
    assert rows(warehouse, query) == [("expired",)]


def test_on_its_last_day_a_certificate_is_still_verified(
    warehouse: Engine, deliver: Deliver, show: Show
) -> None:
    """A certificate expires after its `valid_until`, not on it."""
    deliver("accepted", valid_until=TODAY)
    show(valid_until=TODAY)
    publish(warehouse, site=SITE, run_id="night")
    statuses = rows(warehouse, "SELECT verification_status FROM springest.certificate_reconciliation")
    # The day may have changed since the test began.
    assert statuses == [("verified",)] or datetime.now(UTC).date() > TODAY


@pytest.mark.parametrize(
    "dies_at",
    [
        "Computes the verdict",
        "A site has at most one pending",
        "Pending verdicts replace",
        "UPDATE springest.publication SET changed",
        "UPDATE springest.publication SET published_at",
    ],
)
def test_a_death_at_any_step_leaves_the_last_good_state(
    warehouse: Engine, deliver: Deliver, show: Show, dies_at: str
) -> None:
    """Wherever a run dies, readers see the last good state, and the next run completes it."""
    deliver("accepted")
    publish(warehouse, site=SITE, run_id="first")
    show()
    tables = ("current_verdict", "certificate_reconciliation_history", "certificate_reconciliation")
    everything = [f"SELECT * FROM springest.{table}" for table in tables]  # noqa: S608
    before = [rows(warehouse, query) for query in everything]

    class Died(Exception):
        pass

    def die(_conn: Any, _cursor: Any, statement: str, *_: Any) -> None:
        if dies_at in statement:
            raise Died

    event.listen(warehouse, "after_cursor_execute", die)
    with pytest.raises(Died):
        publish(warehouse, site=SITE, run_id="second")
    event.remove(warehouse, "after_cursor_execute", die)
    assert [rows(warehouse, query) for query in everything] == before
    assert publish(warehouse, site=SITE, run_id="second").statuses == {"verified": 1}
    assert len(versions(warehouse)) == 2
    assert rows(warehouse, BROKEN) == []


LIVES = st.lists(
    st.one_of(
        st.tuples(
            st.just("becomes"),
            st.integers(0, 3),
            st.sampled_from(
                ["ready", "held", "invalid", "accepted", "unknown", "review", "visible", "cancelled"]
            ),
            st.sampled_from(["this", "that"]),
        ),
        st.tuples(st.just("explains"), st.integers(0, 3), st.sampled_from(["one way", "another way"])),
        st.tuples(st.sampled_from(["reconcile", "publish"]), st.sampled_from(["a", "b"])),
        st.tuples(st.just("dies")),
    ),
    min_size=1,
    max_size=25,
)


def live(warehouse: Engine, deliver: Deliver, steps: list[tuple[Any, ...]]) -> None:
    """Take the steps of one life, whatever they are, in a warehouse of four deliveries."""
    for step in steps:
        match step:
            case ("becomes", number, state, reason):
                run(
                    warehouse,
                    "UPDATE springest.delivery SET state = :state, reason = :reason,"
                    " springest_certificate_id = 100 + :number,"
                    " match_method = CASE WHEN :state = 'visible' THEN 'springest_id' END,"
                    " sent_at = CASE WHEN :state IN ('accepted', 'visible', 'unknown') THEN now() END"
                    " WHERE training_id = :name",
                    state=state,
                    reason=reason,
                    number=number,
                    name=f"T{number}",
                )
            case ("explains", number, words):
                run(
                    warehouse,
                    "UPDATE springest.delivery SET reason_detail = :words WHERE training_id = :name",
                    words=words,
                    name=f"T{number}",
                )
            case ("reconcile", run_id):
                reconcile(warehouse, site=SITE, run_id=run_id)
            case ("publish", run_id):
                # A run when nobody has reconciled yet has nothing to publish.
                with suppress(PendingVerdictsLost):
                    publish_pending(warehouse, site=SITE, run_id=run_id)
            case _:
                _die_while_publishing(warehouse)


def _die_while_publishing(warehouse: Engine) -> None:
    def die(_conn: Any, _cursor: Any, statement: str, *_: Any) -> None:
        if "Pending verdicts replace" in statement:
            raise KeyError

    event.listen(warehouse, "after_cursor_execute", die)
    with suppress(KeyError):
        publish(warehouse, site=SITE, run_id="dies")
    event.remove(warehouse, "after_cursor_execute", die)


@given(steps=LIVES)
@settings(max_examples=25, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_any_order_of_events_leaves_a_whole_history(
    warehouse: Engine, deliver: Deliver, steps: list[tuple[Any, ...]]
) -> None:
    """Random changes, reconciliations, publications and deaths, of two concurrent runs, end in the same
    verdicts.
    """
    names = ("delivery", "verdict", "verdict_history", "publication")
    run(warehouse, f"TRUNCATE {', '.join(f'springest.{name}' for name in names)} CASCADE")
    for number in range(4):
        deliver("held", f"T{number}")
    live(warehouse, deliver, steps)
    assert rows(warehouse, BROKEN) == []
    publish(warehouse, site=SITE, run_id="last")
    assert rows(warehouse, BROKEN) == []
    verdicts = f"SELECT {', '.join(COMPUTED_COLUMNS)} FROM springest.current_verdict ORDER BY delivery_id"  # noqa: S608
    ended = rows(warehouse, verdicts)
    # Worked out from nothing, the same verdicts come out.
    run(warehouse, "TRUNCATE springest.verdict, springest.verdict_history")
    publish(warehouse, site=SITE, run_id="from nothing")
    assert rows(warehouse, verdicts) == ended
    assert len(ended) == 4
