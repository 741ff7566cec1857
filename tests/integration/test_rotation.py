"""The learner secret is rotated: everything that it made is re-keyed, and nothing else happens."""

from __future__ import annotations

import threading
from dataclasses import replace
from datetime import date

import pytest
from sqlalchemy import create_engine, delete, text

from demo.source_database import completed_training
from sandbox.faults import Fault, Kind
from springest.db.schema import metadata
from springest.errors import ConfigurationError
from springest.identity import ERASED_VERSION, Pseudonyms
from springest.privacy.erasure import erase_learner, lift_erasure
from springest.privacy.rotation import KEYED_COLUMNS, SecretInUse, rotate_secret
from springest.privacy.secret import secret_in_use
from tests.factories import SECRET
from tests.integration.boundaries import cross
from tests.integration.conftest import World

FORMER = Pseudonyms(SECRET)
ROTATED = Pseudonyms("a new secret for tests, long enough too", (SECRET,))
TWICE = Pseudonyms("the third secret for tests, long enough", ROTATED.secrets)


def everything(world: World) -> dict[str, list[tuple[object, ...]]]:
    """All tables but the one that recognises the secret, whose salt is random."""
    found = {}
    with world.warehouse.connect() as connection:
        for table in metadata.sorted_tables:
            if table.name != "learner_secret":
                rows = connection.execute(table.select().order_by(*table.primary_key.columns))
                found[table.name] = [tuple(row) for row in rows]
    return found


def keyed_values(world: World) -> set[str]:
    return {
        value
        for table in metadata.tables.values()
        for column in table.columns
        if column.name in KEYED_COLUMNS
        for (value,) in world.rows(f"SELECT DISTINCT {column.name} FROM {table.fullname}")  # noqa: S608
        if value is not None
    }


def verdicts(world: World) -> list[tuple[object, ...]]:
    """Return the analysts' rows, with learner references as numbers: they change, but join the same rows."""
    found = world.rows("SELECT * FROM springest.certificate_reconciliation ORDER BY training_id")
    numbers: dict[object, int] = {}
    return [
        tuple(
            numbers.setdefault(value, len(numbers)) if name == "learner_ref" and value else value
            for name, value in row._mapping.items()
            if name not in {"reconciled_at", "last_seen_at"}
        )
        for row in found
    ]


@pytest.fixture
def full(make_world):
    """A warehouse with something in every table that holds what the secret made."""
    world = make_world(profile="owner_shown")
    sent, later, lost = world.training(), world.training(certification_id=105), world.training()
    gone, erased, aside = world.training(), world.training(), world.training(certification_id=999)
    without_number = replace(world.training(), training_id="")
    world.complete(sent, later, gone, erased, aside, without_number)
    world.night("first")
    world.sandbox.store.verify(105)
    world.complete(lost)
    world.sandbox.state.faults.add(Fault(Kind.CLOSE_AFTER_STORING))
    world.night("second")
    erase_learner(world.warehouse, FORMER, learner_ref=FORMER.learner_ref(erased.learner.email))
    with world.source.begin() as connection:  # two rows are gone from the source
        names = [gone.training_id, erased.training_id]
        connection.execute(delete(completed_training).where(completed_training.c.training_id.in_(names)))
    world.night("third")
    world.trainings = {"sent": sent, "gone": gone, "forgotten": erased}
    return world


def rotated(world: World, pseudonyms: Pseudonyms = ROTATED) -> None:
    rotate_secret(world.warehouse, pseudonyms)
    world.pseudonyms = pseudonyms


def test_a_night_after_a_rotation_sends_nothing(full: World) -> None:
    """It finds the same learners, and the same verdicts."""
    posts, before, values = full.posts, verdicts(full), keyed_values(full)
    history = full.rows("SELECT count(*) FROM springest.certificate_reconciliation_history")
    rotated(full)
    assert keyed_values(full) & values <= {ERASED_VERSION, "forgotten", "other"}
    assert verdicts(full) == before
    report = full.night("fourth")
    assert (full.posts, report.written, report.versions) == (posts, 0, 0)
    assert verdicts(full) == before
    assert full.rows("SELECT count(*) FROM springest.certificate_reconciliation_history") == history


def test_every_column_made_with_the_secret_is_rekeyed() -> None:
    """The columns whose comment names an HMAC are the ones that a rotation re-keys."""
    for table in metadata.tables.values():
        for column in table.columns:
            is_keyed = "HMAC" in (column.comment or "")
            assert is_keyed == (column.name in KEYED_COLUMNS), f"{table.name}.{column.name}"


def test_a_second_rotation_changes_nothing(full: World) -> None:
    """Rotating again with the same secrets changes nothing."""
    assert rotate_secret(full.warehouse, ROTATED).rows["delivery"] == 7
    after = everything(full)
    assert rotate_secret(full.warehouse, ROTATED).rows == {}
    assert everything(full) == after


@pytest.mark.parametrize("in_steps", [True, False])
def test_a_secret_can_be_rotated_more_than_once(full: World, in_steps: bool) -> None:
    """A warehouse that came back from a backup may be two rotations behind."""
    if in_steps:
        rotated(full)
    rotated(full, TWICE)
    posts, before = full.posts, verdicts(full)
    report = full.night("fourth")
    assert (full.posts, report.written) == (posts, 0)
    assert verdicts(full) == before


def test_a_learner_gone_from_the_source_is_recognised_again(full: World) -> None:
    """The same certificate under a new training id would otherwise be sent a second time."""
    rotated(full)
    posts, gone = full.posts, full.trainings["gone"]
    full.complete(replace(gone, training_id="T9001"))
    full.night("fourth")
    assert full.posts == posts
    assert full.states()["T9001"] == ("review", "duplicate")


@pytest.mark.parametrize("pseudonyms", [ROTATED, TWICE])
def test_an_erased_learner_stays_erased(full: World, pseudonyms: Pseudonyms) -> None:
    """Even if Springest still names the owner and the source has the learner again."""
    rotated(full, pseudonyms)
    posts, address = full.posts, full.trainings["forgotten"].learner.email
    full.complete(
        replace(full.training(valid_from=date(2027, 1, 1)), learner=full.trainings["forgotten"].learner)
    )
    full.night("fourth")
    assert full.posts == posts
    assert pseudonyms.learner_ref(address) not in str(everything(full))
    assert full.rows("SELECT count(*) FROM springest.remote_certificate WHERE learner_ref = 'forgotten'") == [
        (1,)
    ]
    reference, tombstones = pseudonyms.learner_ref(address), pseudonyms.tombstones(address)
    assert erase_learner(full.warehouse, pseudonyms, learner_ref=reference, tombstones=tombstones).already
    assert lift_erasure(full.warehouse, pseudonyms, learner_ref=reference, tombstones=tombstones)
    full.complete(
        replace(full.training(valid_from=date(2028, 1, 1)), learner=full.trainings["forgotten"].learner)
    )
    full.night("fifth")
    assert full.posts > posts


def test_a_learner_can_be_erased_after_a_rotation(full: World) -> None:
    """A learner can be erased under the new secret."""
    rotated(full)
    reference = ROTATED.learner_ref(full.trainings["sent"].learner.email)
    assert erase_learner(full.warehouse, ROTATED, learner_ref=reference).found
    full.night("fourth")
    assert reference not in str(everything(full))


def test_a_worker_with_the_former_secret_writes_nothing(full: World) -> None:
    """It began before the rotation, and its lock is gone with its connection."""
    full.complete(full.training())
    full.stage("fourth")
    stager = full.stager
    found = stager.look_up(["T0001"])
    rotate_secret(full.warehouse, ROTATED)
    after = everything(full)
    with pytest.raises(ConfigurationError, match="not the one that the warehouse"):
        stager.restage(list(found), found, run_id="fourth")
    for step in (full.stage, full.snapshot):
        with pytest.raises(ConfigurationError, match="not the one that the warehouse"):
            step("fourth")
    kept = {name: rows for name, rows in everything(full).items() if name != "snapshot"}
    assert kept == {name: rows for name, rows in after.items() if name != "snapshot"}


def test_the_new_secret_alone_is_not_enough(full: World) -> None:
    """A rotation needs the former secret as well."""
    for alone in (Pseudonyms(ROTATED.secret), Pseudonyms(ROTATED.secret, (TWICE.secret,))):
        with pytest.raises(ConfigurationError, match="not the one that the warehouse"):
            rotate_secret(full.warehouse, alone)
    full.pseudonyms = ROTATED
    with pytest.raises(ConfigurationError, match="rotate-secret"):
        full.stage("fourth")


def test_a_rotation_is_refused_while_a_run_uses_the_secret(full: World) -> None:
    """A run in progress would go on with the former secret."""
    before = everything(full)
    with (
        secret_in_use(full.warehouse, FORMER),
        pytest.raises(SecretInUse, match=r"springest\.secret by pid"),
    ):
        rotate_secret(full.warehouse, ROTATED)
    assert everything(full) == before
    assert rotate_secret(full.warehouse, ROTATED).rows


def test_a_run_that_begins_during_a_rotation_waits(full: World) -> None:
    """It continues once the rotation is over: here the rotation changed nothing, and the secret is still in
    force.
    """
    beside = create_engine(full.warehouse.url)
    refused: list[str] = []

    def begin() -> None:
        try:
            with secret_in_use(beside, FORMER):
                refused.append("nothing")
        except ConfigurationError as error:
            refused.append(str(error))

    with full.warehouse.begin() as connection:
        connection.execute(text("SELECT pg_advisory_xact_lock(hashtextextended('springest.secret', 0))"))
        thread = threading.Thread(target=begin)
        thread.start()
        thread.join(0.5)
        assert refused == []
    thread.join(30)
    beside.dispose()
    assert refused == ["nothing"]  # the secret is still the one in force


def test_it_may_die_anywhere_and_is_whole_afterwards(full: World) -> None:
    """Killed at every statement there is: either nothing is re-keyed or all of it."""
    before, last, died = everything(full), 1, 0
    while True:
        crossed = cross(full, last, lambda: rotate_secret(full.warehouse, ROTATED))
        after = everything(full)
        if crossed < last:
            break
        died += 1
        assert after == before or rotate_secret(full.warehouse, ROTATED).rows == {}
        if after != before:
            break
        last += 1
    assert died >= 20
    assert rotate_secret(full.warehouse, ROTATED).rows == {}
    full.pseudonyms = ROTATED
    posts = full.posts
    full.night("fourth")
    assert full.posts == posts


def test_a_rotated_warehouse_equals_a_fresh_one(full: World) -> None:
    """Its references are those of a warehouse that always had these secrets."""
    rotate_secret(full.warehouse, ROTATED)
    address = full.trainings["sent"].learner.email
    [(reference,)] = full.rows("SELECT learner_ref FROM springest.delivery WHERE training_id = 'T0001'")
    assert reference == ROTATED.learner_ref(address)
