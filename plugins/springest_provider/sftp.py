"""SFTP servers as stores of files, with their host keys checked."""

from __future__ import annotations

from threading import Lock
from typing import Any, Final

from airflow.sdk import Connection
from airflow.sdk.io import attach

from springest.errors import ConfigurationError, DocumentUnreachable
from springest_provider.lookups import read_connection

SFTP: Final = "sftp"
TIMEOUTS: Final = {"connect_timeout": 15, "login_timeout": 30, "keepalive_interval": 15}
"""In seconds. A server that does not respond to three keep-alive messages has lost the connection."""
_attaching: Final = Lock()
_attached: Final[set[str]] = set()


def attach_sftp(host: str) -> None:
    """
    Let ``ObjectStoragePath`` open ``sftp://connection@host/...`` with the server's key checked.

    The provider's file system accepts any host key unless it is given the known ones.

    :param host: the connection, ``@``, and the host, which is that of the connection.
    :raises ConfigurationError: there is no such connection, or it names another host.
    :raises DocumentUnreachable: the server can't be reached, or refuses the login.
    :raises ImportError: the provider is not installed.
    """
    with _attaching:  # one connection to the server, whose channels all threads share
        if host not in _attached:
            conn_id, connection = _connection(host)
            attach(SFTP, conn_id, fs=_file_system(conn_id, connection))
            _attached.add(host)


def _connection(host: str) -> tuple[str, Connection]:
    conn_id, _, server = host.rpartition("@")
    if not conn_id:
        raise ConfigurationError(
            f"sftp://{host} names no connection: write sftp://connection@{host}/folder as the document root"
        )
    connection = read_connection(conn_id)
    if connection.host != server:
        raise ConfigurationError(
            f"the root sftp://{host} and the connection {conn_id} name different hosts: correct one of them"
        )
    return conn_id, connection


def _file_system(conn_id: str, connection: Connection) -> Any:
    from airflow.providers.sftp.fs.sftp import get_fs  # type: ignore[import-not-found]
    from asyncssh import Error, import_known_hosts  # type: ignore[import-not-found]

    extra = connection.extra_dejson
    options: dict[str, Any] = {**TIMEOUTS, "known_hosts": ()}  # asyncssh then reads ~/.ssh/known_hosts
    try:
        if str(extra.get("no_host_key_check", "")).lower() == "true":
            options["known_hosts"] = None
        elif key := extra.get("host_key"):
            options["known_hosts"] = import_known_hosts(f"* {key}")
        return get_fs(conn_id, options)
    except (OSError, ValueError, Error) as error:
        name = type(error).__name__
        raise DocumentUnreachable(
            f"the connection {conn_id} can't log in ({name}): check its host, port, login and extra host_key",
            name,
            whole_store=True,
        ) from None
