"""Open documents in buckets, through Airflow's object storage."""

from __future__ import annotations

from typing import BinaryIO, Final, cast

from airflow.sdk import ObjectStoragePath
from airflow.sdk.io import has_fs

from springest.documents.address import LOCAL, PROVIDERS, WEB, Address, Root
from springest.documents.errors import store_code
from springest.documents.local_file import NotMounted
from springest.documents.opener import DocumentError
from springest.errors import ConfigurationError
from springest_provider.library_logs import keep_names_out
from springest_provider.sftp import SFTP, attach_sftp

BLOCK: Final = 4 * 1024 * 1024
"""Bytes that are read ahead; the libraries' own default, up to 50 MB for each open document, is too much."""
_VERSION: Final = "?versionId="
"""``s3fs`` reads what follows in a key as the version of the object whose key stands before it."""


def require_provider(scheme: str) -> None:
    """
    Make sure that this worker can open documents of this scheme.

    :raises ConfigurationError: a package is missing; the text names it.
    """
    if scheme in {LOCAL, *WEB}:
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


def open_object(address: Address, root: Root) -> tuple[BinaryIO, int]:
    """
    Open a document through Airflow's object storage.

    :returns: the handle, and the size in bytes.
    :raises FileNotFoundError: there is no such document.
    :raises NotMounted: there is no such bucket, or no such folder on the server.
    :raises ConfigurationError: the package for this kind of store is incomplete.
    """
    keep_names_out()
    try:
        path = path_of(address)
        _require_same(path, address)
        return _open(path)
    except FileNotFoundError:
        if not root_exists(root):
            where = root.address
            name = (
                f"folder {where.path}" if where.scheme == SFTP else f"bucket {where.host.rpartition('@')[2]}"
            )
            raise NotMounted(f"the {name} does not exist: correct the document roots, or create it") from None
        raise
    except ImportError as error:
        needed = PROVIDERS.get(address.scheme, error.name)
        raise ConfigurationError(f"opening {address.scheme}:// needs the package {needed}") from None


def path_of(address: Address) -> ObjectStoragePath:
    """Return the path that Airflow opens."""
    if address.scheme == SFTP:
        attach_sftp(address.host)
    return ObjectStoragePath(str(address))


def _open(path: ObjectStoragePath) -> tuple[BinaryIO, int]:
    # Not `path.open`, which reports the URI of each file to the collector of OpenLineage.
    fs = path.fs
    block = None if path.protocol == SFTP else BLOCK  # an SFTP server chooses its own
    try:
        handle = cast("BinaryIO", fs.open(path.path, "rb", block_size=block))
        return handle, _size(handle) or int(fs.info(path.path)["size"])
    except Exception as error:
        if store_code(error) in {"400", "403"}:
            # Amazon S3 gives the reason for refusing a HEAD only in the response to a GET.
            fs.cat_file(path.path, start=0, end=1)
        raise


def _size(handle: BinaryIO) -> int | None:
    """Return the size that the store's library has just read; asking again would cost a request."""
    size = getattr(handle, "size", None)
    return size if isinstance(size, int) else None


def _require_same(path: ObjectStoragePath, address: Address) -> None:
    """Make sure that the store's library reads the address as it was checked."""
    bucket = "" if address.scheme in {LOCAL, SFTP} else address.host.rpartition("@")[2]
    if path.path.lstrip("/") != f"{bucket}{address.path}".lstrip("/") or _VERSION in path.path:
        raise DocumentError(
            "certificate_uri_malformed",
            "the store parses certificate_uri differently from the check: rename the document",
        )


def root_exists(root: Root) -> bool:
    """Return whether a root's bucket, or folder on a server, exists; assume so if that can't be queried."""
    try:
        path = path_of(root.address)
        return bool(path.fs.exists(path.path if root.address.scheme == SFTP else path.bucket))
    except ConfigurationError:
        raise
    except Exception:  # noqa: BLE001 - no error of the store's library proves that there is none
        return True
