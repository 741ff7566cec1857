"""Forget a learner: clear every reference to them, and keep anything from bringing it back.

Counts stay: a delivery keeps its key, which has no personal part, and what became of it, so that a
certificate that was delivered is never sent again. What is left of the learner is a *tombstone*, an HMAC of
the erased reference. It answers one question only, whether an incoming row is about somebody who was
forgotten; see docs/adr/0009-erasure-leaves-a-tombstone.md.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from typing import Final

from sqlalchemy import Connection, Engine, delete, select, text, update
from sqlalchemy.dialects.postgresql import insert

from springest.db.locks import Lock, lock_key
from springest.db.schema import (
    delivery,
    erasure_tombstone,
    metadata,
    publication,
    remote_certificate,
)
from springest.db.statements import load_sql, quoted
from springest.identity import ERASED_VERSION, FORGOTTEN_OWNER, Pseudonyms
from springest.privacy.secret import keep_to_secret
from springest.states import Event, sources_of

REASON: Final = "learner_erased"
DETAIL: Final = (
    "the learner was forgotten: let the source forget them too; if they have come back, say so with "
    "`bin/springest erase --lift`"
)
_LOCK_KEY: Final = lock_key(Lock.ERASURE)
WAIT_FOR_ERASURE: Final = text(f"SELECT pg_advisory_xact_lock_shared({_LOCK_KEY})")
"""Until the transaction ends, nobody is forgotten."""
HOLD_ERASURE: Final = text(f"SELECT pg_advisory_lock_shared({_LOCK_KEY})")
RELEASE_ERASURE: Final = text(f"SELECT pg_advisory_unlock_shared({_LOCK_KEY})")
ERASURE_ALONE: Final = text(f"SELECT pg_advisory_xact_lock({_LOCK_KEY})")
"""Until the transaction ends, nobody is forgotten, and no rows and no owners are written."""
PUBLISH_LOCK: Final = text(f"SELECT pg_advisory_xact_lock({lock_key(Lock.PUBLISH, ':site')})")
_FORGET_DELIVERIES: Final = text(
    load_sql("privacy/forget_deliveries", unsent=quoted(sources_of(Event.LEARNER_ERASED)))
)
_FORGET_ATTEMPTS: Final = text(load_sql("privacy/forget_attempts"))
_FORGET_DECISIONS: Final = text(load_sql("privacy/forget_decisions"))
_FORGET_OWNERS: Final = text(load_sql("privacy/forget_owners"))
TOMBSTONES: Final = select(erasure_tombstone.c.tombstone)


@dataclass(frozen=True, slots=True)
class Forgotten:
    """Who was forgotten.

    :param pseudonyms: makes tombstones.
    """

    pseudonyms: Pseudonyms
    tombstones: frozenset[str] = field(repr=False)

    def __bool__(self) -> bool:
        return bool(self.tombstones)

    def covers(self, learner_ref: str | None) -> bool:
        """Return whether the learner was forgotten since the secret was last rotated."""
        return (
            bool(self.tombstones)
            and learner_ref is not None
            and self.pseudonyms.tombstone(learner_ref) in self.tombstones
        )

    def covers_address(self, address: str | None) -> bool:
        """Return whether the learner with this address was forgotten, under whichever secret."""
        return (
            bool(self.tombstones)
            and address is not None
            and not self.tombstones.isdisjoint(self.pseudonyms.tombstones(address))
        )

    def owner(self, address: str) -> str:
        """Return what is stored of an owner: their reference, or a word when they were forgotten."""
        return FORGOTTEN_OWNER if self.covers_address(address) else self.pseudonyms.learner_ref(address)


@dataclass(frozen=True, slots=True)
class ErasureReport:
    """The result of an erasure.

    :param cleared: rows from which the learner was cleared, by table.
    :param stopped: certificates among them that will not be sent any more.
    :param already: the learner had been forgotten before.
    """

    cleared: Mapping[str, int]
    stopped: int
    already: bool

    @property
    def found(self) -> bool:
        """Whether there was anybody to forget."""
        return self.already or any(self.cleared.values())


def load_erased(connection: Connection, pseudonyms: Pseudonyms) -> Forgotten:
    """Return who was forgotten so far."""
    return Forgotten(pseudonyms, frozenset(connection.execute(TOMBSTONES).scalars()))


def forget(
    engine: Engine,
    pseudonyms: Pseudonyms,
    *,
    learner_ref: str,
    tombstones: Collection[str] = (),
    in_advance: bool = False,
) -> ErasureReport:
    """Forget a learner, in one transaction; doing it again changes nothing.

    Where nobody has this reference, nothing is left behind either: a tombstone for a mistyped address would
    bar somebody else, whose certificates would never be sent.

    :param tombstones: the learner's, where the address is known: of an erasure under a former secret as well.
    :param in_advance: leave a tombstone all the same, for a learner whose rows are still to be staged.

    Publishing, staging and the end of a snapshot wait for it, and it for them.

    :raises ConfigurationError: the learner secret is not the warehouse's.
    """
    with engine.begin() as connection:
        keep_to_secret(connection, pseudonyms)
        connection.execute(ERASURE_ALONE)
        # Also where only a verdict still names them, since the source has said another learner meanwhile.
        of_learner = select(delivery.c.site).where(delivery.c.learner_ref == learner_ref)
        for site in sorted(connection.execute(of_learner.union(select(publication.c.site))).scalars()):
            connection.execute(PUBLISH_LOCK, {"site": site})
        tombstone = pseudonyms.tombstone(learner_ref)
        already = not {tombstone, *tombstones}.isdisjoint(connection.execute(TOMBSTONES).scalars())
        words = {"reason": REASON, "detail": DETAIL, "row_version": ERASED_VERSION}
        rows = connection.execute(_FORGET_DELIVERIES, {"learner_ref": learner_ref, **words}).all()
        keys = [row.delivery_key for row in rows]
        cleared = {
            "delivery": len(rows),
            "delivery_attempt": connection.execute(_FORGET_ATTEMPTS, {"keys": keys}).rowcount,
            "delivery_decision": connection.execute(_FORGET_DECISIONS, {"keys": keys}).rowcount,
            "remote_certificate": connection.execute(
                _FORGET_OWNERS, {"keys": keys, "learner_ref": learner_ref}
            ).rowcount,
        }
        cleared |= _clear_references(connection, learner_ref)
        report = ErasureReport(cleared, sum(row.stopped for row in rows), already)
        if report.found or in_advance:
            buried = insert(erasure_tombstone).values(tombstone=tombstone)
            connection.execute(buried.on_conflict_do_nothing())
        return report


def remember(
    engine: Engine, pseudonyms: Pseudonyms, *, learner_ref: str, tombstones: Collection[str] = ()
) -> bool:
    """Let a learner who was forgotten come back; return whether they had been.

    :param tombstones: as in ``forget``; a reference alone does not lead to a tombstone of a former secret.

    What was erased stays erased. New trainings of theirs are sent again, also one that stands for a
    certificate that was delivered before under another ``training_id``: the link is lost.
    """
    with engine.begin() as connection:
        keep_to_secret(connection, pseudonyms)
        connection.execute(ERASURE_ALONE)
        of_learner = {pseudonyms.tombstone(learner_ref), *tombstones}
        lifted = delete(erasure_tombstone).where(erasure_tombstone.c.tombstone.in_(of_learner))
        return bool(connection.execute(lifted).rowcount)


def _clear_references(connection: Connection, learner_ref: str) -> dict[str, int]:
    """Clear the reference and the texts in every table that has a place for them, in publishing's order."""
    cleared = {}
    for table in metadata.tables.values():
        if "learner_ref" in table.c and table not in (delivery, remote_certificate):
            emptied = {name: None for name in ("learner_ref", "delivery_reason_detail") if name in table.c}
            clearing = update(table).where(table.c.learner_ref == learner_ref).values(emptied)
            cleared[table.name] = connection.execute(clearing).rowcount
    return cleared
