"""The sandbox's data in SQLite; in a file, they survive a restart."""

from __future__ import annotations

import sqlite3
import threading
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, field, fields
from datetime import UTC, datetime
from typing import Any

FIRST_ID = 1001
"""Not 1, so that an id is not mistaken for a count, and a lower id can be given later."""

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
CREATE INDEX IF NOT EXISTS certificate_of ON certificate (certification_id, id);
CREATE TABLE IF NOT EXISTS request (
    id INTEGER PRIMARY KEY AUTOINCREMENT, at REAL NOT NULL, method TEXT NOT NULL, path TEXT NOT NULL,
    key_name TEXT NOT NULL, answered INTEGER, sha256 TEXT);
INSERT INTO sqlite_sequence SELECT 'certificate', 1000
 WHERE NOT EXISTS (SELECT 1 FROM sqlite_sequence WHERE name = 'certificate');
"""


@dataclass(frozen=True, slots=True)
class Certification:
    """A certification, created in Springest's admin and verified by Springest's employees."""

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
    """A certificate with its id and the time at which it was stored."""

    id: int = 0
    created_at: str = ""


@dataclass(frozen=True, slots=True)
class Request:
    """A received request.

    :param at: seconds since the epoch.
    :param key_name: name of its key: ``certificates``, ``certifications`` or ``none``.
    :param answered: status of the response; ``None`` if the connection was closed instead.
    :param sha256: hash of the document if the whole form was read; ``None`` otherwise.
    """

    id: int
    at: float
    method: str
    path: str
    key_name: str
    answered: int | None
    sha256: str | None = None


@dataclass(frozen=True, slots=True, eq=False)
class _Late:
    certificate: NewCertificate
    due: float | None


class Store:
    """A thread-safe store with one lock.

    :param path: file of the database, or ``:memory:``.
    :param clock: seconds since the epoch.
    """

    def __init__(self, path: str, *, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._lock = threading.RLock()
        self._database = sqlite3.connect(path, check_same_thread=False, isolation_level=None)
        self._database.row_factory = sqlite3.Row
        # Writes do not wait for the disk: only a crash of the machine may lose the last rows.
        self._run("PRAGMA journal_mode = WAL")
        self._run("PRAGMA synchronous = OFF")
        with self._lock:
            self._database.executescript(_SCHEMA)
            self._add_what_an_older_file_lacks()
        self._late: list[_Late] = []

    def _add_what_an_older_file_lacks(self) -> None:
        known = {row["name"] for row in self._database.execute("PRAGMA table_info(request)")}
        if "sha256" not in known:
            self._database.execute("ALTER TABLE request ADD COLUMN sha256 TEXT")

    def close(self) -> None:
        """Close the database."""
        with self._lock:
            self._database.close()

    def add_certification(self, certification: Certification) -> None:
        """Add a certification, or replace it."""
        self._insert("certification", asdict(certification), verb="INSERT OR REPLACE")

    def verify(self, certification_id: int, *, verified: bool = True) -> bool:
        """Verify a certification, as an employee would; return whether it exists."""
        changed = self._run(
            "UPDATE certification SET verified = ? WHERE id = ?", (int(verified), certification_id)
        )
        return changed.rowcount > 0

    def certification(self, certification_id: int) -> Certification | None:
        """Return a certification."""
        rows = self._run("SELECT * FROM certification WHERE id = ?", (certification_id,)).fetchall()
        return _certification(rows[0]) if rows else None

    def certifications(self, *, verified_only: bool = False) -> list[Certification]:
        """Return the certifications by their ids."""
        where = "WHERE verified" if verified_only else ""
        return [_certification(row) for row in self._run(f"SELECT * FROM certification {where} ORDER BY id")]  # noqa: S608

    def store(self, certificate: NewCertificate, *, lowest_id: bool = False) -> StoredCertificate:
        """Store a certificate and give it an id.

        :param lowest_id: with an id below all others, as if it had been there before.
        """
        with self._lock:
            self._settle()
            return self._store(certificate, at=self._clock(), lowest_id=lowest_id)

    def store_later(self, certificate: NewCertificate, *, after: float | None = None) -> None:
        """Store a certificate after some seconds, or at ``release``; a restart loses it."""
        with self._lock:
            self._late.append(_Late(certificate, None if after is None else self._clock() + after))

    def release(self) -> list[StoredCertificate]:
        """Store all certificates that are due later."""
        with self._lock:
            kept, self._late = self._late, []
            return [self._store(late.certificate, at=self._clock()) for late in kept]

    def certificates(self, *, size: int = -1, offset: int = 0) -> list[StoredCertificate]:
        """Return the stored certificates by id: all, or ``size`` of them from ``offset``."""
        with self._lock:
            self._settle()
            rows = self._run("SELECT * FROM certificate ORDER BY id LIMIT ? OFFSET ?", (size, offset))
            return [_certificate(row) for row in rows]

    def duplicates(self) -> int:
        """Return the number of duplicates: same learner, certification, first day and file."""
        with self._lock:
            self._settle()
            counted = self._run(
                "SELECT coalesce(sum(copies - 1), 0) FROM (SELECT count(*) AS copies FROM certificate"
                " GROUP BY lower(email), certification_id, valid_from, sha256)"
            )
            return int(counted.fetchone()[0])

    def forget(self) -> None:
        """Remove all certificates and requests; ids continue."""
        with self._lock:
            self._late.clear()
            self._run("DELETE FROM certificate")
            self._run("DELETE FROM request")

    def remove_certification(self, certification_id: int) -> None:
        """Remove a certification from the admin."""
        self._run("DELETE FROM certification WHERE id = ?", (certification_id,))

    def remove_certificate(self, certificate_id: int) -> bool:
        """Remove a certificate, as no customer could; return whether it existed."""
        return self._run("DELETE FROM certificate WHERE id = ?", (certificate_id,)).rowcount > 0

    def visible(
        self,
        *,
        size: int,
        offset: int,
        newest_first: bool,
        email: str | None = None,
        email_is_part: bool = False,
        certification_id: int | None = None,
        created_from: str | None = None,
    ) -> tuple[int, list[StoredCertificate]]:
        """Return the number of visible certificates, and one page of them.

        A certificate is visible if its certification is verified.

        :param email_is_part: match parts of addresses.
        """
        where = (
            "FROM certificate JOIN certification ON certification.id = certificate.certification_id"
            " WHERE certification.verified AND (?1 IS NULL OR lower(certificate.email) = lower(?1)"
            "      OR (?4 AND instr(lower(certificate.email), lower(?1)) > 0))"
            " AND (?2 IS NULL OR certificate.certification_id = ?2)"
            " AND (?3 IS NULL OR substr(certificate.created_at, 1, 10) >= ?3)"
        )
        bound = (email, certification_id, created_from, email_is_part)
        order = "DESC" if newest_first else "ASC"
        with self._lock:
            self._settle()
            total = self._run(f"SELECT count(*) {where}", bound).fetchone()[0]
            rows = self._run(
                f"SELECT certificate.* {where} ORDER BY certificate.id {order} LIMIT ?5 OFFSET ?6",
                (*bound, size, offset),
            ).fetchall()
        return total, [_certificate(row) for row in rows]

    def note_request(
        self, *, method: str, path: str, key_name: str, answered: int | None, sha256: str | None = None
    ) -> None:
        """Record a request and its response."""
        values = {
            "at": self._clock(),
            "method": method,
            "path": path,
            "key_name": key_name,
            "answered": answered,
            "sha256": sha256,
        }
        self._insert("request", values)

    def requests(self, *, size: int = -1, offset: int = 0) -> list[Request]:
        """Return the requests in the order of their responses: all, or ``size`` of them from ``offset``."""
        rows = self._run("SELECT * FROM request ORDER BY id LIMIT ? OFFSET ?", (size, offset))
        return [Request(**dict(row)) for row in rows]

    def _store(self, certificate: NewCertificate, *, at: float, lowest_id: bool = False) -> StoredCertificate:
        created_at = datetime.fromtimestamp(at, UTC).isoformat(timespec="seconds")
        values = {**asdict(certificate), "created_at": created_at}
        if lowest_id:
            first = self._run("SELECT min(id) FROM certificate").fetchone()[0]
            values["id"] = first - 1 if first else FIRST_ID
        number = self._insert("certificate", values)
        return StoredCertificate(**{**values, "id": number})

    def _settle(self) -> None:
        """Store the certificates that are due, with the time at which they were due."""
        if not self._late:
            return
        now = self._clock()
        due = [late for late in self._late if late.due is not None and late.due <= now]
        self._late = [late for late in self._late if late not in due]
        for late in sorted(due, key=lambda late: late.due or now):
            self._store(late.certificate, at=late.due or now)

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
    return StoredCertificate(**{item.name: row[item.name] for item in fields(StoredCertificate)})
