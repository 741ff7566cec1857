"""Read the source database: any SQL database that SQLAlchemy has a dialect for.

The user's query is one SELECT with the bound parameters ``:window_start`` and ``:window_end``. It is run as
it stands, and wrapped as a subquery to count its rows and to look again at single trainings.
"""

from __future__ import annotations

from collections.abc import Generator, Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Final

from sqlalchemy import Connection, Engine, RowMapping, TextClause, bindparam, text
from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.types import NullType

from include.springest.engines import snapshot_isolation
from include.springest.errors import SpringestError
from include.springest.redaction import Redactor
from include.springest.source.contract import REQUIRED_COLUMNS

Row = dict[str, Any]

BATCH_ROWS: Final = 1_000
LOOKUP_IDS: Final = 500
_EVER: Final = (datetime(1900, 1, 1, tzinfo=UTC), datetime(9999, 12, 30, tzinfo=UTC))


class SourceError(SpringestError):
    """The source database or the query over it is not usable as it is."""


@dataclass(frozen=True, slots=True)
class Window:
    """A half-open interval on ``updated_at``: start inclusive, end exclusive, both with a time zone."""

    start: datetime
    end: datetime

    def __post_init__(self) -> None:
        if self.start.tzinfo is None or self.end.tzinfo is None:
            raise SourceError("a window of the source needs time zones at both ends")
        if self.end < self.start:
            raise SourceError(f"the window ends ({self.end}) before it starts ({self.start})")


class SourceReader:
    """Reads completed trainings.

    :param engine: engine of the source; disposed of by its owner.
    :param query: the text of ``include/sql/completed_trainings.sql`` or the user's own.
    """

    def __init__(self, engine: Engine, *, query: str) -> None:
        self._engine = engine
        self._query = query.strip().rstrip(";")
        for name in ("window_start", "window_end"):
            if f":{name}" not in self._query:
                raise SourceError(f"the query of completed trainings does not use the parameter :{name}")

    @contextmanager
    def open_window(self, window: Window) -> Iterator[tuple[int, Iterator[list[Row]]]]:
        """Give the source's own count of the window, and its rows in batches, from one snapshot of the data.

        The window is handed over in UTC: a source without a type for moments compares texts.

        :raises SourceError: the query fails or lacks a column of the contract.
        """
        with self._connection() as connection:
            count = self._count(connection, window)
            with closing(self._batches(connection, text(self._query), _bounds(window))) as batches:
                yield count, batches

    def count(self, window: Window) -> int:
        """Return how many rows the source has in a window.

        :raises SourceError: the query fails.
        """
        with self._connection() as connection:
            return self._count(connection, window)

    def _count(self, connection: Connection, window: Window) -> int:
        counting = f"SELECT COUNT(*) FROM (\n{self._query}\n) AS completed"  # noqa: S608 - his query
        with _own_errors():
            return int(connection.execute(text(counting), _bounds(window)).scalar_one())

    def look_up(self, training_ids: Sequence[str]) -> list[Row]:
        """Return the rows that the source has now for these trainings, whenever they last changed.

        The numbers are bound without a type, so that a source with integer keys compares them as its own.
        """
        statement = text(
            f"SELECT * FROM (\n{self._query}\n) AS completed WHERE completed.training_id IN :training_ids"  # noqa: S608
        ).bindparams(bindparam("training_ids", expanding=True, type_=NullType()))
        bounds = {"window_start": _EVER[0], "window_end": _EVER[1]}
        found: list[Row] = []
        with self._connection() as connection:
            for start in range(0, len(training_ids), LOOKUP_IDS):
                ids = list(training_ids[start : start + LOOKUP_IDS])
                for batch in self._batches(connection, statement, {**bounds, "training_ids": ids}):
                    found.extend(batch)
        return found

    @contextmanager
    def _connection(self) -> Iterator[Connection]:
        with _own_errors():
            connection = self._engine.connect()
        with connection:
            isolation = snapshot_isolation(connection)
            yield connection.execution_options(isolation_level=isolation) if isolation else connection

    def _batches(
        self, connection: Connection, statement: TextClause, values: Row
    ) -> Generator[list[Row], None, None]:
        with _own_errors():
            result = connection.execution_options(stream_results=True).execute(statement, values)
        with result:
            names = {name.lower() for name in result.keys()}  # noqa: SIM118 - a result is no dict
            missing = [name for name in REQUIRED_COLUMNS if name not in names]
            if missing:
                raise SourceError(f"the query of completed trainings lacks the columns {', '.join(missing)}")
            partitions = result.mappings().partitions(BATCH_ROWS)
            while (batch := _next(partitions)) is not None:
                yield [{name.lower(): value for name, value in row.items()} for row in batch]


def _bounds(window: Window) -> dict[str, datetime]:
    return {"window_start": window.start.astimezone(UTC), "window_end": window.end.astimezone(UTC)}


def _next(partitions: Iterator[Sequence[RowMapping]]) -> Sequence[RowMapping] | None:
    with _own_errors():
        return next(partitions, None)


@contextmanager
def _own_errors() -> Iterator[None]:
    """Turn what the source's driver raises into ``SourceError``, and nothing else's."""
    try:
        yield
    except SQLAlchemyError as error:
        raise SourceError(f"the source database refused: {_first_line(error)}") from None


def _first_line(error: SQLAlchemyError) -> str:
    """Return what the database said, without the statement, its parameters and any address in a value."""
    said = str(getattr(error, "orig", None) or "").strip() or type(error).__name__
    parameters = getattr(error, "params", None) or {}
    texts = parameters.values() if isinstance(parameters, Mapping) else _flattened(parameters)
    redactor = Redactor(text for text in texts if isinstance(text, str))
    return redactor.redact(said.splitlines()[0])


def _flattened(parameters: Any) -> Iterator[Any]:
    """Give single values out of positional parameters, of one statement or many."""
    for value in parameters:
        if isinstance(value, Mapping):
            yield from value.values()
        elif isinstance(value, list | tuple):
            yield from value
        else:
            yield value
