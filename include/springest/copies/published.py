"""What a site has published, as one snapshot of the warehouse, and how a copy differs from it."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final

from sqlalchemy import Connection, Engine, text

from springest.db.locks import Lock, lock_key
from springest.db.statements import listed, load_sql

CURRENT: Final = "certificate_reconciliation"
HISTORY: Final = "certificate_reconciliation_history"
_LOCK: Final = text(f"SELECT pg_advisory_lock({lock_key(Lock.COPY, ':site')})")
_TABLES: Final = text(load_sql("copies/working_tables"))
_COLUMNS: Final = text(load_sql("copies/columns"))
_FRESHNESS: Final = text(load_sql("copies/freshness"))
_FIND_DIFFERENCES: Final = text(load_sql("copies/find_differences"))
_CHECKSUM: Final = text("SELECT count(*), COALESCE(sum(row_hash), 0) FROM pg_temp.published")
_COUNT_DIFFERENCES: Final = text(
    "SELECT count(*) FILTER (WHERE NOT is_removed), count(*) FILTER (WHERE is_removed)"
    " FROM pg_temp.difference"
)
_REMOVED: Final = text("SELECT row_id FROM pg_temp.difference WHERE is_removed")
_STREAMED: Final[dict[str, Any]] = {"stream_results": True, "yield_per": 1_000}


@dataclass(frozen=True, slots=True)
class ColumnOf:
    """
    A column of what is copied.

    :param kind: its type, as ``information_schema`` names it.
    :param length: limit of a text.
    """

    name: str
    kind: str
    length: int | None = None


@dataclass(frozen=True, slots=True)
class Checksum:
    """Number of rows, and the sum of their hashes."""

    rows: int
    total: int


@dataclass(frozen=True, slots=True)
class Freshness:
    """
    Times that most rows of a site share.

    :param reconciled_at: when the verdicts were last published; ``None`` if there are none.
    :param shared_seen_at: the ``last_seen_at`` of most certificates.
    """

    reconciled_at: datetime | None
    shared_seen_at: datetime | None


_ADDED: Final = (
    ColumnOf("last_seen_at", "timestamp with time zone"),
    ColumnOf("shares_last_seen", "boolean"),
)
"""Columns that say when a certificate was last seen: itself, or with most others."""
_FRESH: Final = ("last_seen_at", "reconciled_at")


class Published:
    """
    A site's published versions, in one snapshot of the warehouse.

    :param connection: in a transaction with REPEATABLE READ, which ends with this object.
    """

    def __init__(self, connection: Connection, site: str) -> None:
        self._connection = connection
        self.site = site
        found = connection.execute(_COLUMNS).all()
        self.views: Mapping[str, Sequence[ColumnOf]] = {
            view: [ColumnOf(*row[1:]) for row in found if row[0] == view] for view in (CURRENT, HISTORY)
        }
        in_history = {column.name for column in self.views[HISTORY]}
        explanatory = [column for column in self.views[CURRENT] if column.name not in {*in_history, *_FRESH}]
        self.columns = (ColumnOf("row_id", "text", 32), *self.views[HISTORY], *explanatory, *_ADDED)
        """Columns of a copied row: its key, the version, and the explanation of a current one."""
        explained = listed((column.name for column in explanatory), of="explained")
        self._versions = load_sql("copies/versions", explanatory=explained)
        self.freshness = Freshness(*connection.execute(_FRESHNESS, {"site": site}).one())
        self._values = {"site": site, "shared_seen_at": self.freshness.shared_seen_at}
        connection.execute(_TABLES)
        self._run(
            f"INSERT INTO pg_temp.published SELECT row_id, {_hash('version')}"  # noqa: S608
            f" FROM ({self._versions}) AS version"
        )

    def _run(self, statement: str) -> None:
        self._connection.execute(text(statement), self._values)

    @property
    def checksum(self) -> Checksum:
        """Checksum of all versions."""
        rows, total = self._connection.execute(_CHECKSUM).one()
        return Checksum(int(rows), int(total))

    def compare_hashes(self, copied: Iterable[Sequence[Any]]) -> tuple[int, int]:
        """
        Compare with a copy by the hashes that it stores.

        :param copied: ``row_id`` and ``row_hash`` of each row.
        :returns: numbers of rows to write and to remove.
        """
        self._fill("copied", ["row_id", "row_hash"], copied)
        return self._compare()

    def compare_values(self, copied: Iterable[Sequence[Any]]) -> tuple[int, int]:
        """
        Compare with a copy by its values; a hash that does not fit its row counts as a difference.

        :param copied: ``columns`` and ``row_hash`` of each row.
        :returns: numbers of rows to write and to remove.
        """
        self._run(f"CREATE TEMP TABLE whole ON COMMIT DROP AS {self._versions} LIMIT 0")
        self._run("ALTER TABLE pg_temp.whole ADD COLUMN row_hash bigint")
        self._fill("whole", [*(column.name for column in self.columns), "row_hash"], copied)
        self._run(
            "INSERT INTO pg_temp.copied"  # noqa: S608
            f" SELECT row_id, CASE WHEN row_hash = {_hash('whole')} THEN row_hash END"
            " FROM pg_temp.whole"
        )
        return self._compare()

    def _fill(self, table: str, columns: Sequence[str], rows: Iterable[Sequence[Any]]) -> None:
        driver = self._connection.connection.driver_connection
        assert driver is not None  # noqa: S101 - a connection in use has one
        into = f"COPY pg_temp.{table} ({listed(columns)}) FROM STDIN"
        with driver.cursor() as cursor, cursor.copy(into) as copy:
            for row in rows:
                copy.write_row(row)

    def _compare(self) -> tuple[int, int]:
        self._connection.execute(_FIND_DIFFERENCES)
        to_write, to_remove = self._connection.execute(_COUNT_DIFFERENCES).one()
        return int(to_write), int(to_remove)

    def differences(self) -> Iterator[dict[str, Any]]:
        """Return the rows to write and those to remove, with ``row_hash`` and ``is_removed``."""
        changed = text(
            f"SELECT version.*, {_hash('version')} AS row_hash, false AS is_removed"  # noqa: S608
            f" FROM ({self._versions}) AS version JOIN pg_temp.difference USING (row_id)"
            " WHERE NOT difference.is_removed"
        )
        for row in self._connection.execute(changed, self._values, execution_options=_STREAMED):
            yield dict(row._mapping)  # noqa: SLF001 - the documented way to a dictionary
        for (row_id,) in self._connection.execute(_REMOVED, execution_options=_STREAMED):
            yield {"row_id": row_id, "site": self.site, "row_hash": 0, "is_removed": True}


def _hash(row: str) -> str:
    """
    Return the SQL of a row's hash.

    Columns without a value do not count, so a column that is added empty changes no row. 44 bits: no database
    overflows when it adds up half a million of them.
    """
    return f"hashtextextended(jsonb_strip_nulls(to_jsonb({row}) - 'row_hash')::text, 0) & 17592186044415"


@contextmanager
def published(engine: Engine, site: str) -> Iterator[Published]:
    """
    Yield a site's published versions. One copy of a site runs at a time.

    :raises WarehouseLocked: another one still ran after the lock time-out.
    """
    with (
        engine.connect().execution_options(isolation_level="AUTOCOMMIT") as locked,
        engine.connect().execution_options(isolation_level="REPEATABLE READ") as connection,
    ):
        # Before the snapshot, which would otherwise be older than what the other copy wrote.
        locked.execute(_LOCK, {"site": site})
        try:
            with connection.begin():
                yield Published(connection, site)
        finally:
            locked.invalidate()  # the lock ends with its session
