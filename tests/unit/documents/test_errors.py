"""Errors of a store's library are classified without that library."""

from __future__ import annotations

import errno
import pickle

import pytest

from springest.documents.errors import StoreHealth, store_errors
from springest.errors import ConfigurationError, DocumentError, DocumentUnreachable
from tests.faulty_store import ClientError, GoogleError, HttpResponseError, NoCredentialsError


class EndpointConnectionError(Exception):
    """As botocore's."""


class FileExpired(OSError):
    """As s3fs's."""


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
    """Errors of each store that mean "not found" become `DocumentMissing`."""
    assert translated(error).reason == "document_missing"


@pytest.mark.parametrize("error", [FileExpired("secret-name"), HttpResponseError("ConditionNotMet", 412)])
def test_a_document_that_was_replaced_has_changed(error: Exception) -> None:
    """The library asked for the version that it had opened."""
    assert translated(error).reason == "document_changed"


@pytest.mark.parametrize(
    ("error", "reason", "kind"),
    [
        (PermissionError(errno.EACCES, "secret-name.pdf"), "document_unreadable", "EACCES"),
        (ClientError("AccessDenied", 403), "document_unreadable", "ClientError 403"),
        (
            HttpResponseError("AuthorizationPermissionMismatch", 403),
            "document_unreadable",
            "HttpResponseError 403",
        ),
        (GoogleError(401), "document_unreadable", "GoogleError 401"),
        (OSError(errno.EIO, "secret-name.pdf"), "document_unreachable", "EIO"),
        (OSError(errno.ESTALE, "secret-name.pdf"), "document_unreachable", "ESTALE"),
        (ClientError("SlowDown", 503), "document_unreachable", "ClientError 503"),
        (TimeoutError("secret-name.pdf"), "document_unreachable", "TimeoutError"),
        (ValueError("secret-name.pdf"), "document_unreachable", "ValueError"),
    ],
    ids=repr,
)
def test_an_unreadable_document_has_a_reason_and_a_kind(error: Exception, reason: str, kind: str) -> None:
    """A document that cannot be read now has a reason and the kind of the error."""
    found = translated(error)
    assert isinstance(found, DocumentUnreachable)
    assert (found.reason, found.kind, found.whole_store) == (reason, kind, False)


@pytest.mark.parametrize(
    "error",
    [
        ClientError("NoSuchBucket", 404),
        ClientError("ExpiredToken", 400),
        ClientError("InvalidAccessKeyId", 403),
        ClientError("RequestTimeTooSkewed", 403),
        ClientError("AuthorizationHeaderMalformed", 400),
        HttpResponseError("AuthenticationFailed", 403),
        HttpResponseError("AuthorizationFailure", 403),
        EndpointConnectionError("secret-name"),
        HttpResponseError("ContainerNotFound", 404),
        NoCredentialsError("secret-name"),
    ],
    ids=repr,
)
def test_a_store_failure_is_marked_as_such(error: Exception) -> None:
    """Errors that can only concern the whole store are marked as such."""
    found = translated(error)
    assert isinstance(found, DocumentUnreachable)
    assert found.whole_store


def test_an_oserror_of_s3fs_is_classified_by_its_cause() -> None:
    """s3fs wraps errors in `OSError`; the cause decides what the error means."""
    wrapped = PermissionError("secret-name.pdf")
    wrapped.__cause__ = ClientError("ExpiredToken", 400)
    found = translated(wrapped)
    assert isinstance(found, DocumentUnreachable)
    assert found.whole_store


def test_a_settings_error_stays_a_settings_error() -> None:
    """An error in the settings is not taken for a failure of a document."""
    with pytest.raises(ConfigurationError), store_errors():
        raise ConfigurationError("a package is missing")


def test_an_unreachable_document_survives_pickling() -> None:
    """Airflow passes exceptions between processes."""
    error = DocumentUnreachable("detail", "EIO", "document_unreadable", whole_store=True)
    again = pickle.loads(pickle.dumps(error))  # noqa: S301
    assert (again.detail, again.kind, again.reason, again.whole_store) == (
        "detail",
        "EIO",
        "document_unreadable",
        True,
    )


def test_a_store_fails_after_different_documents_in_a_row() -> None:
    """Only different documents of one store that fail in the same way, in a row, count as a failure of the
    store.
    """
    io, time_out = DocumentUnreachable("a", "EIO"), DocumentUnreachable("b", "TimeoutError")
    health = StoreHealth()
    for key, error in (("1", io), ("1", io), ("1", io), ("2", io), ("3", time_out), ("4", time_out)):
        health.record_failure("/data", key, error)
        assert health.failing() == []
    health.record_failure("/other", "5", time_out)
    assert health.failing() == []
    health.record_failure("/data", "5", time_out)
    assert health.failing() == [("/data", time_out)]
    health.record_success("/data", "/data/6.pdf")
    assert health.failing() == []
    assert health.witness("/data") == "/data/6.pdf"
