"""Read the source database, which may be any SQL database with an SQLAlchemy dialect.

A row that can't be read does not affect others. Values without a Python type are returned as text
(``drivers``). If the database or the driver still refuses a row, the window is read again by training ids,
halving the list until the row is found. That row has an ``UnreadableValue`` in each refused column, and the
contract sets it aside: no row is lost, and the count remains that of the source.
"""

from __future__ import annotations

import logging
import re
import time
from collections.abc import Generator, Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from typing import Any, Final

from sqlalchemy import Connection, Engine, Executable, Select, column

from springest.db.engines import snapshot_isolation
from springest.errors import SourceError, UnreadableRows
from springest.source.contract import SOURCE, check_columns
from springest.source.drivers import read_leniently
from springest.source.query import TrainingQuery
from springest.source.refusal import MOST_UNREADABLE, own_errors, stop_at_too_many
from springest.source.values import EARLIEST, LATEST, WITHOUT_TRAINING_ID, UnreadableValue, identifier
from springest.source.window import Bounds, Window, counted

log = logging.getLogger(__name__)

Row = dict[str, Any]

BATCH_ROWS: Final = 1_000
LOOKUP_IDS: Final = 1_000
"""Trainings looked up by one statement; Oracle allows no longer list, other databases do."""
SLOW_LOOKUP_SECONDS: Final = 2.0
_KEEPS_CURSORS: Final = "postgresql"
"""In this dialect a failed statement aborts its transaction unless it has a savepoint; cursors survive it."""
_NUMBER: Final = re.compile(r"-?[0-9]+")
_UNTYPED: Final = "sqlite"
"""In this dialect an expression has no type, so that ``'7'`` and ``7`` differ without an error."""


_EVER: Final = Window(EARLIEST, LATEST).bounds


class SourceReader:
    """Reads completed trainings.

    :param engine: engine of the source; disposed of by its owner.
    :param query: the text of ``include/sql/completed_trainings.sql`` or the user's own.
    :param parameters: values of its further bound parameters, by name.
    :param name: name of the source, which the ledger records.
    :raises ConfigurationError: the query lacks a parameter.
    """

    def __init__(
        self,
        engine: Engine,
        *,
        query: str,
        parameters: Mapping[str, Any] | None = None,
        name: str | None = None,
    ) -> None:
        self._engine = engine
        self._query = TrainingQuery(query, parameters)
        self._name = name

    @property
    def names(self) -> frozenset[str]:
        """Name of the source, if it has one."""
        return frozenset({self._name} if self._name else ())

    @contextmanager
    def open_window(
        self, window: Window, *, by_training: bool = False
    ) -> Iterator[tuple[int, Iterator[list[Row]]]]:
        """Yield the source's own count of the window, and its rows in batches, from one snapshot of the data.

        :param by_training: find the unreadable rows, after ``UnreadableRows``. If the database keeps no
            cursor open during other statements, the ids of the window's trainings are held in memory.
        :raises UnreadableRows: at least one row can't be read; not raised ``by_training``.
        :raises SourceError: more than ``MOST_UNREADABLE`` rows can't be read, the query fails, or it returns
            another number of rows than it counts.
        :raises ConfigurationError: it lacks a column of the contract.
        """
        with self._connection() as connection:
            count = self._count(connection, window)
            read = self._by_training if by_training else self._all
            with closing(counted(read(connection, window.bounds), count)) as batches:
                yield count, map(self._named, batches)

    def count(self, window: Window) -> int:
        """Return the number of rows that the source has in a window.

        :raises SourceError: the query fails.
        """
        with self._connection() as connection:
            return self._count(connection, window)

    def _count(self, connection: Connection, window: Window) -> int:
        with self._own_errors():
            return int(connection.execute(self._query.count, window.bounds).scalar_one())

    def look_up(self, training_ids: Sequence[str], *, thoroughly: bool = True) -> list[Row]:
        """Return the rows that the source now has for these trainings, whenever they last changed.

        An id that the source can't compare with its own ids counts as not found.

        :param thoroughly: compare all ids that are not found as text as well. Otherwise, since most ids are
            expected to be another source's, only if the source's own type can't represent one of them.
        """
        found: list[Row] = []
        with self._connection() as connection:
            for start in range(0, len(training_ids), LOOKUP_IDS):
                ids = training_ids[start : start + LOOKUP_IDS]
                found.extend(self._find(connection, ids, thoroughly=thoroughly))
        return self._named(found)

    def _named(self, rows: Sequence[Row]) -> list[Row]:
        return [{**row, SOURCE: self._name} for row in rows]

    def not_found_again(self, window: Window) -> list[str]:
        """Return trainings among the window's first ones that the source does not find by their id.

        Both queries use one snapshot of the data, if the source supports it.
        """
        with self._connection() as connection:
            with self._own_errors(of_rows=True):
                result = self._stream(connection, self._query.training_ids, window.bounds)
                with closing(result):
                    first = [identifier(value) for value in result.scalars().fetchmany(LOOKUP_IDS)]
            names = sorted({name for name in first if name is not None})
            found = {identifier(row["training_id"]) for row in self._find(connection, names)}
        return [name for name in names if name not in found]

    @contextmanager
    def _connection(self) -> Iterator[Connection]:
        with self._own_errors():
            connection = self._engine.connect()
        with connection:
            with self._own_errors():
                read_leniently(connection)
                isolation = snapshot_isolation(connection)
                if isolation:
                    connection.execution_options(isolation_level=isolation)
            yield connection

    @contextmanager
    def _own_errors(self, *, of_rows: bool = False, brief: bool = False) -> Iterator[None]:
        with own_errors(self._query.sql, of_rows=of_rows, brief=brief):
            yield

    @staticmethod
    def _stream(connection: Connection, statement: Executable, bounds: Bounds) -> Any:
        return connection.execute(statement, bounds, execution_options={"stream_results": True})

    def _all(self, connection: Connection, bounds: Bounds) -> Generator[list[Row], None, None]:
        """Yield the rows in the query's order."""
        with self._own_errors(of_rows=True):
            result = self._stream(connection, self._query.rows, bounds)
        with closing(result):
            check_columns(result.keys())
            partitions = result.mappings().partitions(BATCH_ROWS)
            while True:
                with self._own_errors(of_rows=True):
                    batch = next(partitions, None)
                if batch is None:
                    return
                yield [_lower(row) for row in batch]

    def _by_training(self, connection: Connection, bounds: Bounds) -> Generator[list[Row], None, None]:
        """Yield the rows training by training, and unreadable ones with the cause."""
        streams = connection.dialect.name == _KEEPS_CURSORS
        with self._own_errors():
            listed = connection.execute(
                self._query.groups, bounds, execution_options={"stream_results": streams}
            )
        unreadable: list[Row] = []
        with closing(listed):
            while groups := self._next_groups(listed):
                refused: list[Any] = []
                ids = [number for number, _ in groups if number is not None]
                rows = self._rows(connection, ids, bounds, refused)
                single = [row for number in refused for row in self._piecewise(connection, number, bounds)]
                unreadable.extend(single)
                stop_at_too_many(unreadable)
                without = sum(count for number, count in groups if number is None)
                yield [*rows, *single, *self._without_id(connection, without, bounds)]

    def _next_groups(self, listed: Any) -> Sequence[Any]:
        with self._own_errors():
            groups: Sequence[Any] = listed.fetchmany(LOOKUP_IDS)
        return groups

    def _without_id(self, connection: Connection, count: int, bounds: Bounds) -> list[Row]:
        if not count:
            return []
        rows, error = self._attempt(connection, self._query.without_id(), bounds)
        if rows is not None:
            return rows
        return [
            dict.fromkeys(self._columns(connection, bounds), UnreadableValue(error)) for _ in range(count)
        ]

    def _find(self, connection: Connection, ids: Sequence[str], *, thoroughly: bool = True) -> list[Row]:
        """Return the rows of these trainings, comparing ids with the source's own type, then as text.

        Comparing as text finds ids that the source can't compare otherwise: its ids are integers and one of
        ours is not, or an expression computes them and SQLite, which then has no type for them, does not
        equate ``'7'`` with ``7``.
        """
        began = time.monotonic()
        refused: list[Any] = []
        rows = self._rows(connection, ids, _EVER, refused, halve=thoroughly)
        numbers = [name for name in refused if _NUMBER.fullmatch(name)]
        if not thoroughly and 0 < len(numbers) < len(refused):
            # As text, the number 7 in a column with decimals is 7.00.
            refused = [name for name in refused if name not in set(numbers)]
            rows += self._rows(connection, numbers, _EVER, refused, halve=False)
        found = {identifier(row["training_id"]) for row in rows}
        compared_as_text = ids if thoroughly or connection.dialect.name == _UNTYPED else refused
        left = [name for name in compared_as_text if name not in found]
        rows += self._find_as_text(connection, left, thoroughly=thoroughly)
        found |= {identifier(row["training_id"]) for row in rows}
        not_comparable = [name for name in refused if name not in found]
        if thoroughly and not_comparable:
            log.warning(
                "The source can't compare these ids with its own, so it does not have them: %s",
                ", ".join(map(repr, not_comparable[:MOST_UNREADABLE])),
            )
        if (seconds := time.monotonic() - began) > SLOW_LOOKUP_SECONDS:
            log.warning(
                "Looking up %d trainings in the source%s took %.1f s: create an index on the column behind "
                "training_id",
                len(ids),
                f" {self._name}" if self._name else "",
                seconds,
            )
        return rows

    def _find_as_text(self, connection: Connection, ids: Sequence[str], *, thoroughly: bool) -> list[Row]:
        """Return the rows of these trainings, comparing ids as text.

        :raises SourceError: not ``thoroughly``, and the source refuses whatever the id is.
        """
        refused: list[Any] = []
        rows = self._rows(connection, ids, _EVER, refused, as_text=True, halve=thoroughly)
        if refused and not thoroughly:
            self._require_searchable(connection)
            return self._find_as_text(connection, ids, thoroughly=True)
        for name in refused:
            rows += self._piecewise(connection, name, _EVER, as_text=True)
        return rows

    def _require_searchable(self, connection: Connection) -> None:
        """Check that the source can look for an id that it does not have."""
        absent = self._query.with_ids([WITHOUT_TRAINING_ID], as_text=True)
        rows, error = self._attempt(connection, absent, _EVER)
        if rows is None:
            raise SourceError(
                f"the database refuses to look for any training_id ({error}): let the query return null "
                "where training_id or updated_at can't be computed"
            )

    def _rows(
        self,
        connection: Connection,
        ids: Sequence[Any],
        bounds: Bounds,
        refused: list[Any],
        *,
        as_text: bool = False,
        halve: bool = True,
    ) -> list[Row]:
        """Return the rows of these trainings; ids that the database refuses are added to ``refused``.

        :param halve: find the ids that are refused; otherwise all of them are, if the database refuses one.
        """
        if not ids:
            return []
        rows, _ = self._attempt(connection, self._query.with_ids(ids, as_text=as_text), bounds, brief=True)
        if rows is not None:
            return rows
        if len(ids) == 1 or not halve:
            refused.extend(ids)
            return []
        half = len(ids) // 2
        return [
            *self._rows(connection, ids[:half], bounds, refused, as_text=as_text),
            *self._rows(connection, ids[half:], bounds, refused, as_text=as_text),
        ]

    def _piecewise(
        self, connection: Connection, number: Any, bounds: Bounds, *, as_text: bool = False
    ) -> list[Row]:
        """Return the rows of a training that can't be read as a whole; value by value if it has one row."""

        def ask(name: str) -> tuple[list[Row] | None, str]:
            wanted = self._query.with_ids([number], as_text=as_text, selected=column(name))
            return self._attempt(connection, wanted, bounds)

        names = self._columns(connection, bounds)
        values: Row = {}
        numbers, _ = ask("training_id")
        issues, _ = ask("issue_no") if "issue_no" in names else (None, "")
        if numbers is None or len(numbers) == 1:
            for name in names:
                rows, error = ask(name)
                values[name] = rows[0][name] if rows else UnreadableValue(error)
            # As the source returns it: otherwise the row would differ between a window and a look-up.
            return [{**values, "training_id": numbers[0]["training_id"] if numbers else number}]
        return [
            {
                **dict.fromkeys(names, UnreadableValue("another row of the training can't be read")),
                "training_id": number,
                "issue_no": issue.get("issue_no"),
            }
            for issue in issues or numbers
        ]

    def _columns(self, connection: Connection, bounds: Bounds) -> list[str]:
        with self._own_errors(), closing(connection.execute(self._query.no_rows, bounds)) as result:
            return [name.lower() for name in result.keys()]  # noqa: SIM118 - a result is no dict

    def _attempt(
        self, connection: Connection, statement: Select[Any], bounds: Bounds, *, brief: bool = False
    ) -> tuple[list[Row] | None, str]:
        """Return the rows, or ``None`` and the reason why the database or the driver refuses."""
        savepoint = connection.begin_nested() if connection.dialect.name == _KEEPS_CURSORS else None
        try:
            with (
                self._own_errors(of_rows=True, brief=brief),
                closing(connection.execute(statement, bounds)) as result,
            ):
                rows = [_lower(row) for row in result.mappings()]
        except UnreadableRows as error:
            if savepoint is not None:
                savepoint.rollback()
            return None, error.cause
        if savepoint is not None:
            savepoint.commit()
        return rows, ""


def _lower(row: Any) -> Row:
    return {name.lower(): value for name, value in row.items()}
