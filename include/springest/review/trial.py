"""Begin a new ledger after a trial at another Springest, in an Airflow that has the trial's highest attempt.

Airflow keeps the highest attempt, so a new warehouse looks like one that was restored from an old backup. It
must be proven that nothing of it was sent: the trial's own ledger has every attempt that Airflow knows of,
and all of them went to other hosts with other keys. The trial's accounts are recorded, so that none of them
can be used under another name later.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Final

from sqlalchemy import Connection, Engine, insert, select, text

from springest.db.schema import ledger_restoration, site_identity
from springest.db.statements import load_sql
from springest.errors import DecisionRefused
from springest.redaction import Redactor
from springest.review.audit_text import clean, clean_login
from springest.site import Site
from springest.staging.site_identity import TRIAL

_HIGHEST: Final = text(load_sql("delivery/highest_attempt"))
_RAISE: Final = text(load_sql("review/raise_attempt_number"))
_LOCK: Final = text("LOCK TABLE springest.delivery IN EXCLUSIVE MODE")


@dataclass(frozen=True, slots=True)
class Account:
    """A site's account in its ledger."""

    site: str
    host: str
    key_fingerprint: str


def follow_trial(
    engine: Engine,
    trial: Engine,
    *,
    site: Site,
    kept: Iterable[int | None],
    by: str,
    reason: str,
    redactor: Redactor | None = None,
) -> int:
    """Let a new ledger send although Airflow knows of attempts that it does not have.

    :param trial: engine of the trial's warehouse.
    :param kept: highest attempts that Airflow keeps, one per site.
    :param by: login of the person.
    :returns: the trial's highest attempt; new attempts of this ledger start above it.
    :raises DecisionRefused: part of this ledger may have been sent, or login or reason can't be stored.
    """
    by = clean_login(by, redactor)
    reason = clean(reason, "the reason", redactor)
    with trial.connect() as connection:
        highest, accounts = _highest(connection), _accounts(connection)
    with engine.begin() as connection:
        connection.execute(_LOCK)
        require_trial(connection, site, highest=highest, accounts=accounts, kept=kept)
        connection.execute(_RAISE, {"highest": highest})
        connection.execute(
            insert(ledger_restoration).values(
                settled_by=by,
                reason=reason,
                found_attempt_id=0,
                highest_attempt_id=highest,
                deliveries=0,
                follows_trial=True,
            )
        )
        retired = [
            {
                "site": f"{account.site}{TRIAL}",
                "host": account.host,
                "key_fingerprint": account.key_fingerprint,
            }
            for account in accounts
        ]
        connection.execute(insert(site_identity), retired)
    return highest


def highest_of(trial: Engine) -> int:
    """Return the highest attempt of a ledger."""
    with trial.connect() as connection:
        return _highest(connection)


def require_trial(
    connection: Connection,
    site: Site,
    *,
    highest: int,
    accounts: Sequence[Account],
    kept: Iterable[int | None],
) -> None:
    """Refuse unless it is certain that nothing of this ledger was sent.

    :param highest: the trial's highest attempt.
    :param accounts: accounts to which the trial sent.
    """
    if _highest(connection):
        raise DecisionRefused("this warehouse has attempts of its own: only a new one can follow a trial")
    missing = max([0, *(number for number in kept if number is not None)])
    if missing > highest:
        raise DecisionRefused(
            f"attempt {missing} was made, but the trial's highest is {highest}: another ledger has sent "
            "certificates as well, which are not known here; nothing was changed"
        )
    if not accounts:
        raise DecisionRefused("the trial's warehouse has no account: it never staged anything")
    own = _accounts(connection)
    hosts = {site.identity_host, *(item.host for item in own)}
    keys = {site.key_fingerprint, *(item.key_fingerprint for item in own)}
    for account in accounts:
        if account.host in hosts or account.key_fingerprint in keys:
            raise DecisionRefused(
                f"the trial also sent to {account.host}, or with the same key: everything that it sent "
                "would be sent again. Set the other Springest's host and key in the connection, or continue "
                "with the trial's warehouse"
            )


def _highest(connection: Connection) -> int:
    return int(connection.execute(_HIGHEST).scalar_one())


def _accounts(connection: Connection) -> list[Account]:
    found = connection.execute(
        select(site_identity.c.site, site_identity.c.host, site_identity.c.key_fingerprint)
    )
    return [Account(*row) for row in found]
