"""Whole nights over a real source, a real warehouse and a real server."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, date, datetime, timedelta
from pathlib import Path

import pytest
from sqlalchemy import create_engine, delete, event, update

from demo.pdf import make_pdf
from demo.people import Learner
from demo.source_database import completed_training
from sandbox.profiles import PROFILES
from sandbox.store import NewCertificate
from springest.errors import ConfigurationError
from springest.rate_limit.limiter import RateLimiter
from springest.site import Site
from springest.source.window import Window
from springest.staging.window import Mode, begin_site


def test_good_rows_go_out_once_with_the_right_bytes(world, expected):
    """Certificates of verified certifications are shown as verified, others await their verification."""
    shown, waiting = world.training(), world.training(certification_id=105)
    world.complete(shown, waiting)
    world.night()
    assert world.stored == expected(shown, waiting)
    assert world.statuses() == {
        shown.training_id: ("verified", None),
        waiting.training_id: ("awaiting_verification", None),
    }


@pytest.mark.parametrize("profile", PROFILES)
def test_two_runs_send_each_certificate_once_on_any_profile(make_world, expected, profile):
    """Under every assumption about Springest, two runs of a night double nothing and lose nothing."""
    world = make_world(profile=profile)
    good = [world.training(), world.training(certification_id=101, valid_until=date(2099, 1, 1))]
    bad = world.training(certification_id=101)
    world.complete(*good, bad)
    world.night("first")
    if profile in {"no_id", "empty_201"}:
        world.night("a tie is known")  # its owner is asked for the next night
    before = world.rows("SELECT xmin, * FROM springest.verdict ORDER BY delivery_id")
    world.night("second")
    assert world.stored == expected(*good)
    assert world.posts == len(good)
    statuses = world.statuses()
    assert statuses.pop(bad.training_id) == ("invalid", "valid_until_required")
    proven_by_id = {"verified"}
    # Without an id, the filter by address proves whose they are.
    assert {status for status, _ in statuses.values()} == proven_by_id
    assert world.rows("SELECT xmin, * FROM springest.verdict ORDER BY delivery_id") == before


def test_a_verification_makes_certificates_visible_next_night(world):
    """Certificates that wait for the verification of their certification are verified once an employee has
    done it.
    """
    waiting = world.training(certification_id=105)
    world.complete(waiting)
    world.night("first")
    world.sandbox.store.verify(105)
    world.night("second")
    assert world.statuses() == {waiting.training_id: ("verified", None)}
    assert world.posts == 1


def test_a_listed_unverified_certification_misses_nothing(make_world):
    """Springest's page says both of its list.

    Releasing certificates that seemed missing stored each of them twice.
    """
    world = make_world(profile="unverified_listed")
    waiting = [world.training(certification_id=105) for _ in range(3)]
    world.complete(*waiting)
    world.night("first")
    with world.warehouse.begin() as connection:
        for column in (
            "snapshot SET started_at = started_at", "snapshot SET finished_at = finished_at",
            "delivery SET sent_at = sent_at", "delivery_attempt SET started_at = started_at",
            "certification SET listed_since = listed_since",
        ):  # fmt: skip
            connection.exec_driver_sql(f"UPDATE springest.{column} - interval '2 days'")
    world.night("second")
    world.night("third")
    assert set(world.statuses().values()) == {("awaiting_verification", None)}
    subjects = world.rows("SELECT subject, sent FROM springest.waiting_by_certification")
    assert subjects == [("Please verify certification 105", 3)]
    world.sandbox.store.verify(105)
    world.night("fourth")
    assert set(world.statuses().values()) == {("verified", None)}
    assert world.posts == 3


def test_every_bad_row_is_set_aside_with_its_reason(world, expected):
    """One bad row never stops another."""
    good = world.training()
    empty, page, folder = (world.training() for _ in range(3))
    Path(empty.certificate_uri).write_bytes(b"")
    Path(page.certificate_uri).write_bytes(b"<html><body>log in first</body></html>")
    Path(folder.certificate_uri).unlink()
    Path(folder.certificate_uri).mkdir()
    learner = Learner(900, "Ana", "ana@@example.com")
    rows = {
        "valid_until_required": world.training(certification_id=101),
        "certification_not_listed": world.training(certification_id=999),
        "document_missing": world.training(certificate_uri=str(world.folder / "nowhere.pdf")),
        "document_outside_roots": world.training(certificate_uri="/etc/hostname"),
        "document_empty": empty,
        "document_wrong_type": page,
        "document_not_a_file": folder,
        "email_malformed": world.training(learner=learner),
        "email_missing": world.training(learner=Learner(901, "Bo", None)),
        "dates_reversed": world.training(valid_until=date(2020, 1, 1)),
        "training_id_missing": world.training(training_id=""),
        "completed_at_missing": world.training(completed_at=None),
    }
    world.complete(good, *rows.values())
    world.night()
    assert world.stored == expected(good)
    statuses = {reason: status for status, reason in world.statuses().values()}
    assert statuses.pop(None) == "verified"
    assert statuses.pop("certification_not_listed") == "held"
    assert statuses == dict.fromkeys(rows.keys() - {"certification_not_listed"}, "invalid")
    details = world.rows(
        "SELECT delivery_reason_detail FROM springest.certificate_reconciliation WHERE delivery_reason <> ''"
    )
    assert all(detail for (detail,) in details)


def test_the_same_row_twice_is_one_delivery_and_counts_twice(world, expected):
    """Conservation counts source rows: a doubled row is two of them and one certificate."""
    training = world.training()
    world.complete(training, training)
    world.night()
    assert world.stored == expected(training)
    assert world.rows("SELECT count(*), count(DISTINCT delivery_id) FROM springest.staged_row") == [(2, 1)]


def test_two_rows_of_one_training_that_differ_are_sent_neither(world):
    """Neither of two contradicting rows can be trusted."""
    training = world.training()
    world.complete(training, replace(training, valid_from=date(2026, 10, 1)))
    world.night()
    assert world.posts == 0
    assert world.states() == {training.training_id: ("invalid", "conflicting_rows")}


def test_a_conflicting_row_that_comes_later_stops_the_sending(world):
    """The source is asked again at the moment of sending."""
    training = world.training()
    world.complete(training)
    world.catalogue()
    world.stage()
    world.complete(replace(training, valid_from=date(2026, 10, 1)))
    world.deliver()
    assert world.posts == 0
    assert world.states() == {training.training_id: ("invalid", "conflicting_rows")}


def test_a_second_training_of_a_certificate_needs_a_person(world, expected):
    """The same certification, learner and first day of validity are the same certificate."""
    first = world.training()
    again = replace(first, training_id="again", certificate_uri=world.training().certificate_uri)
    world.complete(first)
    world.night("first")
    world.complete(again)
    world.night("second")
    assert world.stored == expected(first)
    assert world.states()["again"] == ("review", "duplicate")
    assert world.statuses()["again"] == ("held", "duplicate")


def test_a_row_that_is_mended_goes_out_the_next_night(world, expected):
    """Rows that were set aside are checked again every night, in the window or not."""
    missing = world.training()
    held = world.training(certification_id=999)
    Path(missing.certificate_uri).rename(world.folder / "aside")
    world.complete(missing, held, ago=timedelta(hours=1))
    world.night("first")
    assert world.posts == 0
    (world.folder / "aside").rename(missing.certificate_uri)
    world.extra["send_unlisted"] = [105]
    world.sandbox.store.add_certification(
        replace(world.sandbox.store.certifications()[0], id=999, verified=True)
    )
    with world.source.begin() as connection:
        connection.execute(
            update(completed_training)
            .where(completed_training.c.training_id == held.training_id)
            .values(valid_until=date(2030, 1, 1))
        )
        connection.execute(update(completed_training).values(updated_at=datetime(2026, 1, 1, tzinfo=UTC)))
    world.night("second")
    assert world.stored == expected(missing, held)


def test_a_row_taken_back_before_it_was_sent_is_withdrawn(world):
    """A row that is gone at the moment of sending is not sent."""
    training = world.training()
    world.complete(training)
    world.catalogue()
    world.stage()
    with world.source.begin() as connection:
        connection.execute(delete(completed_training))
    world.deliver()
    assert world.posts == 0
    assert world.states() == {training.training_id: ("withdrawn", "source_gone")}


def test_a_row_changed_before_it_was_sent_goes_out_as_it_is_now(world):
    """The source row is read again at the moment of sending."""
    training = world.training()
    world.complete(training)
    world.catalogue()
    world.stage()
    with world.source.begin() as connection:
        connection.execute(update(completed_training).values(valid_from=date(2026, 11, 1)))
    world.deliver()
    assert [certificate.valid_from for certificate in world.sandbox.store.certificates()] == ["2026-11-01"]


def test_a_row_changed_after_sending_is_flagged(world):
    """It is not sent again: that does not correct a certificate at Springest."""
    training = world.training()
    world.complete(training)
    world.night("first")
    with world.source.begin() as connection:
        connection.execute(update(completed_training).values(valid_from=date(2026, 11, 1)))
    world.night("second")
    assert world.posts == 1
    assert world.rows("SELECT needs_review, review_reason FROM springest.certificate_reconciliation") == [
        (True, "changed_after_sending(valid_from)")
    ]


def test_a_missed_night_is_caught_up(make_world, expected):
    """Staging reads on from its watermark, not from the run's own day."""
    world = make_world(has_begun=False)
    first, second = world.training(), world.training()
    world.complete(first, ago=timedelta(hours=30))
    with world.warehouse.begin() as connection:
        begin_site(connection, site="default", begin_from=datetime.now(UTC) - timedelta(days=3))
    world.complete(second)
    world.night()
    assert world.stored == expected(first, second)


def test_the_catalogue_must_be_read_before_rows_are_judged_by_it(world):
    """Without a catalogue nobody knows what is verified; saying so beats holding everything."""
    world.complete(world.training())
    with pytest.raises(ConfigurationError, match="springest_catalogue"):
        world.stage()


def test_a_changed_learner_secret_refuses_to_run(world, monkeypatch):
    """With another secret every learner would look like somebody new."""
    world.complete(world.training())
    world.night("first")
    world.number = 0
    monkeypatch.setattr(type(world), "stager", property(lambda self: _with_another_secret(self)))
    with pytest.raises(ConfigurationError, match="springest_learner_secret is not the one"):
        world.stage("second")


def test_a_renamed_site_sends_nothing_until_it_has_its_name_back(world, expected):
    """Under another name every row would be a new delivery: a backfill would send all of them again."""
    sent = world.training()
    world.complete(sent)
    world.night("first")
    world.name = "nl"
    world.catalogue("renamed")
    everything = Window(datetime(2026, 1, 1, tzinfo=UTC), datetime(2027, 1, 1, tzinfo=UTC))
    with pytest.raises(ConfigurationError, match=r"'nl' .* 'default'.* id springest_default back"):
        world.stage("renamed", asked=everything)
    with pytest.raises(ConfigurationError, match="springest_default back"):
        world.deliver("renamed")
    assert world.rows("SELECT DISTINCT site FROM springest.delivery") == [("default",)]
    world.name = "default"
    later = world.training()
    world.complete(later)
    world.night("back")
    assert world.stored == expected(sent, later)
    assert world.posts == 2


def test_a_queue_staged_for_one_host_is_not_sent_to_another(world, expected, monkeypatch):
    """The connection's host may change between staging and delivering, or before a task is cleared."""
    sent, queued = world.training(), world.training()
    world.complete(sent)
    world.night("first")
    world.complete(queued)
    world.stage("second")
    with monkeypatch.context() as patched:
        # Known by another name, while all that is really asked is the sandbox.
        patched.setattr(Site, "identity_host", "api.springest.co.uk")
        with pytest.raises(
            ConfigurationError, match="certificates of the site 'default' were sent to localhost"
        ):
            world.deliver("second")
    assert world.stored == expected(sent)
    world.deliver("second")
    assert world.stored == expected(sent, queued)


def _with_another_secret(world):
    from springest.identity import Pseudonyms
    from springest.source.reader import SourceReader
    from springest.staging.stage import Stager

    query = (Path(__file__).parents[2] / "include" / "sql" / "completed_trainings.sql").read_text()
    return Stager(
        world.warehouse,
        source=SourceReader(world.source, query=query),
        site=world.site,
        pseudonyms=Pseudonyms("another secret, also long enough"),
        documents=world.documents,
    )


def test_a_learner_is_a_mailbox_in_any_spelling(world, expected):
    """`weiß` and `weiss` may be two people; the same domain in Unicode and in ASCII is one."""

    def learner(number, email):
        return world.training(learner=Learner(number, f"Learner {number}", email))

    sharp, double = learner(1, "jan.weiß@example.com"), learner(2, "jan.weiss@example.com")
    unicode, ascii_ = learner(3, "ana@bücher.example"), learner(4, "ANA@xn--bcher-kva.example")
    world.complete(sharp, double, unicode)
    world.night("first")
    world.complete(ascii_)
    world.night("second")
    assert world.stored == expected(sharp, double, unicode)
    assert [world.states()[training.training_id] for training in (sharp, double, unicode)] == [
        ("visible", None)
    ] * 3
    assert world.states()[ascii_.training_id] == ("review", "duplicate")


def test_the_source_may_be_postgresql(make_world, database, expected):
    """The same query and the same night over PostgreSQL as the source."""
    world = make_world(source=create_engine(database))
    training = world.training()
    world.complete(training)
    world.night()
    assert world.stored == expected(training)


def test_addresses_and_keys_are_in_no_table(world):
    """Everything of the warehouse, as text, holds no address, no key, no document's name."""
    training = world.training(certificate_uri=str(world.folder / "ana-de-vries.pdf"))
    Path(training.certificate_uri).write_bytes(make_pdf("another"))
    malformed = world.training(learner=Learner(77, "Ana", "ana.de.vries@@example.com"))
    world.complete(training, malformed)
    world.night()
    tables = world.rows(
        "SELECT relname FROM pg_class WHERE relnamespace = 'springest'::regnamespace AND relkind='r'"
    )
    everything = " ".join(str(world.rows(f"SELECT * FROM springest.{table}")) for (table,) in tables)  # noqa: S608
    site = world.site
    for canary in ("example.com", "ana", site.api_key, site.certifications_api_key):
        assert canary not in everything
    assert "verified" in everything


def test_a_rerun_keeps_its_window(world):
    """Running a night again counts the same rows, not those that came since."""
    world.complete(world.training())
    world.night("night")
    world.complete(world.training(), ago=timedelta(0))
    assert world.stage("night").rows == 1
    assert world.stage("later").rows == 2
    assert world.rows("SELECT DISTINCT mode FROM springest.staging_run") == [(Mode.WATERMARK,)]


def test_a_backfill_over_delivered_days_sends_nothing(world, expected):
    """Any interval, in any order, beside the nightly run; the watermark stays."""
    first, second = world.training(), world.training()
    world.complete(first, second)
    world.night("night")
    watermark = world.rows("SELECT watermark, run_id FROM springest.stage_watermark")
    before = world.rows("SELECT xmin, * FROM springest.verdict ORDER BY delivery_id")
    everything = Window(datetime(2026, 1, 1, tzinfo=UTC), datetime(2099, 1, 1, tzinfo=UTC))
    nothing = Window(datetime(2026, 1, 1, tzinfo=UTC), datetime(2026, 1, 2, tzinfo=UTC))
    assert world.stage("backfill", asked=everything).rows == 2
    assert world.stage("backfill of an empty day", asked=nothing).rows == 0
    world.deliver("backfill")
    world.snapshot("backfill")
    world.publish("backfill")
    assert world.stored == expected(first, second)
    assert world.posts == 2
    assert world.rows("SELECT watermark, run_id FROM springest.stage_watermark") == watermark
    assert world.rows("SELECT xmin, * FROM springest.verdict ORDER BY delivery_id") == before


def test_more_rows_than_a_batch_are_staged_and_counted(world):
    """Batches are transactions of their own; their sum is the source's own count."""
    training = world.training()
    learners = (Learner(number, "Ana", f"ana.{number}@example.com") for number in range(1_000, 3_300))
    rows = [replace(training, training_id=f"B{learner.number}", learner=learner) for learner in learners]
    world.complete(*rows, rows[5], replace(rows[7], valid_from=date(2025, 1, 1)))
    world.catalogue()
    report = world.stage()
    assert report.rows == 2_302
    assert dict(report.states) == {"invalid": 2, "ready": 2_300}
    assert world.rows("SELECT count(*), count(DISTINCT delivery_id) FROM springest.staged_row") == [
        (2_302, 2_300)
    ]


def test_a_repaired_defect_is_no_longer_reported(world):
    """A row with two defects reports both; after one is repaired, only the other."""
    training = world.training(certification_id=101, certificate_uri=str(world.folder / "late.pdf"))
    world.complete(training)
    world.night("first")
    (world.folder / "late.pdf").write_bytes(make_pdf("another"))
    world.night("second")
    [(detail,)] = world.rows("SELECT delivery_reason_detail FROM springest.certificate_reconciliation")
    assert "valid_until" in detail
    assert "document" not in detail


def test_a_run_staged_while_publishing_loses_nothing(world):
    """The check sees its rows and the verdicts do not yet include them, so both are repeated."""
    first, second = world.training(), world.training()
    world.complete(first)
    world.night("first")
    world.complete(second, ago=timedelta(0))
    staged = []

    def stage_beside(_conn, _cursor, statement, *_):
        if "CREATE TEMPORARY TABLE stale" in statement and not staged:
            staged.append(world.stage("second"))

    event.listen(world.warehouse, "after_cursor_execute", stage_beside)
    report = world.publish("first again")
    assert staged
    assert report.statuses == {"not_sent": 1, "verified": 1}


def test_proven_trainings_before_the_cutover_are_adopted(make_world, expected):
    """They are never sent. This is the first night on a site that has been used for years."""
    world = make_world(profile="owner_shown", cutover_date="2026-11-02")
    long_ago = {"completed_at": datetime(2025, 5, 1, 9, tzinfo=UTC), "valid_from": date(2025, 5, 1)}
    there, not_there = world.training(**long_ago), world.training(**long_ago)
    new = world.training()
    for training in (there, not_there):
        Path(training.certificate_uri).unlink()
    world.complete(there, not_there, new)
    sent = expected(new)
    world.sandbox.store.store(NewCertificate(102, there.learner.email, "2025-05-01", sha256="by hand"))
    world.night("first")
    world.night("second")
    assert world.statuses() == {
        there.training_id: ("verified", None),
        not_there.training_id: ("held", "before_cutover"),
        new.training_id: ("verified", None),
    }
    assert world.posts == 1
    assert sent[0] in world.stored
    [(method, evidence)] = world.rows(
        "SELECT match_method, match_evidence FROM springest.certificate_reconciliation"
        " WHERE training_id = :name",
        name=there.training_id,
    )
    assert (method, "this ledger has no POST of it" in evidence) == ("owner", True)


def test_a_cutover_set_after_staging_holds_the_queue(world):
    """The queue is checked again at the moment of sending."""
    old = world.training()
    world.complete(old)
    world.catalogue()
    world.stage()
    world.extra["cutover_date"] = "2026-11-03"
    world.deliver()
    assert world.posts == 0
    assert world.states() == {old.training_id: ("held", "before_cutover")}


def test_a_row_that_changes_while_waiting_for_a_grant_is_reread(world, monkeypatch):
    """A freeze may last for hours; the source is asked again once it is over."""
    monkeypatch.setattr("springest.delivery.pipeline.FRESH_SECONDS", -1.0)
    training, withdrawn = world.training(), world.training()
    world.complete(training, withdrawn)
    world.catalogue()
    world.stage()
    asked = RateLimiter.ask

    async def ask_late(limiter):
        """The source changes once, between the look-up and the turn."""
        monkeypatch.setattr(RateLimiter, "ask", asked)
        gone = completed_training.c.training_id == withdrawn.training_id
        kept = completed_training.c.training_id == training.training_id
        with world.source.begin() as connection:
            connection.execute(delete(completed_training).where(gone))
            connection.execute(update(completed_training).where(kept).values(valid_from=date(2026, 11, 3)))
        return await asked(limiter)

    monkeypatch.setattr(RateLimiter, "ask", ask_late)
    report = world.deliver()
    assert (report.accepted, report.restaged, world.posts) == (1, 2, 1)
    assert world.sandbox.store.certificates()[0].valid_from == "2026-11-03"
    assert world.states()[withdrawn.training_id] == ("withdrawn", "source_gone")
