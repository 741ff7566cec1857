"""Errors as one line with the remedy: no traceback, no SQL statement, no parameters."""

from __future__ import annotations

from airflow.sdk.exceptions import AirflowException, AirflowRuntimeError
from sqlalchemy.exc import DBAPIError, SQLAlchemyError

from springest.errors import SpringestError
from springest.redaction import Redactor


def in_one_line(error: BaseException) -> str:
    """Return an error's message, redacted and on one line."""
    if isinstance(error, SpringestError):
        return str(error)
    if isinstance(error, DBAPIError):
        lines = str(error.orig).strip().splitlines() or [type(error).__name__]
        return f"the database refused: {Redactor().redact(lines[0])}"
    if isinstance(error, SQLAlchemyError):
        return f"the database failed: {type(error).__name__}"
    if isinstance(error, AirflowException | AirflowRuntimeError):
        return f"Airflow: {_first_line(error)}"
    if isinstance(error, OSError):
        return f"{error.strerror or type(error).__name__}{f': {error.filename}' if error.filename else ''}"
    return f"unexpected error ({type(error).__name__}): please report it"


def _first_line(error: BaseException) -> str:
    lines = str(error).strip().splitlines()
    return Redactor().redact(lines[0]) if lines else type(error).__name__
