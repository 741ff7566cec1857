"""Binds the warehouse to one learner secret: with another, every learner would look new.

Each transaction that writes references calls ``keep_to_secret``, under a lock that a rotation waits for. So a
worker that still has the former secret is refused, however long ago it started.
"""

from __future__ import annotations

import hmac
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from secrets import token_bytes
from typing import Final

from sqlalchemy import Connection, Engine, select, text
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.exc import SQLAlchemyError

from springest.db.locks import Lock, lock_key
from springest.db.schema import learner_secret
from springest.errors import ConfigurationError
from springest.identity import ADDRESS_RULE, Pseudonyms

_LOCK_KEY: Final = lock_key(Lock.SECRET)
_USE: Final = text(f"SELECT pg_advisory_lock_shared({_LOCK_KEY})")
_END_USE: Final = text(f"SELECT pg_advisory_unlock_shared({_LOCK_KEY})")
TRY_TO_ROTATE: Final = text(f"SELECT pg_try_advisory_xact_lock({_LOCK_KEY})")
"""Blocks runs from using the secret until the transaction ends; false if a run already uses it."""


def keep_to_secret(connection: Connection, pseudonyms: Pseudonyms) -> None:
    """Record the secret the first time, and refuse another one later.

    Neither the table nor the error reveals a value from which the secret can be guessed quickly: see
    ``Pseudonyms.verifier``.

    :raises ConfigurationError: the warehouse was filled under another secret or address rule.
    """
    known = connection.execute(select(learner_secret)).one_or_none()
    if known is None:
        salt = token_bytes(16)
        row = {"salt": salt.hex(), "verifier": pseudonyms.verifier(salt), "address_rule": ADDRESS_RULE}
        connection.execute(insert(learner_secret).values(row).on_conflict_do_nothing())
    check_secret(connection, pseudonyms)


def check_secret(connection: Connection, pseudonyms: Pseudonyms) -> None:
    """Refuse a secret that does not recognise the learners of the warehouse, without writing anything.

    :raises ConfigurationError: the warehouse was filled under another secret or address rule.
    """
    known = connection.execute(select(learner_secret)).one_or_none()
    if known is None:
        return
    made_with = secrets_in_force(known.verifier, known.salt, pseudonyms)
    if made_with == 0:
        raise ConfigurationError(
            "the Variable springest_learner_secret is not the one that the warehouse was filled with: "
            "restore the former secret, or no learner is recognised. To change it, set a list of the former "
            "secret and the new one, and run `bin/springest rotate-secret`"
        )
    if made_with < len(pseudonyms.secrets):
        raise ConfigurationError(
            "the Variable springest_learner_secret has a new secret, but the warehouse has references made "
            "with the former one: run `bin/springest rotate-secret`"
        )
    if known.address_rule != ADDRESS_RULE:
        raise ConfigurationError(
            f"the warehouse's learner references follow address rule {known.address_rule}, this version of "
            f"the code follows rule {ADDRESS_RULE}: install the matching version, or no learner is "
            "recognised"
        )


def secrets_in_force(verifier: str, salt: str, pseudonyms: Pseudonyms) -> int:
    """Return how many of the secrets, from the oldest on, the warehouse's references are made with.

    :param verifier: the warehouse's verifier; ``salt`` is its salt.
    :returns: 0 if they are made with another secret.
    """
    known = bytes.fromhex(salt)
    counts = range(len(pseudonyms.secrets), 0, -1)
    return next(
        (count for count in counts if hmac.compare_digest(verifier, pseudonyms.verifier(known, of=count))), 0
    )


@contextmanager
def secret_in_use(engine: Engine, pseudonyms: Pseudonyms) -> Iterator[None]:
    """Prevent a rotation of the secret while a run uses it.

    If the connection breaks, the run continues; after a rotation, ``keep_to_secret`` refuses its writes.

    :raises ConfigurationError: the warehouse was filled under another secret or address rule.
    """
    with engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
        connection.execute(_USE)
        try:
            with engine.begin() as checking:
                keep_to_secret(checking, pseudonyms)
            yield
        finally:
            with suppress(SQLAlchemyError):
                connection.execute(_END_USE)
