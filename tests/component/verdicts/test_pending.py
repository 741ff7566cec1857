"""Verdicts on their way through the checks, over a real PostgreSQL."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from sqlalchemy import Engine, text

from springest.db.schema import COMPUTED_COLUMNS
from springest.errors import ConservationBroken, PendingVerdictsLost, QualityCheckFailed
from springest.matching import matching
from springest.site import Site
from springest.verdicts import publish as publishing
from springest.verdicts.pending import TABLE_CHECKS
from springest.verdicts.publish import publish_pending, reconcile
from tests.component.conftest import Deliver, Scan, Show
from tests.factories import MOMENT, SITE, add_decision, add_staging_run
from tests.verdicts import publish


def rows(warehouse: Engine, statement: str) -> list[Any]:
    with warehouse.connect() as connection:
        return list(connection.execute(text(statement)))


def run(warehouse: Engine, statement: str) -> None:
    with warehouse.begin() as connection:
        connection.execute(text(statement))


def statuses(warehouse: Engine) -> list[Any]:
    return rows(warehouse, "SELECT verification_status FROM springest.certificate_reconciliation ORDER BY 1")


def test_readers_see_the_last_publication(warehouse: Engine, deliver: Deliver) -> None:
    """Until the next publication, readers see the last one."""
    deliver("held")
    publish(warehouse, site=SITE, run_id="first")
    run(warehouse, "UPDATE springest.delivery SET state = 'invalid'")
    assert reconcile(warehouse, site=SITE, run_id="second").changed == 1
    assert statuses(warehouse) == [("held",)]
    assert publish_pending(warehouse, site=SITE, run_id="second").written == 1
    assert statuses(warehouse) == [("invalid",)]


def test_publishing_twice_publishes_once(warehouse: Engine, deliver: Deliver) -> None:
    """As when the task is cleared."""
    deliver("held")
    reconcile(warehouse, site=SITE, run_id="night")
    assert publish_pending(warehouse, site=SITE, run_id="night").written == 1
    again = publish_pending(warehouse, site=SITE, run_id="night")
    assert (again.written, again.versions, again.statuses) == (0, 0, {"held": 1})
    assert again.superseded_by is None


def test_older_verdicts_are_not_published_over_newer_ones(warehouse: Engine, deliver: Deliver) -> None:
    """A publish task that is cleared, or that was slow, finds that another run was faster."""
    deliver("held")
    reconcile(warehouse, site=SITE, run_id="older")
    run(warehouse, "UPDATE springest.delivery SET state = 'invalid'")
    publish(warehouse, site=SITE, run_id="newer")
    report = publish_pending(warehouse, site=SITE, run_id="older")
    assert (report.written, report.superseded_by, report.statuses) == (0, "newer", {"invalid": 1})
    assert statuses(warehouse) == [("invalid",)]


def test_superseded_verdicts_are_not_published(warehouse: Engine, deliver: Deliver) -> None:
    """The newer verdicts contain everything that the older ones did."""
    deliver("held")
    reconcile(warehouse, site=SITE, run_id="older")
    reconcile(warehouse, site=SITE, run_id="newer")
    assert publish_pending(warehouse, site=SITE, run_id="older").superseded_by == "newer"
    assert statuses(warehouse) == []
    assert publish_pending(warehouse, site=SITE, run_id="newer").written == 1


def test_checks_after_the_publication_find_nothing(warehouse: Engine, deliver: Deliver) -> None:
    """This happens when a check task is cleared later."""
    deliver("held")
    publish(warehouse, site=SITE, run_id="night")
    assert rows(warehouse, "SELECT * FROM springest.failed_check") == []


def test_a_site_has_one_pending_publication(warehouse: Engine, deliver: Deliver) -> None:
    """A newer run takes over what an older one left: its verdicts are stored once."""
    deliver("held")
    publish(warehouse, site=SITE, run_id="first")
    run(warehouse, "UPDATE springest.delivery SET state = 'invalid'")
    for name in ("older", "newer"):
        reconcile(warehouse, site=SITE, run_id=name)
    publications = "SELECT run_id, published_at IS NULL, changed FROM springest.publication ORDER BY 2"
    assert rows(warehouse, publications) == [("first", False, 1), ("newer", True, 1)]
    assert rows(warehouse, "SELECT count(*) FROM springest.verdict") == [(2,)]


def test_publishing_writes_no_verdict_again(warehouse: Engine, deliver: Deliver) -> None:
    """Pending rows become current unchanged."""
    deliver("held", "T1")
    deliver("held", "T2")
    reconcile(warehouse, site=SITE, run_id="night")
    before = rows(warehouse, "SELECT ctid::text, xmin::text, * FROM springest.verdict ORDER BY 1")
    assert publish_pending(warehouse, site=SITE, run_id="night").written == 2
    assert rows(warehouse, "SELECT ctid::text, xmin::text, * FROM springest.verdict ORDER BY 1") == before
    assert statuses(warehouse) == [("held",), ("held",)]


def test_publishing_without_verdicts_names_the_remedy(warehouse: Engine) -> None:
    """The error names the task to run first."""
    with pytest.raises(PendingVerdictsLost, match="clear the reconcile task"):
        publish_pending(warehouse, site=SITE, run_id="night")


def test_another_sites_verdicts_are_not_published(warehouse: Engine, deliver: Deliver) -> None:
    """Publishing one site leaves the pending verdicts of another."""
    deliver("held")
    reconcile(warehouse, site=SITE, run_id="night")
    run(warehouse, OTHER_SITE)
    assert publish_pending(warehouse, site=SITE, run_id="night").written == 1
    assert rows(warehouse, f"SELECT site, training_id {PENDING}") == [("other", None)]


OTHER_SITE = (
    "WITH pending AS (INSERT INTO springest.publication (site, run_id, computed_at)"
    " VALUES ('other', 'night', now()) RETURNING publication_id)"
    " INSERT INTO springest.verdict (publication_id, site, delivery_id)"
    " SELECT publication_id, 'other', 0 FROM pending"
)
PENDING = (
    "FROM springest.verdict WHERE publication_id IN"
    " (SELECT publication_id FROM springest.publication WHERE published_at IS NULL)"
)


def spoiled(change: str) -> str:
    """Return the statement that changes what is pending."""
    return f"UPDATE springest.verdict SET {change} {PENDING.removeprefix('FROM springest.verdict ')}"  # noqa: S608


ENDED = (
    "INSERT INTO springest.verdict_history (delivery_id, version_from, version_to, site, training_id,"
    " issue_no, delivery_state, verification_status, needs_review)"
    " SELECT delivery_id, version_from - interval '{begins} days', version_from - interval '{ends} days',"
    " site, training_id, issue_no, delivery_state, verification_status, needs_review"
    " FROM springest.current_verdict"
)
"""Puts a version into the history that began and ended so many days before the current one began."""
SPOILED = {
    "accepted_values": spoiled("verification_status = 'fine'"),
    "known_delivery": spoiled("delivery_id = 0"),
    "known_certificate": spoiled("springest_certificate_id = 9"),
    "verified_has_proof": spoiled("match_evidence = NULL"),
    "dates_in_order": spoiled("valid_until = '2020-01-01'"),
    "review_has_reason": spoiled("needs_review = true"),
    "history_without_gaps": ENDED.format(begins=2, ends=1),
    "not_null": spoiled("training_id = NULL"),
    "unique": f"INSERT INTO springest.verdict (publication_id, {', '.join(COMPUTED_COLUMNS)})"
    f" SELECT publication_id, {', '.join(COMPUTED_COLUMNS)} {PENDING}",
    "conservation": "UPDATE springest.publication SET incomplete_run = 'night' WHERE published_at IS NULL",
}


NO_PROOF = {
    "inferred": "match_method = 'inferred'",
    "as many as were sent": "match_method = 'set_complete'",
    "a person's word": "match_method = 'person'",
    "a person's word, and it is expired": "match_method = 'person', verification_status = 'expired'",
    "a word that nobody knows": "match_method = 'fine'",
}


@pytest.mark.parametrize("statement", NO_PROOF)
def test_no_verdict_without_proof_is_published_as_verified(
    warehouse: Engine, deliver: Deliver, show: Show, statement: str
) -> None:
    """A `verified` verdict without proof stops the publication."""
    deliver("accepted")
    show()
    reconcile(warehouse, site=SITE, run_id="night")
    run(warehouse, spoiled(NO_PROOF[statement]))
    assert rows(warehouse, "SELECT check_name FROM springest.failed_check") == [("verified_has_proof",)]
    with pytest.raises(QualityCheckFailed, match=r"verified_has_proof: training T1 .*clear the reconcile"):
        publish_pending(warehouse, site=SITE, run_id="night")


def test_a_confirmation_with_an_agreeing_owner_is_verified(
    warehouse: Engine, deliver: Deliver, show: Show
) -> None:
    """A person's confirmation is published as `verified` if Springest names that learner as the owner."""
    key = deliver("accepted", match_method="person")
    add_decision(
        warehouse, key, "confirm", springest_certificate_id=7, from_state="unknown", to_state="accepted"
    )
    show(learner_ref="a" * 64)
    publish(warehouse, site=SITE, run_id="night")
    assert statuses(warehouse) == [("verified",)]


def test_every_check_has_a_test(warehouse: Engine) -> None:
    """Each check of the view is in the table of cases."""
    assert SPOILED.keys() == {*TABLE_CHECKS, "not_null", "unique"}
    [(definition,)] = rows(warehouse, "SELECT pg_get_viewdef('springest.failed_check'::regclass)")
    assert all(f"'{name}'" in definition for name in SPOILED)


@pytest.mark.parametrize("check", SPOILED)
def test_each_impossible_verdict_fails_its_own_check(
    warehouse: Engine, deliver: Deliver, show: Show, check: str
) -> None:
    """The check shows the row and the remedy."""
    deliver("accepted")
    publish(warehouse, site=SITE, run_id="first")
    show()
    reconcile(warehouse, site=SITE, run_id="second")
    assert rows(warehouse, "SELECT * FROM springest.failed_check") == []
    run(warehouse, SPOILED[check])
    failed = rows(warehouse, "SELECT check_name, site, found, remedy FROM springest.failed_check")
    assert {failure.check_name for failure in failed} == {check}
    assert all(failure.site == "default" and failure.found and failure.remedy for failure in failed)


@pytest.mark.parametrize("check", sorted(SPOILED.keys() - {"unique", "conservation"}))
def test_it_blocks_the_publication_and_the_last_good_state_stays(
    warehouse: Engine, deliver: Deliver, show: Show, check: str
) -> None:
    """Checked once more in the transaction that publishes: whoever skips the check tasks gains nothing."""
    deliver("accepted")
    publish(warehouse, site=SITE, run_id="first")
    show()
    reconcile(warehouse, site=SITE, run_id="second")
    run(warehouse, SPOILED[check])
    with pytest.raises(QualityCheckFailed, match=rf"nothing was published.*\n{check}: ") as refused:
        publish_pending(warehouse, site=SITE, run_id="second")
    assert "training T1" in str(refused.value) or check == "not_null"
    assert statuses(warehouse) == [("awaiting_verification",)]


HISTORIES: dict[str, tuple[list[tuple[int, int]], int]] = {
    "none": ([], 0),
    "one after the other": ([(3, 2), (2, 1), (1, 0)], 0),
    "a gap between what ended": ([(3, 2), (1, 0)], 1),
    "a gap before what is said now": ([(3, 2), (2, 1)], 1),
    "an overlap of what ended": ([(3, 1), (2, 0)], 1),
    "an overlap with what is said now": ([(3, 2), (2, -1)], 1),
    "later than what is said now": ([(0, -1)], 1),
    "gaps everywhere": ([(9, 8), (7, 6), (5, 4)], 3),
}


@pytest.mark.parametrize("statement", HISTORIES)
@pytest.mark.parametrize("asked", [True, False])
def test_versions_follow_each_other_up_to_the_present(
    warehouse: Engine, deliver: Deliver, statement: str, asked: bool
) -> None:
    """Only what is about to be published is checked."""
    deliver("held")
    publish(warehouse, site=SITE, run_id="first")
    ended, gaps = HISTORIES[statement]
    for begins, ends in ended:
        run(warehouse, ENDED.format(begins=begins, ends=ends))
    if asked:
        run(warehouse, "UPDATE springest.delivery SET state = 'invalid'")
    reconcile(warehouse, site=SITE, run_id="second")
    failed = rows(warehouse, "SELECT check_name FROM springest.failed_check")
    assert failed == [("history_without_gaps",)] * (gaps if asked else 0)


def test_a_version_without_a_successor_is_a_gap(warehouse: Engine, deliver: Deliver) -> None:
    """Somebody deleted the verdict: its new one does not begin when the last version ended."""
    deliver("held")
    publish(warehouse, site=SITE, run_id="first")
    run(warehouse, ENDED.format(begins=1, ends=0))
    run(warehouse, "DELETE FROM springest.verdict")
    reconcile(warehouse, site=SITE, run_id="second")
    with pytest.raises(QualityCheckFailed, match="history_without_gaps: training T1"):
        publish_pending(warehouse, site=SITE, run_id="second")


def test_source_rows_without_a_verdict_fail_conservation(warehouse: Engine, deliver: Deliver) -> None:
    """The check task names the run; publishing counts once more."""
    deliver("held")
    add_staging_run(warehouse, run_id="lost", source_count=2)
    reconcile(warehouse, site=SITE, run_id="night")
    [(check, found)] = rows(warehouse, "SELECT check_name, found FROM springest.failed_check")
    assert check == "conservation"
    assert "run lost" in found
    with pytest.raises(ConservationBroken, match="run lost counted 2"):
        publish_pending(warehouse, site=SITE, run_id="night")


def test_verdicts_computed_while_publishing_are_rematched(
    warehouse: Engine, deliver: Deliver, show: Show
) -> None:
    """A run finished staging in between, and a response arrived: the former inference does not apply to
    it.
    """
    deliver("unknown", "T1")
    show(created_at=MOMENT)
    only_us = replace(SITE, exclusive_uploader=True)
    reconcile(warehouse, site=only_us, run_id="night")
    run(
        warehouse,
        "UPDATE springest.delivery SET state = 'accepted', springest_certificate_id = 99",
    )
    add_staging_run(warehouse, [deliver("ready", "T2")], run_id="other")
    publish_pending(warehouse, site=only_us, run_id="night")
    assert statuses(warehouse) == [("awaiting_verification",), ("not_sent",)]


MEANWHILE = {
    "an answer with another id": (
        "state = 'accepted', springest_certificate_id = 99",
        "awaiting_verification",
    ),
    "a person's confirmation": (
        "state = 'accepted', springest_certificate_id = 99, match_method = 'person'",
        "awaiting_verification",
    ),
    "a release": ("state = 'ready'", "not_sent"),
    "a cancellation": ("state = 'cancelled'", "cancelled"),
}


@pytest.mark.parametrize("statement", MEANWHILE)
def test_an_inference_is_dropped_if_the_delivery_moved(
    warehouse: Engine, deliver: Deliver, show: Show, monkeypatch: pytest.MonkeyPatch, statement: str
) -> None:
    """Workers and people don't wait for the site's lock: one commits between matching and judging."""
    moved, status = MEANWHILE[statement]
    monkeypatch.setattr(matching, "UNKNOWN_FOR_LONG_DAYS", 36_500)
    deliver("unknown")
    show(created_at=MOMENT)
    real = publishing.compute_verdicts

    def judge(*arguments: Any, **named: Any) -> int:
        [method] = arguments[0].execute(text("SELECT match_method FROM springest.delivery_match")).scalars()
        assert method == "inferred"
        run(warehouse, f"UPDATE springest.delivery SET {moved}")  # noqa: S608
        return real(*arguments, **named)

    monkeypatch.setattr(publishing, "compute_verdicts", judge)
    publish(warehouse, site=replace(SITE, exclusive_uploader=True), run_id="night")
    query = "SELECT verification_status, match_method, match_evidence, springest_certificate_id"
    [row] = rows(warehouse, f"{query} FROM springest.certificate_reconciliation")
    assert tuple(row) == (status, None, None, 99 if status == "awaiting_verification" else None)


def test_a_later_snapshot_makes_verdicts_no_fresher(
    warehouse: Engine, deliver: Deliver, scan: Scan, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A snapshot that ends after the matching does not change how fresh the verdicts are."""
    deliver("held")
    known = scan(MOMENT)
    real = publishing.compute_verdicts

    def judge(*arguments: Any, **named: Any) -> int:
        scan(MOMENT + timedelta(hours=1))
        return real(*arguments, **named)

    monkeypatch.setattr(publishing, "compute_verdicts", judge)
    publish(warehouse, site=SITE, run_id="night")
    assert rows(warehouse, "SELECT snapshot_id FROM springest.publication") == [(known,)]
    assert rows(warehouse, "SELECT snapshot_at FROM springest.reconciliation_freshness") == [(MOMENT,)]


def test_an_id_recorded_after_matching_waits(
    warehouse: Engine, deliver: Deliver, show: Show, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A worker waits for no lock; the id it records is no proof until the next matching, and must not block
    the night.
    """
    deliver("unknown", sent_at=datetime.now(UTC))
    show()

    def record(connection: Any, site: Site) -> Any:
        report = matching.match(connection, site)
        run(warehouse, "UPDATE springest.delivery SET state = 'accepted', springest_certificate_id = 7")
        return report

    with monkeypatch.context() as patched:
        patched.setattr(publishing, "match", record)
        publish(warehouse, site=SITE, run_id="first")
    assert statuses(warehouse) == [("awaiting_verification",)]
    publish(warehouse, site=SITE, run_id="second")
    assert statuses(warehouse) == [("verified",)]
