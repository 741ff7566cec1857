"""Messages about errors of the source contain class, code and names of the query, and never a value."""

from __future__ import annotations

import sqlite3
import traceback

import pytest
from psycopg import errors
from sqlalchemy.exc import DataError, DBAPIError, InternalError, OperationalError, ProgrammingError

from springest.errors import SourceError, UnreadableRows
from springest.source.refusal import described, own_errors

QUERY = "SELECT training_id, emial FROM training JOIN learner USING (number)"


class OdbcError(Exception):
    """As pyodbc has it: the state and the text as arguments."""


def wrapped(kind: type[DBAPIError], original: Exception, **params: str) -> DBAPIError:
    return kind("SELECT 1", params, original)


@pytest.mark.parametrize(
    ("error", "text"),
    [
        (
            wrapped(
                DataError, errors.InvalidTextRepresentation('invalid input for type bigint: "Zoë Canary"')
            ),
            "InvalidTextRepresentation (22P02): invalid input for type bigint",
        ),
        (
            wrapped(DataError, errors.InvalidTextRepresentation('invalid input: "emial" Canary"')),
            "InvalidTextRepresentation (22P02): invalid input",
        ),
        (
            wrapped(
                ProgrammingError, errors.UndefinedColumn('column "emial" does not exist\nLINE 1: Canary')
            ),
            'UndefinedColumn (42703): column "emial" does not exist',
        ),
        (
            wrapped(ProgrammingError, errors.UndefinedColumn('"learner" is there, "Canary" is not')),
            'UndefinedColumn (42703): "learner" is there,',
        ),
        (
            wrapped(
                OperationalError,
                sqlite3.OperationalError("Could not decode column 'emial' with text 'Canary"),
            ),
            "OperationalError: Could not decode column 'emial' with text",
        ),
        (wrapped(InternalError, errors.RaiseException("no such person: Canary")), "RaiseException (P0001)"),
        (
            wrapped(OperationalError, Exception(1292, "Truncated incorrect DOUBLE value: 'Canary'")),
            "Exception (1292): Truncated incorrect DOUBLE value",
        ),
        (
            wrapped(ProgrammingError, OdbcError("42S22", "[42S22] Invalid column name 'emial'. (207)")),
            "OdbcError (42S22): [42S22] Invalid column name 'emial'. (207)",
        ),
        (
            wrapped(
                OperationalError, Exception(245, b"Conversion failed of the value 'Canary' to int.\nDB-Lib")
            ),
            "Exception (245): Conversion failed of the value",
        ),
        (
            wrapped(
                OperationalError,
                Exception("cannot ask for Canary@example.com or a-canary"),
                learner="a-canary",
            ),
            "Exception: cannot ask for <address> or ***",
        ),
        (ValueError("year 20262 of Canary is out of range"), "ValueError"),
        (UnicodeDecodeError("utf-8", b"Canary\xff", 6, 7, "invalid start byte"), "UnicodeDecodeError"),
    ],
    ids=lambda value: value if isinstance(value, str) else type(value).__name__,
)
def test_a_refusal_names_class_code_and_columns_but_no_value(error: Exception, text: str) -> None:
    """The text about a refused row names the error class, its code and the query's own names, and no
    value.
    """
    assert described(error, QUERY) == text


@pytest.mark.parametrize("of_rows", [True, False])
def test_the_drivers_error_is_in_no_traceback(of_rows: bool) -> None:
    """The driver's error may quote values, so it is not chained."""
    canary = wrapped(DataError, errors.InvalidTextRepresentation('invalid: "Zoë Canary"'))
    with pytest.raises(SourceError) as caught, own_errors(QUERY, of_rows=of_rows):
        raise canary
    assert isinstance(caught.value, UnreadableRows) is of_rows
    assert "Canary" not in "".join(traceback.format_exception(caught.value))


def test_a_lost_connection_is_not_blamed_on_a_row() -> None:
    """A lost connection does not count as a refused row."""
    lost = OperationalError("SELECT 1", {}, errors.AdminShutdown("gone"), connection_invalidated=True)
    with pytest.raises(SourceError) as caught, own_errors(QUERY, of_rows=True):
        raise lost
    assert not isinstance(caught.value, UnreadableRows)
