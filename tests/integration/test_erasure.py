"""A learner is erased, and stays so: nothing brings them back, nothing of theirs is sent again."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import UTC, date, datetime
from typing import Any

import pytest
from sqlalchemy import Engine, create_engine, event, update

from demo.source_database import completed_training
from sandbox.faults import Fault, Kind
from springest.db.schema import delivery
from springest.errors import ConfigurationError
from springest.identity import Pseudonyms
from springest.privacy.erasure import erase_learner, lift_erasure
from springest.verdicts.publish import publish_pending, reconcile
from tests.factories import PSEUDONYMS
from tests.integration.conftest import World
from tests.integration.erased import everything, ref_of


@pytest.fixture
def warehouse_beside(world: World) -> Iterator[Engine]:
    """The same warehouse for somebody else."""
    engine = create_engine(world.warehouse.url)
    yield engine
    engine.dispose()


def test_erasing_clears_every_table_and_keeps_the_counts(make_world):
    """Delivered, shown with its owner, and set aside: everything is still counted, and nothing leads to the
    learner.
    """
    world = make_world(profile="owner_shown")
    erased, kept = world.training(), world.training()
    aside = replace(world.training(certification_id=999), learner=erased.learner)
    world.complete(erased, kept, aside)
    world.night("first")
    assert everything(world).count(ref_of(erased)) >= 5
    counts = "SELECT count(*) FROM springest.certificate_reconciliation"
    before = world.rows(counts), world.statuses()
    report = erase_learner(world.warehouse, PSEUDONYMS, learner_ref=ref_of(erased))
    assert report.cleared["delivery"] == 2
    assert report.cleared["remote_certificate"] == 1
    assert report.cleared["verdict"] == 2
    assert report.stopped == 1
    text = everything(world)
    assert ref_of(erased) not in text
    assert ref_of(kept) in text
    for private in ("document_ref", "row_version", "document_sha256"):
        [(left,)] = world.rows(
            f"SELECT {private} FROM springest.delivery WHERE training_id = :name",  # noqa: S608
            name=erased.training_id,
        )
        assert left in (None, "0" * 64)
    assert (world.rows(counts), world.statuses()) == before


def test_erasing_clears_ended_versions(world):
    """Versions in the history lose the learner reference as well."""
    erased, kept = world.training(certification_id=105), world.training(certification_id=105)
    world.complete(erased, kept)
    world.night("first")
    world.sandbox.store.verify(105)
    world.night("second")
    query = "SELECT count(*) FROM springest.certificate_reconciliation_history WHERE learner_ref = :ref"
    assert world.rows(query, ref=ref_of(erased)) == [(2,)]
    report = erase_learner(world.warehouse, PSEUDONYMS, learner_ref=ref_of(erased))
    assert (report.cleared["verdict"], report.cleared["verdict_history"]) == (1, 1)
    assert ref_of(erased) not in everything(world)
    assert world.rows(query, ref=ref_of(kept)) == [(2,)]
    counts = "SELECT count(*), count(DISTINCT delivery_key) FROM springest.certificate_reconciliation_history"
    assert world.rows(counts) == [(4, 2)]


def test_a_learner_in_a_pending_verdict_waits_for_publishing(world, warehouse_beside):
    """The source named another learner meanwhile: the version that ends must not bring the erased one
    back.
    """
    erased = world.training()
    world.complete(erased)
    world.night("first")
    kept = "b" * 64
    with world.warehouse.begin() as connection:
        connection.execute(update(delivery).values(learner_ref=kept))
    reconcile(world.warehouse, site=world.site, run_id="second")
    about_to_commit, go_on = threading.Event(), threading.Event()

    def hold(_: Any) -> None:
        about_to_commit.set()
        go_on.wait(20)

    event.listen(warehouse_beside, "commit", hold)
    with ThreadPoolExecutor(2) as threads:
        forgetting = threads.submit(erase_learner, warehouse_beside, PSEUDONYMS, learner_ref=ref_of(erased))
        assert about_to_commit.wait(20)
        publishing = threads.submit(publish_pending, world.warehouse, site=world.site, run_id="second")
        waiting = "SELECT count(*) FROM pg_stat_activity WHERE wait_event_type = 'Lock'"
        until = time.monotonic() + 15
        while world.rows(waiting) == [(0,)]:
            assert time.monotonic() < until, "publishing did not wait for the one who forgets"
            time.sleep(0.05)
        go_on.set()
        forgetting.result(20)
        publishing.result(20)
    assert ref_of(erased) not in everything(world)


def test_the_servers_words_go_at_once_and_the_fixed_ones_stay(world):
    """From the ledger and from what analysts read, also of what was sent and before the next publication."""
    erased = world.training()
    world.complete(erased)
    world.sandbox.state.faults.add(Fault(Kind.STATUS, status=500))
    world.night("first")
    fixed = {"state": "unknown", "reason": "server_error"}
    words = "no room for what the server said of somebody"
    with world.warehouse.begin() as connection:
        connection.exec_driver_sql(f"UPDATE springest.delivery SET reason_detail = '{words}'")  # noqa: S608
    world.publish("again")
    assert everything(world).count(words) == 2
    erase_learner(world.warehouse, PSEUDONYMS, learner_ref=ref_of(erased))
    assert words not in everything(world)
    ledger = world.rows("SELECT state, reason, reason_detail FROM springest.delivery")
    read = world.rows(
        "SELECT delivery_state, delivery_reason, delivery_reason_detail"
        " FROM springest.certificate_reconciliation"
    )
    assert [tuple(row) for row in (*ledger, *read)] == [(*fixed.values(), None)] * 2


def test_an_erasure_survives_the_source_and_springest(make_world):
    """The same rows staged again, changed, and a snapshot that names the owner bring nothing back."""
    world = make_world(profile="owner_shown")
    erased, aside = world.training(), world.training(certification_id=999)
    aside = replace(aside, learner=erased.learner)
    world.complete(erased, aside)
    world.night("first")
    erase_learner(world.warehouse, PSEUDONYMS, learner_ref=ref_of(erased))
    world.night("second")
    with world.source.begin() as connection:
        connection.execute(
            update(completed_training).values(updated_at=datetime.now(UTC), certification_id=102)
        )
    world.night("third")
    assert ref_of(erased) not in everything(world)
    assert world.statuses() == {
        erased.training_id: ("verified", None),
        aside.training_id: ("invalid", "learner_erased"),
    }
    assert world.posts == 1
    assert world.rows("SELECT count(*) FROM springest.delivery_review") == [(0,)]


def test_erased_certificates_are_not_sent_under_a_new_training(world):
    """The reference that duplicates are found by is gone; the tombstone prevents it."""
    erased = world.training()
    world.complete(erased)
    world.night("first")
    erase_learner(world.warehouse, PSEUDONYMS, learner_ref=ref_of(erased))
    world.complete(replace(erased, training_id="renumbered"))
    world.night("second")
    assert world.posts == 1
    assert world.statuses()["renumbered"] == ("invalid", "learner_erased")
    assert ref_of(erased) not in everything(world)


def test_an_erased_delivery_in_the_queue_is_not_sent(world):
    """This also holds if the worker has read the queue already."""
    erased, kept = world.training(), world.training()
    world.complete(erased, kept)
    world.catalogue()
    world.stage()
    assert erase_learner(world.warehouse, PSEUDONYMS, learner_ref=ref_of(erased)).stopped == 1
    world.deliver()
    assert [address for address, _ in world.stored] == [kept.learner.email]


def test_a_row_read_before_and_written_after_is_noticed(world, monkeypatch):
    """Between reading a batch and writing it down, somebody is erased."""
    erased = world.training()
    world.complete(erased)
    world.catalogue()
    stager = world.stager
    real = stager._writer.write

    def write(*arguments: Any, **keywords: Any) -> None:
        erase_learner(world.warehouse, PSEUDONYMS, learner_ref=ref_of(erased), in_advance=True)
        real(*arguments, **keywords)

    monkeypatch.setattr(stager._writer, "write", write)
    assert stager.stage("night").states == {"invalid": 1}
    assert ref_of(erased) not in everything(world)


def test_an_outcome_during_an_erasure_is_still_recorded(world):
    """A request in flight can't be recalled; its outcome must be known."""
    erased = world.training()
    world.complete(erased)
    world.catalogue()
    world.stage()
    with world.warehouse.begin() as connection:
        connection.exec_driver_sql(
            "UPDATE springest.delivery SET state = 'sending', lease_owner = 'w', version = 7"
        )
    assert erase_learner(world.warehouse, PSEUDONYMS, learner_ref=ref_of(erased)).stopped == 0
    assert world.rows("SELECT state, version, learner_ref FROM springest.delivery") == [("sending", 7, None)]


def test_erasing_again_or_erasing_nobody_changes_nothing(world):
    """A second erasure changes nothing, and erasing an unknown learner is not an error."""
    erased = world.training()
    world.complete(erased)
    world.night("first")
    erase_learner(world.warehouse, PSEUDONYMS, learner_ref=ref_of(erased))
    before = world.rows("SELECT xmin::text, ctid::text FROM springest.delivery")
    again = erase_learner(world.warehouse, PSEUDONYMS, learner_ref=ref_of(erased))
    assert set(again.cleared.values()) == {0}
    assert world.rows("SELECT xmin::text, ctid::text FROM springest.delivery") == before
    assert world.rows("SELECT count(*) FROM springest.erasure_tombstone") == [(1,)]


def test_a_returning_learner_gets_certificates_again(world):
    """A person lifts the erasure; what was set aside is sent the next night, what was delivered is not."""
    erased, aside = world.training(), world.training(certification_id=999)
    aside = replace(aside, learner=erased.learner)
    world.complete(erased, aside)
    world.night("first")
    erase_learner(world.warehouse, PSEUDONYMS, learner_ref=ref_of(erased))
    world.night("second")
    assert lift_erasure(world.warehouse, PSEUDONYMS, learner_ref=ref_of(erased))
    assert not lift_erasure(world.warehouse, PSEUDONYMS, learner_ref=ref_of(erased))
    with world.source.begin() as connection:
        connection.execute(update(completed_training).values(certification_id=102))
    new = replace(world.training(), learner=erased.learner, valid_from=date(2027, 1, 1))
    world.complete(new)
    world.night("third")
    assert world.statuses()[new.training_id] == ("verified", None)
    assert world.posts == 3


def test_erasing_with_another_secret_is_refused(world):
    """It would make a tombstone for the wrong learner."""
    world.complete(world.training())
    world.night("first")
    with pytest.raises(ConfigurationError, match="springest_learner_secret"):
        erase_learner(world.warehouse, Pseudonyms("another secret, also long enough"), learner_ref="a" * 64)


def test_details_of_old_attempts_are_purged_unless_unknown(world):
    """They are purged after ninety days, unless somebody may still need them to find out what happened."""
    from springest.privacy.retention import clear_old_details

    trainings = [world.training() for _ in range(3)]
    world.complete(*trainings)
    world.night("first")
    query = "SELECT count(*) FILTER (WHERE worker <> '') FROM springest.delivery_attempt"
    assert clear_old_details(world.warehouse, site="default") == 0
    with world.warehouse.begin() as connection:
        connection.exec_driver_sql(
            "UPDATE springest.delivery_attempt SET finished_at = finished_at - interval '91 days'"
        )
        connection.exec_driver_sql(
            "UPDATE springest.delivery SET needs_review = true, review_reason = 'r'"
            " WHERE training_id = 'T0001'"
        )
    assert clear_old_details(world.warehouse, site="default") == 2
    assert world.rows(query) == [(1,)]
    assert clear_old_details(world.warehouse, site="default") == 0
