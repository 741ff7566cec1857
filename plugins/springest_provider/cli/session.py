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
from springest.source.several import TrainingSource
from springest.source.window import Window
from springest_provider import factories
from springest_provider.cli.output import Output
from springest_provider.site_settings import SiteSettings, source_name
from springest_provider.sites import load_sites

if TYPE_CHECKING:
    from springest.snapshot.snapshot import SnapshotReport


@dataclass(frozen=True, slots=True)
class Sources:
    """
    Where a site's completed trainings come from.

    :param listed: connection, file of the query, and values of its further bound parameters, of each source.
    """

    listed: Sequence[tuple[str, Path, Mapping[str, Any]]]

    @classmethod
    def of(cls, settings: SiteSettings, options: argparse.Namespace | None = None) -> Sources:
        """
        Return the sources in the list of sites, or what the options name instead of the only one.

        :raises ConfigurationError: the options name a source, and the site has several.
        """
        conn_id, path = getattr(options, "source", None), getattr(options, "sql", None)
        if (conn_id or path) and len(settings.all_sources) > 1:
            raise ConfigurationError(
                "--source and --sql replace the only source of a site, and this one has several: trainings "
                f"of the others would seem to be gone. Change [[{settings.name}.sources]] in sites.toml"
            )
        folder = load_sites().sql_folder
        return cls(
            [
                (conn_id or item.source, path or folder / item.query, item.filter)
                for item in settings.all_sources
            ]
        )

    @property
    def names(self) -> list[str]:
        """Names of the sources."""
        return [source_name(conn_id) for conn_id, _, _ in self.listed]

    @property
    def queries(self) -> list[factories.SourceQuery]:
        """
        The sources with their queries.

        :raises ConfigurationError: a query is a Jinja template, or there is no such file.
        """
        return [factories.SourceQuery(conn_id, _query(path), values) for conn_id, path, values in self.listed]

    @contextmanager
    def reader(self) -> Iterator[TrainingSource]:
        """Yield a reader of them."""
        with factories.reader(self.queries) as reader:
            yield reader


def _query(path: Path) -> str:
    if not path.is_file():
        raise ConfigurationError(
            f"there is no query {path}: `bin/springest init {path.parents[2]}` writes the DAGs "
            "and an example of the query; or pass the query's file to --sql"
        )
    query = path.read_text(encoding="utf-8")
    if "{{" in query or "{%" in query:
        raise ConfigurationError(
            f"{path.name} is a Jinja template, which only Airflow renders: pass the rendered query to --sql"
        )
    return query


@dataclass(frozen=True, slots=True)
class Session:
    """
    An open warehouse and the selected site.

    :param warehouse_conn_id: connection of the warehouse.
    """

    site: Site
    sources: Sources
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
        with self.sources.reader() as reader:
            return look_up(reader, training_ids, site=self.site.name, pseudonyms=pseudonyms)

    def count(self, window: Window) -> int:
        """Return the number of completed trainings in a window of the source."""
        with self.sources.reader() as reader:
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
        yield Session(site, Sources.of(settings, options), engine, options.warehouse)


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
