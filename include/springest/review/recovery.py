"""Repair a ledger that was restored from a backup, or a standby that took over before it had everything.

Such a ledger has lost attempts. Deliveries in its queue may have been sent already, and so may trainings that
it does not contain. So the queue becomes ``unknown``, staging treats trainings completed before the repair as
``unknown`` (``maybe_sent_before_restore``), and new attempts are numbered above the highest ever made. None
of these is sent until a person releases it on evidence. A warehouse is restored as a whole, so all its sites
are repaired together.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime
from typing import Final

from sqlalchemy import Connection, Engine, text

from springest.db.statements import load_sql
from springest.errors import DecisionRefused
from springest.redaction import Redactor
from springest.review.audit_text import clean, clean_login
from springest.staging.decide import RESTORED

_HIGHEST: Final = text(load_sql("delivery/highest_attempt"))
_MAKE_QUEUE_UNKNOWN: Final = text(load_sql("review/make_queue_unknown"))
_RAISE: Final = text(load_sql("review/raise_attempt_number"))
_LOCK: Final = text("LOCK TABLE springest.delivery IN EXCLUSIVE MODE")
_NOTE: Final = text(
    "INSERT INTO springest.ledger_restoration"
    " (settled_by, reason, found_attempt_id, highest_attempt_id, deliveries)"
    " VALUES (:by, :reason, :found, :highest, :deliveries) RETURNING restoration_id, restored_at"
)


@dataclass(frozen=True, slots=True)
class Restored:
    """How far a ledger is behind.

    :param found: highest attempt in the ledger.
    :param highest: highest attempt ever made.
    :param queued: deliveries that may have been sent, by site.
    """

    found: int
    highest: int
    queued: dict[str, int]

    @property
    def is_behind(self) -> bool:
        """Whether the ledger has lost attempts."""
        return self.found < self.highest


@dataclass(frozen=True, slots=True)
class Repaired:
    """The result of a repair."""

    restoration_id: int
    restored_at: datetime
    deliveries: int


def sites_of(engine: Engine) -> list[str]:
    """Return the sites in the ledger."""
    with engine.connect() as connection:
        found = connection.execute(text("SELECT DISTINCT site FROM springest.delivery ORDER BY site"))
        return [str(name) for name in found.scalars()]


def look(engine: Engine, *, kept: Iterable[int | None]) -> Restored:
    """Compare the ledger with the high-water marks kept outside, without changing anything.

    :param kept: highest attempts kept outside, one per site.
    """
    with engine.connect() as connection:
        return _look(connection, kept)


def repair(
    engine: Engine, *, kept: Iterable[int | None], by: str, reason: str, redactor: Redactor | None = None
) -> Repaired:
    """Repair the ledger, in one transaction that staging and workers wait for.

    :param by: login of the person.
    :raises DecisionRefused: the ledger has lost nothing, or login or reason can't be stored.
    """
    by = clean_login(by, redactor)
    reason = clean(reason, "the reason", redactor)
    with engine.begin() as connection:
        connection.execute(_LOCK)
        restored = _look(connection, kept)
        if not restored.is_behind:
            raise DecisionRefused(
                f"the ledger has lost nothing: its highest attempt is {restored.found}, and the highest kept "
                f"outside is {restored.highest}; nothing was changed"
            )
        cause = {"reason": RESTORED.reason, "detail": RESTORED.detail}
        deliveries = int(connection.execute(_MAKE_QUEUE_UNKNOWN, cause).scalar_one())
        connection.execute(_RAISE, {"highest": restored.highest})
        values = {"found": restored.found, "highest": restored.highest, "deliveries": deliveries}
        noted = connection.execute(_NOTE, {"by": by, "reason": reason, **values}).one()
    return Repaired(int(noted.restoration_id), noted.restored_at, deliveries)


def _look(connection: Connection, kept: Iterable[int | None]) -> Restored:
    found = int(connection.execute(_HIGHEST).scalar_one())
    queued = connection.execute(
        text(
            "SELECT site, count(*) FROM springest.delivery WHERE state IN ('ready', 'sending')"
            " GROUP BY site ORDER BY site"
        )
    )
    return Restored(
        found=found,
        highest=max([0, *(number for number in kept if number is not None)]),
        queued={str(site): int(count) for site, count in queued},
    )
