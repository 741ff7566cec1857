"""Checks the text of a decision: it is kept, so it must hold no e-mail address and no key."""

from __future__ import annotations

from typing import Final

from springest.errors import DecisionRefused
from springest.redaction import Redactor, holds_unseen

LONGEST: Final = 1_000


def clean(text: str, what: str, redactor: Redactor | None = None) -> str:
    """Return the text on one line.

    :param what: name of the text, for the refusal.
    :param redactor: knows the keys that must not be stored.
    :raises DecisionRefused: the text is empty, too long, or must not be stored.
    """
    cleaned = " ".join(text.split())
    if not cleaned:
        raise DecisionRefused(f"{what} is empty, but it is recorded with the decision: give it")
    if holds_unseen(cleaned):
        raise DecisionRefused(f"{what} contains a control character or an invisible one: write plain text")
    if len(cleaned) > LONGEST:
        raise DecisionRefused(f"{what} is longer than {LONGEST} characters")
    if "@" in cleaned or (redactor or Redactor()).redact(cleaned) != cleaned:
        raise DecisionRefused(f"{what} seems to contain an e-mail address or a key: leave it out")
    return cleaned
