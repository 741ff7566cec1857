"""Renders the page's templates: escaped, without invisible characters, and with relative URLs.

Relative URLs work under any prefix of Airflow's UI.
"""

from __future__ import annotations

import hashlib
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Any, Final

from fastapi import Request
from fastapi.responses import HTMLResponse
from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup

from springest.redaction import show_unseen
from springest_provider.ui.security import Visitor, form_token, keep_browser_name, name_browser

FOLDER: Final = Path(__file__).parent
STATIC: Final = {path.name: path for path in (FOLDER / "static").iterdir()}
DASH: Final = "\N{EN DASH}"
_MINUTE, _HOUR, _DAY = 60, 3600, 86400
_TONES: Final = {
    "good": ("verified", "expired", "visible"),
    "wait": ("awaiting_verification", "accepted", "accepted_no_id", "inferred"),
    "bad": ("unknown", "ambiguous", "missing", "vanished", "review"),
    "aside": ("held", "invalid", "rejected"),
}
_TONE_OF: Final = {word: tone for tone, words in _TONES.items() for word in words}


def render(
    request: Request, visitor: Visitor | None, template: str, *, status_code: int = 200, **context: Any
) -> HTMLResponse:
    """
    Return a page.

    :param visitor: ``None`` on pages for users who may not read.
    """
    has_forms = visitor is not None and visitor.may_decide
    browser = name_browser(request) if has_forms else ""
    values = {
        "up": _up(request),
        "visitor": visitor,
        "token": form_token(visitor, browser) if visitor is not None and has_forms else "",
        "version": _VERSION,
        "now": datetime.now(UTC),
        **context,
    }
    response = HTMLResponse(_ENVIRONMENT.get_template(template).render(values), status_code=status_code)
    if has_forms:
        keep_browser_name(request, response, browser)
    return response


def route_path(request: Request) -> str:
    """Return a request's path below the page's own root, beginning with a slash."""
    path: str = request.scope["path"]
    return path.removeprefix(request.scope.get("root_path", "")) or "/"


def _up(request: Request) -> str:
    """Return the relative URL of the page's root."""
    return "../" * (route_path(request).count("/") - 1) or "./"


def moment(value: datetime | None) -> str:
    """Return a moment in UTC to the minute; a dash when there is none."""
    return value.astimezone(UTC).strftime("%Y-%m-%d %H:%M") if value else DASH


def day(value: date | None) -> str:
    """Return a day; a dash when there is none."""
    return value.isoformat() if value else DASH


def number(value: int | None) -> str:
    """Return a number with separators; a dash when there is none."""
    return DASH if value is None else f"{value:,}"


def duration(seconds: float | None) -> str:
    """Return a duration with two significant digits."""
    if seconds is None:
        return DASH
    for size, name in ((_DAY, "d"), (_HOUR, "h"), (_MINUTE, "min")):
        if seconds >= size:
            value = seconds / size
            return f"{value:.1f} {name}" if value < 10 else f"{value:.0f} {name}"
    return "under 1 min"


def ago(value: datetime | None, now: datetime) -> str:
    """Return how long ago a moment was."""
    if value is None:
        return "never"
    seconds = (now - value).total_seconds()
    return "just now" if seconds < _MINUTE else f"{duration(seconds)} ago"


def words(value: str | None) -> str:
    """Return a fixed word, such as ``accepted_no_id``, as text for people; a dash when there is none."""
    return DASH if not value else value.replace("_", " ")


def tone(word: str | None) -> str:
    """Return the tone in which a state or a verdict is shown."""
    return _TONE_OF.get(word or "", "calm")


def _shown(value: Any) -> Any:
    if isinstance(value, str) and not isinstance(value, Markup):
        return show_unseen(value, keep="\n")
    return value


def _environment() -> Environment:
    environment = Environment(
        loader=FileSystemLoader(FOLDER / "templates"),
        autoescape=True,
        undefined=StrictUndefined,
        finalize=_shown,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters.update(
        moment=moment, day=day, number=number, duration=duration, ago=ago, words=words, tone=tone
    )
    return environment


_ENVIRONMENT: Final = _environment()
_VERSION: Final = hashlib.sha256(b"".join(path.read_bytes() for path in STATIC.values())).hexdigest()[:12]
"""In the URLs of the assets, so that a browser takes the new ones after an upgrade."""
