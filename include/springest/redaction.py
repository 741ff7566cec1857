"""Keep keys and people's addresses out of everything that is written down.

Airflow masks a connection's password by exact substring on a worker, and not at all in ``airflow dags test``.
So whatever comes from the wire or a library passes through here before it becomes a log line, an exception's
text or a row.
"""

from __future__ import annotations

import html
import json
import logging
import re
from collections.abc import Iterable
from typing import Final
from urllib.parse import quote, quote_plus

HIDDEN_KEY: Final = "***"
HIDDEN_ADDRESS: Final = "<address>"
SHORTEST_SECRET: Final = 4
"""A shorter secret is not looked for: it would be found everywhere and say nothing."""

_AT: Final = r"(?:@|%40|&#64;|&#x40;|\\u0040)"
_LOCAL: Final = r"(?:\"[^\"\r\n]{1,64}\"|[^\s@<>\"'(),;:\[\]\\=&?/|]{1,64})"
_DOMAIN: Final = r"(?:\[[0-9a-fA-F:.]+\]|[\w-]+(?:(?:\.|%2[eE])[\w-]+)*)"
_ADDRESS: Final = re.compile(f"{_LOCAL}{_AT}+{_DOMAIN}", re.IGNORECASE)


class Redactor:
    """Hides secrets and addresses in texts.

    :param secrets: keys to hide, raw and in every encoding that libraries and servers echo them in.
    """

    __slots__ = ("_secrets",)

    def __init__(self, secrets: Iterable[str] = ()) -> None:
        forms = {form for secret in secrets if len(secret) >= SHORTEST_SECRET for form in _forms(secret)}
        longest_first = sorted(forms, key=len, reverse=True)
        self._secrets = re.compile("|".join(map(re.escape, longest_first)), re.IGNORECASE) if forms else None

    def __repr__(self) -> str:
        return "Redactor(***)"

    def redact(self, text: str) -> str:
        """Return ``text`` without secrets and addresses."""
        if self._secrets is not None:
            text = self._secrets.sub(HIDDEN_KEY, text)
        return _ADDRESS.sub(HIDDEN_ADDRESS, text)


def _forms(secret: str) -> set[str]:
    quoted = {quote(secret), quote(secret, safe=""), quote_plus(secret)}
    twice = {quote(form, safe="") for form in quoted}
    escaped = {
        json.dumps(secret)[1:-1],
        html.escape(secret),
        html.escape(secret, quote=False),
        repr(secret)[1:-1],
    }
    return {secret, *quoted, *twice, *escaped}


class RedactingFilter(logging.Filter):
    """Redacts a log record as a whole: its message, arguments and traceback."""

    def __init__(self, redactor: Redactor) -> None:
        super().__init__()
        self._redactor = redactor

    def filter(self, record: logging.LogRecord) -> bool:
        """Redact; every record passes."""
        record.msg = self._redactor.redact(record.getMessage())
        record.args = ()
        if record.exc_info:
            record.exc_text = self._redactor.redact(logging.Formatter().formatException(record.exc_info))
            record.exc_info = None
        elif record.exc_text:
            record.exc_text = self._redactor.redact(record.exc_text)
        return True
