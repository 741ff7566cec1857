"""Settings of a connection for documents."""

from __future__ import annotations

from typing import Any, Final

from springest.errors import ConfigurationError
from springest.setting_values import maybe_json, read_words, wrong

RECOGNISED: Final = (
    "application/pdf",
    "image/png",
    "image/jpeg",
    "image/tiff",
    "application/vnd.openxmlformats-officedocument.wordprocessingml.document",
    "application/vnd.oasis.opendocument.text",
)
"""Media types that can be recognised by content; see ``inspection/reader.py``."""
ALL_CHECKS: Final = ("whole", "pages", "no_password")
"""All checks: it is whole, has at least one page, and needs no password to open."""


def accepted_types(value: Any, setting: str) -> tuple[str, ...]:
    """Read the media types that may be sent.

    :raises ConfigurationError: one of them can't be recognised.
    """
    types = tuple(word.strip().lower() for word in read_words(value, setting))
    for media_type in types:
        if media_type not in RECOGNISED:
            raise ConfigurationError(
                f"the connection's extra {setting} has {media_type!r}, which can't be recognised by its "
                f"content: supported are {', '.join(RECOGNISED)}"
            )
    return types


def document_checks(value: Any, setting: str) -> tuple[str, ...]:
    """Read the checks that documents must pass; ``false`` means none.

    :raises ConfigurationError: one of them does not exist.
    """
    checks = () if maybe_json(value) in (False, []) else read_words(value, setting)
    if not set(checks) <= set(ALL_CHECKS):
        raise wrong(setting, f"false, or a list of {', '.join(ALL_CHECKS)}")
    return checks
