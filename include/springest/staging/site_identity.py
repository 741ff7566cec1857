"""Binds each site's name to one Springest account, since the name is part of every delivery's key.

Under another name every row would be a new delivery and be sent a second time. With another host under the
same name, the ledger would mix two Springest servers. All ports of this machine count as one host.
"""

from __future__ import annotations

import logging
from typing import Final

from sqlalchemy import Connection, Engine, Row, exists, insert, or_, select, text, update

from springest.db.locks import Lock, lock_key
from springest.db.schema import delivery, site_identity
from springest.errors import ConfigurationError
from springest.site import Site
from springest.states import State

log = logging.getLogger(__name__)

_LOCK: Final = text(f"SELECT pg_advisory_xact_lock({lock_key(Lock.SITE_IDENTITY)})")
LOCAL_HOST: Final = "localhost"
TRIAL: Final = " (trial)"
"""Suffix of the name under which the account of an ended trial is recorded; no connection can have it."""
_MAYBE_SENT: Final = (State.SENDING, State.UNKNOWN)


def keep_to_site(connection: Connection, site: Site) -> None:
    """Record the host and key of the site's name, and refuse a change that would send certificates again.

    A rotated key is recorded. Concurrent calls wait until this transaction ends, so that only one of two new
    names for the same account is recorded.

    :raises ConfigurationError: the host and key are recorded under another name, certificates were sent to
        another host under this name, or a trial sent certificates to this host.
    """
    connection.execute(_LOCK)
    known = {row.site: row for row in connection.execute(select(site_identity))}
    _refuse_host_of_trial(site, known)
    _refuse_second_name(site, known)
    recorded = known.get(site.name)
    values = {"host": site.identity_host, "key_fingerprint": site.key_fingerprint}
    if recorded is None:
        _warn_of_shared_host(site, known)
        connection.execute(insert(site_identity).values(site=site.name, **values))
        return
    if recorded.host != site.identity_host:
        _refuse_second_host(connection, site, recorded.host)
        log.warning("Site %s has moved from %s to %s", site.name, recorded.host, site.identity_host)
    elif recorded.key_fingerprint != site.key_fingerprint:
        log.info("Site %s has a new key (fingerprint %s)", site.name, site.key_fingerprint)
    connection.execute(
        update(site_identity)
        .where(site_identity.c.site == site.name)
        .values(**values, last_used_at=text("clock_timestamp()"))
    )


def require_same_host(engine: Engine, site: Site) -> None:
    """Refuse to read from another host than the one that certificates were sent to; record nothing.

    :raises ConfigurationError: certificates were sent to another host under this name.
    """
    with engine.connect() as connection:
        host = connection.execute(
            select(site_identity.c.host).where(site_identity.c.site == site.name)
        ).scalar_one_or_none()
        if host is not None and host != site.identity_host:
            _refuse_second_host(connection, site, host)


def _refuse_second_name(site: Site, known: dict[str, Row[tuple[object, ...]]]) -> None:
    for name, recorded in known.items():
        is_same_account = (recorded.host, recorded.key_fingerprint) == (
            site.identity_host,
            site.key_fingerprint,
        )
        if is_same_account and name != site.name:
            raise ConfigurationError(
                f"the site {site.name!r} has the host {recorded.host} and the API key of the site {name!r}: "
                "it is the same Springest account, and under another name every certificate is sent again. "
                f"Give the connection its former id springest_{name} back; if {site.name!r} is another "
                "Springest site, enter that site's own host and key in its connection"
            )


def _refuse_host_of_trial(site: Site, known: dict[str, Row[tuple[object, ...]]]) -> None:
    """Refuse the host of a trial, whatever the key: keys are rotated, and the ledger lacks the trial's POSTs.

    This machine is exempt, since a server here is not Springest.
    """
    for name, recorded in known.items():
        if name.endswith(TRIAL) and recorded.host == site.identity_host != LOCAL_HOST:
            raise ConfigurationError(
                f"a trial sent certificates to {recorded.host}, and springest_{site.name} has the same host. "
                "If the account is the same, perhaps with a new key, all of them would be sent again. If it "
                f"is another account, the owner of the schema removes the record {name!r}; see "
                "docs/operations.md, 'From trial to production'"
            )


def _refuse_second_host(connection: Connection, site: Site, former: str) -> None:
    sent = or_(
        delivery.c.sent_at.is_not(None),
        delivery.c.springest_certificate_id.is_not(None),
        delivery.c.state.in_(_MAYBE_SENT),
    )
    if connection.execute(select(exists().where(delivery.c.site == site.name, sent))).scalar_one():
        raise ConfigurationError(
            f"certificates of the site {site.name!r} were sent to {former}, and its connection now has the "
            f"host {site.identity_host}: the ledger would mix two Springest sites. Give the connection "
            f"springest_{site.name} its former host back, and create a connection with another id for the "
            "other site; if Springest has moved, or this was a trial, see docs/operations.md, 'When a site "
            "moves' and 'From trial to production'"
        )


def _warn_of_shared_host(site: Site, known: dict[str, Row[tuple[object, ...]]]) -> None:
    for name, recorded in known.items():
        if recorded.host == site.identity_host:
            log.warning(
                "Site %s is new, and site %s has the same host with another key: if it is the same account "
                "with a new key, stop here and give the connection its former id springest_%s back, or every "
                "certificate is sent again",
                site.name,
                name,
                name,
            )
