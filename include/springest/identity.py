"""Who and what a row is, without saying it: keys and references made of hashes.

``delivery_key`` has no personal part. Everything that does (the learner's address, a document's name, the
whole row) is stored only as an HMAC under the learner secret, so that nobody can find an address by trying.
"""

from __future__ import annotations

import hashlib
import hmac
import unicodedata
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Final

from include.springest.errors import ConfigurationError

SHORTEST_SECRET = 16
FORGOTTEN_VERSION: Final = "0" * 64
"""``row_version`` of a row whose learner was forgotten; a real one is made of their address as well."""
FORGOTTEN_OWNER: Final = "forgotten"
"""In place of an owner's reference: a learner who was forgotten."""


def delivery_key(*, site: str, training_id: str, issue_no: int) -> str:
    """Return the 64 hex digits that name one certificate to deliver, whatever becomes of its content."""
    return hashlib.sha256(_joined((site, training_id, str(issue_no)))).hexdigest()


def normalised_address(address: str) -> str:
    """Return the form of an e-mail address that two spellings of one learner share.

    Case is folded in the local part too: no mail provider that learners use tells it apart.
    """
    return unicodedata.normalize("NFC", address).strip().casefold()


@dataclass(frozen=True, slots=True)
class Pseudonyms:
    """Makes references under one secret.

    :param secret: the learner secret (Variable ``springest_learner_secret``), at least 16 characters.
    """

    secret: str = field(repr=False)

    def __post_init__(self) -> None:
        if len(self.secret) < SHORTEST_SECRET:
            raise ConfigurationError(
                f"the Variable springest_learner_secret is shorter than {SHORTEST_SECRET} characters: "
                'make one with `python -c "import secrets; print(secrets.token_hex(32))"` and never change it'
            )

    @property
    def fingerprint(self) -> str:
        """16 hex digits that tell secrets apart without telling them."""
        return self._digest("fingerprint", ())[:16]

    def learner_ref(self, address: str) -> str:
        """Return the reference of the learner with that address."""
        return self._digest("learner", (normalised_address(address),))

    def tombstone(self, learner_ref: str) -> str:
        """Return what is left of a learner who was forgotten; without the secret it leads to no reference."""
        return self._digest("forgotten", (learner_ref,))

    def document_ref(self, uri: str) -> str:
        """Return the reference of a document's address (file names tend to hold people's names)."""
        return self._digest("document", (uri,))

    def row_version(self, values: Iterable[str]) -> str:
        """Return what moves when any value of a source row does."""
        return self._digest("row", values)

    def _digest(self, purpose: str, values: Iterable[str]) -> str:
        message = _joined((purpose, *values))
        return hmac.new(self.secret.encode(), message, hashlib.sha256).hexdigest()


def _joined(parts: Iterable[str]) -> bytes:
    """Join so that no two lists of parts give the same bytes: each part with its length before it."""
    encoded = (part.encode("utf-8", "surrogatepass") for part in parts)
    return b"".join(b"%d:%s" % (len(part), part) for part in encoded)
