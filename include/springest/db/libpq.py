"""Options of a PostgreSQL connection: each one is applied, or refused by name.

Airflow's own ``PostgresHook.get_sqlalchemy_engine`` ignores extras, including ``sslmode``.
"""

from __future__ import annotations

import re
import shlex
from collections.abc import Mapping
from typing import Any, Final

from psycopg.pq import Conninfo
from sqlalchemy import URL

from springest.errors import ConfigurationError

OUTPUT: Final = {"timezone": "UTC", "datestyle": "ISO", "intervalstyle": "postgres"}
WAREHOUSE: Final = {"default_transaction_isolation": "read committed", **OUTPUT}
_FIXED: Final = {**WAREHOUSE, "client_encoding": "UTF8", "synchronous_commit": "on"}
"""Settings that ``options`` may not change."""
_OWN_FIELDS: Final = {
    "host": "Host",
    "port": "Port",
    "user": "Login",
    "password": "Password",
    "dbname": "Database (schema)",
}
_OF_AIRFLOW: Final = frozenset({"cursor"})
"""Extras that only concern Airflow's own hooks; this project reads rows with SQLAlchemy."""
_LIBPQ: Final = frozenset(option.keyword.decode() for option in Conninfo.get_defaults())
_NAME: Final = re.compile(r"[a-z_][a-z0-9_.]*")


def postgresql_url(
    conn_id: str,
    *,
    host: str | None,
    port: int | None,
    login: str | None,
    password: str | None,
    database: str | None,
    extra: Mapping[str, Any],
) -> URL:
    """Return the URL of a PostgreSQL connection with every libpq option that its extra sets.

    :param conn_id: id of the Airflow connection, for messages.
    :param extra: libpq options by keyword, and ``cursor``, which has no effect here. Empty values are unset.
    :raises ConfigurationError: an extra is unknown, of the wrong kind, or contradicts what is always set.
    """
    query: dict[str, str] = {}
    for name, value in extra.items():
        if value in (None, "") or name in _OF_AIRFLOW:
            continue
        query[name] = _libpq_option(conn_id, name, value)
    session_options(query.get("options", ""), conn_id=conn_id)
    return URL.create(
        "postgresql+psycopg",
        username=login or None,
        password=password or None,
        host=host or None,
        port=port,
        database=database or None,
        query=query,
    )


def _libpq_option(conn_id: str, name: str, value: Any) -> str:
    if name in _OWN_FIELDS:
        raise ConfigurationError(
            f"the extra {name!r} of the connection {conn_id} belongs into its field {_OWN_FIELDS[name]}"
        )
    if name not in _LIBPQ:
        raise ConfigurationError(
            f"the connection {conn_id} has an extra {name!r}, which is no option of libpq: remove it. "
            'Session settings are written as {"options": "-c lock_timeout=5min"}; tokens in place of '
            "a password are not supported"
        )
    if isinstance(value, bool):
        return str(int(value))
    if not isinstance(value, str | int):
        raise ConfigurationError(f"the extra {name!r} of the connection {conn_id} must be text or a number")
    if name == "client_encoding" and re.sub(r"[^a-z0-9]", "", str(value).lower()) != "utf8":
        raise ConfigurationError(
            f"the extra 'client_encoding' of the connection {conn_id} must be UTF8: others lose letters"
        )
    return str(value)


def session_options(options: str, *, conn_id: str = "") -> dict[str, str]:
    """Return the session settings in libpq's ``options``, such as ``-c lock_timeout=5min``.

    :raises ConfigurationError: it can't be parsed, or changes a fixed setting.
    """
    found: dict[str, str] = {}
    try:
        words = iter(shlex.split(options))
    except ValueError:
        words = iter(["unreadable"])
    for word in words:
        setting = next(words, "") if word == "-c" else word.removeprefix("-c").removeprefix("--")
        name, equals, value = setting.partition("=")
        name = name.replace("-", "_").lower()
        if not word.startswith(("-c", "--")) or not equals or not _NAME.fullmatch(name):
            raise ConfigurationError(
                f"the extra 'options' of the connection {conn_id} can't be read: write it as "
                "'-c lock_timeout=5min -c statement_timeout=2h'"
            )
        if name in _FIXED:
            raise ConfigurationError(
                f"the extra 'options' of the connection {conn_id} sets {name}, which is always "
                f"{_FIXED[name]!r} here: remove it"
            )
        found[name] = value
    return found
