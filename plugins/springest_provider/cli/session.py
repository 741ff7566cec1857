"""The context of a command: the site, the warehouse, the source, and the user's login.

Modules that only some commands need are imported there, since an import costs every command time.
"""

from __future__ import annotations

import argparse
import asyncio
import getpass
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

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

if TYPE_CHECKING:
    from springest.snapshot.snapshot import SnapshotReport


@dataclass(frozen=True, slots=True)
class Session:
    """
    An open warehouse and the selected site.

    :param warehouse_conn_id: connection of the warehouse.
    """

    site: Site
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

    def rows(
        self, options: argparse.Namespace, training_ids: Sequence[str]
    ) -> dict[str, list[CompletedTraining]]:
        """Return the current source rows of these trainings, by delivery."""
        from springest.staging.stage import look_up

        pseudonyms = factories.pseudonyms()
        with self.engine.begin() as connection:
            keep_to_secret(connection, pseudonyms)
        with factories.source(options.source) as database:
            reader = SourceReader(database, query=read_query(options.sql))
            return look_up(reader, training_ids, site=self.site.name, pseudonyms=pseudonyms)

    def count(self, options: argparse.Namespace, window: Window) -> int:
        """Return the number of completed trainings in a window of the source."""
        with factories.source(options.source) as database:
            return SourceReader(database, query=read_query(options.sql)).count(window)

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

    :raises ConfigurationError: a connection is missing or wrong.
    """
    site = factories.read_site(f"{factories.PREFIX}{options.site}")
    output.hide(site.secrets)
    with factories.warehouse(options.warehouse) as engine:
        yield Session(site, engine, options.warehouse)


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


def read_query(path: Path) -> str:
    """
    Return the query of completed trainings that a file holds.

    :raises ConfigurationError: it is a Jinja template.
    """
    query = path.read_text(encoding="utf-8")
    if "{{" in query or "{%" in query:
        raise ConfigurationError(
            f"{path.name} is a Jinja template, which only Airflow renders: pass the rendered query to --sql"
        )
    return query
