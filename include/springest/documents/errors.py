"""Defects of a document and failures of its store; classifies the errors of the stores' libraries.

``DocumentError``
    the document can't be sent as it is: there is none, or its content is not fit
``DocumentUnreachable``
    it could not be read now. One alone is that document's trouble; several in a row are the store's
``DocumentStoreUnreachable``
    nothing of a store can be read: the run stops, and no row is blamed

Object stores raise errors of their own, many of which are no ``OSError``. They are recognised by the HTTP
status or the code that they carry, so that no store's library is imported.
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
"""What opening a socket, or reading a folder, says."""
_NO_STORE: Final = frozenset(
    {"NoSuchBucket", "ContainerNotFound", "ContainerBeingDeleted", "FilesystemNotFound"}
)
"""Codes for a bucket or container that is not there: S3 API, Azure Blob Storage, Azure Data Lake."""
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
"""Errors of botocore, google-auth and azure-identity that come before anything is asked."""
_EXPIRED: Final = frozenset(
    {"ExpiredToken", "ExpiredTokenException", "InvalidAccessKeyId", "SignatureDoesNotMatch"}
)
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
    except Exception as error:  # noqa: BLE001 - a store's library may raise anything: this row's trouble
        raise _translated(error) from None


def _translated(error: Exception) -> DocumentError | DocumentUnreachable:
    number = error.errno if isinstance(error, OSError) else None
    status, code = http_status(error), store_code(error)
    name = type(error).__name__
    if code in _NO_STORE:
        return DocumentUnreachable(
            f"the bucket is not there ({code}): correct the Variable springest_document_roots",
            code,
            whole_store=True,
        )
    if name in _NO_CREDENTIALS or code in _EXPIRED:
        return DocumentUnreachable(
            f"the store takes no credentials of this worker ({code or name}): renew those of its connection",
            code or name,
            whole_store=True,
        )
    if isinstance(error, FileNotFoundError) or number in _NOT_THERE or status == HTTPStatus.NOT_FOUND:
        return missing()
    if number in _NO_FILE:
        return DocumentError("document_not_a_file", "certificate_uri is not a regular file")
    kind = f"{name} {status}" if status else errno.errorcode.get(number or 0, name)
    refused = {HTTPStatus.UNAUTHORIZED, HTTPStatus.FORBIDDEN}
    if isinstance(error, PermissionError) or status in refused:
        return DocumentUnreachable(
            f"the worker may not read the document ({kind}): give it the right to", kind, UNREADABLE
        )
    return DocumentUnreachable(
        f"the document can't be read now ({kind}): open it from a worker, and replace it if that fails",
        kind,
    )


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
    """Return the code that a store's error carries, such as ``NoSuchBucket``; empty when it has none."""
    response = _response(error)
    inner = response.get("Error") if isinstance(response, dict) else None
    code = inner.get("Code") if isinstance(inner, dict) else getattr(error, "error_code", None)
    code = getattr(code, "value", code)  # azure's is an enum
    return code if isinstance(code, str) and code.isalnum() else ""


def _response(error: Exception) -> Any:
    # s3fs raises an OSError from botocore's error, which knows more.
    for known in (error, error.__cause__):
        if isinstance(response := getattr(known, "response", None), dict):
            return response
    return None


def missing() -> DocumentError:
    """Return the error of a document that is not there."""
    return DocumentError(
        "document_missing",
        "there is no document at certificate_uri: put it there, or correct the address",
    )


IN_A_ROW: Final = 3
"""Different documents that fail in the same way, one after the other: then it is no longer theirs."""


class StoreHealth:
    """Distinguishes failures of single documents from those of their store, a bucket or a root's folder."""

    def __init__(self) -> None:
        self._failing: dict[str, tuple[DocumentUnreachable, set[str]]] = {}
        self._witnesses: dict[str, str] = {}

    def went_well(self, store: str, uri: str | None = None) -> None:
        """Note that a store answered.

        :param uri: a document of it that was read.
        """
        self._failing.pop(store, None)
        if uri is not None:
            self._witnesses[store] = uri

    def went_badly(self, store: str, key: str, error: DocumentUnreachable) -> None:
        """Note that a document could not be read.

        :param key: identifies the document: repeated failures of one count once.
        """
        last, keys = self._failing.get(store, (error, set()))
        self._failing[store] = error, {*keys, key} if last.kind == error.kind else {key}

    def witness(self, store: str) -> str | None:
        """Return the document of a store that was last read well, if any."""
        return self._witnesses.get(store)

    def failing(self, in_a_row: int = IN_A_ROW) -> list[tuple[str, DocumentUnreachable]]:
        """Return the stores of which so many documents failed in the same way, and none was read since."""
        return [(store, error) for store, (error, keys) in self._failing.items() if len(keys) >= in_a_row]
