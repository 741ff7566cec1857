"""Makes the domain's parts out of Airflow's connections and variables: the one place that does."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import BinaryIO, cast

from airflow.providers.common.sql.hooks.sql import DbApiHook
from airflow.providers.postgres.hooks.postgres import PostgresHook
from airflow.sdk import BaseHook, ObjectStoragePath, Variable
from psycopg.pq import Conninfo
from sqlalchemy import URL, Engine, create_engine

from include.springest.documents import DocumentStore
from include.springest.errors import ConfigurationError
from include.springest.identity import Pseudonyms
from include.springest.site import Site
from include.springest.warehouse.migrate import check

SECRET_VARIABLE = "springest_learner_secret"  # noqa: S105 - the name of a Variable
ROOTS_VARIABLE = "springest_document_roots"
ATTEMPT_VARIABLE = "springest_highest_attempt"


def warehouse_url(conn_id: str) -> URL:
    """
    Return the address of the warehouse, with the options of libpq (``sslmode``, …) that its extra holds.

    :raises ConfigurationError: the connection is not PostgreSQL.
    """
    connection = BaseHook.get_connection(conn_id)
    if connection.conn_type != "postgres":
        raise ConfigurationError(
            f"the connection {conn_id} is of type {connection.conn_type}: the warehouse must be PostgreSQL"
        )
    url = PostgresHook(postgres_conn_id=conn_id).sqlalchemy_url
    known = {option.keyword.decode() for option in Conninfo.get_defaults()}
    options = {name: str(value) for name, value in connection.extra_dejson.items() if name in known}
    return url.set(drivername="postgresql+psycopg").update_query_dict(options)


@contextmanager
def warehouse(conn_id: str) -> Iterator[Engine]:
    """Give an engine of the warehouse whose schema is the one this code needs."""
    engine = create_engine(warehouse_url(conn_id), hide_parameters=True, pool_pre_ping=True)
    try:
        check(engine)
        yield engine
    finally:
        engine.dispose()


@contextmanager
def source(conn_id: str) -> Iterator[Engine]:
    """
    Give an engine of the source database.

    :raises ConfigurationError: the connection is of no SQL database that Airflow has a hook for.
    """
    hook = BaseHook.get_connection(conn_id).get_hook()  # type: ignore[no-untyped-call]
    if not isinstance(hook, DbApiHook):
        raise ConfigurationError(f"the connection {conn_id} is not of an SQL database with a DB-API hook")
    engine = hook.get_sqlalchemy_engine(engine_kwargs={"hide_parameters": True})
    try:
        yield engine
    finally:
        engine.dispose()


@dataclass(frozen=True, slots=True)
class AttemptKeeper:
    """
    Keeps the highest attempt in a Variable of Airflow, which outlives the warehouse.

    :param site: name of the site; the default one's Variable has no suffix.
    """

    site: str

    @property
    def _name(self) -> str:
        return ATTEMPT_VARIABLE if self.site == "default" else f"{ATTEMPT_VARIABLE}_{self.site}"

    def read(self) -> int | None:
        """
        Return the number.

        :raises ConfigurationError: the Variable holds something else.
        """
        told = Variable.get(self._name, default=None)
        if told is None:
            return None
        if not str(told).strip().isdecimal():
            raise ConfigurationError(
                f"the Variable {self._name} must hold the number of the highest attempt, is {told!r}"
            )
        return int(told)

    def write(self, attempt_id: int) -> None:
        """Keep the number."""
        Variable.set(
            self._name,
            str(attempt_id),
            description="Highest POST attempt that was made. A warehouse that is behind it was restored "
            "from a backup, and nothing is sent from it: see docs/operations.md",
        )


def pseudonyms() -> Pseudonyms:
    """
    Return what makes references of addresses.

    :raises ConfigurationError: the Variable is missing or too short.
    """
    secret = Variable.get(SECRET_VARIABLE, default=None)
    if not secret:
        raise ConfigurationError(
            f"the Variable {SECRET_VARIABLE} is missing: "
            'make one with `python -c "import secrets; print(secrets.token_hex(32))"` and never change it'
        )
    return Pseudonyms(secret)


def documents(site: Site) -> DocumentStore:
    """
    Return the store of the certificates' documents.

    :raises ConfigurationError: the Variable is missing or no JSON list of folders.
    """
    told = Variable.get(ROOTS_VARIABLE, default=None)
    try:
        roots = json.loads(told) if told else []
    except ValueError:
        roots = None
    if not isinstance(roots, list) or not all(isinstance(root, str) for root in roots):
        raise ConfigurationError(
            f'the Variable {ROOTS_VARIABLE} must be a JSON list such as ["file:///data/certificates"]'
        )
    return DocumentStore.under(roots, accepted_types=site.accepted_types, open_remote=open_object)


def open_object(uri: str) -> tuple[BinaryIO, int]:
    """Open a document through Airflow's object storage."""
    path = ObjectStoragePath(uri)
    size = int(path.stat().st_size)
    return cast("BinaryIO", path.open("rb")), size  # type: ignore[no-untyped-call]
