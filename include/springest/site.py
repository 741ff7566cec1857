"""A Springest site, parsed strictly from its connection; keys are not in its representation."""

from __future__ import annotations

import difflib
import hashlib
import ipaddress
import math
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, fields
from datetime import date
from typing import Any, Final
from urllib.parse import urlsplit

from springest.documents.settings import ALL_CHECKS, accepted_types, document_checks
from springest.errors import ConfigurationError
from springest.setting_values import maybe_json, read_words, wrong

COUNTRIES: Final = {
    "nl": "https://api.springest.nl",
    "uk": "https://api.springest.co.uk",
    "de": "https://api.springest.de",
    "com": "https://api.springest.com",
    "be": "https://api.nl.springest.be",
}
"""One host per country, each with its own key (https://developer.springest.com/api)."""


@dataclass(frozen=True, slots=True)
class Timeouts:
    """Time-outs of a request in seconds.

    :param connect: for the connection, including DNS and TLS.
    :param read: between two parts of a response.
    :param total: for the whole request.
    """

    connect: float = 10.0
    read: float = 60.0
    total: float = 300.0


DEFAULT_TIMEOUTS: Final = Timeouts()
LIST_FILTERS: Final = ("email", "created_from", "certification_id")


@dataclass(frozen=True, slots=True)
class Site:
    """Everything needed to talk to one Springest site.

    :param name: name of the site; part of every delivery's key, so it never changes; staging refuses another.
    :param post_path: path to post certificates to; newer documentation says ``/users/certificates.xml``.
    :param booking_field: name of the booking's field; a copy of 2023 calls it ``conversion_id``.
    :param requests_per_hour: the cap for the key, GETs and POSTs together.
    :param page_size: rows per page; the server may return fewer.
    :param accepted_types: media types of documents that may be sent, out of ``document_settings.RECOGNISED``.
    :param document_checks: checks of a document before it is queued; see ``DocumentStore``.
    :param send_unlisted: whether to send for certifications that are not listed: yes, no, or ids.
    :param catalogue_lists_verified_only: whether GET certifications is known to list verified ones only.
    :param exclusive_uploader: nobody else uploads certificates to this site.
    :param shared_trainings: whether trainings that another site sends are sent to this one as well.
    :param verified_statuses: statuses that mean *verified*.
    :param throttled_takes_nothing: the site is known not to store a request that its rate limit refuses:
        with 429, or with 503, ``Retry-After`` and no foreign body.
    :param list_filters: filters of GET certificates that may be tried, and used if the site supports them.
    :param owner_reads_per_run: GETs that one run may use to look up owners; 0 disables it.
    """

    name: str
    base_url: str
    api_key: str = field(repr=False)
    certifications_api_key: str = field(repr=False)
    post_path: str = "/certificates.xml"
    booking_field: str = "booking_id"
    requests_per_hour: int = 4000
    page_size: int = 100
    timeouts: Timeouts = DEFAULT_TIMEOUTS
    accepted_types: tuple[str, ...] = ("application/pdf",)
    document_checks: tuple[str, ...] = ALL_CHECKS
    send_unlisted: bool | frozenset[int] = False
    catalogue_lists_verified_only: bool = False
    exclusive_uploader: bool = False
    shared_trainings: bool = False
    verified_statuses: tuple[str, ...] = ("verified",)
    throttled_takes_nothing: bool = False
    cutover_date: date | None = None
    list_filters: tuple[str, ...] = LIST_FILTERS
    owner_reads_per_run: int = 50

    @property
    def host(self) -> str:
        """Host and port, as the name of the shared rate limit."""
        return urlsplit(self.base_url).netloc

    @property
    def identity_host(self) -> str:
        """Host and port that identify the site; all ports of this machine count as one."""
        split = urlsplit(self.base_url)
        name = (split.hostname or "").rstrip(".")
        if _is_loopback(name):
            return "localhost"
        port = split.port
        return name if port in (None, _USUAL_PORTS.get(split.scheme)) else f"{name}:{port}"

    @property
    def key_fingerprint(self) -> str:
        """16 hex digits that identify the key without revealing it."""
        return fingerprint(self.api_key)

    @property
    def secrets(self) -> tuple[str, ...]:
        """Texts that must never be logged or stored."""
        return tuple(key for key in (self.api_key, self.certifications_api_key) if key)

    def may_send_unlisted(self, certification_id: int) -> bool:
        """Whether certificates of an unlisted certification may be sent."""
        if isinstance(self.send_unlisted, bool):
            return self.send_unlisted
        return certification_id in self.send_unlisted

    @classmethod
    def from_connection(
        cls,
        *,
        name: str,
        host: str | None,
        password: str | None,
        schema: str | None = None,
        port: int | None = None,
        extra: Mapping[str, Any] | None = None,
    ) -> Site:
        """Read an Airflow connection's fields.

        :param host: a URL, a host's name, or one of the countries ``nl``, ``uk``, ``de``, ``com``, ``be``.
        :param password: the API key of the certificates.
        :raises ConfigurationError: something is missing, unknown or of the wrong kind; never shows a key.
        """
        extra = extra or {}
        _refuse_unknown(extra)
        read: dict[str, Any] = {
            setting: reader(extra[setting], setting)
            for setting, reader in EXTRAS.items()
            if extra.get(setting) not in (None, "")
        }
        if not password:
            raise ConfigurationError(
                "the connection has no password: put the API key of the certificates there"
            )
        key = read.pop("certifications_api_key", "")
        timeouts = read.pop("timeout", DEFAULT_TIMEOUTS)
        return cls(
            name=name,
            base_url=_base_url(host, schema, port),
            api_key=_usable_key(password, "password"),
            certifications_api_key=key,
            timeouts=timeouts,
            **read,
        )


def fingerprint(key: str) -> str:
    """Return 16 hex digits that identify a key without revealing it."""
    return hashlib.sha256(key.encode()).hexdigest()[:16]


def _refuse_unknown(extra: Mapping[str, Any]) -> None:
    for name in extra:
        if name not in EXTRAS:
            near = difflib.get_close_matches(name, EXTRAS, n=1)
            hint = f"did you mean {near[0]}?" if near else f"known are {', '.join(EXTRAS)}"
            raise ConfigurationError(f"the connection's extra has an unknown setting {name!r}: {hint}")


_UNFIT: Final = re.compile(r"[\s\\%\x00-\x1f\x7f]")
_USUAL_PORTS: Final = {"https": 443, "http": 80}


def _base_url(host: str | None, schema: str | None, port: int | None) -> str:
    if not host:
        raise ConfigurationError(f"the connection has no host: give a URL or one of {', '.join(COUNTRIES)}")
    if host.strip().lower() in COUNTRIES:
        return COUNTRIES[host.strip().lower()]
    url = host.strip() if "://" in host else f"{schema or 'https'}://{host.strip()}"
    try:
        split = urlsplit(url)
        told_port = split.port or port
    except ValueError:
        raise ConfigurationError("the connection's host is not a URL: write it as https://host") from None
    unclean = split.username or split.password or split.query or split.fragment or _UNFIT.search(url)
    if unclean or not split.hostname:
        raise ConfigurationError("the connection's host must be a plain URL, without user, query or fragment")
    if split.scheme != "https" and not (split.scheme == "http" and _is_loopback(split.hostname)):
        raise ConfigurationError("the connection's host must be https://; http:// is for loopback only")
    name = f"[{split.hostname}]" if ":" in split.hostname else split.hostname
    # The default port is omitted, since the rate limiter is shared by host name.
    port_text = f":{told_port}" if told_port and told_port != _USUAL_PORTS[split.scheme] else ""
    return f"{split.scheme}://{name}{port_text}{split.path.rstrip('/')}"


def _is_loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def _key(value: Any, setting: str) -> str:
    if not isinstance(value, str):
        raise wrong(setting, "text")
    return _usable_key(value, f"extra {setting}")


def _usable_key(key: str, field_name: str) -> str:
    """Return an API key; the error never contains it."""
    if all("!" <= character <= "~" for character in key):
        return key
    if key.strip() != key:
        why = "begins or ends with a blank or a line end, as after copying too much"
    else:
        why = "holds a blank, a control character or a character that is not ASCII"
    raise ConfigurationError(f"the API key in the connection's {field_name} {why}: enter it again")


def _path(value: Any, setting: str) -> str:
    if not isinstance(value, str) or not value.startswith("/") or set("?#%\r\n ") & set(value):
        raise wrong(setting, "a path such as /users/certificates.xml")
    return value


def _word(value: Any, setting: str) -> str:
    if not isinstance(value, str) or not value.isascii() or not value.isidentifier():
        raise wrong(setting, "a field name such as booking_id")
    return value


def _positive_int(value: Any, setting: str) -> int:
    try:
        number = int(value) if isinstance(value, str) else value
    except ValueError:
        number = None
    if isinstance(number, bool) or not isinstance(number, int) or number < 1:
        raise wrong(setting, "a positive whole number")
    return number


def _flag(value: Any, setting: str) -> bool:
    truth = {"true": True, "false": False}.get(value.strip().lower()) if isinstance(value, str) else value
    if not isinstance(truth, bool):
        raise wrong(setting, "true or false")
    return truth


def _date(value: Any, setting: str) -> date:
    try:
        return date.fromisoformat(value.strip())
    except (AttributeError, ValueError):
        raise wrong(setting, "a date such as 2026-11-01") from None


def _unlisted(value: Any, setting: str) -> bool | frozenset[int]:
    parsed = maybe_json(value)
    if isinstance(parsed, list):
        return frozenset(_positive_int(number, setting) for number in parsed)
    if not isinstance(parsed, bool):
        raise wrong(setting, "true, false or a list of certification ids such as [101, 102]")
    return parsed


def _filters(value: Any, setting: str) -> tuple[str, ...]:
    parsed = maybe_json(value)
    if parsed is False or parsed == []:
        return ()
    if parsed is True:
        return LIST_FILTERS
    words = read_words(value, setting)
    if not set(words) <= set(LIST_FILTERS):
        raise wrong(setting, f"false, or a list of {', '.join(LIST_FILTERS)}")
    return words


def _whole_number(value: Any, setting: str) -> int:
    if value in (0, "0") and not isinstance(value, bool):
        return 0
    return _positive_int(value, setting)


def _timeouts(value: Any, setting: str) -> Timeouts:
    parsed = maybe_json(value)
    if _is_duration(parsed):
        usual = DEFAULT_TIMEOUTS
        return Timeouts(connect=min(usual.connect, parsed), read=min(usual.read, parsed), total=float(parsed))
    names = {item.name for item in fields(Timeouts)}
    if not isinstance(parsed, dict) or not parsed.keys() <= names:
        raise wrong(setting, 'seconds, or {"connect": 10, "read": 60, "total": 300}')
    if not all(map(_is_duration, parsed.values())):
        raise wrong(setting, "made of positive numbers of seconds")
    if parsed.get("connect", 0) > DEFAULT_TIMEOUTS.connect:
        # The rate limiter assumes that a request is sent soon after its grant.
        raise wrong(setting, f"made of at most {DEFAULT_TIMEOUTS.connect:g} seconds for connect")
    return Timeouts(**{name: float(item) for name, item in parsed.items()})


def _is_duration(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and 0 < value < math.inf


EXTRAS: Final[dict[str, Callable[[Any, str], Any]]] = {
    "certifications_api_key": _key,
    "post_path": _path,
    "booking_field": _word,
    "requests_per_hour": _positive_int,
    "page_size": _positive_int,
    "timeout": _timeouts,
    "accepted_types": accepted_types,
    "document_checks": document_checks,
    "send_unlisted": _unlisted,
    "catalogue_lists_verified_only": _flag,
    "exclusive_uploader": _flag,
    "shared_trainings": _flag,
    "verified_statuses": read_words,
    "throttled_takes_nothing": _flag,
    "cutover_date": _date,
    "list_filters": _filters,
    "owner_reads_per_run": _whole_number,
}
"""All extras of a connection, with their parsers."""
