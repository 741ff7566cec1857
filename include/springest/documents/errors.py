"""Defects of a document and failures of its store; classifies the errors of the stores' libraries.

``DocumentError``
    the document can't be sent as it is: it is missing, or its content is not acceptable
``DocumentUnreachable``
    it could not be read now; several in a row mean that the store has failed
``DocumentStoreUnreachable``
    nothing in a store can be read: the run stops, and no row is set aside

Libraries of object stores raise their own errors, many of which are not an ``OSError``. They are recognised
by their HTTP status or code, so that no such library has to be imported.
"""

from __future__ import annotations

import errno
from collections.abc import Iterator
from contextlib import contextmanager
from http import HTTPStatus
from typing import Any, Final

from springest.documents.local_file import LeadsOut, NotMounted
from springest.errors import DocumentError, DocumentUnreachable, InspectionFailed, SpringestError

_NOT_THERE: Final = frozenset({errno.ENOENT, errno.ENOTDIR, errno.ENAMETOOLONG, errno.ELOOP})
_NO_FILE: Final = frozenset({errno.ENXIO, errno.EISDIR})
"""Error numbers of opening a socket or reading a folder."""
_NO_STORE: Final = frozenset(
    {"NoSuchBucket", "ContainerNotFound", "ContainerBeingDeleted", "FilesystemNotFound"}
)
"""Codes for a missing bucket or container: S3 API, Azure Blob Storage, Azure Data Lake."""
_NO_CREDENTIALS: Final = frozenset(
    {
        "NoCredentialsError",
        "PartialCredentialsError",
        "CredentialRetrievalError",
        "TokenRetrievalError",
        "UnauthorizedSSOTokenError",
        "DefaultCredentialsError",
        "RefreshError",
        "CredentialUnavailableError",
    }
)
"""Errors of botocore, google-auth and azure-identity that occur before any request."""
_NO_CONNECTION: Final = frozenset(
    {"EndpointConnectionError", "ConnectTimeoutError", "ClientConnectorError", "ServiceRequestError"}
)
"""Errors of botocore, aiohttp and azure-core, after their own retries."""
_RENEW: Final = "the store refuses this worker's credentials ({}): renew those in its connection"
_REFUSES_WORKER: Final = {
    **dict.fromkeys(
        ("ExpiredToken", "ExpiredTokenException", "InvalidToken", "TokenRefreshRequired"), _RENEW
    ),
    **dict.fromkeys(("InvalidAccessKeyId", "SignatureDoesNotMatch"), _RENEW),
    **dict.fromkeys(("AuthenticationFailed", "InvalidAuthenticationInfo"), _RENEW),
    "RequestTimeTooSkewed": "the store refuses this worker's clock ({}): set the clock by NTP",
    "AuthorizationHeaderMalformed": "the bucket is in another region ({}): correct its connection",
    "AuthorizationFailure": "the store refuses this worker ({}): check the key in its connection, and the "
    "network rules of the account",
    **dict.fromkeys(
        ("AllAccessDisabled", "AccountIsDisabled"), "the store refuses the account ({}): ask its provider"
    ),
}
"""Codes of the S3 API and Azure Blob Storage that have nothing to do with the document, and the remedy."""
_GONE: Final = frozenset({HTTPStatus.NOT_FOUND, HTTPStatus.GONE})
_ARCHIVED: Final = "InvalidObjectState"
UNREADABLE: Final = "document_unreadable"
UNREACHABLE: Final = "document_unreachable"


@contextmanager
def store_errors() -> Iterator[None]:
    """Distinguish a document that can't be sent from one that can't be read now.

    :raises DocumentError: see there.
    :raises DocumentUnreachable: see there.
    """
    try:
        yield
    except SpringestError as error:
        if isinstance(error, InspectionFailed):
            raise DocumentUnreachable(
                f"the document could not be checked: {error}", "InspectionFailed"
            ) from None
        raise
    except LeadsOut:
        raise DocumentError(
            "document_outside_roots", "certificate_uri is a link that leads out of its folder"
        ) from None
    except NotMounted as error:
        raise DocumentUnreachable(str(error), "NotMounted", whole_store=True) from None
    except Exception as error:  # noqa: BLE001 - a store's library may raise anything, and only this row is affected
        raise _translated(error) from None


def _translated(error: Exception) -> DocumentError | DocumentUnreachable:
    number = error.errno if isinstance(error, OSError) else None
    status, code = http_status(error), store_code(error)
    name = type(error).__name__
    if (whole := _of_store(name, code)) is not None:
        return whole
    if name == "FileExpired" or status == HTTPStatus.PRECONDITION_FAILED:  # s3fs, and Azure's status
        return changed()
    if isinstance(error, FileNotFoundError) or number in _NOT_THERE or status in _GONE:
        return missing()
    if number in _NO_FILE:
        return DocumentError("document_not_a_file", "certificate_uri is not a regular file")
    kind = f"{name} {status}" if status else errno.errorcode.get(number or 0, name)
    if isinstance(error, PermissionError) or status in {HTTPStatus.UNAUTHORIZED, HTTPStatus.FORBIDDEN}:
        problem = (
            f"the document is archived ({code}): restore it"
            if code == _ARCHIVED
            else f"the worker lacks the permission to read the document ({kind}): grant it"
        )
        return DocumentUnreachable(problem, kind, UNREADABLE)
    return DocumentUnreachable(
        f"the document can't be read now ({kind}): open it from a worker, and replace it if that fails",
        kind,
    )


def _of_store(name: str, code: str) -> DocumentUnreachable | None:
    """Return the error of a whole store, if the name or the code of an error shows one."""
    if code in _NO_STORE:
        detail = "the bucket does not exist ({}): correct the document roots"
    elif name in _NO_CREDENTIALS or code in _REFUSES_WORKER:
        detail = _REFUSES_WORKER.get(code, _RENEW)
    elif name in _NO_CONNECTION:
        detail = "the store can't be reached ({}): correct the endpoint in its connection, or try later"
    else:
        return None
    kind = name if name in _NO_CREDENTIALS | _NO_CONNECTION else code
    return DocumentUnreachable(detail.format(kind), kind, whole_store=True)


def http_status(error: Exception) -> int | None:
    """Return the HTTP status of an error of botocore, azure-core, google-api-core, gcsfs or aiohttp."""
    response = _response(error)
    metadata = response.get("ResponseMetadata") if isinstance(response, dict) else None
    candidates = [metadata.get("HTTPStatusCode")] if isinstance(metadata, dict) else []
    candidates += [getattr(error, name, None) for name in ("status_code", "status", "code")]
    for candidate in candidates:
        number = int(candidate) if isinstance(candidate, str) and candidate.isdecimal() else candidate
        if isinstance(number, int) and not isinstance(number, bool) and 100 <= number <= 599:
            return int(number)
    return None


def store_code(error: Exception) -> str:
    """Return the code of a store's error, such as ``NoSuchBucket``; empty if it has none."""
    response = _response(error)
    inner = response.get("Error") if isinstance(response, dict) else None
    code = inner.get("Code") if isinstance(inner, dict) else getattr(error, "error_code", None)
    code = getattr(code, "value", code)  # azure's is an enum
    return code if isinstance(code, str) and code.isalnum() else ""


def _response(error: Exception) -> Any:
    # s3fs raises an OSError from botocore's error, which has more details.
    for known in (error, error.__cause__):
        if isinstance(response := getattr(known, "response", None), dict):
            return response
    return None


def missing() -> DocumentError:
    """Return the error of a missing document."""
    return DocumentError(
        "document_missing",
        "there is no document at certificate_uri: put it there, or correct the URI",
    )


def changed() -> DocumentError:
    """Return the error of a document that was replaced after it was opened."""
    return DocumentError("document_changed", "the document changed while it was being read")


IN_A_ROW: Final = 3
"""Number of different documents in a row that fail in the same way, from which the store has failed."""


class StoreHealth:
    """Distinguishes failures of single documents from those of their store (a bucket or a root's folder)."""

    def __init__(self) -> None:
        self._failing: dict[str, tuple[DocumentUnreachable, set[str]]] = {}
        self._witnesses: dict[str, str] = {}

    def record_success(self, store: str, uri: str | None = None) -> None:
        """Record that a store responded.

        :param uri: the document that was read, if any.
        """
        self._failing.pop(store, None)
        if uri is not None:
            self._witnesses[store] = uri

    def record_failure(self, store: str, key: str, error: DocumentUnreachable) -> None:
        """Record that a document could not be read.

        :param key: identifies the document, whose repeated failures count once.
        """
        last, keys = self._failing.get(store, (error, set()))
        self._failing[store] = error, {*keys, key} if last.kind == error.kind else {key}

    def witness(self, store: str) -> str | None:
        """Return the document of a store that was read last, if any."""
        return self._witnesses.get(store)

    def failing(self, in_a_row: int = IN_A_ROW) -> list[tuple[str, DocumentUnreachable]]:
        """Return the stores in which so many documents failed in the same way and none was read since."""
        return [(store, error) for store, (error, keys) in self._failing.items() if len(keys) >= in_a_row]
