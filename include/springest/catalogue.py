"""The catalogue: Springest's certifications, as last listed.

Springest's page describes the list in two ways: verified certifications only, or all of the institute's. An
unlisted certification may exist, but nothing is known about it, so its certificates are held unless the
site's settings allow them. A listed one need not be verified.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from sqlalchemy import Connection, any_, bindparam, func, or_, select, text, update
from sqlalchemy.dialects.postgresql import ARRAY, insert
from sqlalchemy.types import BigInteger

from springest.api.models import Certification
from springest.db.locks import Lock, lock_key
from springest.db.schema import catalogue_scan, certification
from springest.errors import ConfigurationError
from springest.site import Site

_LOCK: Final = text(f"SELECT pg_advisory_xact_lock({lock_key(Lock.CATALOGUE, ':site')})")


@dataclass(frozen=True, slots=True)
class CatalogueEntry:
    """One certification in the catalogue.

    :param listed: in the last complete list of certifications.
    :param requires_valid_until: ``None`` if Springest did not report it.
    :param may_send_unlisted: the site's settings allow sending although it is not listed.
    """

    listed: bool
    requires_valid_until: bool | None = None
    may_send_unlisted: bool = False

    @property
    def ref(self) -> str:
        """A text that changes when a refused certificate should be checked again."""
        return f"listed={self.listed} requires_valid_until={self.requires_valid_until}"


UNLISTED = CatalogueEntry(listed=False)


@dataclass(frozen=True, slots=True)
class Catalogue:
    """A site's certifications."""

    site: Site
    entries: Mapping[int, CatalogueEntry]

    def entry(self, certification_id: int | None) -> CatalogueEntry:
        """Return the entry of one certification."""
        if certification_id is None:
            return UNLISTED
        known = self.entries.get(certification_id)
        if known is not None and known.listed:
            return known
        return CatalogueEntry(listed=False, may_send_unlisted=self.site.may_send_unlisted(certification_id))


def load_catalogue(connection: Connection, site: Site) -> Catalogue:
    """Return the site's catalogue.

    An incomplete list is used if it has any certification; missing ones are held until a later list has them.

    :raises ConfigurationError: it was never read.
    """
    scanned = connection.execute(
        select(catalogue_scan.c.scan_id).where(
            catalogue_scan.c.site == site.name, or_(catalogue_scan.c.complete, catalogue_scan.c.listed > 0)
        )
    ).first()
    if scanned is None:
        raise ConfigurationError(
            f"the catalogue of site {site.name} was never read: run the DAG springest_catalogue first, so "
            "that rows are checked against Springest's certifications"
        )
    rows = connection.execute(
        select(
            certification.c.certification_id, certification.c.is_listed, certification.c.requires_valid_until
        ).where(certification.c.site == site.name)
    )
    entries = {
        number: CatalogueEntry(listed=listed, requires_valid_until=requires)
        for number, listed, requires in rows
    }
    return Catalogue(site, entries)


@dataclass(frozen=True, slots=True)
class CatalogueReport:
    """The result of reading the catalogue.

    :param unlisted: certifications that were listed before and are no longer.
    """

    listed: int
    added: int
    unlisted: int
    complete: bool


def store_catalogue(
    connection: Connection, site: str, listed: Sequence[Certification], *, complete: bool, run_id: str
) -> CatalogueReport:
    """Store one reading of the list; only a complete one removes certifications."""
    connection.execute(_LOCK, {"site": site})
    before = set(
        connection.execute(
            select(certification.c.certification_id).where(
                certification.c.site == site, certification.c.is_listed
            )
        ).scalars()
    )
    now = connection.execute(select(func.clock_timestamp())).scalar_one()
    by_id = {item.id: item for item in listed}
    upsert = insert(certification)
    updated = {name: upsert.excluded[name] for name in ("name", "description", "requires_valid_until")}
    if by_id:
        connection.execute(
            upsert.on_conflict_do_update(
                index_elements=["site", "certification_id"],
                set_={
                    **updated,
                    "is_listed": True,
                    "last_seen_at": upsert.excluded.last_seen_at,
                    "listed_since": func.coalesce(certification.c.listed_since, upsert.excluded.listed_since),
                },
            ),
            [
                {
                    "site": site,
                    "certification_id": item.id,
                    "name": item.name,
                    "description": item.description,
                    "requires_valid_until": item.requires_valid_until,
                    "is_listed": True,
                    "first_seen_at": now,
                    "last_seen_at": now,
                    "listed_since": now,
                }
                for item in by_id.values()
            ],
        )
    gone = sorted(before - by_id.keys()) if complete else []
    if gone:
        connection.execute(
            update(certification)
            .where(
                certification.c.site == site,
                certification.c.certification_id == any_(bindparam("gone", type_=ARRAY(BigInteger))),
            )
            .values(is_listed=False, listed_since=None),
            {"gone": gone},
        )
    connection.execute(
        insert(catalogue_scan).values(site=site, run_id=run_id, listed=len(by_id), complete=complete)
    )
    return CatalogueReport(len(by_id), len(by_id.keys() - before), len(gone), complete)
