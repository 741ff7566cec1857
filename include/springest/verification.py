"""The words analysts read: what became of a certificate, and what that rests on."""

from __future__ import annotations

from enum import StrEnum
from typing import Final


class MatchMethod(StrEnum):
    """``match_method``: how a delivery was matched with what Springest shows."""

    SPRINGEST_ID = "springest_id"
    """Springest's own id, in its response to the POST."""
    OWNER = "owner"
    """The owner, as Springest names it, with the certification and the dates."""
    PERSON = "person"
    """A person's confirmation, which alone is not a proof."""
    INFERRED = "inferred"
    """No proof: it is the only delivery that the certificate can come from, if nobody else uploads."""
    SET_COMPLETE = "set_complete"
    """No proof: as many are shown as were sent with the same data, but their pairing is not known."""


PROOFS: Final = (MatchMethod.SPRINGEST_ID, MatchMethod.OWNER)
"""What moves a delivery to ``visible``."""
WEAKER: Final = (MatchMethod.INFERRED, MatchMethod.SET_COMPLETE)
"""Match methods without proof, which move no delivery."""


class VerificationStatus(StrEnum):
    """``verification_status`` in ``certificate_reconciliation``."""

    NOT_SENT = "not_sent"
    """In the queue, or being sent right now."""
    HELD = "held"
    """Waits for something outside: a listed certification, or a person."""
    INVALID = "invalid"
    """The source row or its document must be corrected first."""
    REJECTED = "rejected"
    """Springest refused it and named the reason."""
    AWAITING_VERIFICATION = "awaiting_verification"
    """Springest stored it and does not show it yet."""
    VERIFIED = "verified"
    """Springest shows it, proven by its id or its owner."""
    INFERRED = "inferred"
    """Springest shows a certificate that no other delivery explains; no proof."""
    EXPIRED = "expired"
    """Springest shows it, and its ``valid_until`` has passed."""
    UNKNOWN = "unknown"
    """Springest may have stored it; it is not sent again automatically."""
    AMBIGUOUS = "ambiguous"
    """Springest shows a possible match that may belong to another delivery, or an unexpected status."""
    MISSING = "missing"
    """Springest stored it, its certification is verified, and complete snapshots lack it."""
    VANISHED = "vanished"
    """Springest showed it, but recent complete snapshots lack it."""
    WITHDRAWN = "withdrawn"
    """The source removed the row before it was sent."""
    CANCELLED = "cancelled"
    """A person decided that it is not sent."""
