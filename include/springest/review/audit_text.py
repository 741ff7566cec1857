"""What a person writes beside a decision: kept for ever, so it holds no address and no key."""

from __future__ import annotations

from typing import Final

from springest.errors import DecisionRefused
from springest.redaction import Redactor, holds_unseen

LONGEST: Final = 1_000


def clean(told: str, what: str, redactor: Redactor | None = None) -> str:
    """Return what a person wrote, on one line.

    :param what: what it is, for the refusal.
    :param redactor: knows the keys that must not be kept.
    :raises DecisionRefused: it is empty, very long, or must not be kept.
    """
    cleaned = " ".join(told.split())
    if not cleaned:
        raise DecisionRefused(f"{what} is empty: it is kept with the decision, so say it")
    if holds_unseen(cleaned):
        raise DecisionRefused(f"{what} holds a control character or an invisible one: write plain text")
    if len(cleaned) > LONGEST:
        raise DecisionRefused(f"{what} is longer than {LONGEST} characters")
    if "@" in cleaned or (redactor or Redactor()).redact(cleaned) != cleaned:
        raise DecisionRefused(f"{what} holds what looks like an e-mail address or a key: leave it out")
    return cleaned
