"""The history of verdicts, over a real PostgreSQL: one version per change, without gaps, whatever happens."""

from __future__ import annotations

from contextlib import suppress
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sqlalchemy import Engine, event, text

from include.springest.reconcile.candidates import CandidatesLost
from include.springest.reconcile.publish import publish, publish_candidates, reconcile
from include.springest.site import Site
from include.springest.warehouse.schema import TOLD_ONLY, VERSIONED, reconciled_delivery

from .conftest import Deliver, Show

SITE = Site.from_connection(name="default", host="https://springest.example.com", password="k" * 20, extra={})
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
SELECT published.delivery_key, 'current version is not what is published'
FROM springest.reconciled_delivery AS published
FULL JOIN (SELECT * FROM springest.certificate_reconciliation_history WHERE is_current) AS version
     USING (delivery_key)
WHERE (published.verification_status, published.delivery_state, published.sent_at, published.needs_review)
      IS DISTINCT FROM
      (version.verification_status, version.delivery_state, version.sent_at, version.needs_review)
UNION ALL
SELECT delivery_key, 'a version that changes nothing' FROM (
    SELECT delivery_key, row(verification_status, delivery_state, delivery_reason, sent_at, review_reason,
                             springest_certificate_id, valid_from, valid_until) AS told,
           lag(row(verification_status, delivery_state, delivery_reason, sent_at, review_reason,
                   springest_certificate_id, valid_from, valid_until))
               OVER (PARTITION BY delivery_key ORDER BY valid_from_ts) AS told_before
    FROM springest.certificate_reconciliation_history) AS version
WHERE told = told_before
"""


def test_every_column_of_a_verdict_makes_a_version_or_only_explains_it() -> None:
    """A new column must be put with the one or the other."""
    named = {*VERSIONED, *TOLD_ONLY, "delivery_key", "seal"}
    assert named == {column.name for column in reconciled_delivery.columns}


CHANGES = {
    **{name: f"'another {name}'" for name in VERSIONED},
    **dict.fromkeys(("issue_no", "certification_id", "springest_certificate_id"), "8"),
    **dict.fromkeys(("valid_from", "valid_until"), "'2026-12-01'"),
    **dict.fromkeys(("completed_at", "sent_at", "first_visible_at"), "'2026-12-01Z'"),
    **dict.fromkeys(("delivery_state", "verification_status"), "'invalid'"),
    "needs_review": "true",
    "review_reason": "'a reason', needs_review = true",
}


@pytest.mark.parametrize("column", [name for name in VERSIONED if name not in {"site", "needs_review"}])
def test_every_column_that_makes_a_version_closes_one_and_is_in_the_next(
    warehouse: Engine, deliver: Deliver, column: str
) -> None:
    """A column that a statement forgot would be wrong in the history for ever."""
    deliver("held")
    publish(warehouse, site=SITE, run_id="first")
    reconcile(warehouse, site=SITE, run_id="second")
    candidate, published = "springest.reconciled_candidate", "springest.reconciled_delivery"
    run(warehouse, f"INSERT INTO {candidate} SELECT * FROM {published}")  # noqa: S608
    run(warehouse, f"UPDATE {candidate} SET {column} = {CHANGES[column]}")  # noqa: S608
    run(warehouse, "UPDATE springest.candidate_set SET changed = 1")
    assert publish_candidates(warehouse, site=SITE, run_id="second").versions == 1
    told = rows(
        warehouse,
        f"SELECT version.{column} = published.{column}, version.needs_review = published.needs_review"  # noqa: S608
        f" FROM {published} AS published"
        " JOIN springest.certificate_reconciliation_history AS version USING (delivery_key) WHERE is_current",
    )
    assert told == [(True, True)]


def test_a_change_ends_one_version_and_begins_the_next_at_the_same_moment(
    warehouse: Engine, deliver: Deliver, show: Show
) -> None:
    deliver("accepted")
    publish(warehouse, site=SITE, run_id="first")
    show()
    assert publish(warehouse, site=SITE, run_id="second").versions == 1
    before, after = versions(warehouse)
    assert before[:2] == ("accepted", "awaiting_verification")
    assert after[:2] == ("visible", "verified")
    assert before.valid_to_ts == after.valid_from_ts
    assert (before.is_current, after.is_current, after.valid_to_ts) == (False, True, None)
    [(reconciled_at,)] = rows(warehouse, "SELECT reconciled_at FROM springest.publication")
    assert after.valid_from_ts == reconciled_at


def test_one_publication_has_one_moment(warehouse: Engine, deliver: Deliver) -> None:
    for number in range(50):
        deliver("held", f"T{number}")
    publish(warehouse, site=SITE, run_id="night")
    assert rows(
        warehouse,
        "SELECT count(*), count(DISTINCT valid_from_ts) FROM springest.certificate_reconciliation_history",
    ) == [(50, 1)]


def test_the_moments_of_publications_go_forward_when_the_clock_goes_back(
    warehouse: Engine, deliver: Deliver
) -> None:
    """A version that ended before it began would be refused, and the night with it."""
    deliver("held")
    publish(warehouse, site=SITE, run_id="first")
    run(warehouse, "UPDATE springest.certificate_reconciliation_history SET valid_from_ts = '2099-01-01Z'")
    run(warehouse, "UPDATE springest.publication SET reconciled_at = '2099-01-01Z'")
    run(warehouse, "UPDATE springest.delivery SET state = 'invalid'")
    reconcile(warehouse, site=SITE, run_id="second")
    assert publish_candidates(warehouse, site=SITE, run_id="second").written == 1
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
    told = rows(warehouse, "SELECT delivery_reason_detail FROM springest.certificate_reconciliation")
    assert told == [("after",)]


@pytest.mark.parametrize("table", ["certificate_reconciliation_history", "reconciled_delivery"])
def test_a_quiet_night_rewrites_no_row(warehouse: Engine, deliver: Deliver, show: Show, table: str) -> None:
    deliver("accepted", "T1")
    deliver("invalid", "T2")
    show()
    publish(warehouse, site=SITE, run_id="first")
    where = f"SELECT ctid::text, xmin::text FROM springest.{table} ORDER BY 1"  # noqa: S608
    before = rows(warehouse, where)
    report = publish(warehouse, site=SITE, run_id="second")
    assert (report.written, report.versions, rows(warehouse, where)) == (0, 0, before)


def test_a_certificate_expires_on_its_day_without_a_run_and_the_next_one_writes_it_down(
    warehouse: Engine, deliver: Deliver, show: Show
) -> None:
    """`expired` follows valid_until alone; history says when it was published."""
    yesterday = TODAY - timedelta(days=1)
    deliver("accepted", valid_until=yesterday)
    show(valid_until=yesterday)
    publish(warehouse, site=SITE, run_id="first")
    run(warehouse, "UPDATE springest.reconciled_delivery SET verification_status = 'verified'")
    run(warehouse, "UPDATE springest.certificate_reconciliation_history SET verification_status = 'verified'")
    told = "SELECT verification_status FROM springest.certificate_reconciliation"
    assert rows(warehouse, told) == [("expired",)]
    assert publish(warehouse, site=SITE, run_id="second").versions == 1
    assert [one.verification_status for one in versions(warehouse)] == ["verified", "expired"]
    assert rows(warehouse, told) == [("expired",)]


def test_on_its_last_day_a_certificate_is_still_verified(
    warehouse: Engine, deliver: Deliver, show: Show
) -> None:
    deliver("accepted", valid_until=TODAY)
    show(valid_until=TODAY)
    publish(warehouse, site=SITE, run_id="night")
    told = rows(warehouse, "SELECT verification_status FROM springest.certificate_reconciliation")
    # The day may have changed since the test began.
    assert told == [("verified",)] or datetime.now(UTC).date() > TODAY


@pytest.mark.parametrize(
    "dies_at",
    [
        "One verdict for each delivery",
        "Whose verdicts wait",
        "The candidates become",
        "Versions that end",
        "Versions that begin",
        "UPDATE springest.candidate_set",
        "INSERT INTO springest.publication",
    ],
)
def test_dying_at_any_step_leaves_the_last_good_state_and_the_next_run_makes_up_for_it(
    warehouse: Engine, deliver: Deliver, show: Show, dies_at: str
) -> None:
    deliver("accepted")
    publish(warehouse, site=SITE, run_id="first")
    show()
    tables = ("reconciled_delivery", "certificate_reconciliation_history", "publication")
    everything = [f"SELECT * FROM springest.{table}" for table in tables]  # noqa: S608
    before = [rows(warehouse, one) for one in everything]

    class Died(Exception):
        pass

    def die(_conn: Any, _cursor: Any, statement: str, *_: Any) -> None:
        if dies_at in statement:
            raise Died

    event.listen(warehouse, "after_cursor_execute", die)
    with pytest.raises(Died):
        publish(warehouse, site=SITE, run_id="second")
    event.remove(warehouse, "after_cursor_execute", die)
    assert [rows(warehouse, one) for one in everything] == before
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
                with suppress(CandidatesLost):
                    publish_candidates(warehouse, site=SITE, run_id=run_id)
            case _:
                _die_while_publishing(warehouse)


def _die_while_publishing(warehouse: Engine) -> None:
    def die(_conn: Any, _cursor: Any, statement: str, *_: Any) -> None:
        if "Versions that begin" in statement:
            raise KeyError

    event.listen(warehouse, "after_cursor_execute", die)
    with suppress(KeyError):
        publish(warehouse, site=SITE, run_id="dies")
    event.remove(warehouse, "after_cursor_execute", die)


@given(steps=LIVES)
@settings(max_examples=25, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_whatever_happens_in_whatever_order_the_history_is_whole_and_the_end_the_same(
    warehouse: Engine, deliver: Deliver, steps: list[tuple[Any, ...]]
) -> None:
    """Random changes, reconciliations, publications and deaths, of two runs beside each other."""
    names = ("delivery", "reconciled_delivery", "certificate_reconciliation_history", "reconciled_candidate")
    names += ("candidate_set", "publication")
    run(warehouse, f"TRUNCATE {', '.join(f'springest.{name}' for name in names)} CASCADE")
    for number in range(4):
        deliver("held", f"T{number}")
    live(warehouse, deliver, steps)
    assert rows(warehouse, BROKEN) == []
    publish(warehouse, site=SITE, run_id="last")
    assert rows(warehouse, BROKEN) == []
    verdicts = (
        "SELECT to_jsonb(verdict) - 'seal' FROM springest.reconciled_delivery AS verdict"
        " ORDER BY delivery_key"
    )
    ended = rows(warehouse, verdicts)
    # Worked out from nothing, the same verdicts come out.
    run(warehouse, "TRUNCATE springest.reconciled_delivery, springest.certificate_reconciliation_history")
    publish(warehouse, site=SITE, run_id="from nothing")
    assert rows(warehouse, verdicts) == ended
    assert len(ended) == 4
