"""Reads and writes of the ledger while source rows are staged.

The caller's transaction holds the site's staging lock, so two runs never decide about the same certificate at
the same time. The deliveries concerned are locked as well, so that no worker claims one in between.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final

from sqlalchemy import (
    ARRAY,
    Connection,
    Text,
    and_,
    any_,
    bindparam,
    exists,
    func,
    literal,
    or_,
    select,
    text,
    update,
)
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.exc import SQLAlchemyError

from springest.db.locks import Lock, lock_key
from springest.db.rollback import Transactions
from springest.db.schema import (
    delivery,
    delivery_attempt,
    ledger_restoration,
    site_identity,
)
from springest.db.statements import load_sql
from springest.source.contract import CompletedTraining
from springest.staging.decide import (
    HOLDS_CERTIFICATE,
    OUTRANKS_CHANGE,
    Action,
    CertificateIdentity,
    Change,
    Holder,
    Known,
)
from springest.states import POSSIBLY_STORED, Event, State, next_state, sources_of

_KEEPALIVE: Final = {
    "tcp_keepalives_idle": "30",
    "tcp_keepalives_interval": "10",
    "tcp_keepalives_count": "3",
}
GONE_AFTER_SENDING: Final = "withdrawn_after_sending"
_LOCK: Final = text(f"SELECT pg_advisory_xact_lock({lock_key(Lock.STAGE, ':site')})")
_LOCK_RUN: Final = text(
    f"SELECT pg_advisory_xact_lock_shared({lock_key(Lock.STAGE_RUN, ':site', ':run_id')})"
)
_LOCK_SHARED_TRAININGS: Final = text(f"SELECT pg_advisory_xact_lock({lock_key(Lock.SHARED_TRAININGS)})")
_KEYS: Final = bindparam("keys", type_=ARRAY(Text))
_IDENTITY: Final = ("certification_id", "learner_ref", "valid_from")
_HOLDERS: Final = text(load_sql("staging/holders"))
_EVER_SENT: Final = (
    select(delivery_attempt.c.attempt_id)
    .where(
        delivery_attempt.c.delivery_id == delivery.c.delivery_id,
        delivery_attempt.c.possibly_stored,
    )
    .exists()
)


@dataclass(frozen=True, slots=True)
class Staged:
    """A change to write.

    :param catalogue_ref: reference of the catalogue entry that was used.
    :param document_checked: type and sha256 of the document, if it passed its checks.
    """

    training: CompletedTraining
    change: Change
    catalogue_ref: str
    document_checked: str | None = None


def lock_staging(connection: Connection, site: str) -> None:
    """Wait until no other run stages the site; the lock ends with the transaction."""
    connection.execute(_LOCK, {"site": site})


@contextmanager
def being_staged(engine: Transactions, site: str, run_id: str) -> Iterator[None]:
    """Hold a lock that shows other runs that this run is not staged completely yet.

    The lock has its own transaction and is shared, so a hanging try does not block another. Staging continues
    if the lock's connection breaks, since the lock only makes deliveries wait. TCP keep-alive detects a dead
    machine within a minute.
    """
    opened = ExitStack()
    connection = opened.enter_context(engine.connect())
    try:
        for setting, value in _KEEPALIVE.items():
            connection.execute(select(func.set_config(setting, value, literal(value=True))))
        connection.execute(_LOCK_RUN, {"site": site, "run_id": run_id})
        yield
    finally:
        with suppress(SQLAlchemyError):
            opened.close()


def load_known(connection: Connection, keys: Iterable[str], *, lock: bool) -> dict[str, Known]:
    """Return these deliveries of the ledger, by key.

    :param lock: lock them, so that no worker claims one before the transaction ends.
    """
    names = [name for name in Known.__slots__ if name != "ever_sent"]
    statement = (
        select(*(delivery.c[name] for name in names), _EVER_SENT.label("ever_sent"))
        .where(delivery.c.delivery_key == any_(_KEYS))
        .order_by(delivery.c.delivery_key)
    )
    if lock:
        statement = statement.with_for_update(of=delivery)
    rows = connection.execute(statement, {"keys": sorted(set(keys))}).mappings()
    return {row["delivery_key"]: Known(**{**row, "state": State(row["state"])}) for row in rows}


def load_holders(
    connection: Connection, site: str, identities: Sequence[CertificateIdentity]
) -> dict[CertificateIdentity, list[Holder]]:
    """Return the deliveries that already have these certificates."""
    wanted = {
        "site": site,
        "certification_ids": [certification_id for certification_id, _, _ in identities],
        "learner_refs": [learner_ref for _, learner_ref, _ in identities],
        "first_days": [valid_from for _, _, valid_from in identities],
        "holding": [state.value for state in HOLDS_CERTIFICATE],
    }
    found: dict[CertificateIdentity, list[Holder]] = {}
    for certification_id, learner_ref, valid_from, *holder in connection.execute(_HOLDERS, wanted):
        found.setdefault((certification_id, learner_ref, valid_from), []).append(Holder(*holder))
    return found


def load_elsewhere(
    connection: Connection, site: str, trainings: Iterable[CompletedTraining]
) -> dict[str, str]:
    """Return the other site that has each of these trainings, by delivery key of this site.

    Trainings are the same if id, issue number and learner are. Runs of all sites wait for each other here
    until the transaction ends, so if two stage the same training at once, the second one finds it.
    """
    if not connection.execute(select(exists().where(site_identity.c.site != site))).scalar_one():
        return {}
    own = {
        (training.training_id, training.issue_no): training
        for training in trainings
        if training.learner_ref is not None
    }
    if not own:
        return {}
    connection.execute(_LOCK_SHARED_TRAININGS)
    holding = [state.value for state in HOLDS_CERTIFICATE]
    found = connection.execute(
        select(delivery.c.training_id, delivery.c.issue_no, delivery.c.site, delivery.c.learner_ref)
        .where(
            delivery.c.training_id == any_(_KEYS),
            delivery.c.site != site,
            or_(
                delivery.c.state.in_(holding),
                and_(delivery.c.state == State.REVIEW.value, _EVER_SENT),
            ),
        )
        .order_by(delivery.c.site),
        {"keys": sorted({training_id for training_id, _ in own})},
    )
    return {
        training.delivery_key: other_site
        for training_id, issue_no, other_site, learner_ref in found
        if (training := own.get((training_id, issue_no))) and learner_ref == training.learner_ref
    }


def write(connection: Connection, staged: Iterable[Staged], *, run_id: str) -> None:
    """Write changes, at most one per delivery."""
    inserts, restages, flags = [], [], []
    for row in staged:
        if row.change.action is Action.INSERT:
            inserts.append(_content(row) | _identity(row) | {"staged_run_id": run_id})
        elif row.change.action is Action.RESTAGE:
            restages.append(_content(row) | {"staged_run_id": run_id, "key": row.training.delivery_key})
        elif row.change.action is Action.FLAG:
            flags.append({"key": row.training.delivery_key, "review_reason": row.change.review_reason})
    if inserts:
        connection.execute(insert(delivery), inserts)
    changed = {"updated_at": func.clock_timestamp()}
    here = delivery.c.delivery_key == bindparam("key")
    if restages:
        # If the certificate differs from the one that a person released, it is checked again.
        is_same_certificate = and_(
            *(
                delivery.c[name].is_not_distinct_from(bindparam(f"new_{name}", type_=delivery.c[name].type))
                for name in _IDENTITY
            )
        )
        released = {"duplicate_released": and_(delivery.c.duplicate_released, is_same_certificate)}
        restaging = update(delivery).where(here)
        restaging = restaging.values({**changed, **released, "version": delivery.c.version + 1})
        renamed = [row | {f"new_{name}": row[name] for name in _IDENTITY} for row in restages]
        connection.execute(restaging, renamed)
    if flags:
        # Not a new version: a worker that is sending it must still be able to record the outcome.
        connection.execute(update(delivery).where(here).values({**changed, "needs_review": True}), flags)


def withdraw(connection: Connection, keys: Sequence[str]) -> int:
    """Withdraw unsent deliveries that are gone from the source; mark sent ones for review.

    :param keys: deliveries that are locked by this transaction.
    :returns: number of withdrawn deliveries.
    """
    withdrawn = connection.execute(
        update(delivery)
        .where(
            delivery.c.delivery_key == any_(_KEYS),
            or_(
                delivery.c.state.in_([state.value for state in sources_of(Event.SOURCE_GONE)]),
                and_(delivery.c.state == State.REVIEW.value, ~_EVER_SENT),
            ),
        )
        .values(
            state=State.WITHDRAWN.value,
            reason="source_gone",
            reason_detail="the source no longer has the row",
            needs_review=False,
            review_reason=None,
            version=delivery.c.version + 1,
            updated_at=func.clock_timestamp(),
        ),
        {"keys": list(keys)},
    )
    connection.execute(
        update(delivery)
        .where(
            delivery.c.delivery_key == any_(_KEYS),
            or_(
                delivery.c.state.in_([state.value for state in POSSIBLY_STORED]),
                and_(delivery.c.state == State.REVIEW.value, _EVER_SENT),
            ),
            delivery.c.review_reason.is_distinct_from(GONE_AFTER_SENDING),
            func.coalesce(delivery.c.review_reason, "").not_like(f"{OUTRANKS_CHANGE}%"),
        )
        .values(needs_review=True, review_reason=GONE_AFTER_SENDING, updated_at=func.clock_timestamp()),
        {"keys": list(keys)},
    )
    return withdrawn.rowcount


def hold_unlisted(connection: Connection, keys: Sequence[str]) -> None:
    """Hold deliveries in the queue whose source is not one of the site's any more.

    :param keys: deliveries that are locked by this transaction.
    """
    connection.execute(
        update(delivery)
        .where(delivery.c.delivery_key == any_(_KEYS), delivery.c.state == State.READY.value)
        .values(
            state=next_state(State.READY, Event.CHECKED_HELD).value,
            reason="source_not_listed",
            reason_detail=func.concat(
                "its source ",
                delivery.c.source,
                " is not one of the site's in include/sites.toml any more: "
                "list it again, or cancel the delivery",
            ),
            version=delivery.c.version + 1,
            updated_at=func.clock_timestamp(),
        ),
        {"keys": list(keys)},
    )


def restored_at(connection: Connection) -> datetime | None:
    """Return when this ledger was last repaired after it was restored from a backup, if ever."""
    moment: datetime | None = connection.execute(
        select(func.max(ledger_restoration.c.restored_at)).where(~ledger_restoration.c.follows_trial)
    ).scalar()
    return moment


def now(connection: Connection) -> datetime:
    """Return the warehouse's clock."""
    clock: datetime = connection.execute(select(func.clock_timestamp())).scalar_one()
    return clock


def _identity(staged: Staged) -> dict[str, Any]:
    training = staged.training
    return {
        "delivery_key": training.delivery_key,
        "site": training.site,
        "training_id": training.training_id,
        "issue_no": training.issue_no,
    }


def _content(staged: Staged) -> dict[str, Any]:
    training, change = staged.training, staged.change
    assert change.state is not None  # noqa: S101 - an insert and a restage always carry one
    return {
        "state": change.state.value,
        "reason": change.reason,
        "reason_detail": change.detail,
        "needs_review": change.review_reason is not None,
        "review_reason": change.review_reason,
        "learner_ref": training.learner_ref,
        "certification_id": training.certification_id,
        "booking_id": training.booking_id,
        "valid_from": training.valid_from,
        "valid_until": training.valid_until,
        "completed_at": training.completed_at,
        "source": training.source,
        "source_updated_at": training.updated_at,
        "row_version": training.row_version,
        "document_ref": training.document_ref,
        "catalogue_ref": staged.catalogue_ref,
        "document_checked": staged.document_checked,
    }
