"""What the sandbox knows and has received, in SQLite: a file keeps it over a restart."""

from __future__ import annotations

import sqlite3
import threading
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, field, fields
from datetime import UTC, datetime
from typing import Any

_SCHEMA = """
CREATE TABLE IF NOT EXISTS certification (
    id INTEGER PRIMARY KEY, name TEXT NOT NULL, description TEXT NOT NULL,
    requires_valid_until INTEGER NOT NULL, verified INTEGER NOT NULL);
CREATE TABLE IF NOT EXISTS certificate (
    id INTEGER PRIMARY KEY AUTOINCREMENT, certification_id INTEGER NOT NULL, email TEXT NOT NULL,
    booking_id INTEGER, valid_from TEXT NOT NULL, valid_until TEXT, status TEXT NOT NULL,
    created_at TEXT NOT NULL,
    file_name TEXT NOT NULL, content_type TEXT NOT NULL, size INTEGER NOT NULL, sha256 TEXT NOT NULL,
    fields TEXT NOT NULL);
CREATE TABLE IF NOT EXISTS request (
    id INTEGER PRIMARY KEY AUTOINCREMENT, at REAL NOT NULL, method TEXT NOT NULL, path TEXT NOT NULL,
    key_name TEXT NOT NULL, answered INTEGER);
"""


@dataclass(frozen=True, slots=True)
class Certification:
    """A certification, made in Springest's admin and verified by its employees."""

    id: int
    name: str
    description: str = ""
    requires_valid_until: bool = False
    verified: bool = False


@dataclass(frozen=True, slots=True)
class NewCertificate:
    """A certificate as it was posted.

    :param fields: names of the form's fields, in their order.
    """

    certification_id: int
    email: str = field(repr=False)
    valid_from: str
    valid_until: str | None = None
    booking_id: int | None = None
    file_name: str = "certificate.pdf"
    content_type: str = "application/pdf"
    size: int = 0
    sha256: str = ""
    fields: str = ""
    status: str = "verified"


@dataclass(frozen=True, slots=True)
class StoredCertificate(NewCertificate):
    """A certificate with its id and the moment it was stored."""

    id: int = 0
    created_at: str = ""


@dataclass(frozen=True, slots=True)
class Request:
    """A request as it came.

    :param at: seconds since the epoch.
    :param key_name: which key it had: ``certificates``, ``certifications`` or ``none``.
    :param answered: status; ``None`` when the connection was closed instead.
    """

    id: int
    at: float
    method: str
    path: str
    key_name: str
    answered: int | None


class Store:
    """Thread-safe; everything is one statement under one lock.

    :param path: file of the database, or ``:memory:``.
    :param clock: seconds since the epoch.
    """

    def __init__(self, path: str, *, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._lock = threading.RLock()
        self._database = sqlite3.connect(path, check_same_thread=False, isolation_level=None)
        self._database.row_factory = sqlite3.Row
        self._run("PRAGMA synchronous = OFF")
        with self._lock:
            self._database.executescript(_SCHEMA)
        self._late: list[NewCertificate] = []

    def close(self) -> None:
        """Close the database."""
        with self._lock:
            self._database.close()

    def add_certification(self, certification: Certification) -> None:
        """Add a certification, or replace it."""
        self._insert("certification", asdict(certification), verb="INSERT OR REPLACE")

    def verify(self, certification_id: int, *, verified: bool = True) -> bool:
        """Let an employee verify a certification; tells whether there is such a one."""
        changed = self._run(
            "UPDATE certification SET verified = ? WHERE id = ?", (int(verified), certification_id)
        )
        return changed.rowcount > 0

    def certification(self, certification_id: int) -> Certification | None:
        """Return one certification."""
        rows = self._run("SELECT * FROM certification WHERE id = ?", (certification_id,)).fetchall()
        return _certification(rows[0]) if rows else None

    def certifications(self, *, verified_only: bool = False) -> list[Certification]:
        """Return the certifications by their ids."""
        where = "WHERE verified" if verified_only else ""
        return [_certification(row) for row in self._run(f"SELECT * FROM certification {where} ORDER BY id")]  # noqa: S608

    def store(self, certificate: NewCertificate) -> StoredCertificate:
        """Store a certificate and give it an id."""
        created_at = datetime.fromtimestamp(self._clock(), UTC).isoformat(timespec="seconds")
        values = {**asdict(certificate), "created_at": created_at}
        number = self._insert("certificate", values)
        return StoredCertificate(**values, id=number)

    def store_later(self, certificate: NewCertificate) -> None:
        """Keep a certificate until ``release``."""
        with self._lock:
            self._late.append(certificate)

    def release(self) -> list[StoredCertificate]:
        """Store what was kept."""
        with self._lock:
            kept, self._late = self._late, []
        return [self.store(certificate) for certificate in kept]

    def certificates(self) -> list[StoredCertificate]:
        """Return everything that was stored, by id."""
        return [_certificate(row) for row in self._run("SELECT * FROM certificate ORDER BY id")]

    def remove_certification(self, certification_id: int) -> None:
        """Let a certification disappear from the admin."""
        self._run("DELETE FROM certification WHERE id = ?", (certification_id,))

    def remove_certificate(self, certificate_id: int) -> None:
        """Let a certificate disappear, as no customer could."""
        self._run("DELETE FROM certificate WHERE id = ?", (certificate_id,))

    def visible(
        self,
        *,
        email: str | None,
        certification_id: int | None,
        created_from: str | None,
        newest_first: bool,
        size: int,
        offset: int,
    ) -> tuple[int, list[StoredCertificate]]:
        """Return how many certificates are visible, and one page of them.

        Visible are those whose certification is verified.
        """
        where = (
            "FROM certificate JOIN certification ON certification.id = certificate.certification_id"
            " WHERE certification.verified AND (?1 IS NULL OR lower(certificate.email) = lower(?1))"
            " AND (?2 IS NULL OR certificate.certification_id = ?2)"
            " AND (?3 IS NULL OR substr(certificate.created_at, 1, 10) >= ?3)"
        )
        bound = (email, certification_id, created_from)
        order = "DESC" if newest_first else "ASC"
        with self._lock:
            total = self._run(f"SELECT count(*) {where}", bound).fetchone()[0]
            rows = self._run(
                f"SELECT certificate.* {where} ORDER BY certificate.id {order} LIMIT ?4 OFFSET ?5",
                (*bound, size, offset),
            ).fetchall()
        return total, [_certificate(row) for row in rows]

    def note_request(self, *, method: str, path: str, key_name: str, answered: int | None) -> None:
        """Keep that a request came, and what became of it."""
        values = {
            "at": self._clock(),
            "method": method,
            "path": path,
            "key_name": key_name,
            "answered": answered,
        }
        self._insert("request", values)

    def requests(self) -> list[Request]:
        """Return every request, in the order they were answered."""
        return [Request(**dict(row)) for row in self._run("SELECT * FROM request ORDER BY id")]

    def _insert(self, table: str, values: dict[str, Any], *, verb: str = "INSERT") -> int:
        names = ", ".join(values)
        marks = ", ".join("?" * len(values))
        done = self._run(f"{verb} INTO {table} ({names}) VALUES ({marks})", tuple(values.values()))
        return done.lastrowid or 0

    def _run(self, statement: str, values: Sequence[Any] = ()) -> sqlite3.Cursor:
        with self._lock:
            return self._database.execute(statement, values)


def _certification(row: sqlite3.Row) -> Certification:
    return Certification(
        id=row["id"],
        name=row["name"],
        description=row["description"],
        requires_valid_until=bool(row["requires_valid_until"]),
        verified=bool(row["verified"]),
    )


def _certificate(row: sqlite3.Row) -> StoredCertificate:
    return StoredCertificate(**{one.name: row[one.name] for one in fields(StoredCertificate)})
