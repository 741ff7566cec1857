"""An unreadable document affects its own row only; an unreadable store sets no row aside."""

from __future__ import annotations

import errno
import hashlib
import logging
from datetime import UTC, date, datetime
from pathlib import Path

import pytest

from demo.pdf import make_pdf
from sandbox.faults import Fault, Kind
from springest.documents.opener import DocumentStore, DocumentStoreUnreachable
from springest.errors import DocumentsUnreachable
from springest.source.window import Window
from springest_provider.factories import open_object
from tests.faulty_store import (
    ClientError,
    FaultyFileSystem,
    GoogleError,
    HttpResponseError,
    NoCredentialsError,
    faulty_s3,
)
from tests.integration.conftest import World

TWENTY = 20


@pytest.fixture
def store(monkeypatch):
    """All documents of the world lie in a bucket."""
    with faulty_s3(monkeypatch) as store:
        remote = property(
            lambda world: DocumentStore.under(["s3://bucket/certificates"], open_remote=open_object)
        )
        monkeypatch.setattr(World, "documents", remote)
        yield store


def _trainings(world: World, store: type[FaultyFileSystem], number: int = TWENTY) -> list[str]:
    """Complete trainings with a document each; return the names of these."""
    names = [f"bucket/certificates/{number:02}.pdf" for number in range(number)]
    for name in names:
        store.files[name] = make_pdf(name)
    world.complete(*(world.training(certificate_uri=f"s3://{name}") for name in names))
    return names


def _states(world: World) -> list[str]:
    return [state for state, _ in world.states().values()]


OWN_TROUBLES = [
    OSError(errno.EIO, "secret-name.pdf"),
    OSError(errno.EINVAL, "secret-name.pdf"),
    OSError(errno.ESTALE, "secret-name.pdf"),
    PermissionError("secret-name.pdf"),
    ClientError("AccessDenied", 403),
    ClientError("InternalError", 500),
    HttpResponseError("BlobArchived", 409),
    GoogleError(503),
    RuntimeError("secret-name.pdf"),
]


@pytest.mark.parametrize("error", OWN_TROUBLES, ids=lambda error: repr(error)[:24])
@pytest.mark.parametrize("place", [0, 7, TWENTY - 1])
def test_one_poisoned_document_sets_only_its_row_aside(world, store, error, place):
    """The other nineteen certificates are sent."""
    names = _trainings(world, store)
    store.faults[names[place]] = error
    world.catalogue()
    world.stage()
    assert sorted(_states(world)) == ["invalid"] + ["ready"] * (TWENTY - 1)
    [(reason, detail)] = world.rows(
        "SELECT reason, reason_detail FROM springest.delivery WHERE state = 'invalid'"
    )
    assert reason in {"document_unreachable", "document_unreadable"}
    assert "secret-name" not in detail
    assert "every night" in detail
    world.deliver()
    assert world.posts == TWENTY - 1
    store.faults.clear()
    world.stage("next")
    world.deliver("next")
    assert world.posts == TWENTY


def test_documents_that_stay_poisoned_stop_no_later_night(world, store):
    """Three in a row, known already, and nothing else to look at."""
    names = _trainings(world, store)
    store.faults.update({name: OSError(errno.EIO, "broken") for name in names[5:9]})
    world.catalogue()
    world.stage()
    world.deliver()
    nothing_new = Window(datetime(2026, 1, 1, tzinfo=UTC), datetime(2026, 1, 2, tzinfo=UTC))
    assert world.stage("next", asked=nothing_new).rechecked == 4
    assert _states(world).count("invalid") == 4


def test_unreadable_rejected_documents_stop_no_night(world, store):
    """They were moved to an archive, for example: nobody waits for them, and nothing else is read there."""
    names = _trainings(world, store, 4)
    world.catalogue()
    world.stage()
    world.sandbox.state.faults.add(Fault(Kind.STATUS, status=422, times=None))
    world.deliver()
    store.faults.update({name: ClientError("InvalidObjectState", 403) for name in names})
    nothing_new = Window(datetime(2026, 1, 1, tzinfo=UTC), datetime(2026, 1, 2, tzinfo=UTC))
    world.stage("next", asked=nothing_new)
    assert _states(world) == ["rejected"] * 4


NOTHING_NEW = Window(datetime(2026, 1, 1, tzinfo=UTC), datetime(2026, 1, 2, tzinfo=UTC))


def _set_aside_for_other_reasons(world: World, store: type[FaultyFileSystem]) -> list[str]:
    """Stage three rows that are invalid and three that are held, all with a good document."""
    names = [f"bucket/certificates/{number:02}.pdf" for number in range(6)]
    for name in names:
        store.files[name] = make_pdf(name)
    wrong = [{"valid_until": date(2000, 1, 1)}] * 3 + [{"certification_id": 999}] * 3
    each = zip(names, wrong, strict=True)
    world.complete(*(world.training(certificate_uri=f"s3://{name}", **why) for name, why in each))
    world.catalogue()
    world.stage()
    return names


@pytest.mark.parametrize(
    "error",
    [OSError(errno.EIO, "broken"), PermissionError("denied"), ClientError("NoSuchBucket", 404)],
    ids=str,
)
def test_rows_set_aside_before_stop_no_quiet_night(world, store, error):
    """Their store can't be read, and nothing new waits for it: nothing is known, so nothing is changed."""
    _set_aside_for_other_reasons(world, store)
    before = world.rows("SELECT * FROM springest.delivery ORDER BY training_id")
    assert _states(world).count("invalid") == _states(world).count("held") == 3
    store.for_all.append(error)
    assert world.stage("next", asked=NOTHING_NEW).rechecked == 6
    assert world.rows("SELECT * FROM springest.delivery ORDER BY training_id") == before
    store.for_all.clear()
    assert world.stage("later", asked=NOTHING_NEW).rechecked == 6
    assert world.rows("SELECT * FROM springest.delivery ORDER BY training_id") == before


def test_a_single_failing_document_of_a_waiting_row_is_named(world, store):
    """Its store can be read, so the trouble is its own."""
    names = _set_aside_for_other_reasons(world, store)
    store.faults[names[5]] = OSError(errno.EIO, "broken")
    world.stage("next", asked=NOTHING_NEW)
    assert sorted(reason for _, reason in world.states().values()) == [
        "certification_not_listed",
        "certification_not_listed",
        "dates_reversed",
        "dates_reversed",
        "dates_reversed",
        "document_unreachable",
    ]


@pytest.mark.parametrize("error", [OSError(errno.EIO, "broken"), ClientError("NoSuchBucket", 404)], ids=str)
def test_new_rows_of_a_failing_store_stop_the_night(world, store, error):
    """Rows that were set aside before do not hide it, and stay as they are."""
    _set_aside_for_other_reasons(world, store)
    before = world.states()
    _trainings(world, store, 3)
    store.for_all.append(error)
    with pytest.raises(DocumentStoreUnreachable):
        world.stage("next")
    assert world.states() == before


@pytest.mark.parametrize(
    "error",
    [
        PermissionError("denied"),
        ClientError("ExpiredToken", 400),
        ClientError("NoSuchBucket", 404),
        ClientError("AccessDenied", 403),
        HttpResponseError("AuthenticationFailed", 403),
        GoogleError(401),
        NoCredentialsError("none"),
        TimeoutError("no answer"),
    ],
    ids=str,
)
@pytest.mark.parametrize("after", [0, 9])
def test_an_unreadable_store_stops_the_night(world, store, monkeypatch, error, after):
    """It blames no row: the store fails from the beginning, or its credentials expire in the middle."""
    _trainings(world, store)
    info = FaultyFileSystem.info

    def until(self, path, **kwargs):
        if len(store.opened) >= 2 * after:  # each document is asked for twice
            store.for_all[:] = [error]
        return info(self, path, **kwargs)

    monkeypatch.setattr(FaultyFileSystem, "info", until)
    world.catalogue()
    with pytest.raises(DocumentStoreUnreachable):
        world.stage()
    assert _states(world) == []


def test_a_bucket_that_is_not_there_stops_the_night(world, store):
    """S3's file system only says that there is no such file."""
    _trainings(world, store)
    store.files.clear()
    world.catalogue()
    with pytest.raises(DocumentStoreUnreachable, match="does not exist"):
        world.stage()
    assert _states(world) == []


def test_a_document_missing_in_a_readable_bucket_is_missing(world, store):
    """If the bucket can be read, a key that does not exist is blamed on its row."""
    names = _trainings(world, store)
    del store.files[names[3]]
    world.catalogue()
    world.stage()
    assert world.states()["T0004"] == ("invalid", "document_missing")


@pytest.mark.parametrize("error", [OSError(errno.EIO, "broken"), ClientError("InternalError", 500)], ids=str)
def test_a_document_poisoned_after_staging_is_set_aside(world, store, error, caplog):
    """The delivering task sets its row aside."""
    names = _trainings(world, store)
    world.catalogue()
    world.stage()
    store.faults[names[6]] = error
    with caplog.at_level(logging.WARNING):
        world.deliver()
    assert world.states()["T0007"] == ("invalid", "document_unreachable")
    assert _states(world).count("accepted") == TWENTY - 1
    assert any("T0007" in record.getMessage() for record in caplog.records)


def test_a_store_that_fails_after_staging_stops_delivering(world, store):
    """It blames no row."""
    _trainings(world, store)
    world.catalogue()
    world.stage()
    store.for_all[:] = [ClientError("AccessDenied", 403)]
    with pytest.raises(DocumentsUnreachable):
        world.deliver()
    assert _states(world) == ["ready"] * TWENTY
    store.for_all.clear()
    world.deliver("next")
    assert world.posts == TWENTY


def test_a_document_is_inspected_once_while_unchanged(world, monkeypatch):
    """Once before it is queued; at sending only if it changed meanwhile."""
    first, second = world.training(), world.training()
    world.complete(first, second)
    world.catalogue()
    world.stage()
    Path(second.certificate_uri).write_bytes(make_pdf("rendered again"))
    looked = []
    inspector = world.documents.inspector
    inspect = inspector.inspect
    monkeypatch.setattr(inspector, "inspect", lambda file, size: looked.append(size) or inspect(file, size))
    world.deliver()
    assert looked == [len(make_pdf("rendered again"))]
    assert world.posts == 2


def test_a_document_truncated_after_staging_is_not_sent(world):
    """A document that was truncated between staging and sending is not sent."""
    training = world.training()
    world.complete(training)
    world.catalogue()
    world.stage()
    path = Path(training.certificate_uri)
    path.write_bytes(path.read_bytes()[:200])
    world.deliver()
    assert world.posts == 0
    assert world.states() == {training.training_id: ("invalid", "document_damaged")}


def test_only_a_repaired_rejected_document_is_sent(world):
    """Its bytes decide whether it was repaired: a copy of the same ones is as bad."""
    mended, copied, gone = (world.training() for _ in range(3))
    world.complete(mended, copied, gone)
    world.sandbox.state.faults.add(Fault(Kind.STATUS, status=422, times=3))
    world.night("first")
    assert {state for state, _ in world.states().values()} == {"rejected"}
    Path(mended.certificate_uri).write_bytes(make_pdf("smaller"))
    Path(copied.certificate_uri).write_bytes(Path(copied.certificate_uri).read_bytes())
    Path(gone.certificate_uri).unlink()
    world.night("second")
    world.night("third")
    states = {training: state for training, (state, _) in world.states().items()}
    assert states == {
        mended.training_id: "visible",
        copied.training_id: "rejected",
        gone.training_id: "rejected",
    }
    assert world.posts == 4
    assert [sha256 for _, sha256 in world.stored] == [hashlib.sha256(make_pdf("smaller")).hexdigest()]
