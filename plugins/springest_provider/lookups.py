"""Read Airflow's connections and Variables. A missing or duplicate one is an error with its remedy.

Airflow also reports a connection or a Variable as missing if its API server does not respond. So a lookup is
repeated before it counts as missing, since that error makes the task fail without a retry.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterable
from typing import Final, TypeVar

from airflow.sdk import BaseHook, Connection, Variable
from airflow.sdk.exceptions import AirflowNotFoundException
from airflow.sdk.log import mask_secret

from springest.errors import ConfigurationError

Found = TypeVar("Found")
WAITS_SECONDS: Final = (0.5, 1.5)
"""Waits before a missing value is looked up again."""


def read_connection(conn_id: str) -> Connection:
    """
    Return a connection.

    :raises ConfigurationError: there is none with this id.
    """

    def read() -> Connection | None:
        try:
            return BaseHook.get_connection(conn_id)
        except AirflowNotFoundException:
            return None

    found = _patiently(read)
    if found is None:
        raise ConfigurationError(
            f"the connection {conn_id} is not defined in Airflow: add it under Admin > Connections, or in "
            "your secrets backend"
        )
    return found


def read_variable(name: str) -> str | None:
    """Return a Variable, or ``None`` if there is none."""
    return _patiently(lambda: Variable.get(name, default=None))


def _patiently(read: Callable[[], Found | None]) -> Found | None:
    for seconds in WAITS_SECONDS:
        if (found := read()) is not None:
            return found
        time.sleep(seconds)
    return read()


def write_variable(name: str, value: str, *, description: str) -> None:
    """Write a Variable into Airflow's own database."""
    Variable.set(name, value, description=description)


def refuse_copy(name: str) -> None:
    """
    Make sure that a Variable is read from Airflow's own database, where it is written.

    :raises ConfigurationError: there is a copy in a place that Airflow reads first.
    """
    backend = _copy_of(name)
    if backend is not None:
        raise ConfigurationError(
            f"there is a copy of the Variable {name} in {backend}, which Airflow reads before its own "
            f"database: written values can't be read back. Remove the copy (AIRFLOW_VAR_{name.upper()} in an "
            "environment, or the entry in a backend): see 'A copy of the highest attempt' in "
            "docs/operations.md"
        )


def _copy_of(name: str) -> str | None:
    """Return the class name of the secrets backend that hides the Variable in Airflow's database."""
    from airflow.sdk.execution_time.supervisor import ensure_secrets_backend_loaded

    for backend in ensure_secrets_backend_loaded():
        kind = type(backend).__name__
        if kind not in _OF_AIRFLOW and backend.get_variable(key=name) is not None:
            return kind
    return None


_OF_AIRFLOW: Final = frozenset({"ExecutionAPISecretsBackend", "MetastoreBackend"})
"""Backends that read Airflow's own database."""


def mask(texts: Iterable[str]) -> None:
    """
    Have Airflow mask these texts from now on.

    At DEBUG, Airflow logs the values to mask, so nothing is registered then. This project does not rely on
    masking: its own messages are already redacted.
    """
    if not logging.getLogger("airflow").isEnabledFor(logging.DEBUG):
        for text in texts:
            mask_secret(text)
