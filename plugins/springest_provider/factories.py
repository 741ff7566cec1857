"""Create the domain's objects from Airflow's connections and Variables. No other module does."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager, nullcontext
from dataclasses import dataclass
from typing import Any, Final
from urllib.parse import quote, quote_plus

import yarl
from airflow.sdk import Connection
from airflow.sdk.exceptions import AirflowException
from sqlalchemy import URL, Engine, make_url

from springest.db.engines import require_own_session, source_engine, warehouse_engine
from springest.db.libpq import postgresql_url
from springest.db.migrate import schema_in_use
from springest.documents.opener import DocumentStore
from springest.errors import ConfigurationError
from springest.identity import Pseudonyms
from springest.site import Site
from springest.source.reader import SourceReader
from springest.source.several import SeveralSources, TrainingSource, naming
from springest_provider.drop import drop
from springest_provider.links import fetch
from springest_provider.lookups import (
    mask,
    read_connection,
    read_variable,
    refuse_copy,
    write_variable,
)
from springest_provider.object_storage import open_object, require_provider
from springest_provider.site_settings import is_drop, source_name, suffixed
from springest_provider.sites import load_sites

SECRET_VARIABLE = "springest_learner_secret"  # noqa: S105 - the name of a Variable
ROOTS_VARIABLE = "springest_document_roots"
ATTEMPT_VARIABLE = "springest_highest_attempt"

_EXTRAS_IN_URL: Final[dict[str, tuple[str, ...]]] = {
    "mysql": (),
    "mssql": (),
    "oracle": ("service_name",),
}
"""Connection types whose other extras are passed to the driver, which refuses unknown ones."""
_OF_HOOKS: Final = frozenset({"client", "cursor", "sqlalchemy_scheme", "sid"})
"""Extras that choose the driver or are in the URL, and ``cursor``, which concerns Airflow's hooks alone."""
_PROVIDERS: Final = {
    "mssql": "apache-airflow-providers-microsoft-mssql",
    "gcpbigquery": "apache-airflow-providers-google",
    "redshift": "apache-airflow-providers-amazon",
}
"""Providers whose names do not follow from the connection's type."""


def read_site(conn_id: str) -> Site:
    """
    Return the site that a connection describes; have Airflow mask its keys in every encoded form.

    :raises ConfigurationError: the connection or one of its fields is missing, unknown or of the wrong type.
    """
    connection = read_connection(conn_id)
    site = Site.from_connection(
        name=load_sites().name_of(conn_id),
        host=connection.host,
        password=connection.password,
        schema=connection.schema,
        port=connection.port,
        extra=connection.extra_dejson,
    )
    mask(form for key in site.secrets for form in _encoded_forms(key))
    return site


def _encoded_forms(key: str) -> set[str]:
    """Return what a key looks like in a URL; Airflow masks the key itself automatically."""
    on_the_wire = yarl.URL.build(query={"k": key}).raw_query_string.removeprefix("k=")
    return {quote(key), quote(key, safe=""), quote_plus(key), on_the_wire} - {key}


def warehouse_url(conn_id: str) -> URL:
    """
    Return the URL of the warehouse, with the libpq options (``sslmode``, …) of its extra.

    :raises ConfigurationError: the connection is missing, not PostgreSQL, or has an unknown extra.
    """
    connection = read_connection(conn_id)
    if connection.conn_type != "postgres":
        raise ConfigurationError(
            f"the connection {conn_id} is of type {connection.conn_type}: the warehouse must be PostgreSQL"
        )
    return _postgresql_url(connection)


def _postgresql_url(connection: Connection) -> URL:
    return postgresql_url(
        connection.conn_id,
        host=connection.host,
        port=connection.port,
        login=connection.login,
        password=connection.password,
        database=connection.schema,
        extra=connection.extra_dejson,
    )


@contextmanager
def warehouse(conn_id: str) -> Iterator[Engine]:
    """
    Yield an engine of the warehouse, whose schema is and stays one that this code can use.

    :raises ConfigurationError: the connection is unusable, or goes through a pooler that shares sessions.
    :raises SchemaOutOfDate: the schema has another version.
    """
    url = warehouse_url(conn_id)
    require_own_session(url)
    engine = warehouse_engine(url)
    try:
        with schema_in_use(engine):
            yield engine
    finally:
        engine.dispose()


@contextmanager
def source(conn_id: str) -> Iterator[Engine]:
    """
    Yield an engine of the source.

    :param conn_id: connection of a database, or the address of a drop.
    :raises ConfigurationError: the connection is missing or unusable, or its provider or driver is not
        installed.
    :raises SourceError: the drop can't be read.
    """
    if is_drop(conn_id):
        with drop(conn_id) as engine:
            yield engine
        return
    engine = _source_engine(read_connection(conn_id))
    try:
        yield engine
    finally:
        engine.dispose()


@dataclass(frozen=True, slots=True)
class SourceQuery:
    """
    A source and what is read from it.

    :param conn_id: connection of a database, or the address of a drop.
    :param query: the query of completed trainings.
    :param parameters: values of its further bound parameters.
    """

    conn_id: str
    query: str
    parameters: Mapping[str, Any]

    @property
    def name(self) -> str:
        """Its name, as errors and the ledger have it."""
        return source_name(self.conn_id)


@contextmanager
def reader(sources: Sequence[SourceQuery]) -> Iterator[TrainingSource]:
    """
    Yield a reader of a site's source, or of all of them.

    :raises ConfigurationError: a connection or a query is unusable.
    :raises SourceError: a drop can't be read.
    """
    with ExitStack() as opened:
        readers = {}
        for item in sources:
            with naming(item.name) if len(sources) > 1 else nullcontext():
                engine = opened.enter_context(source(item.conn_id))
                readers[item.name] = SourceReader(
                    engine, query=item.query, parameters=item.parameters, name=item.name
                )
        yield SeveralSources(readers) if len(sources) > 1 else readers[sources[0].name]


def _source_engine(connection: Connection) -> Engine:
    if connection.conn_type == "postgres":
        return source_engine(_postgresql_url(connection))
    url = _url_of_hook(connection)
    if (
        connection.conn_type == "redshift"
    ):  # its hook names the dialect of PostgreSQL, whose settings Redshift lacks
        url = url.set(drivername="redshift+redshift_connector")
    if connection.conn_type not in _EXTRAS_IN_URL:
        return source_engine(url)
    # Hooks convert extras to text in the URL, or drop them. The driver should get each with its own type.
    extra = {
        name: value
        for name, value in connection.extra_dejson.items()
        if name not in _OF_HOOKS and value not in (None, "")
    }
    in_url = extra if url.get_driver_name() == "pyodbc" else _EXTRAS_IN_URL[connection.conn_type]
    query = {name: str(value) for name, value in extra.items() if name in in_url}
    url = url.set(username=connection.login or None, password=connection.password or None, query=query)
    return source_engine(url, connect_args={name: extra[name] for name in extra.keys() - query.keys()})


def _url_of_hook(connection: Connection) -> URL:
    # Most commands need no such hook, and it costs them time.
    from airflow.providers.common.sql.hooks.sql import DbApiHook

    try:
        hook = connection.get_hook()  # type: ignore[no-untyped-call]
    except (AirflowException, ImportError, RuntimeError) as error:
        kind = str(connection.conn_type)
        package = _PROVIDERS.get(kind, f"apache-airflow-providers-{kind}")
        raise ConfigurationError(
            f"the connection {connection.conn_id} is of type {kind!r}, which this Airflow can't use "
            f"({type(error).__name__}): install its provider, such as {package}, and a driver"
        ) from None
    if not isinstance(hook, DbApiHook):
        raise ConfigurationError(
            f"the connection {connection.conn_id} is not an SQL database with a DB-API hook"
        )
    try:
        return make_url(hook.sqlalchemy_url)
    except NotImplementedError:
        return make_url(hook.get_uri())


@dataclass(frozen=True, slots=True)
class AttemptKeeper:
    """
    Stores the highest attempt in an Airflow Variable, outside the warehouse.

    :param site: name of the site; the default one's Variable has no suffix.
    """

    site: str

    @property
    def _name(self) -> str:
        return suffixed(ATTEMPT_VARIABLE, self.site)

    def __str__(self) -> str:
        return f"the Variable {self._name}"

    def read(self) -> int | None:
        """
        Return the number.

        :raises ConfigurationError: the Variable is not a number, or a copy hides it.
        """
        refuse_copy(self._name)
        stored = read_variable(self._name)
        if stored is None:
            return None
        if not str(stored).strip().isdecimal():
            raise ConfigurationError(
                f"the Variable {self._name} must hold the number of the highest attempt, is {stored!r}"
            )
        return int(stored)

    def write(self, attempt_id: int) -> None:
        """Store the number."""
        write_variable(
            self._name,
            str(attempt_id),
            description="Highest POST attempt ever made. A warehouse below it was restored from a backup, "
            "and nothing is sent from it: see docs/operations.md",
        )


def pseudonyms() -> Pseudonyms:
    """
    Return the pseudonyms that turn e-mail addresses into references.

    :raises ConfigurationError: the Variable is missing, or holds no secret and no list of secrets.
    """
    value = read_variable(SECRET_VARIABLE)
    if not value:
        raise ConfigurationError(
            f"the Variable {SECRET_VARIABLE} is missing: create it with "
            '`python -c "import secrets; print(secrets.token_hex(32))"` and never change it'
        )
    *former, secret = _secrets(value)
    mask((*former, secret))
    return Pseudonyms(secret, tuple(former))


def _secrets(value: str) -> list[str]:
    """Return the secrets of the Variable: one, or a JSON list of all there were, oldest first."""
    if not value.startswith("["):
        return [value]
    try:
        found = json.loads(value)
    except ValueError:
        found = None
    if not isinstance(found, list) or not found or not all(isinstance(row, str) and row for row in found):
        raise ConfigurationError(
            f"the Variable {SECRET_VARIABLE} must be one secret, or a JSON list of secrets with the oldest "
            'first, such as ["the former secret", "the new secret"]'
        )
    return found


def document_roots(site: str) -> tuple[str, list[str]]:
    """
    Return the roots of a site's documents, after where they are set: the list of sites, or the Variable.

    :param site: its name; one that the list does not have uses the Variable.
    :raises ConfigurationError: the Variable is not a JSON list of folders, or the site's entry is not usable.
    """
    listed = load_sites()
    if site in {**listed.sites, **listed.problems}:
        own = listed.find(site).document_roots
        if own is not None:
            return f"document_roots of [{site}] in {listed.path}", own
    value = read_variable(ROOTS_VARIABLE)
    try:
        roots = json.loads(value) if value else []
    except ValueError:
        roots = None
    if not isinstance(roots, list) or not all(isinstance(root, str) for root in roots):
        raise ConfigurationError(
            f'the Variable {ROOTS_VARIABLE} must be a JSON list such as ["file:///data/certificates"]'
        )
    return f"the Variable {ROOTS_VARIABLE}", roots


def documents(site: Site) -> DocumentStore:
    """
    Return the store of the documents.

    :raises ConfigurationError: as ``document_roots``, or a root is not usable.
    """
    _, roots = document_roots(site.name)
    store = DocumentStore.under(
        roots,
        accepted_types=site.accepted_types,
        checks=site.document_checks,
        open_remote=lambda address, root: (fetch if address.is_link else open_object)(address, root),
    )
    for root in store.roots:
        require_provider(root.address.scheme)
    return store
