"""Checks the texts of a decision, which are kept: they name a person and hold no e-mail address or key."""

from __future__ import annotations

from typing import Final

from springest.errors import DecisionRefused
from springest.redaction import Redactor, holds_unseen

LONGEST: Final = 1_000
SHARED_LOGINS: Final = frozenset({"admin", "airflow", "anonymous", "default", "nobody", "root"})


def is_shared(login: str) -> bool:
    """Return whether several people use this login, so that it identifies none of them."""
    return login.strip().casefold() in SHARED_LOGINS


def decider(login: str, name: str = "") -> str:
    """Return who decides, as it is recorded: the login, or the name given by a person who shares it.

    :raises DecisionRefused: several people share the login, and no person is named.
    """
    if not is_shared(login):
        return login
    if not name.strip():
        raise DecisionRefused(
            f"several people share the login {login}: give your name with the decision, which records it"
        )
    return f"{clean_login(name)} (as {login})"


def clean_login(login: str, redactor: Redactor | None = None) -> str:
    """Return the name of who decides, on one line.

    :param redactor: knows the keys that must not be stored.
    :raises DecisionRefused: it names no person, is too long, or must not be stored.
    """
    cleaned = clean(login, "the login", redactor)
    if is_shared(cleaned):
        raise DecisionRefused(f"several people share the login {cleaned}: give your own name instead")
    return cleaned


def clean(text: str, name: str, redactor: Redactor | None = None) -> str:
    """Return the text on one line.

    :param name: name of the text, for the refusal.
    :param redactor: knows the keys that must not be stored.
    :raises DecisionRefused: the text is empty, too long, or must not be stored.
    """
    cleaned = " ".join(text.split())
    if not cleaned:
        raise DecisionRefused(f"{name} is empty, but it is recorded with the decision: give it")
    if holds_unseen(cleaned):
        raise DecisionRefused(f"{name} contains a control character or an invisible one: write plain text")
    if len(cleaned) > LONGEST:
        raise DecisionRefused(f"{name} is longer than {LONGEST} characters")
    if "@" in cleaned or (redactor or Redactor()).redact(cleaned) != cleaned:
        raise DecisionRefused(f"{name} seems to contain an e-mail address or a key: leave it out")
    return cleaned
