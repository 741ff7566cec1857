"""Keeps the warehouse to one learner secret: with another, every learner would look like somebody new."""

from __future__ import annotations

from sqlalchemy import Connection, select
from sqlalchemy.dialects.postgresql import insert

from include.springest.errors import ConfigurationError
from include.springest.identity import Pseudonyms
from include.springest.warehouse.schema import learner_secret


def keep_to_secret(connection: Connection, pseudonyms: Pseudonyms) -> None:
    """Note the secret's fingerprint the first time, and refuse another one later.

    :raises ConfigurationError: the warehouse was filled under another secret.
    """
    mine = pseudonyms.fingerprint
    if connection.execute(select(learner_secret.c.fingerprint)).first() is None:
        connection.execute(insert(learner_secret).values(fingerprint=mine).on_conflict_do_nothing())
    known = connection.execute(select(learner_secret.c.fingerprint)).scalars().all()
    if known != [mine]:
        raise ConfigurationError(
            f"the Variable springest_learner_secret (fingerprint {mine}) is not the one the warehouse was "
            f"filled with ({', '.join(known)}): put the former secret back, or no learner would be recognised"
        )
