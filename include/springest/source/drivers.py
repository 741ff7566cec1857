"""Make drivers return values that Python can't represent as text, instead of failing the whole batch.

PostgreSQL has ``infinity``, years after 9999 and years BC; SQLite stores any bytes as text. The contract then
checks the text and names the row and the column. The methods come from the drivers' documentation: psycopg 3,
*Handling infinity date*; psycopg2, *Type casting of SQL types into Python objects*; ``sqlite3``,
*How to handle non-UTF-8 text encodings*.
"""

from __future__ import annotations

from typing import Any, Final

from psycopg import DataError
from psycopg.abc import Buffer
from psycopg.adapt import Loader
from psycopg.postgres import types
from psycopg.pq import Format
from sqlalchemy import Connection

from springest.source.values import UnreadableValue

_TYPES: Final = ("date", "timestamp", "timestamptz", "time", "timetz", "interval", "json", "jsonb")


UNREADABLE: Final = "\x1funreadable: "
"""Begins a text in SQLite that replaces a value of a drop; the rest is why it can't be read."""


def read_leniently(connection: Connection) -> None:
    """Prepare a connection to the source; repeating it changes nothing."""
    driver: Any = connection.connection.driver_connection
    prepare = _PREPARE.get(connection.dialect.driver)
    if prepare is not None:
        prepare(driver)


class _LenientLoader(Loader):
    """A psycopg 3 loader that returns the text of values that it can't load."""

    exact: type[Loader]

    def __init__(self, oid: int, context: Any = None) -> None:
        super().__init__(oid, context)
        self._exact = self.exact(oid, context)

    def load(self, data: Buffer) -> Any:
        try:
            return self._exact.load(data)
        except (DataError, ValueError, OverflowError):
            return bytes(data).decode("utf-8", "surrogateescape")


def _psycopg(driver: Any) -> None:
    for name in _TYPES:
        oid = types[name].oid
        exact = driver.adapters.get_loader(oid, Format.TEXT)
        if exact is not None and not issubclass(exact, _LenientLoader):
            lenient = type(f"Lenient{exact.__name__}", (_LenientLoader,), {"exact": exact})
            driver.adapters.register_loader(oid, lenient)


def _psycopg2(driver: Any) -> None:
    from psycopg2 import Error, extensions  # type: ignore[import-untyped]  # it need not be installed

    def lenient(exact: Any) -> Any:
        def load(value: str | None, cursor: Any) -> Any:
            if value in {"infinity", "-infinity"}:  # psycopg2 would return Python's first or last day
                return value
            try:
                return exact(value, cursor)
            except (Error, ValueError, OverflowError):
                return value

        return extensions.new_type(exact.values, exact.name, load)

    for exact in (extensions.PYDATE, extensions.PYDATETIME, extensions.PYDATETIMETZ):
        extensions.register_type(lenient(exact), driver)


def _sqlite(driver: Any) -> None:
    def read(data: bytes) -> str | UnreadableValue:
        text = data.decode("utf-8", "surrogateescape")
        return UnreadableValue(text.removeprefix(UNREADABLE)) if text.startswith(UNREADABLE) else text

    driver.text_factory = read


_PREPARE: Final = {"psycopg": _psycopg, "psycopg2": _psycopg2, "pysqlite": _sqlite}
