"""The context of a command: the site, the warehouse, the source, and the user's login.

Modules that only some commands need are imported there, since an import costs every command time.
"""

from __future__ import annotations

import argparse
import asyncio
import getpass
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sqlalchemy import Engine

from springest.errors import ConfigurationError
from springest.privacy.secret import keep_to_secret
from springest.redaction import Redactor
from springest.review.audit_text import is_shared
from springest.review.decisions import Decisions
from springest.review.rules import ReleaseRules
from springest.site import Site
from springest.source.contract import CompletedTraining
from springest.source.reader import SourceReader, Window
from springest_provider import factories
from springest_provider.cli.output import Output
from springest_provider.site_settings import SiteSettings
from springest_provider.sites import load_sites

if TYPE_CHECKING:
    from springest.snapshot.snapshot import SnapshotReport


@dataclass(frozen=True, slots=True)
class Source:
    """
    Where a site's completed trainings come from.

    :param path: file of the query.
    :param parameters: values of its further bound parameters.
    """

    conn_id: str
    path: Path
    parameters: Mapping[str, Any]

    @classmethod
    def of(cls, settings: SiteSettings, options: argparse.Namespace | None = None) -> Source:
        """Return the source in the list of sites, or what the options name instead."""
        conn_id, path = getattr(options, "source", None), getattr(options, "sql", None)
        return cls(
            conn_id or settings.source, path or load_sites().sql_folder / settings.query, settings.filter
        )

    @property
    def query(self) -> str:
        """
        The query of completed trainings.

        :raises ConfigurationError: it is a Jinja template, or there is no such file.
        """
        if not self.path.is_file():
            raise ConfigurationError(
                f"there is no query {self.path}: `bin/springest init {self.path.parents[2]}` writes the DAGs "
                "and an example of the query; or pass the query's file to --sql"
            )
        query = self.path.read_text(encoding="utf-8")
        if "{{" in query or "{%" in query:
            raise ConfigurationError(
                f"{self.path.name} is a Jinja template, which only Airflow renders: pass the rendered query "
                "to --sql"
            )
        return query

    @contextmanager
    def reader(self) -> Iterator[SourceReader]:
        """Yield a reader of it."""
        with factories.source(self.conn_id) as database:
            yield SourceReader(database, query=self.query, parameters=self.parameters)


@dataclass(frozen=True, slots=True)
class Session:
    """
    An open warehouse and the selected site.

    :param warehouse_conn_id: connection of the warehouse.
    """

    site: Site
    source: Source
    engine: Engine
    warehouse_conn_id: str

    @property
    def redactor(self) -> Redactor:
        """Return a redactor that knows the site's keys."""
        return Redactor(self.site.secrets)

    def decisions(self) -> Decisions:
        """Return the decision service for the site's deliveries."""
        return Decisions(
            self.engine,
            site=self.site.name,
            rules=ReleaseRules(listed_is_verified=self.site.catalogue_lists_verified_only),
            redactor=self.redactor,
        )

    def rows(self, training_ids: Sequence[str]) -> dict[str, list[CompletedTraining]]:
        """Return the current source rows of these trainings, by delivery."""
        from springest.staging.stage import look_up

        pseudonyms = factories.pseudonyms()
        with self.engine.begin() as connection:
            keep_to_secret(connection, pseudonyms)
        with self.source.reader() as reader:
            return look_up(reader, training_ids, site=self.site.name, pseudonyms=pseudonyms)

    def count(self, window: Window) -> int:
        """Return the number of completed trainings in a window of the source."""
        with self.source.reader() as reader:
            return reader.count(window)

    def snapshot(self, login: str) -> SnapshotReport:
        """Read the certificates that Springest shows now, within the shared rate limit."""

        from springest.session import open_session
        from springest.snapshot.snapshot import take_snapshot

        async def take() -> SnapshotReport:
            async with open_session(factories.warehouse_url(self.warehouse_conn_id), self.site) as link:
                return await take_snapshot(
                    link.engine,
                    link.client,
                    site=self.site.name,
                    run_id=f"review by {login}",
                    pseudonyms=factories.pseudonyms(),
                )

        return asyncio.run(take())


@contextmanager
def open_site(options: argparse.Namespace, output: Output) -> Iterator[Session]:
    """
    Open the warehouse.

    :raises ConfigurationError: the site is not in the list of sites, or a connection is missing or wrong.
    """
    settings = load_sites().find(options.site)
    site = factories.read_site(settings.connection)
    output.hide(site.secrets)
    with factories.warehouse(options.warehouse) as engine:
        yield Session(site, Source.of(settings, options), engine, options.warehouse)


def login(options: argparse.Namespace) -> str:
    """
    Return the login of the person who decides.

    :raises ConfigurationError: several people share the login.
    """
    if options.by:
        return str(options.by)
    try:
        name = getpass.getuser()
    except (KeyError, OSError):
        name = ""
    if not name or is_shared(name):
        raise ConfigurationError(
            f"the login {name!r} does not identify a person: name yourself with --by"
            if name
            else "your login is unknown: name yourself with --by"
        )
    return name
