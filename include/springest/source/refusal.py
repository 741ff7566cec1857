"""Safe descriptions of errors of the source's database, without any value of a row.

Databases and drivers quote the value that caused an error (``invalid input syntax for type bigint: "…"``). So
only the class of the error, its code (SQLSTATE, or the database's own) and the beginning of its text are
kept, up to the first quoted text that is not a name in the user's query.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any, Final

from sqlalchemy.exc import DataError, DBAPIError, OperationalError, ProgrammingError

from springest.errors import (
    SOURCE_REFUSED,
    SourceError,
    SourceQueryError,
    SpringestError,
    UnreadableRows,
)
from springest.redaction import Redactor
from springest.source.values import UnreadableValue, identifier

MOST_UNREADABLE: Final = 20
"""Rows of a window that the database may refuse; each costs about twenty statements."""
_QUOTE: Final = re.compile(r"""(?<!\w)["'`«„“\u2018](?P<name>[\w.]*)(?P<end>["'`»“”\u2019]?)""")
_CODE: Final = re.compile(r"\d{1,6}|[0-9A-Z]{5}")
_OF_THE_QUERY: Final = (OperationalError, ProgrammingError)
"""Errors about the query or the connection: their texts name tables and columns."""
_NEVER_RUNS: Final = re.compile(r"42[0-9A-Z]{3}|1054|1064|1142|1143|1146|207|208|229")
"""SQLSTATE class 42 (syntax error or access rule violation), and its equivalents in MySQL and SQL Server."""
_NEVER_RUN: Final = ("no such ", "near ", "ORA-00904", "ORA-00942")
"""The equivalents in SQLite and Oracle, as beginnings of the text."""
_PASSES: Final = re.compile(
    r"(?:08|40|53|55|57)[0-9A-Z]{3}|HYT0[01]|1205|1213|1222|1317|1969|3024|SQLITE_(?:BUSY|LOCKED)\w*"
)
"""Time-outs, locks and overload, which are not caused by a row: SQLSTATE classes, ODBC's time-outs, codes of
MySQL, MariaDB and SQL Server, and SQLite's names."""
_PASS: Final = ("ORA-00054", "ORA-00060", "ORA-01013", "ORA-01555", "DPY-4024")
"""The equivalents in Oracle and its driver, as beginnings of the text."""


@contextmanager
def own_errors(query: str, *, of_rows: bool = False, brief: bool = False) -> Iterator[None]:
    """Convert any exception of the source's database or driver into ``SourceError``.

    :param of_rows: rows are being read: raise ``UnreadableRows``, unless the connection is lost or the error
        means a time-out, a lock or overload.
    :param brief: leave out why a row is refused: describing it takes 0.1 s for a statement with 1,000 ids.
    """
    try:
        yield
    except SpringestError:
        raise
    except Exception as error:  # noqa: BLE001 - drivers may raise anything for a value without a Python type
        kind = UnreadableRows if of_rows and not _is_away(error) else _kind_of(error)
        is_brief = brief and kind is UnreadableRows
        cause = type(error).__name__ if is_brief else described(error, query)
        raise kind(SOURCE_REFUSED + cause) from None


def _is_away(error: Exception) -> bool:
    """Return whether the database is unavailable rather than refusing a row, so that none is set aside."""
    if isinstance(error, DBAPIError) and error.connection_invalidated:
        return True
    code, message = _code_and_text(getattr(error, "orig", None) or error)
    return _PASSES.fullmatch(code) is not None or message.startswith(_PASS)


def _kind_of(error: Exception) -> type[SourceError]:
    """Distinguish a query that can't run from a database that is unavailable and may return.

    A wrong password counts as the latter: a new one reaches the server, a pooler and Airflow at different
    times.
    """
    if not isinstance(error, DBAPIError):
        return SourceError
    code, message = _code_and_text(error.orig or error)
    is_wrong = _NEVER_RUNS.fullmatch(code) or message.startswith(_NEVER_RUN)
    return SourceQueryError if is_wrong else SourceError


def described(error: Exception, query: str) -> str:
    """Return the error's class, its code, and its text without values."""
    original = getattr(error, "orig", None) or error
    code, message = _code_and_text(original)
    name = type(original).__name__ + (f" ({code})" if code else "")
    if not isinstance(error, (DataError, *_OF_THE_QUERY)):  # such as errors raised by a trigger or a function
        return name
    shown = _without_values(message, query if isinstance(error, _OF_THE_QUERY) else "")
    shown = Redactor(_texts(error.params)).redact(shown)
    return f"{name}: {shown}" if shown else name


def _code_and_text(error: BaseException) -> tuple[str, str]:
    """Return the code and the first line of the text; drivers for MySQL and ODBC pass both as arguments."""
    names = ("sqlstate", "pgcode", "sqlite_errorname")
    code: Any = next((found for name in names if (found := getattr(error, name, None))), "")
    message: Any = str(error)
    if len(error.args) > 1 and _CODE.fullmatch(str(error.args[0])):
        code, message = code or error.args[0], error.args[1]
    message = message.decode("utf-8", "replace") if isinstance(message, bytes) else str(message)
    lines = message.strip().splitlines()
    return str(code), lines[0] if lines else ""


def _without_values(message: str, query: str) -> str:
    for quote in _QUOTE.finditer(message):
        name = quote["name"]
        if not name or not quote["end"] or not re.search(rf"\b{re.escape(name)}\b", query, re.IGNORECASE):
            return message[: quote.start()].rstrip(" :(")
    return message


def _texts(parameters: Any) -> Iterator[str]:
    """Yield the strings among a statement's parameters, at any depth."""
    if isinstance(parameters, str):
        yield parameters
    elif isinstance(parameters, Mapping):
        yield from _texts(list(parameters.values()))
    elif isinstance(parameters, list | tuple):
        for value in parameters:
            yield from _texts(value)


def stop_at_too_many(unreadable: Sequence[Mapping[str, Any]]) -> None:
    """Stop if the source refuses more rows than may be set aside.

    :raises SourceError: there are more than ``MOST_UNREADABLE``.
    """
    if len(unreadable) <= MOST_UNREADABLE:
        return
    values = [(name, value) for row in unreadable for name, value in row.items()]
    columns = sorted({name for name, value in values if isinstance(value, UnreadableValue)})
    errors = sorted({value.error for _, value in values if isinstance(value, UnreadableValue)})
    names = ", ".join(str(identifier(row["training_id"])) for row in unreadable[:3])
    raise SourceError(
        f"more than {MOST_UNREADABLE} completed trainings of the window can't be read, among them {names}, "
        f"because of {', '.join(columns)} ({'; '.join(errors[:3])}): correct them in the source, or "
        "return null instead"
    )
