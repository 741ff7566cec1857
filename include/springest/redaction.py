"""Keep keys and people's addresses out of everything that is written down.

Airflow masks a connection's password by exact substring on a worker, and not at all in ``airflow dags test``.
So whatever comes from the wire or a library passes through here before it becomes a log line, an exception's
text or a row.
"""

from __future__ import annotations

import logging
import re
from collections.abc import Iterable
from typing import Final

HIDDEN_KEY: Final = "***"
HIDDEN_ADDRESS: Final = "<address>"
SHORTEST_SECRET: Final = 4
"""A shorter secret is not looked for: it would be found everywhere and say nothing."""

_AT: Final = r"(?:[@\uff20\ufe6b]|%(?:25)*40|&#0*64;|&#x0*40;|\\+u0040)"
_PLAIN: Final = r"[^\s@\uff20\ufe6b<>\"'(),;:\[\]\\=&?/|]"
# It starts where a run of such characters starts: the look-behind keeps long texts linear to search.
_LOCAL: Final = rf"(?:\"[^\"\r\n]{{1,64}}\"|(?<!{_PLAIN}){_PLAIN}+)"
_LABEL: Final = r"(?:[\w-]|%(?:25)*[89a-f][0-9a-f])+"
_DOMAIN: Final = rf"(?:\[[0-9a-fA-F:.]+\]|{_LABEL}(?:(?:\.|%(?:25)*2e){_LABEL})*)"
_ADDRESS: Final = re.compile(f"{_LOCAL}{_AT}+{_DOMAIN}", re.IGNORECASE)

_ESCAPED: Final = {
    " ": (r"\+",),
    "&": ("&amp;",),
    "<": ("&lt;",),
    ">": ("&gt;",),
    '"': ("&quot;", r'\\*"'),
    "'": ("&apos;", r"\\*'"),
    "/": (r"\\*/",),
}
"""How XML, JSON and forms write a character, besides by its number."""


class Redactor:
    """Hides secrets and addresses in texts.

    :param secrets: keys to hide, raw and in every encoding that libraries and servers echo them in.
    """

    __slots__ = ("_secrets",)

    def __init__(self, secrets: Iterable[str] = ()) -> None:
        usable = sorted({one for one in secrets if len(one) >= SHORTEST_SECRET}, key=len, reverse=True)
        self._secrets = re.compile("|".join(map(_any_form, usable)), re.IGNORECASE) if usable else None

    def __repr__(self) -> str:
        return "Redactor(***)"

    def redact(self, text: str) -> str:
        """Return ``text`` without secrets and addresses."""
        if self._secrets is not None:
            text = self._secrets.sub(HIDDEN_KEY, text)
        return _ADDRESS.sub(HIDDEN_ADDRESS, text)


def _any_form(secret: str) -> str:
    """Return a pattern for a secret however it is escaped.

    Libraries escape different characters (``quote`` an exclamation mark, yarl not), and a server echoes what
    it got; so every character may stand there in any of its forms.
    """
    runs = re.findall(r"\\+|[^\\]", secret)
    return "".join(_backslashes(len(run)) if run[0] == "\\" else _character(run) for run in runs)


def _character(one: str) -> str:
    encoded = one.encode("utf-8", "surrogatepass")
    units = one.encode("utf-16-be", "surrogatepass").hex()
    forms = (
        re.escape(one),
        *_ESCAPED.get(one, ()),
        "".join(f"%(?:25)*{byte:02x}" for byte in encoded),
        f"&#0*{ord(one)};",
        f"&#x0*{ord(one):x};",
        "".join(rf"\\+u{units[at : at + 4]}" for at in range(0, len(units), 4)),
        *((rf"\\+x{ord(one):02x}",) if ord(one) < 256 else ()),
    )
    return f"(?:{'|'.join(forms)})"


def _backslashes(count: int) -> str:
    """Return a pattern for a run of them, doubled or not; possessive, so that it can't be slow."""
    return rf"(?:(?:\\|%(?:25)*5c|&#0*92;|&#x0*5c;){{{count},}}+)"


class RedactingFilter(logging.Filter):
    """Redacts a log record as a whole: its message, arguments and traceback."""

    def __init__(self, redactor: Redactor) -> None:
        super().__init__()
        self._redactor = redactor

    def filter(self, record: logging.LogRecord) -> bool:
        """Redact; every record passes."""
        record.msg = self._redactor.redact(_said(record))
        record.args = ()
        if record.stack_info:
            record.stack_info = self._redactor.redact(record.stack_info)
        if record.exc_info:
            record.exc_text = self._redactor.redact(logging.Formatter().formatException(record.exc_info))
            record.exc_info = None
        elif record.exc_text:
            record.exc_text = self._redactor.redact(record.exc_text)
        return True


def _said(record: logging.LogRecord) -> str:
    try:
        return record.getMessage()
    except (TypeError, ValueError):  # the arguments do not fit: logging would only complain, and so must this
        return f"{record.msg} {record.args}"
