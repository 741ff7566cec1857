"""Lineage of the operators, for OpenLineage; without its provider there is none."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Final

from springest.documents.address import LOCAL, Root
from springest_provider.factories import SourceQuery
from springest_provider.hooks.springest import SpringestHook
from springest_provider.lookups import read_connection
from springest_provider.site_settings import is_drop

API: Final = "api"
SOURCE: Final = "source"


@dataclass(frozen=True, slots=True)
class Lineage:
    """What an operator reads and writes.

    Each is a table of the warehouse's schema ``springest``, ``api`` followed by a path of Springest's API, or
    ``source``: the tables in the operator's query, or the folder of a drop.
    """

    reads: tuple[str, ...] = ()
    writes: tuple[str, ...] = ()


def lineage_of(
    lineage: Lineage,
    *,
    springest_conn_id: str,
    warehouse_conn_id: str,
    sources: Sequence[SourceQuery] = (),
) -> Any:
    """
    Return the lineage of a task, as an ``OperatorLineage``; ``None`` without OpenLineage's provider.

    :param sources: the sources that the operator reads, with their rendered queries.
    """
    try:
        from airflow.providers.openlineage.extractors import OperatorLineage
        from openlineage.client.event_v2 import Dataset
        from openlineage.client.generated.sql_job import SQLJobFacet
    except ImportError:
        return None

    def dataset(name: str) -> list[Dataset]:
        if name == SOURCE:
            return [Dataset(namespace=store, name=table) for item in sources for store, table in _read(item)]
        if name.startswith(API):
            site = SpringestHook(springest_conn_id).get_site()
            return [Dataset(namespace=site.base_url, name=name.removeprefix(API))]
        database = read_connection(warehouse_conn_id).schema
        return [Dataset(namespace=_namespace(warehouse_conn_id), name=f"{database}.springest.{name}")]

    return OperatorLineage(
        inputs=[item for name in lineage.reads for item in dataset(name)],
        outputs=[item for name in lineage.writes for item in dataset(name)],
        job_facets={"sql": SQLJobFacet(query=";\n".join(item.query for item in sources))} if sources else {},
    )


def _read(source: SourceQuery) -> Iterator[tuple[str, str]]:
    """Yield the name of the server or store and of each table or folder that a source's query reads."""
    if not is_drop(source.conn_id):
        namespace = _namespace(source.conn_id)
        yield from ((namespace, table) for table in _tables(source.query, source.conn_id))
        return
    address = Root.parse(source.conn_id).address
    if address.is_local:
        yield LOCAL, str(address.path)
    else:
        yield f"{address.scheme}://{address.without_connection}", str(address.path).lstrip("/")


def _namespace(conn_id: str) -> str:
    """Return OpenLineage's name of a database server, without its login."""
    connection = read_connection(conn_id)
    port = f":{connection.port}" if connection.port else ""
    return f"{connection.conn_type}://{connection.host}{port}"


def _tables(sql: str, conn_id: str) -> list[str]:
    """Return the tables that a query reads, prefixed with the database's name."""
    from openlineage_sql import parse  # type: ignore[import-untyped]

    connection = read_connection(conn_id)
    parsed = parse([sql], dialect=connection.conn_type)
    tables = {table.qualified_name for table in parsed.in_tables} if parsed else set()
    return sorted(f"{connection.schema}.{name}" if connection.schema else name for name in tables)
