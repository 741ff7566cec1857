"""Parses values of a connection's extra."""

from __future__ import annotations

import json
from typing import Any

from springest.errors import ConfigurationError


def wrong(setting: str, must: str) -> ConfigurationError:
    """Return the error of an invalid setting."""
    return ConfigurationError(f"the connection's extra {setting} must be {must}")


def read_words(value: Any, setting: str) -> tuple[str, ...]:
    """Parse a JSON list, or words separated by commas."""
    listed = maybe_json(value)
    if isinstance(listed, str):
        listed = [word.strip() for word in listed.split(",")]
    if (
        not isinstance(listed, list)
        or not listed
        or not all(isinstance(word, str) and word for word in listed)
    ):
        raise wrong(setting, "a list of words")
    return tuple(listed)


def maybe_json(value: Any) -> Any:
    """Parse a form's text field as JSON; anything else is returned unchanged."""
    if not isinstance(value, str):
        return value
    try:
        return json.loads(value)
    except (ValueError, RecursionError):
        return value
