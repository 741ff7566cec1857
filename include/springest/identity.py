"""Keys and references that identify a row without revealing it.

``delivery_key`` has no personal part. Personal data (the learner's address, a document's name, the whole
row) is stored only as an HMAC under the learner secret, so that addresses can't be found by trying.
"""

from __future__ import annotations

import hashlib
import hmac
import re
import unicodedata
from collections.abc import Iterable
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Final

import idna

from springest.errors import ConfigurationError

ADDRESS_RULE: Final = 1
"""Version of the rule in ``mailbox``. It is part of each learner's reference and stored in the warehouse:
raise it if any address would get another form, for example with a new version of ``idna`` or Unicode."""
SHORTEST_SECRET: Final = 32
FEWEST_CHARACTERS: Final = 10
ERASED_VERSION: Final = "0" * 64
"""``row_version`` of a row whose learner was erased; a real one also depends on the address."""
ERASED_OWNER: Final = "forgotten"
"""Stored instead of an owner's reference: the owner is an erased learner."""
OTHER_OWNER: Final = "other"
"""Stored instead of an owner's reference: the owner is not the erased learner it was sent for; see ADR 9."""
UNKEYED: Final = frozenset({ERASED_VERSION, ERASED_OWNER, OTHER_OWNER})
"""Fixed words instead of a reference or a version; they do not depend on the secret."""
_LONGEST_DOMAIN: Final = 253  # RFC 1035, 2.3.4; in ASCII, which is never shorter than in Unicode
_QUOTED: Final = re.compile(r'"((?:[^"\\]|\\.)*)"', re.DOTALL)
_ATOM: Final = r"[^\s\x00-\x20\x7f()<>\[\]:;@\\,.\"]+"  # RFC 5322, 3.2.3; RFC 6531, 3.3
_DOT_ATOM: Final = re.compile(rf"{_ATOM}(?:\.{_ATOM})*")
_KEYBOARD: Final = "1234567890 qwertyuiop asdfghjkl zxcvbnm"


def delivery_key(*, site: str, training_id: str, issue_no: int) -> str:
    """Return 64 hex digits that identify one certificate to deliver, independent of its content."""
    return hashlib.sha256(_joined((site, training_id, str(issue_no)))).hexdigest()


def mailbox(address: str) -> str:
    """Return the normal form of a mailbox: the same for all its spellings, different for different mailboxes.

    It is only for comparing; the address is sent as the source has it. Every text has a normal form, even if
    it is not an address; no text raises. See docs/adr/0019-one-mailbox-is-one-learner.md.

    * Domain: its A-labels by IDNA 2008 after the non-transitional mapping of UTS 46, without the root's dot.
      A domain that IDNA refuses is treated like the local part.
    * Local part: NFC (RFC 6532, 3.1), without quotes that it does not need (RFC 5321, 4.1.2), each letter in
      lower case. RFC 5321, 2.4 leaves case to the receiving host; no host that learners use distinguishes it.
    """
    local, at, domain = unicodedata.normalize("NFC", address).strip().rpartition("@")
    return f"{_lower(_unquoted(local))}{at}{_ascii_domain(domain)}"


@lru_cache(maxsize=4096)
def _ascii_domain(domain: str) -> str:
    if len(domain) <= _LONGEST_DOMAIN:
        try:
            return idna.encode(domain, uts46=True).decode("ascii").removesuffix(".")
        except UnicodeError:  # IDNAError is one
            pass
    return _lower(domain)


def _unquoted(local: str) -> str:
    """Return the local part with the fewest quotes and backslashes (RFC 5321, 4.1.2)."""
    quoted = _QUOTED.fullmatch(local)
    if quoted is None:
        return local
    content = unicodedata.normalize("NFC", re.sub(r"\\(.)", r"\1", quoted[1], flags=re.DOTALL))
    if _DOT_ATOM.fullmatch(content):
        return content
    return '"' + re.sub(r'(["\\])', r"\\\1", content) + '"'


def _lower(text: str) -> str:
    """Fold case without merging letters: by Unicode's simple lower-case mapping, one letter at a time.

    ``casefold`` converts ``ß`` to ``ss``; ``lower`` depends on neighbours (Σ) and decomposes ``İ``. In
    addition, a final sigma becomes a sigma, since both have the same capital.
    """
    folded = (letter.lower() if len(letter.lower()) == 1 else letter for letter in text)
    return unicodedata.normalize("NFC", "".join(folded).replace("ς", "σ"))  # noqa: RUF001


@dataclass(frozen=True, slots=True)
class Pseudonyms:
    """Computes references under the learner secret (Variable ``springest_learner_secret``).

    After a rotation, each reference is the HMAC, under the new secret, of the former reference. So
    references are re-keyed without the addresses; see docs/adr/0024-rotation-wraps-what-is-there.md.

    :param secret: the secret in force, at least 32 characters.
    :param former: the secrets before it, oldest first.
    :raises ConfigurationError: the secret is short, easy to guess, or one of the former ones.
    """

    secret: str = field(repr=False)
    former: tuple[str, ...] = field(default=(), repr=False)

    def __post_init__(self) -> None:
        weakness = _weakness(self.secret)
        if len({self.secret, *self.former}) <= len(self.former):
            weakness = "holds the same secret twice"
        if weakness:
            raise ConfigurationError(
                f"the Variable springest_learner_secret {weakness}: make one with "
                '`python -c "import secrets; print(secrets.token_hex(32))"` and change it by '
                "`bin/springest rotate-secret` only"
            )

    @property
    def secrets(self) -> tuple[str, ...]:
        """All secrets, oldest first."""
        return (*self.former, self.secret)

    def verifier(self, salt: bytes, *, of: int | None = None) -> str:
        """Return 64 hex digits by which the secrets are recognised; guessing one from them is slow.

        scrypt (RFC 7914) with N=2^15, r=8, p=1 takes 32 MiB and about a tenth of a second, once for a salt.

        :param of: how many secrets, from the oldest on; all of them by default.
        """
        return _verifier(self.secrets[:of], salt)

    def learner_ref(self, address: str) -> str:
        """Return the reference of the learner with this address, in any spelling."""
        return self.rekeyed(_learner_ref(self.secrets[0], mailbox(address)), made_with=1)

    def tombstone(self, learner_ref: str) -> str:
        """Return the tombstone of an erased learner; without the secret it leads to no reference."""
        return _hmac(self.secret, ("forgotten", learner_ref))

    def tombstones(self, address: str) -> frozenset[str]:
        """Return each tombstone that the learner may have: one for every secret."""
        found = []
        reference = mailbox(address)
        for number, secret in enumerate(self.secrets):
            reference = _wrapped(secret, reference) if number else _learner_ref(secret, reference)
            found.append(self.rekeyed(_hmac(secret, ("forgotten", reference)), made_with=number + 1))
        return frozenset(found)

    def rekeyed(self, value: str, *, made_with: int) -> str:
        """Return the present form of a reference, version or tombstone.

        :param made_with: number of secrets when it was made.
        """
        if value in UNKEYED:
            return value
        for secret in self.secrets[made_with:]:
            value = _wrapped(secret, value)
        return value

    def document_ref(self, uri: str) -> str:
        """Return the reference of a document's address (file names often contain people's names)."""
        return self._digest("document", (uri,))

    def row_version(self, values: Iterable[str]) -> str:
        """Return a hash that changes with any value of a source row."""
        return self._digest("row", values)

    def row_name(self, values: Iterable[str]) -> str:
        """Return 24 hex digits that identify a row without an id, the same after every rotation."""
        return _hmac(self.secrets[0], ("row", *values))[:24]

    def user_ref(self, address: str) -> str:
        """Return 8 hex digits that distinguish a user from others, the same after every rotation.

        They lead to no learner: a learner with this address has another reference.
        """
        return _hmac(self.secrets[0], ("user", mailbox(address)))[:8]

    def _digest(self, purpose: str, values: Iterable[str]) -> str:
        return self.rekeyed(_hmac(self.secrets[0], (purpose, *values)), made_with=1)


def _hmac(secret: str, values: Iterable[str]) -> str:
    return hmac.new(secret.encode(), _joined(values), hashlib.sha256).hexdigest()


def _learner_ref(secret: str, form: str) -> str:
    return _hmac(secret, ("learner", str(ADDRESS_RULE), form))


def _wrapped(secret: str, value: str) -> str:
    return _hmac(secret, ("rotated", value))


@lru_cache(maxsize=8)
def _verifier(secrets: tuple[str, ...], salt: bytes) -> str:
    password = secrets[0].encode() if len(secrets) == 1 else _joined(secrets)
    return hashlib.scrypt(password, salt=salt, n=2**15, r=8, p=1, maxmem=2**26, dklen=32).hex()


def _weakness(secret: str) -> str | None:
    """Return why a secret is easy to guess, without quoting it; ``None`` if no reason is found."""
    if len(secret) < SHORTEST_SECRET:
        return f"is shorter than {SHORTEST_SECRET} characters"
    if not (secret.isascii() and secret.isprintable()) or secret != secret.strip():
        return "must be printable ASCII without blanks or line ends around it"
    if len(set(secret)) < FEWEST_CHARACTERS:
        return f"has fewer than {FEWEST_CHARACTERS} different characters"
    if secret in (secret + secret)[1:-1]:
        return "repeats one text"
    if 2 * sum(map(_are_neighbours, secret, secret[1:])) > len(secret):
        return "follows the alphabet, the digits or the keyboard"
    return None


def _are_neighbours(first: str, second: str) -> bool:
    pair = (first + second).lower()
    return abs(ord(pair[0]) - ord(pair[1])) <= 1 or pair in _KEYBOARD or pair[::-1] in _KEYBOARD


def _joined(pieces: Iterable[str]) -> bytes:
    """Join parts unambiguously: each part is preceded by its length."""
    encoded = (part.encode("utf-8", "surrogatepass") for part in pieces)
    return b"".join(b"%d:%s" % (len(part), part) for part in encoded)
