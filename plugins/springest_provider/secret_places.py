"""Where Airflow finds a connection or a Variable: the environment, a secrets backend, its own database."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any, Final

from springest.errors import SettingsUnreachable

DATABASE: Final = "Airflow's database"
ENVIRONMENT: Final = "the environment"
_NAMES: Final = {
    "EnvironmentVariablesBackend": ENVIRONMENT,
    "ExecutionAPISecretsBackend": DATABASE,
    "MetastoreBackend": DATABASE,
}


def places_of_connection(conn_id: str) -> list[str]:
    """
    Return every place that has a connection, in the order in which Airflow looks; only the first is read.

    :raises SettingsUnreachable: a place does not respond.
    """
    return [place for place, found in _look_up(lambda backend: backend.get_connection(conn_id)) if found]


def places_of_variable(name: str, *, but: str | None = None) -> list[str]:
    """
    Return every place that has a Variable, in the order in which Airflow looks; only the first is read.

    :param but: a place where it is not looked up.
    :raises SettingsUnreachable: a place does not respond.
    """
    found = _look_up(lambda backend: backend.get_variable(name), but=but)
    return [place for place, value in found if value is not None]


def _look_up(read: Callable[[Any], Any], *, but: str | None = None) -> Iterator[tuple[str, Any]]:
    from airflow.sdk.execution_time.supervisor import ensure_secrets_backend_loaded

    for backend in ensure_secrets_backend_loaded():
        kind = type(backend).__name__
        place = _NAMES.get(kind, kind)
        if place == but:
            continue
        try:
            yield place, read(backend)
        except Exception as error:  # noqa: BLE001 - each backend has its own errors, whose text may hold a token
            raise SettingsUnreachable(
                f"{place} does not respond ({type(error).__name__}), where Airflow looks for connections and "
                "Variables: check that this machine reaches it, and its settings in [secrets]"
            ) from None
