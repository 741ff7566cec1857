"""Read Airflow's connections and Variables. A missing or duplicate one is an error with its remedy.

Airflow also reports a connection or a Variable as missing if its API server or a secrets backend does not
respond. So a lookup is repeated before it counts as missing, and every backend must respond then, since that
error makes the task fail without a retry.
"""

from __future__ import annotations

import json
import logging
import time
from collections.abc import Callable, Iterable
from typing import Final, TypeVar

from airflow.sdk import BaseHook, Connection, Variable
from airflow.sdk.exceptions import AirflowNotFoundException
from airflow.sdk.log import mask_secret

from springest.errors import ConfigurationError
from springest_provider.secret_places import DATABASE, places_of_connection, places_of_variable

Found = TypeVar("Found")
WAITS_SECONDS: Final = (0.5, 1.5)
"""Waits before a missing value is looked up again."""


def read_connection(conn_id: str) -> Connection:
    """
    Return a connection.

    :raises ConfigurationError: there is none with this id.
    :raises SettingsUnreachable: a secrets backend, which may have it, does not respond.
    """

    def read() -> Connection | None:
        try:
            return BaseHook.get_connection(conn_id)
        except AirflowNotFoundException:
            return None

    found = _patiently(read)
    if found is None:
        places_of_connection(conn_id)
        raise ConfigurationError(
            f"the connection {conn_id} is not defined in Airflow: add it under Admin > Connections, or in "
            "your secrets backend"
        )
    return found


def read_variable(name: str) -> str | None:
    """
    Return a Variable, or ``None`` if there is none.

    Secrets backends that store JSON may have a list or a number there; it is returned as JSON.

    :raises SettingsUnreachable: a secrets backend, which may have it, does not respond.
    """
    found: object = _patiently(lambda: Variable.get(name, default=None))
    if found is None:
        places_of_variable(name)
        return None
    return found if isinstance(found, str) else json.dumps(found)


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
    :raises SettingsUnreachable: a secrets backend does not respond.
    """
    if copies := places_of_variable(name, but=DATABASE):
        raise ConfigurationError(
            f"there is a copy of the Variable {name} in {copies[0]}, which Airflow reads before its own "
            f"database: written values can't be read back. Remove the copy (AIRFLOW_VAR_{name.upper()} in an "
            "environment, or the entry in a backend): see 'A copy of the highest attempt' in "
            "docs/operations.md"
        )


def mask(texts: Iterable[str]) -> None:
    """
    Have Airflow mask these texts from now on.

    At DEBUG, Airflow logs the values to mask, so nothing is registered then. This project does not rely on
    masking: its own messages are already redacted.
    """
    if not logging.getLogger("airflow").isEnabledFor(logging.DEBUG):
        for text in texts:
            mask_secret(text)
