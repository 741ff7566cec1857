"""Keeps the warehouse to one learner secret: with another, every learner would look like somebody new."""

from __future__ import annotations

import hmac
import secrets

from sqlalchemy import Connection, select
from sqlalchemy.dialects.postgresql import insert

from springest.db.schema import learner_secret
from springest.errors import ConfigurationError
from springest.identity import ADDRESS_RULE, Pseudonyms


def keep_to_secret(connection: Connection, pseudonyms: Pseudonyms) -> None:
    """Note the secret the first time, and refuse another one later.

    Neither the table nor the error tells anything of a secret that can be guessed quickly: see
    ``Pseudonyms.verifier``.

    :raises ConfigurationError: the warehouse was filled under another secret or address rule.
    """
    known = connection.execute(select(learner_secret)).one_or_none()
    if known is None:
        salt = secrets.token_bytes(16)
        row = {"salt": salt.hex(), "verifier": pseudonyms.verifier(salt), "address_rule": ADDRESS_RULE}
        connection.execute(insert(learner_secret).values(row).on_conflict_do_nothing())
        known = connection.execute(select(learner_secret)).one()
    if not hmac.compare_digest(known.verifier, pseudonyms.verifier(bytes.fromhex(known.salt))):
        raise ConfigurationError(
            "the Variable springest_learner_secret is not the one the warehouse was filled with: "
            "put the former secret back, or no learner would be recognised"
        )
    if known.address_rule != ADDRESS_RULE:
        raise ConfigurationError(
            f"the warehouse's learner references follow address rule {known.address_rule}, this version of "
            f"the code follows rule {ADDRESS_RULE}: install the version that fits, or no learner would be "
            "recognised"
        )
