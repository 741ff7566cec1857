"""Bases of the operators: what they need of Airflow's connections, and the end of their logs."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import cached_property
from typing import Any, ClassVar

from airflow.sdk import BaseOperator, BaseOperatorLink, Context
from airflow.sdk.exceptions import AirflowSkipException

from springest.documents.opener import DocumentStore
from springest.errors import ConfigurationError
from springest.privacy.secret import secret_in_use
from springest.site import Site
from springest.staging.stage import Stager
from springest_provider import factories, reporting
from springest_provider.hooks.springest import SpringestHook
from springest_provider.lineage import Lineage, lineage_of
from springest_provider.site_settings import READ_ONCE, listed_twice
from springest_provider.ui.links import DeliveriesOfRunLink, OverviewLink

Parameters = Mapping[str, Any] | list[dict[str, Any]] | None
"""Values of a query's further bound parameters; of each query, if the site has several sources."""


def sources_of(
    sql: str | list[str], conn_id: str | list[str], parameters: Parameters
) -> list[factories.SourceQuery]:
    """
    Return the sources that an operator's arguments describe.

    :raises ConfigurationError: the arguments are lists of different lengths, or a source is listed twice.
    """
    queries = sql if isinstance(sql, list) else [sql]
    conn_ids = conn_id if isinstance(conn_id, list) else [conn_id]
    values = parameters if isinstance(parameters, list) else [parameters or {}]
    if not len(queries) == len(conn_ids) == len(values):
        raise ConfigurationError(
            "sql, source_conn_id and parameters of an operator must be lists of the same length, with one "
            "item for each source"
        )
    sources = [factories.SourceQuery(*each) for each in zip(conn_ids, queries, values, strict=True)]
    if name := listed_twice([source.name for source in sources]):
        raise ConfigurationError(f"source_conn_id: {name} {READ_ONCE}")
    return sources


class SpringestOperator(BaseOperator):
    """Base of all operators: a site, a warehouse, and the end of the log."""

    operator_extra_links: Collection[BaseOperatorLink] = (OverviewLink(),)
    lineage: ClassVar[Lineage] = Lineage()
    reports_run: ClassVar[bool] = False
    """Whether its log ends with the counts of the whole run rather than with those of its own work."""

    def __init__(
        self,
        *,
        springest_conn_id: str = SpringestHook.default_conn_name,
        warehouse_conn_id: str = "certificate_warehouse",
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.springest_conn_id = springest_conn_id
        self.warehouse_conn_id = warehouse_conn_id

    def execute(self, context: Context) -> dict[str, Any]:
        """Do the task's work, then log its counts, also when it failed."""
        try:
            result = self.work(context)
        except AirflowSkipException:
            raise
        except Exception:
            self.report(context, {})
            raise
        self.report(context, result)
        return result

    def work(self, context: Context) -> dict[str, Any]:
        """Do the task's work; return counts."""
        raise NotImplementedError

    def report(self, context: Context, result: Mapping[str, Any]) -> None:
        """Report what the task did; ``result`` is empty when it failed."""
        reporting.report(context, self.hook.get_site, self.warehouse_conn_id, result, of_run=self.reports_run)

    def get_openlineage_facets_on_complete(self, _task_instance: object) -> Any:
        """Return what the task read and wrote; OpenLineage's provider asks for it, if it is installed."""
        return lineage_of(
            self.lineage,
            springest_conn_id=self.springest_conn_id,
            warehouse_conn_id=self.warehouse_conn_id,
            sources=getattr(self, "sources", ()),
        )

    @cached_property
    def hook(self) -> SpringestHook:
        """The hook of the site."""
        return SpringestHook(self.springest_conn_id)


class SourceOperator(SpringestOperator):
    """
    Base of the operators that read the source as well.

    If the site has several sources, ``sql``, ``source_conn_id`` and ``parameters`` are lists of equal length.

    :param parameters: values of the query's further bound parameters.
    """

    template_ext: Sequence[str] = (".sql",)
    template_fields_renderers: ClassVar[dict[str, str]] = {"sql": "sql"}

    def __init__(
        self,
        *,
        sql: str | list[str],
        source_conn_id: str | list[str] = "training_source",
        parameters: Parameters = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.sql = sql
        self.source_conn_id = source_conn_id
        self.parameters = parameters

    @property
    def sources(self) -> list[factories.SourceQuery]:
        """The site's sources, with the rendered queries."""
        return sources_of(self.sql, self.source_conn_id, self.parameters)

    @contextmanager
    def _stager(self, site: Site, documents: DocumentStore) -> Iterator[Stager]:
        pseudonyms = factories.pseudonyms()
        with (
            factories.warehouse(self.warehouse_conn_id) as engine,
            factories.reader(self.sources) as reader,
            secret_in_use(engine, pseudonyms),
        ):
            yield Stager(
                engine,
                source=reader,
                site=site,
                pseudonyms=pseudonyms,
                documents=documents,
            )


class RunOperator(SourceOperator):
    """Base of the operators whose counts are those of the whole run."""

    operator_extra_links: Collection[BaseOperatorLink] = (DeliveriesOfRunLink(),)
    reports_run = True
