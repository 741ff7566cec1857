"""Invented learners, on domains reserved for examples (RFC 2606)."""

from __future__ import annotations

import random
import unicodedata
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

_FIRST: Final = [
    "Zoë",
    "José",
    "Łukasz",
    "Anaïs",
    "Søren",
    "Müge",
    "Chloé",
    "Björn",
    "Inês",
    "Jiří",
    "Aoife",
    "Renée",
    "Günther",
    "Şebnem",
    "Élodie",
    "Mikołaj",
    "Ñusta",
    "Siân",
    "Åsa",
    "Raúl",
    "Daniëlle",
    "Thaïs",
    "Jürgen",
    "Ádám",
    "Noa",
    "Fatima",
    "Sanne",
    "Pieter",
    "Amara",
    "Wei",
    "Priya",
    "Kwame",
    "Leila",
    "Tomás",
]
_LAST: Final = [
    "de Vries",
    "van den Berg",
    "García",
    "Kowalczyk",
    "Bjørnsen",
    "Özdemir",
    "O'Connor",
    "Müller",
    "Nguyễn",
    "Dvořák",
    "Lefèvre",
    "Šimić",
    "Ångström",
    "D'Angelo",
    "Peña",
    "van 't Hoff",
    "Łaska",
    "Ferreira",
    "Jansen",
    "Okafor",
    "Čapek",
    "Strauß",
    "Ibáñez",
    "Haddad",
]
_DOMAINS: Final = ("example.com", "example.org", "example.net")


@dataclass(frozen=True, slots=True)
class Learner:
    """A learner."""

    number: int
    name: str
    email: str | None


def learners(seed: int) -> Iterator[Learner]:
    """Invent learners, the same ones for the same seed."""
    chance = random.Random(seed)  # noqa: S311 - nothing secret
    number = 0
    while True:
        number += 1
        first, last = chance.choice(_FIRST), chance.choice(_LAST)
        local = f"{_plain(first)}.{_plain(last)}.{number}"
        yield Learner(number, f"{first} {last}", f"{local}@{chance.choice(_DOMAINS)}")


def _plain(name: str) -> str:
    """Return a name for an e-mail address: ASCII letters only."""
    unaccented = unicodedata.normalize(
        "NFKD", name.translate({0x142: "l", 0x141: "L", 0xF8: "o", 0xDF: "ss"})
    )
    return (
        "".join(letter for letter in unaccented.lower() if letter.isascii() and letter.isalpha()) or "learner"
    )
