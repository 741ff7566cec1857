"""A drop as a source: CSV or Parquet files in a folder or a bucket, through Airflow's object storage."""

from __future__ import annotations

import logging
import shutil
import sqlite3
import tempfile
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from threading import Lock
from typing import Any, BinaryIO, Final, cast

from sqlalchemy import Engine

from springest.db.engines import sqlite_engine
from springest.documents.address import Address, Root
from springest.documents.errors import store_errors
from springest.errors import ConfigurationError, DocumentError, DocumentUnreachable, SourceError
from springest.source.drop import SUFFIXES, DropFile, load
from springest_provider.object_storage import path_of, require_provider

log = logging.getLogger(__name__)

QUIET_SECONDS: Final = 60
"""A file in a folder must not have changed for this long, since it may still be written."""
LOOK_AGAIN_SECONDS: Final = 10
"""How often the files are compared with those that were loaded, while rows are looked up."""
_UNFINISHED: Final = (".tmp", ".part", ".partial", ".filepart", ".crdownload")
_WRITTEN_AT_ONCE: Final = frozenset({"s3", "gs", "gcs", "abfs", "abfss", "adl"})

Listing = dict[str, tuple[Any, ...]]
"""Size and version of each file, by path."""


@contextmanager
def drop(source: str) -> Iterator[Engine]:
    """
    Yield an engine of the database with the rows of a drop.

    :param source: folder, or bucket's prefix, or one file; written as a document root.
    :raises ConfigurationError: it is not usable.
    :raises SourceError: there is no file, or one can't be read.
    """
    address = Root.parse(source).address
    if address.is_link:
        raise ConfigurationError(f"the source {source} is a link: a drop is a folder or a bucket")
    loaded = _Drop(address)
    engine = sqlite_engine(loaded.connect)
    try:
        yield engine
    finally:
        engine.dispose()
        loaded.close()


class _Connection(sqlite3.Connection):
    """Stays open when a pool closes it: its database has no name any more."""

    def close(self) -> None:
        pass

    def end(self) -> None:
        super().close()


class DropStillWritten(SourceError):
    """A file of the drop may still be written."""


@dataclass(slots=True)
class _Loaded:
    listing: Listing
    connection: _Connection
    seen_at: float


class _Drop:
    """The files, and the database that they were loaded into; it is replaced once they have changed."""

    def __init__(self, address: Address) -> None:
        require_provider(address.scheme)
        self._address = address
        self._lock = Lock()
        self._loaded: _Loaded | None = None
        self._former: list[_Connection] = []

    def connect(self) -> sqlite3.Connection:
        """Return a connection to the database."""
        with self._lock:
            now = time.monotonic()
            if self._loaded is None:
                self._loaded = self._load(self._list())
            elif now - self._loaded.seen_at > LOOK_AGAIN_SECONDS:
                self._refresh(self._loaded, now)
            return self._loaded.connection

    def _refresh(self, loaded: _Loaded, now: float) -> None:
        """Load the files again if they have changed; what is still being written does not count yet."""
        with suppress(DropStillWritten):
            listing = self._list()
            if listing != loaded.listing:
                self._loaded = self._load(listing)
                self._former.append(loaded.connection)  # rows may still be read from it
        loaded.seen_at = now

    def close(self) -> None:
        """Remove the database."""
        for connection in (*self._former, *([self._loaded.connection] if self._loaded else [])):
            connection.end()
        self._loaded = None

    def _load(self, listing: Listing) -> _Loaded:
        connection = _new_database()
        try:
            load(self._copies(listing), connection)
            unchanged = self._list() == listing
        except BaseException:
            connection.end()
            raise
        if not unchanged:
            connection.end()
            raise SourceError("the files of the drop changed while they were read: try again")
        return _Loaded(listing, connection, time.monotonic())

    def _list(self) -> Listing:
        """
        Return the files of the drop.

        :raises SourceError: there are none, or one may still be written.
        """
        with _source_errors():
            path = path_of(self._address)
            fs, name = path.fs, path.path
            fs.invalidate_cache()
            found = [fs.info(name)] if name.lower().endswith(SUFFIXES) else fs.ls(name, detail=True)
        files = [info for info in found if info["type"] != "directory" and _is_finished(info["name"])]
        usable = [info for info in files if info["name"].lower().endswith(SUFFIXES)]
        if ignored := sorted({Path(info["name"]).name for info in files if info not in usable}):
            log.warning("The drop has files that are neither CSV nor Parquet: %s", ", ".join(ignored[:5]))
        if not usable:
            raise SourceError(f"the drop {self._address} has no file *.csv or *.parquet: put one there")
        for info in usable:
            self._require_quiet(info)
        return {info["name"]: _version(info) for info in sorted(usable, key=lambda info: info["name"])}

    def _require_quiet(self, info: Mapping[str, Any]) -> None:
        changed = info.get("mtime")
        moment = changed.timestamp() if isinstance(changed, datetime) else changed
        if self._address.scheme in _WRITTEN_AT_ONCE or not isinstance(moment, int | float):
            return
        if 0 <= time.time() - moment < QUIET_SECONDS:
            raise DropStillWritten(
                f"{Path(info['name']).name} was changed less than {QUIET_SECONDS} seconds ago and may still "
                "be written: try again in a minute"
            )

    def _copies(self, listing: Listing) -> Iterator[DropFile]:
        """Yield a copy of each file, on this machine and without a name, which can't change any more."""
        fs = path_of(self._address).fs
        for path, (size, *_) in listing.items():
            with tempfile.TemporaryFile() as copy:
                with _source_errors(), fs.open(path, "rb") as content:
                    shutil.copyfileobj(content, copy, 1024 * 1024)
                if copy.tell() != size:
                    raise SourceError(f"{Path(path).name} changed while it was read: try again")
                copy.seek(0)
                yield DropFile(Path(path).name, cast("BinaryIO", copy))


def _new_database() -> _Connection:
    """Return a database on disk that no file name leads to, since it has the e-mail addresses of learners."""
    with tempfile.TemporaryDirectory(prefix="springest-") as folder:
        connection = sqlite3.connect(
            Path(folder) / "drop.db", factory=_Connection, check_same_thread=False, isolation_level=None
        )
        connection.execute("PRAGMA journal_mode = OFF")
        connection.execute("PRAGMA synchronous = OFF")
        return connection


def _is_finished(path: str) -> bool:
    name = Path(path).name.lower()
    return not name.startswith((".", "_", "~")) and not name.endswith(_UNFINISHED)


def _version(info: Mapping[str, Any]) -> tuple[Any, ...]:
    marks = ("ETag", "etag", "generation", "LastModified", "last_modified", "updated", "mtime", "ino")
    return (info["size"], *(str(info[mark]) for mark in marks if mark in info))


@contextmanager
def _source_errors() -> Iterator[None]:
    """Convert the errors of a store into those of a source."""
    try:
        with store_errors():
            yield
    except (DocumentError, DocumentUnreachable) as error:
        detail = error.detail.replace("the document", "the drop").replace("document roots", "source")
        raise SourceError(f"the drop can't be read: {detail}") from None
