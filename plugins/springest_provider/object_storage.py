"""Open documents in buckets, through Airflow's object storage."""

from __future__ import annotations

from typing import BinaryIO, cast

from airflow.sdk import ObjectStoragePath
from airflow.sdk.io import has_fs

from springest.documents.address import LOCAL, PROVIDERS
from springest.documents.local_file import NotMounted
from springest.documents.opener import DocumentError
from springest.errors import ConfigurationError


def require_provider(scheme: str) -> None:
    """
    Make sure that this worker can open documents of this scheme.

    :raises ConfigurationError: a package is missing; the text names it.
    """
    if scheme == LOCAL:
        return
    try:
        if has_fs(scheme):
            return
    except ImportError:  # the provider is installed, but one of its dependencies is not
        pass
    raise ConfigurationError(
        f"a document root begins with {scheme}://, which needs the package {PROVIDERS[scheme]}: "
        "install it on all workers"
    )


def open_object(uri: str) -> tuple[BinaryIO, int]:
    """
    Open a document through Airflow's object storage.

    :param uri: ``scheme://bucket/key``, as ``Address`` spells it.
    :returns: the handle, and the size in bytes.
    :raises FileNotFoundError: there is no such document.
    :raises NotMounted: there is no such bucket.
    :raises ConfigurationError: the package for this kind of store is incomplete.
    """
    path = ObjectStoragePath(uri)
    try:
        _require_same(path, uri)
        size = int(path.stat().st_size)
        return cast("BinaryIO", path.open("rb")), size  # type: ignore[no-untyped-call]
    except FileNotFoundError:
        if not _bucket_exists(path):
            raise NotMounted(f"the bucket {path.bucket} does not exist: correct the document roots") from None
        raise
    except ImportError as error:
        raise ConfigurationError(
            f"opening {path.protocol}:// needs the package {PROVIDERS.get(path.protocol, error.name)}"
        ) from None


def _require_same(path: ObjectStoragePath, uri: str) -> None:
    """Make sure that the store's library reads the URI as it was checked."""
    rest = uri.partition("://")[2]
    named = rest.partition("@")[2] if path.conn_id else rest
    if path.path.lstrip("/") != named.lstrip("/"):
        raise DocumentError(
            "certificate_uri_malformed",
            "the store parses certificate_uri differently from the check: rename the document",
        )


def bucket_exists(uri: str) -> bool:
    """Return whether the bucket of an address is there."""
    return _bucket_exists(ObjectStoragePath(uri))


def _bucket_exists(path: ObjectStoragePath) -> bool:
    """Return whether a bucket exists; assume so if this worker may not query it."""
    try:
        return bool(path.fs.exists(path.bucket))
    except Exception:  # noqa: BLE001 - no error of the store's library proves that there is none
        return True
