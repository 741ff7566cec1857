"""Keep keys and e-mail addresses out of logs, exceptions and tables.

Airflow masks a connection's password by exact substring on a worker, and not at all in ``airflow dags test``.
So all text from the network or a library is redacted here before it becomes a log line, an exception's text
or a row.
"""

from __future__ import annotations

import logging
import re
from collections.abc import Iterable
from typing import Final

HIDDEN_KEY: Final = "***"
HIDDEN_ADDRESS: Final = "<address>"
SHORTEST_SECRET: Final = 4
"""Shorter secrets are not searched for, since they would match everywhere."""

# All repeats are bounded, so that no text is slow to search.
_PERCENT: Final = r"%(?:25){0,3}"
"""Percent encoding, also of what was percent-encoded before."""
_NUMBER: Final = r"&#0{0,4}"
_HEX_NUMBER: Final = r"&#x0{0,4}"
_BACKSLASH: Final = r"\\{1,4}"

_AT: Final = rf"(?:[@\uff20\ufe6b]|{_PERCENT}40|{_NUMBER}64;|{_HEX_NUMBER}40;|{_BACKSLASH}u0040)"
_PLAIN: Final = r"[^\s@\uff20\ufe6b<>\"'(),;:\[\]\\=&?/|]"
_JOINT: Final = r"['&/]"
"""Characters of a local part (RFC 5322, 3.2.3) that also separate texts; they count after another one."""
# A local part starts where a run of its characters starts, which keeps the search linear.
_LOCAL: Final = (
    rf"(?:\"[^\"\r\n]{{1,64}}\"|(?<!{_PLAIN})(?<!{_PLAIN}{_JOINT}){_PLAIN}+(?:{_JOINT}{_PLAIN}+)*{_JOINT}?)"
)
_LABEL: Final = rf"(?:[\w-]|{_PERCENT}[89a-f][0-9a-f])+"
_DOMAIN: Final = rf"(?:\[[0-9a-fA-F:.]+\]|{_LABEL}(?:(?:\.|{_PERCENT}2e){_LABEL})*)"
_ADDRESS: Final = re.compile(f"{_LOCAL}{_AT}{{1,3}}{_DOMAIN}", re.IGNORECASE)

_ESCAPED: Final = {
    " ": (r"\+",),
    "&": ("&amp;",),
    "<": ("&lt;",),
    ">": ("&gt;",),
    '"': ("&quot;", r'\\{1,4}"'),
    "'": ("&apos;", r"\\{1,4}'"),
    "/": (r"\\{1,4}/",),
}
"""Named escapes of a character in XML, JSON and forms. No two forms of a character match the same text, which
keeps the search from taking exponential time."""


class Redactor:
    """Removes secrets and e-mail addresses from texts, in linear time.

    :param secrets: texts to remove, raw and in every encoding in which libraries and servers repeat them,
        with and without surrounding spaces.
    """

    __slots__ = ("_pattern", "_secrets")

    def __init__(self, secrets: Iterable[str] = ()) -> None:
        forms = {form for secret in secrets for form in (secret, secret.strip())}
        self._secrets = frozenset(form for form in forms if len(form) >= SHORTEST_SECRET)
        usable = sorted(self._secrets, key=lambda form: (len(form.strip()), len(form)), reverse=True)
        self._pattern = re.compile("|".join(map(_any_form, usable)), re.IGNORECASE) if usable else None

    def __repr__(self) -> str:
        return "Redactor(***)"

    def hiding(self, texts: Iterable[str]) -> Redactor:
        """Return a redactor that also removes these texts."""
        return Redactor({*self._secrets, *texts})

    def redact(self, text: str) -> str:
        """Return ``text`` without secrets and addresses."""
        if self._pattern is not None:
            text = self._pattern.sub(HIDDEN_KEY, text)
        return _ADDRESS.sub(HIDDEN_ADDRESS, text)


_UNSEEN: Final = re.compile(
    r"[\x00-\x1f\x7f-\x9f\xad\u061c\u180e\u200b-\u200f\u2028-\u202e\u2060-\u206f\ufeff\ufff9-\ufffb"
    r"\ud800-\udfff\U000e0000-\U000e007f]"
)
"""Control and format characters: terminal escape sequences (ECMA-48), invisible ones, and those that change
the text direction (UAX 9)."""


def holds_unseen(text: str) -> bool:
    """Return whether a text contains characters that a terminal interprets instead of showing them."""
    return _UNSEEN.search(text) is not None


def show_unseen(text: str, *, keep: str = "") -> str:
    """Return the text with such characters escaped as in JSON.

    :param keep: characters that stay, such as a line end.
    """
    return _UNSEEN.sub(lambda found: found[0] if found[0] in keep else _escape(found[0]), text)


def _escape(character: str) -> str:
    units = character.encode("utf-16-be", "surrogatepass").hex()
    return "".join(f"\\u{units[at : at + 4]}" for at in range(0, len(units), 4))


def _any_form(secret: str) -> str:
    """Return a pattern for a secret in any escaped form.

    Libraries escape different characters (``quote`` escapes an exclamation mark, yarl does not), and a
    server may repeat what it received, so every character may appear in any of its forms.
    """
    runs = re.findall(r"\\+|[^\\]", secret)
    return "".join(_backslashes(len(run)) if run[0] == "\\" else _character(run) for run in runs)


def _character(item: str) -> str:
    if item.isascii() and item.isalnum():  # these are never escaped, and a short pattern compiles fast
        return item
    encoded = item.encode("utf-8", "surrogatepass")
    units = item.encode("utf-16-be", "surrogatepass").hex()
    forms = (
        *_ESCAPED.get(item, ()),
        "".join(f"{_PERCENT}{byte:02x}" for byte in encoded),
        f"{_NUMBER}{ord(item)};",
        f"{_HEX_NUMBER}{ord(item):x};",
        "".join(f"{_BACKSLASH}u{units[at : at + 4]}" for at in range(0, len(units), 4)),
        *((f"{_BACKSLASH}x{ord(item):02x}",) if ord(item) < 256 else ()),
        re.escape(item),  # last: a per cent sign begins its own encoded form
    )
    return f"(?:{'|'.join(forms)})"


def _backslashes(count: int) -> str:
    """Return a pattern for a run of them, escaped up to twice; possessive and bounded, so that it is fast."""
    return rf"(?:\\|{_PERCENT}5c|{_NUMBER}92;|{_HEX_NUMBER}5c;){{{count},{4 * count}}}+"


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
    except (TypeError, ValueError):  # the arguments do not match: logging only reports that, and so does this
        return f"{record.msg} {record.args}"
