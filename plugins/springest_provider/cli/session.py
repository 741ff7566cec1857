"""What the commands work with: the site, the warehouse, the source, and who is at the keyboard."""

from __future__ import annotations

import argparse
import asyncio
import getpass
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from sqlalchemy import Engine

from springest.errors import ConfigurationError
from springest.privacy.secret import keep_to_secret
from springest.redaction import Redactor
from springest.review.decisions import Decisions
from springest.review.rules import ReleaseRules
from springest.session import connected
from springest.site import Site
from springest.snapshot.snapshot import SnapshotReport, take_snapshot
from springest.source.contract import CompletedTraining
from springest.source.reader import SourceReader, Window
from springest.staging.stage import look_up
from springest_provider import parts
from springest_provider.cli.output import Output
from springest_provider.hooks.springest import PREFIX, SpringestHook

NOBODY: Final = frozenset({"root", "airflow", "default", "nobody"})
"""Logins that several people share."""


@dataclass(frozen=True, slots=True)
class Session:
    """
    An open warehouse and the site that is asked about.

    :param warehouse_conn_id: connection of the warehouse.
    """

    site: Site
    engine: Engine
    warehouse_conn_id: str

    @property
    def redactor(self) -> Redactor:
        """Return what knows the site's keys."""
        return Redactor(self.site.secrets)

    def decisions(self) -> Decisions:
        """Return what makes decisions about the site's deliveries."""
        return Decisions(
            self.engine,
            site=self.site.name,
            rules=ReleaseRules(listed_is_verified=self.site.catalogue_lists_verified_only),
            redactor=self.redactor,
        )

    def rows(
        self, told: argparse.Namespace, training_ids: Sequence[str]
    ) -> dict[str, list[CompletedTraining]]:
        """Return what the source has now for these trainings, by delivery."""
        pseudonyms = parts.pseudonyms()
        with self.engine.begin() as connection:
            keep_to_secret(connection, pseudonyms)
        with parts.source(told.source) as database:
            reader = SourceReader(database, query=_query(told.sql))
            return look_up(reader, training_ids, site=self.site.name, pseudonyms=pseudonyms)

    def count(self, told: argparse.Namespace, window: Window) -> int:
        """Return how many completed trainings the source has in a window."""
        with parts.source(told.source) as database:
            return SourceReader(database, query=_query(told.sql)).count(window)

    def snapshot(self, login: str) -> SnapshotReport:
        """Read what Springest shows right now, under the shared rate limit."""

        async def take() -> SnapshotReport:
            async with connected(parts.warehouse_url(self.warehouse_conn_id), self.site) as link:
                return await take_snapshot(
                    link.engine,
                    link.client,
                    site=self.site.name,
                    run_id=f"review by {login}",
                    pseudonyms=parts.pseudonyms(),
                )

        return asyncio.run(take())


@contextmanager
def opened(told: argparse.Namespace, output: Output) -> Iterator[Session]:
    """
    Open the warehouse.

    :raises ConfigurationError: a connection is not what it should be.
    """
    site = SpringestHook(f"{PREFIX}{told.site}").get_site()
    output.hide(site.secrets)
    with parts.warehouse(told.warehouse) as engine:
        yield Session(site, engine, told.warehouse)


def login(told: argparse.Namespace) -> str:
    """
    Return who decides.

    :raises ConfigurationError: the login is one that several people share.
    """
    if told.by:
        return str(told.by)
    try:
        name = getpass.getuser()
    except (KeyError, OSError):
        name = ""
    if not name or name in NOBODY:
        raise ConfigurationError(
            f"the login {name or 'is not known and'} says nothing: say who you are with --by"
        )
    return name


def _query(path: Path) -> str:
    query = path.read_text(encoding="utf-8")
    if "{{" in query or "{%" in query:
        raise ConfigurationError(
            f"{path.name} is a Jinja template, which only Airflow renders: give --sql the rendered query"
        )
    return query
