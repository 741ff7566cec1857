"""The sites that have published verdicts, and how fresh these are."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Final

from sqlalchemy import Connection

from springest_provider.ui.filters import BadFilterError
from springest_provider.ui.queries import read_query

_FRESHNESS: Final = read_query("freshness")


@dataclass(frozen=True, slots=True)
class Site:
    """
    A site and how fresh its verdicts are.

    :param snapshot_complete: whether nothing was missed in the snapshot that they rest on.
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

    :param current: the one that is shown; ``None`` before anything of it was published.
    """

    every: Sequence[Site]
    current: Site | None


def sites(connection: Connection, wanted: str | None) -> Sites:
    """
    Return the sites.

    :param wanted: the one to show; the default site, or the first, when it is ``None``.
    :raises BadFilterError: there is no such site.
    """
    every = [Site(**row) for row in connection.execute(_FRESHNESS).mappings()]
    if not wanted:
        return Sites(every, every[0] if every else None)
    found = _among(every, wanted)
    if found.current is None and every:
        raise BadFilterError(
            f"no verdicts of a site {wanted[:50]!r} were published, but of {', '.join(s.site for s in every)}"
        )
    return found


def sites_of(connection: Connection, site: str) -> Sites:
    """Return the sites, with the one that a delivery belongs to, whose verdicts may not be published yet."""
    return _among([Site(**row) for row in connection.execute(_FRESHNESS).mappings()], site)


def _among(every: Sequence[Site], name: str) -> Sites:
    return Sites(every, next((site for site in every if site.site == name), None))
