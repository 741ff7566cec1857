"""
A copy in another warehouse, written with dlt.

dlt loads the changed rows into a staging data set, then replaces those of the copy in one transaction or,
where dlt has none, with one MERGE statement: readers see all changes of a copy or none of them.
"""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass, field
from datetime import datetime
from itertools import pairwise
from typing import Any, Final

from springest.copies.published import HISTORY, Checksum, ColumnOf, Freshness
from springest.errors import ConfigurationError, CopyFailed, SpringestError
from springest.redaction import Redactor

VERSIONS: Final = "certificate_version"
FRESHNESS: Final = "certificate_copy"
_PAGES: Final = "0123456789abcdefg"
"""A copy is read in parts, by the first character of ``row_id``, since some drivers hold a whole result."""
_MOMENT: Final[Mapping[str, Any]] = {"data_type": "timestamp", "timezone": True, "precision": 6}
_TYPES: Final[Mapping[str, Mapping[str, Any]]] = {
    "text": {"data_type": "text"},
    "character varying": {"data_type": "text"},
    "bigint": {"data_type": "bigint"},
    "integer": {"data_type": "bigint", "precision": 32},
    "boolean": {"data_type": "bool"},
    "date": {"data_type": "date"},
    "timestamp with time zone": _MOMENT,
}
_SETTINGS: Final = {
    "RUNTIME__DLTHUB_TELEMETRY": "false",
    "RUNTIME__LOG_LEVEL": "CRITICAL",
    "PROVIDERS__ENABLE_AIRFLOW_SECRETS": "false",
    "LOAD__TRUNCATE_STAGING_DATASET": "true",
    "SCHEMA__NAMING": "snake_case",
}
"""dlt reports nothing to anybody, looks up no Variable, and leaves no row in its staging data set."""
_HAVE_TRANSACTIONS: Final = frozenset({"duckdb", "postgres", "redshift", "snowflake", "sqlalchemy"})
_FOLDERS: Final = ("DLT_DATA_DIR", "DLT_PROJECT_DIR", "DLT_LOCAL_DIR")


@dataclass(frozen=True, slots=True)
class Destination:
    """
    Where a copy is written.

    :param name: its connection, for messages.
    :param kind: the destination of dlt, such as ``snowflake``.
    :param settings: arguments of that destination, with its credentials.
    :param dataset: schema, database or data set of the copy.
    """

    name: str
    kind: str
    settings: Mapping[str, Any] = field(repr=False)
    dataset: str = "springest"


def transactions_of(kind: str) -> dict[str, bool]:
    """
    Return the argument by which a destination puts a DELETE and an INSERT into one transaction.

    dlt 1.31 does so by default only where they are among DDL statements, and a copy's are not.
    """
    return {"supports_transactions": True} if kind in _HAVE_TRANSACTIONS else {}


@contextmanager
def open_target(destination: Destination, site: str) -> Iterator[Target]:
    """
    Yield the copy of a site.

    :raises ConfigurationError: dlt or the destination's driver is not installed.
    :raises CopyFailed: the destination does not respond, or refuses a statement.
    """
    with tempfile.TemporaryDirectory(prefix="springest-copy-") as folder, _settings(folder):
        try:
            import dlt
        except ModuleNotFoundError as error:
            raise ConfigurationError(
                f"copying needs the package dlt ({error.name} is missing): install the extra [copy]"
            ) from None
        with _failures(destination.name):
            made = getattr(dlt.destinations, destination.kind)(
                **destination.settings,
                **transactions_of(destination.kind),
                # Sites share the tables, and each stages its own rows.
                staging_dataset_name_layout=f"%s_staging_{site}",
            )
            pipeline = dlt.pipeline(
                f"springest_{site}",
                destination=made,
                dataset_name=destination.dataset,
                pipelines_dir=folder,
            )
        yield Target(dlt, pipeline, destination.name, site)


@contextmanager
def _settings(folder: str) -> Iterator[None]:
    """Have dlt keep its files in a folder, and read no other setting than this project's."""
    ours = {**_SETTINGS, **dict.fromkeys(_FOLDERS, folder)}
    before = {name: os.environ.get(name) for name in ours}
    os.environ.update(ours)
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                del os.environ[name]
            else:
                os.environ[name] = value


@contextmanager
def _failures(name: str) -> Iterator[None]:
    """Raise every error of dlt and of a driver as one of this project, without what may hold credentials."""
    from dlt.common.exceptions import MissingDependencyException

    try:
        yield
    except SpringestError:
        raise
    except MissingDependencyException as error:
        raise ConfigurationError(f"copying to {name}: {_reason(error)}") from None
    except Exception as error:  # noqa: BLE001 - each driver has its own errors
        raise CopyFailed(f"copying to {name}: {_reason(error)}") from None


def _reason(error: BaseException) -> str:
    """Return the first reason in one line: what the database itself said."""
    while error.__cause__ is not None:
        error = error.__cause__
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return Redactor().redact(f"{type(error).__name__}: {lines[0] if lines else 'no message'}")


class Target:
    """
    The copy of one site.

    :param pipeline: of dlt, with an empty folder.
    :param name: the connection, for messages.
    """

    def __init__(self, dlt: Any, pipeline: Any, name: str, site: str) -> None:
        self._dlt = dlt
        self._pipeline = pipeline
        self._name = name
        self._site = site
        with self._client() as client:
            self._prepare(client)
            has_transactions = client.capabilities.supports_transactions
        self._disposition = {
            "disposition": "merge",
            "strategy": "delete-insert" if has_transactions else "upsert",
            "deduplicated": True,
        }

    @contextmanager
    def _client(self) -> Iterator[Any]:
        with _failures(self._name), self._pipeline.sql_client() as client:
            yield client

    def _stored(self, table: str) -> set[str]:
        """Return the columns of a table or a view of the copy; none if it is not there."""
        with _failures(self._name), self._pipeline.destination_client() as client:
            _, columns = client.get_storage_table(table)
        return {column.lower() for column in columns}

    def _prepare(self, client: Any) -> None:
        """Create the databases of MySQL with a character set that can store every name."""
        if getattr(client, "dialect_name", None) not in {"mysql", "mariadb"}:
            return
        with client.with_staging_dataset():
            names = [client.dataset_name]
        for name in (client.dataset_name, *names):
            client.execute_sql(
                f"CREATE DATABASE IF NOT EXISTS `{name}` CHARACTER SET utf8mb4 COLLATE utf8mb4_bin"
            )
            [(charset,)] = client.execute_sql(
                "SELECT default_character_set_name FROM information_schema.schemata"  # noqa: S608
                f" WHERE schema_name = '{name}'"
            )
            if charset != "utf8mb4":
                raise ConfigurationError(
                    f"the database {name} is in {charset} and can't store every name: create it with "
                    "CHARACTER SET utf8mb4 COLLATE utf8mb4_bin"
                )

    def checksum(self) -> Checksum:
        """Return the checksum of the hashes that the copy stores."""
        [(rows, total), *_] = [
            *self._select("COUNT(*), SUM(CAST({row_hash} AS DECIMAL(29, 0)))", ["row_hash"]),
            (0, 0),
        ]
        return Checksum(int(rows), int(total or 0))

    def rows(self, columns: Sequence[str]) -> Iterator[Sequence[Any]]:
        """Return these columns of every row; a moment without a time zone is in UTC."""
        selected = ", ".join(f"{{{column}}}" for column in columns)
        for first, after in pairwise(_PAGES):
            page = f"{{row_id}} >= '{first}' AND {{row_id}} < '{after}'"
            yield from self._select(selected, [*columns, "row_id"], page)

    def _select(self, selected: str, columns: Sequence[str], where: str = "1 = 1") -> Sequence[Any]:
        """
        Query the rows of the site; there are none before the first copy.

        :param selected: with the names of ``columns`` in braces, as ``where``; one that the copy lacks is
            null.
        """
        if not (stored := self._stored(VERSIONS)):
            return ()
        with self._client() as client:
            names = {
                name: client.escape_column_name(name) if name in stored else "NULL"
                for name in (*columns, "site")
            }
            statement = (
                f"SELECT {selected} FROM {client.make_qualified_table_name(VERSIONS)}"  # noqa: S608
                f" WHERE {{site}} = '{self._site}' AND {where}"
            )
            found: Sequence[Any] = client.execute_sql(statement.format(**names))
            return found

    def merge(self, rows: Iterable[Mapping[str, Any]], columns: Sequence[ColumnOf]) -> None:
        """Write and remove rows, all at once."""
        hints = {column.name: _hints(column) for column in columns}
        hints["row_id"] |= {"nullable": False, "primary_key": True}
        hints["row_hash"] = {"data_type": "bigint", "nullable": False}
        hints["is_removed"] = {"data_type": "bool", "hard_delete": True}
        self._load(VERSIONS, rows, hints)

    def write_freshness(self, freshness: Freshness, copied_at: datetime) -> None:
        """Record how fresh the rows are."""
        hints = {name: dict(_MOMENT) for name in ("reconciled_at", "shared_seen_at", "copied_at")}
        hints["site"] = {"data_type": "text", "precision": 60, "nullable": False, "primary_key": True}
        row = {
            "site": self._site,
            "reconciled_at": freshness.reconciled_at,
            "shared_seen_at": freshness.shared_seen_at,
            "copied_at": copied_at,
        }
        self._load(FRESHNESS, [row], hints)

    def _load(self, table: str, rows: Iterable[Mapping[str, Any]], hints: Mapping[str, Any]) -> None:
        resource = self._dlt.resource(
            iter(rows),
            name=table,
            columns=hints,
            write_disposition=self._disposition,
            max_table_nesting=0,
            # A column that changed its type would otherwise become two.
            schema_contract={"tables": "evolve", "columns": "evolve", "data_type": "freeze"},
        )
        with _failures(self._name):
            self._notice_dropped(table)
            self._pipeline.run(resource)

    def _notice_dropped(self, table: str) -> None:
        """Have dlt look for the tables again if this one was dropped: it trusts its own record of them."""
        with self._pipeline.destination_client() as client:
            for place in (nullcontext, client.with_staging_dataset):
                with place():
                    (is_there, _), (has_record, _) = map(client.get_storage_table, (table, "_dlt_version"))
                    if has_record and not is_there:
                        record = client.sql_client.make_qualified_table_name("_dlt_version")
                        client.sql_client.execute_sql(f"DELETE FROM {record} WHERE 1 = 1")  # noqa: S608

    def show(self, views: Mapping[str, Sequence[ColumnOf]]) -> None:
        """Create the views that analysts know, unless they are there with the same columns."""
        for view, columns in views.items():
            if self._stored(view) == {column.name for column in columns} or not self._stored(VERSIONS):
                continue
            with self._client() as client:
                query = _view_query(client, view, columns)
                client.execute_sql(
                    f"CREATE OR REPLACE VIEW {client.make_qualified_table_name(view)} AS {query}"
                )


def _view_query(client: Any, view: str, columns: Sequence[ColumnOf]) -> str:
    """Return the query of a view, in the columns and the order of the warehouse's own."""
    quote = client.escape_column_name
    expressions = {
        "last_seen_at": (
            f"CASE WHEN v.{quote('shares_last_seen')} THEN c.{quote('shared_seen_at')}"
            f" ELSE v.{quote('last_seen_at')} END"
        ),
        "reconciled_at": f"c.{quote('reconciled_at')}",
    }
    selected = ", ".join(
        f"{expressions.get(column.name, f'v.{quote(column.name)}')} AS {quote(column.name)}"
        for column in columns
    )
    query = f"SELECT {selected} FROM {client.make_qualified_table_name(VERSIONS)} v"  # noqa: S608
    if view == HISTORY:
        return query
    fresh, site = client.make_qualified_table_name(FRESHNESS), quote("site")
    return f"{query} JOIN {fresh} c ON c.{site} = v.{site} WHERE v.{quote('is_current')}"


def _hints(column: ColumnOf) -> dict[str, Any]:
    """
    Return dlt's description of a column.

    :raises ConfigurationError: its type has no equivalent.
    """
    if column.kind not in _TYPES:
        raise ConfigurationError(
            f"the column {column.name} is of type {column.kind}, which can't be copied: the view must give "
            f"it one of {', '.join(_TYPES)}"
        )
    return {**_TYPES[column.kind], **({"precision": column.length} if column.length else {})}
