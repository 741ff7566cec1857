"""Erase a learner: clear every reference to them, and keep the source and Springest from restoring it.

A delivery keeps its state and its key, which has no personal part, so that counts stay correct and a
delivered certificate is never sent again. A *tombstone* remains, an HMAC of the erased reference. It only
serves to recognise incoming rows of the erased learner; see
docs/adr/0009-erasure-leaves-a-tombstone.md.
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
from springest.identity import ERASED_OWNER, ERASED_VERSION, Pseudonyms
from springest.privacy.secret import keep_to_secret
from springest.states import Event, sources_of

REASON: Final = "learner_erased"
DETAIL: Final = (
    "the learner was erased: remove the row from the source; if the learner has enrolled again, run "
    "`bin/springest erase --lift`"
)
_LOCK_KEY: Final = lock_key(Lock.ERASURE)
WAIT_FOR_ERASURE: Final = text(f"SELECT pg_advisory_xact_lock_shared({_LOCK_KEY})")
"""Blocks erasures until the transaction ends."""
HOLD_ERASURE: Final = text(f"SELECT pg_advisory_lock_shared({_LOCK_KEY})")
RELEASE_ERASURE: Final = text(f"SELECT pg_advisory_unlock_shared({_LOCK_KEY})")
ERASURE_ALONE: Final = text(f"SELECT pg_advisory_xact_lock({_LOCK_KEY})")
"""Blocks other erasures, and writing rows and owners, until the transaction ends."""
PUBLISH_LOCK: Final = text(f"SELECT pg_advisory_xact_lock({lock_key(Lock.PUBLISH, ':site')})")
_ERASE_DELIVERIES: Final = text(
    load_sql("privacy/erase_deliveries", unsent=quoted(sources_of(Event.LEARNER_ERASED)))
)
_ERASE_ATTEMPTS: Final = text(load_sql("privacy/erase_attempts"))
_ERASE_DECISIONS: Final = text(load_sql("privacy/erase_decisions"))
_ERASE_OWNERS: Final = text(load_sql("privacy/erase_owners"))
TOMBSTONES: Final = select(erasure_tombstone.c.tombstone)


@dataclass(frozen=True, slots=True)
class ErasedLearners:
    """The learners that were erased.

    :param pseudonyms: computes tombstones.
    """

    pseudonyms: Pseudonyms
    tombstones: frozenset[str] = field(repr=False)

    def __bool__(self) -> bool:
        return bool(self.tombstones)

    def covers(self, learner_ref: str | None) -> bool:
        """Return whether the learner was erased since the secret was last rotated."""
        return (
            bool(self.tombstones)
            and learner_ref is not None
            and self.pseudonyms.tombstone(learner_ref) in self.tombstones
        )

    def covers_address(self, address: str | None) -> bool:
        """Return whether the learner with this address was erased, under the present or a former secret."""
        return (
            bool(self.tombstones)
            and address is not None
            and not self.tombstones.isdisjoint(self.pseudonyms.tombstones(address))
        )

    def owner(self, address: str) -> str:
        """Return the value to store for an owner: the reference, or ``ERASED_OWNER``."""
        return ERASED_OWNER if self.covers_address(address) else self.pseudonyms.learner_ref(address)


@dataclass(frozen=True, slots=True)
class ErasureReport:
    """The result of an erasure.

    :param cleared: rows from which the learner was cleared, by table.
    :param stopped: certificates among them that are no longer sent.
    :param already: whether the learner had been erased before.
    """

    cleared: Mapping[str, int]
    stopped: int
    already: bool

    @property
    def found(self) -> bool:
        """Whether the learner was found."""
        return self.already or any(self.cleared.values())


def load_erased(connection: Connection, pseudonyms: Pseudonyms) -> ErasedLearners:
    """Return the learners that were erased so far."""
    return ErasedLearners(pseudonyms, frozenset(connection.execute(TOMBSTONES).scalars()))


def erase_learner(
    engine: Engine,
    pseudonyms: Pseudonyms,
    *,
    learner_ref: str,
    tombstones: Collection[str] = (),
    in_advance: bool = False,
) -> ErasureReport:
    """Erase a learner in one transaction; repeating it changes nothing.

    If nobody has this reference, no tombstone is written: one for a mistyped address could block another
    learner's certificates for good. An erasure and publishing, staging or the end of a snapshot wait for each
    other.

    :param tombstones: all tombstones of the learner, including those under former secrets, if the address is
        known.
    :param in_advance: write a tombstone anyway, for a learner whose rows are still to be staged.

    :raises ConfigurationError: the learner secret is not the warehouse's.
    """
    with engine.begin() as connection:
        keep_to_secret(connection, pseudonyms)
        connection.execute(ERASURE_ALONE)
        # A verdict may still name the learner after the source has changed the delivery's learner.
        of_learner = select(delivery.c.site).where(delivery.c.learner_ref == learner_ref)
        for site in sorted(connection.execute(of_learner.union(select(publication.c.site))).scalars()):
            connection.execute(PUBLISH_LOCK, {"site": site})
        tombstone = pseudonyms.tombstone(learner_ref)
        already = not {tombstone, *tombstones}.isdisjoint(connection.execute(TOMBSTONES).scalars())
        words = {"reason": REASON, "detail": DETAIL, "row_version": ERASED_VERSION}
        rows = connection.execute(_ERASE_DELIVERIES, {"learner_ref": learner_ref, **words}).all()
        found = {"delivery_ids": [row.delivery_id for row in rows]}
        cleared = {
            "delivery": len(rows),
            "delivery_attempt": connection.execute(_ERASE_ATTEMPTS, found).rowcount,
            "delivery_decision": connection.execute(_ERASE_DECISIONS, found).rowcount,
            "remote_certificate": connection.execute(
                _ERASE_OWNERS, {**found, "learner_ref": learner_ref}
            ).rowcount,
        }
        cleared |= _clear_references(connection, learner_ref)
        report = ErasureReport(cleared, sum(row.stopped for row in rows), already)
        if report.found or in_advance:
            buried = insert(erasure_tombstone).values(tombstone=tombstone)
            connection.execute(buried.on_conflict_do_nothing())
        return report


def lift_erasure(
    engine: Engine, pseudonyms: Pseudonyms, *, learner_ref: str, tombstones: Collection[str] = ()
) -> bool:
    """Lift an erasure; return whether there was one.

    Erased data stays erased. The learner's new trainings are sent again, including one whose certificate was
    delivered earlier under another ``training_id``, because that link is lost.

    :param tombstones: as in ``erase_learner``; a reference alone does not lead to a tombstone made with a
        former secret.
    """
    with engine.begin() as connection:
        keep_to_secret(connection, pseudonyms)
        connection.execute(ERASURE_ALONE)
        of_learner = {pseudonyms.tombstone(learner_ref), *tombstones}
        lifted = delete(erasure_tombstone).where(erasure_tombstone.c.tombstone.in_(of_learner))
        return bool(connection.execute(lifted).rowcount)


def _clear_references(connection: Connection, learner_ref: str) -> dict[str, int]:
    """Clear the reference and the texts in every table that has them, in the order that publishing uses."""
    cleared = {}
    for table in metadata.tables.values():
        if "learner_ref" in table.c and table not in (delivery, remote_certificate):
            emptied = {name: None for name in ("learner_ref", "delivery_reason_detail") if name in table.c}
            clearing = update(table).where(table.c.learner_ref == learner_ref).values(emptied)
            cleared[table.name] = connection.execute(clearing).rowcount
    return cleared
