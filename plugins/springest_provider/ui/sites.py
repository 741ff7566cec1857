"""The sites of the list, and the age of their published verdicts."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Final

from sqlalchemy import Connection

from springest.errors import ConfigurationError
from springest_provider.site_settings import DEFAULT, suffixed
from springest_provider.sites import load_sites
from springest_provider.ui.filters import BadFilterError
from springest_provider.ui.queries import read_query

_FRESHNESS: Final = read_query("freshness")


@dataclass(frozen=True, slots=True)
class Site:
    """
    A site and the age of its verdicts.

    :param snapshot_complete: whether the snapshot behind them is complete.
    :param is_fresh: published in the last 26 hours.
    """

    site: str
    reconciled_at: datetime
    snapshot_at: datetime | None
    snapshot_complete: bool | None
    complete_snapshot_at: datetime | None
    staged_until: datetime | None
    catalogue_at: datetime | None
    is_fresh: bool


@dataclass(frozen=True, slots=True)
class Sites:
    """
    All sites.

    :param names: those of the list of sites, and those that only have published verdicts.
    :param name: the one that is shown.
    :param current: its verdicts; ``None`` before any were published.
    """

    names: Sequence[str]
    name: str
    current: Site | None

    @property
    def suffix(self) -> str:
        """Suffix of the ids of the site's DAGs."""
        return suffixed("", self.name)


def sites(connection: Connection, wanted: str | None) -> Sites:
    """
    Return the sites.

    :param wanted: the one to show; when it is ``None``, the first that has published verdicts.
    :raises BadFilterError: there is no such site.
    """
    published = _published(connection)
    names = _names(published)
    name = wanted or next(iter(published), names[0])
    if name not in names:
        raise BadFilterError(f"there is no site {name[:50]!r}, but there are {', '.join(names)}")
    return Sites(names, name, published.get(name))


def sites_of(connection: Connection, site: str) -> Sites:
    """Return the sites, with the one that a delivery belongs to, whose verdicts may not be published yet."""
    published = _published(connection)
    return Sites(_names(published), site, published.get(site))


def _published(connection: Connection) -> dict[str, Site]:
    return {row["site"]: Site(**row) for row in connection.execute(_FRESHNESS).mappings()}


def _names(published: Iterable[str]) -> list[str]:
    try:
        listed = list(load_sites().sites)
    except ConfigurationError:  # the list can't be read, and the verdicts can
        listed = []
    return list(dict.fromkeys([*listed, *published])) or [DEFAULT]
