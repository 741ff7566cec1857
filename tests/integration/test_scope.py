"""The scope of a snapshot, against a real server: usually the new part, and the whole list when needed."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, date, datetime, timedelta

import pytest

from sandbox.profiles import PROFILES
from sandbox.store import NewCertificate
from springest.snapshot import scope
from springest.snapshot.scope import Facts, Scope, why_whole

NOW = datetime(2026, 11, 20, 5, tzinfo=UTC)
QUIET = Facts(NOW - timedelta(days=2), NOW - timedelta(days=1), NOW, 100_000, False, False, ())


@pytest.mark.parametrize(
    ("change", "why"),
    [
        ({}, None),
        ({"may_be_verified": (101,)}, None),
        ({"complete_at": None}, "no complete snapshot yet"),
        ({"complete_at": NOW - timedelta(days=7)}, "7 days old"),
        ({"total": 2_000}, "short"),
        ({"total": None}, "short"),
        ({"awaits_missing": True}, "should be shown"),
        ({"awaits_vanished": True}, "was shown"),
        ({"may_be_verified": tuple(range(21))}, "many certifications"),
    ],
)
def test_the_whole_list_is_read_when_nothing_less_will_do(change, why):
    """Each case in which only the whole list is evidence."""
    reason = why_whole(replace(QUIET, **change))
    assert (reason is None) == (why is None)
    assert (why or "") in (reason or "")


def test_a_scope_describes_itself():
    """The text of a scope names what it reads."""
    narrow = Scope("new", date(2026, 11, 18), (101, 102))
    assert [*narrow.reads] == [
        {"created_from": date(2026, 11, 18)},
        {"certification_id": 101},
        {"certification_id": 102},
    ]
    assert narrow.detail == "created_from 2026-11-18; certification_id 101; certification_id 102 (new)"
    assert (Scope("why").reads, Scope("why").detail, Scope().is_full) == ([{}], "why", True)


@pytest.fixture
def long_list(make_world, monkeypatch):
    """A site with 500 certificates of others, which count as a long list here, and one of ours."""
    monkeypatch.setattr(scope, "SHORT_LIST", 100)

    def make(**extra):
        world = make_world(**extra)
        state = world.sandbox.state
        clock, state.store._clock = state.store._clock, lambda: datetime(2026, 1, 5, tzinfo=UTC).timestamp()
        for number in range(500):
            state.store.store(NewCertificate(102, f"other.{number}@example.com", "2026-01-01"))
        state.store._clock = clock
        world.complete(world.training())
        world.catalogue()
        world.stage()
        world.deliver()
        assert world.planned("first").scope == "full"
        world.publish()
        return world

    return make


def test_most_nights_read_only_new_certificates(long_list):
    """A night's certificates are proven with a handful of GETs, and the snapshot is partial."""
    world = long_list()
    world.complete(world.training())
    world.stage("second")
    world.deliver("second")
    report = world.planned("second")
    # One question that must have no answer, and one page.
    assert (report.scope, report.complete, report.requests) == ("narrowed", False, 2)
    world.publish("second")
    assert {status for status, _ in world.statuses().values()} == {"verified"}
    assert world.planned("third").requests == 1
    [(scopes,)] = world.rows("SELECT array_agg(scope ORDER BY snapshot_id) FROM springest.snapshot")
    assert scopes == ["full", "narrowed", "narrowed"]


def test_a_narrowed_snapshot_denies_nothing_outside_it(long_list):
    """A certificate of long ago is outside of it, and is not missing."""
    world = long_list()
    world.planned("second")
    with world.warehouse.begin() as connection:
        connection.exec_driver_sql(
            "UPDATE springest.snapshot SET started_at = started_at - interval '2 days'"
        )
        connection.exec_driver_sql(
            "UPDATE springest.remote_certificate SET first_seen_at = first_seen_at - interval '2 days',"
            " recorded_at = recorded_at - interval '2 days'"
        )
    world.planned("third")
    assert world.publish("third").became_absent == 0


def test_a_certification_that_was_verified_since_is_read_in_full(long_list):
    """Its certificates may be older than the last snapshot."""
    world = long_list()
    waiting = world.training(certification_id=105)
    world.complete(waiting)
    world.stage("second")
    world.deliver("second")
    world.planned("second")
    world.publish("second")
    assert world.statuses()[waiting.training_id][0] == "awaiting_verification"
    with world.warehouse.begin() as connection:
        for table, column in (("snapshot", "started_at"), ("delivery", "sent_at")):
            connection.exec_driver_sql(
                f"UPDATE springest.{table} SET {column} = {column} - interval '3 days'"  # noqa: S608
            )
    world.sandbox.store.verify(105)
    world.catalogue("third")
    report = world.planned("third")
    assert report.scope == "narrowed"
    [(detail,)] = world.rows("SELECT scope_detail FROM springest.snapshot ORDER BY snapshot_id DESC LIMIT 1")
    assert "certification_id 105" in detail
    world.publish("third")
    assert world.statuses()[waiting.training_id][0] == "verified"


def test_an_expected_certificate_causes_a_whole_list(long_list):
    """Only complete snapshots can say that it is missing."""
    world = long_list()
    world.complete(world.training())
    world.stage("second")
    world.deliver("second")
    world.sandbox.store.remove_certificate(
        max(certificate.id for certificate in world.sandbox.store.certificates())
    )
    with world.warehouse.begin() as connection:
        connection.exec_driver_sql(
            "UPDATE springest.delivery SET sent_at = sent_at - interval '3 hours' WHERE state = 'accepted'"
        )
    with world.warehouse.begin() as connection:
        connection.exec_driver_sql(
            "UPDATE springest.certification SET listed_since = listed_since - interval '1 day'"
        )
    assert world.planned("second").scope == "full"


@pytest.mark.parametrize("how", ["ignored by the site", "switched off"])
def test_without_filters_the_whole_list_is_read(long_list, how):
    """A site without filters always gets the whole list read."""
    world = long_list(**({"list_filters": ["email"]} if how == "switched off" else {}))
    if how == "ignored by the site":
        world.sandbox.state.profile = PROFILES["no_filters"]
    report = world.planned("second")
    assert (report.scope, report.complete) == ("full", True)
    assert world.rows("SELECT filter, is_honoured FROM springest.filter_support") == (
        [("created_from", False)] if how == "ignored by the site" else []
    )
