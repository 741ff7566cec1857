"""What a store's library raises is told apart without that library."""

from __future__ import annotations

import errno
import pickle

import pytest

from springest.documents.errors import StoreHealth, store_errors
from springest.errors import ConfigurationError, DocumentError, DocumentUnreachable
from tests.faulty_store import ClientError, GoogleError, HttpResponseError, NoCredentialsError


def translated(error: Exception) -> DocumentError | DocumentUnreachable:
    with pytest.raises((DocumentError, DocumentUnreachable)) as caught, store_errors():
        raise error
    assert caught.value.__cause__ is None
    assert "secret-name" not in str(caught.value)
    return caught.value


@pytest.mark.parametrize(
    "error",
    [
        FileNotFoundError("secret-name.pdf"),
        OSError(errno.ENOTDIR, "secret-name.pdf"),
        ClientError("NoSuchKey", 404),
        HttpResponseError("BlobNotFound", 404),
        GoogleError(404),
    ],
    ids=repr,
)
def test_a_document_that_is_not_there_is_missing(error: Exception) -> None:
    assert translated(error).reason == "document_missing"


@pytest.mark.parametrize(
    ("error", "reason", "kind"),
    [
        (PermissionError(errno.EACCES, "secret-name.pdf"), "document_unreadable", "EACCES"),
        (ClientError("AccessDenied", 403), "document_unreadable", "ClientError 403"),
        (HttpResponseError("AuthorizationFailure", 403), "document_unreadable", "HttpResponseError 403"),
        (GoogleError(401), "document_unreadable", "GoogleError 401"),
        (OSError(errno.EIO, "secret-name.pdf"), "document_unreachable", "EIO"),
        (OSError(errno.ESTALE, "secret-name.pdf"), "document_unreachable", "ESTALE"),
        (ClientError("SlowDown", 503), "document_unreachable", "ClientError 503"),
        (TimeoutError("secret-name.pdf"), "document_unreachable", "TimeoutError"),
        (ValueError("secret-name.pdf"), "document_unreachable", "ValueError"),
    ],
    ids=repr,
)
def test_a_document_that_can_not_be_read_now_says_how(error: Exception, reason: str, kind: str) -> None:
    found = translated(error)
    assert isinstance(found, DocumentUnreachable)
    assert (found.reason, found.kind, found.whole_store) == (reason, kind, False)


@pytest.mark.parametrize(
    "error",
    [
        ClientError("NoSuchBucket", 404),
        ClientError("ExpiredToken", 400),
        ClientError("InvalidAccessKeyId", 403),
        HttpResponseError("ContainerNotFound", 404),
        NoCredentialsError("secret-name"),
    ],
    ids=repr,
)
def test_what_can_only_be_the_stores_trouble_says_so(error: Exception) -> None:
    found = translated(error)
    assert isinstance(found, DocumentUnreachable)
    assert found.whole_store


def test_an_oserror_of_s3fs_is_known_by_what_it_was_made_from() -> None:
    wrapped = PermissionError("secret-name.pdf")
    wrapped.__cause__ = ClientError("ExpiredToken", 400)
    found = translated(wrapped)
    assert isinstance(found, DocumentUnreachable)
    assert found.whole_store


def test_a_wrong_setting_stays_one() -> None:
    with pytest.raises(ConfigurationError), store_errors():
        raise ConfigurationError("a package is missing")


def test_an_unreachable_document_survives_pickling() -> None:
    error = DocumentUnreachable("detail", "EIO", "document_unreadable", whole_store=True)
    again = pickle.loads(pickle.dumps(error))  # noqa: S301
    assert (again.detail, again.kind, again.reason, again.whole_store) == (
        "detail",
        "EIO",
        "document_unreadable",
        True,
    )


def test_only_different_documents_that_fail_in_the_same_way_in_a_row_are_their_stores_trouble() -> None:
    io, time_out = DocumentUnreachable("a", "EIO"), DocumentUnreachable("b", "TimeoutError")
    health = StoreHealth()
    for key, error in (("1", io), ("1", io), ("1", io), ("2", io), ("3", time_out), ("4", time_out)):
        health.went_badly("/data", key, error)
        assert health.failing() == []
    health.went_badly("/other", "5", time_out)
    assert health.failing() == []
    health.went_badly("/data", "5", time_out)
    assert health.failing() == [("/data", time_out)]
    health.went_well("/data", "/data/6.pdf")
    assert health.failing() == []
    assert health.witness("/data") == "/data/6.pdf"
