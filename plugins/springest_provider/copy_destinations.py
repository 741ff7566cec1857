"""Where copies are written: dlt's destinations, by the types of Airflow's connections."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from typing import Any, Final

from airflow.sdk import Connection

from springest.copies.target import Destination
from springest.errors import ConfigurationError
from springest_provider.lookups import read_connection

Extra = Mapping[str, Any]


def destination_of(conn_id: str, dataset: str) -> Destination:
    """
    Return the destination that a connection describes.

    :param dataset: schema, database or data set of the copy.
    :raises ConfigurationError: there is no such connection, its type is not supported, a field is missing, or
        it has an unknown extra.
    """
    connection = read_connection(conn_id)
    if connection.conn_type not in _KINDS:
        raise ConfigurationError(
            f"the connection {conn_id} is of type {connection.conn_type}, to which nothing is copied: use "
            f"one of {', '.join(_KINDS)}"
        )
    kind, known, make = _KINDS[str(connection.conn_type)]
    extra = {name: value for name, value in connection.extra_dejson.items() if value not in (None, "")}
    if unknown := sorted(extra.keys() - known):
        raise ConfigurationError(
            f"the connection {conn_id} has an extra {unknown[0]!r}, which copies do not use: remove it. "
            f"Known extras are {', '.join(sorted(known)) or 'none'}"
        )
    return Destination(conn_id, kind, make(connection, extra), dataset)


def _required(connection: Connection, **fields: Any) -> dict[str, Any]:
    """Return the fields; one that is empty is named in the error."""
    for name, value in fields.items():
        if value in (None, ""):
            raise ConfigurationError(f"the connection {connection.conn_id} has no {name}: fill it in")
    return fields


def _login(connection: Connection) -> dict[str, Any]:
    return {"username": connection.login or None, "password": connection.password or None}


def _duckdb(connection: Connection, _extra: Extra) -> dict[str, Any]:
    return {"credentials": _required(connection, host=connection.host)["host"]}


def _mysql(connection: Connection, extra: Extra) -> dict[str, Any]:
    return {
        "credentials": {
            "drivername": "mysql+pymysql",
            **_required(connection, host=connection.host),
            "port": connection.port or 3306,
            "database": "",
            **_login(connection),
            "query": {
                "charset": "utf8mb4",
                **{f"ssl_{name}": path for name, path in extra.get("ssl", {}).items()},
            },
        },
        # Merging reads rows by their key.
        "create_primary_keys": True,
    }


def _postgres(connection: Connection, extra: Extra) -> dict[str, Any]:
    return {
        "credentials": {
            **_required(connection, host=connection.host, database=connection.schema),
            **_login(connection),
            **({"port": connection.port} if connection.port else {}),
            "query": dict(extra),
        }
    }


def _snowflake(connection: Connection, extra: Extra) -> dict[str, Any]:
    found = _required(connection, account=extra.get("account"), database=extra.get("database"))
    key = {"private_key_path": extra.get("private_key_file"), "private_key": extra.get("private_key_content")}
    if any(key.values()):
        # Airflow has the key's passphrase in the field of the password.
        secret: dict[str, Any] = {**key, "private_key_passphrase": connection.password or None}
    else:
        secret = {"password": connection.password or None}
    return {
        "credentials": {
            "host": found["account"],
            "database": found["database"],
            "username": connection.login or None,
            "warehouse": extra.get("warehouse"),
            "role": extra.get("role"),
            **secret,
        }
    }


def _bigquery(_connection: Connection, extra: Extra) -> dict[str, Any]:
    key = extra.get("keyfile_dict")
    account = json.loads(key) if isinstance(key, str) else key
    project = {"project_id": extra["project"]} if "project" in extra else {}
    return {
        # Without a key: the default credentials of the machine.
        "credentials": {**(account or {}), **project} or None,
        "location": extra.get("location", "EU"),
    }


def _databricks(connection: Connection, extra: Extra) -> dict[str, Any]:
    return {
        "credentials": {
            "server_hostname": _required(connection, host=connection.host)["host"],
            **_required(connection, http_path=extra.get("http_path"), catalog=extra.get("catalog")),
            "access_token": extra.get("token") or connection.password or None,
        }
    }


_TLS: Final = frozenset({"sslmode", "sslrootcert", "sslcert", "sslkey"})
_KINDS: Final[Mapping[str, tuple[str, frozenset[str], Callable[[Connection, Extra], dict[str, Any]]]]] = {
    "duckdb": ("duckdb", frozenset(), _duckdb),
    "mysql": ("sqlalchemy", frozenset({"ssl"}), _mysql),
    "postgres": ("postgres", _TLS, _postgres),
    "redshift": ("redshift", _TLS, _postgres),
    "snowflake": (
        "snowflake",
        frozenset({"account", "database", "warehouse", "role", "private_key_file", "private_key_content"}),
        _snowflake,
    ),
    "google_cloud_platform": ("bigquery", frozenset({"project", "keyfile_dict", "location"}), _bigquery),
    "databricks": ("databricks", frozenset({"http_path", "catalog", "token"}), _databricks),
}
"""Destination, known extras and arguments of each type of connection."""
