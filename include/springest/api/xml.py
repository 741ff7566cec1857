"""Read Springest's XML: strict about what it means, tolerant about its shape.

Rails writes dashes in names, ``type`` attributes and ``nil="true"``; other versions write underscores or
leave the ``<response>`` wrapper out; unknown elements may come any time. None of that matters here. What
does: no DTD, no entities, no network, and caps on size and depth, since this comes from outside.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from datetime import date, datetime
from functools import cache, lru_cache
from typing import Any, Final, Generic, TypeAlias, TypeVar, cast

from lxml import etree

from include.springest.api.models import Certificate, Certification, Page

T = TypeVar("T")
Element: TypeAlias = etree._Element  # noqa: SLF001 - it has no public name

LARGEST_PAGE: Final = 64 * 1024 * 1024
LARGEST_ANSWER: Final = 256 * 1024
DEEPEST: Final = 32
LONGEST_ROW_TEXT: Final = 100_000
LONGEST_NUMBER: Final = 19
"""Digits of the largest number that a bigint holds."""
_ANSWERS: Final = frozenset({"response", "hash"})
_WRAPPERS: Final = _ANSWERS | {"nil_classes"}
_COUNTS: Final = frozenset({"results", "offset"})
_TOO_DEEP: Final = "it is nested too deeply"


class NotUnderstood(ValueError):
    """A body is not what was asked for; the text says why, without quoting it."""


@dataclass(frozen=True, slots=True)
class RowKind(Generic[T]):
    """One kind of list.

    :param row: name of a row's element.
    :param container: name of the list's element.
    :param build: makes the value from the row's fields; raises ``NotUnderstood``.
    """

    row: str
    container: str
    build: Callable[[dict[str, Any]], T]

    @property
    def lists(self) -> frozenset[str]:
        """Elements whose presence makes a document a list."""
        return frozenset({self.row, self.container, "nil_classes"})


class PageParser(Generic[T]):
    """Parses one page as it arrives; memory grows with the page, never with the list.

    :param kind: what the rows are.
    """

    def __init__(self, kind: RowKind[T], *, largest: int = LARGEST_PAGE) -> None:
        self._kind = kind
        self._parser = _pull_parser(kind)
        self._left = largest
        self._inside = 0
        self._items: list[T] = []
        self._meta: dict[str, int | None] = {}
        self._listed = False

    def feed(self, chunk: bytes) -> None:
        """Take a piece of the body.

        :raises NotUnderstood: it is not such a list.
        """
        self._left -= len(chunk)
        if self._left < 0:
            raise NotUnderstood("it is larger than a page may be")
        try:
            self._parser.feed(chunk)
            self._read_events()
        except etree.XMLSyntaxError:
            raise NotUnderstood("it is not well-formed XML") from None

    def close(self) -> Page[T]:
        """Return the page once the whole body was fed.

        :raises NotUnderstood: it is cut off, or not such a list.
        """
        try:
            root = self._parser.close()
            self._read_events()
        except etree.XMLSyntaxError:
            raise NotUnderstood("it is cut off or not XML") from None
        self._refuse_another(root)
        if not self._listed and self._meta.get("results") != 0:
            raise NotUnderstood(f"it holds no list of {self._kind.container}")
        return Page(tuple(self._items), self._meta.get("results"), self._meta.get("offset"))

    def _read_events(self) -> None:
        """Read what has come of the elements that are watched for; those within a row are only counted."""
        for event, element in cast("Iterator[tuple[str, Element]]", self._parser.read_events()):
            if self._inside:
                self._inside += 1 if event == "start" else -1
                if not self._inside:
                    self._items.append(self._kind.build(_fields(element)))
                    _forget(element)
            elif event == "start":
                self._start(element)
            else:
                self._end(element)

    def _start(self, element: Element) -> None:
        name = _name(element)
        if not self._listed:
            _refuse_dtd(element)
        self._listed |= name in self._kind.lists
        self._inside = int(name == self._kind.row)

    def _end(self, element: Element) -> None:
        name, parent = _name(element), element.getparent()
        if name in _COUNTS and parent is not None and _name(parent) == "meta":
            self._meta[name] = _count(element)

    def _refuse_another(self, root: Element) -> None:
        """Refuse a document that is no such list, or too deep; its rows have been freed by now."""
        _refuse_dtd(root)
        if _name(root) not in _WRAPPERS | {self._kind.container}:
            raise NotUnderstood(f"its root is not a list of {self._kind.container}")
        if root.xpath("boolean(//*[count(ancestor::*) >= $deepest])", deepest=DEEPEST):
            raise NotUnderstood(_TOO_DEEP)


def parse_new_id(body: bytes) -> int | None:
    """Return the id that the answer to a POST tells; ``None`` when it tells none, or several."""
    root = _parse(body)
    if root is None:
        return None
    holders = [node for node in root.iter("{*}*") if _name(node) == "certificate"]
    if _name(root) in _ANSWERS:
        holders.append(root)
    found = {
        _text(child)
        for holder in holders
        for child in holder
        if isinstance(child.tag, str) and _name(child) == "id"
    }
    try:
        return _identifier(found.pop()) if len(found) == 1 else None
    except NotUnderstood:
        return None


def parse_messages(body: bytes) -> tuple[str, ...]:
    """Return what the server says is wrong; empty when the body is not understood."""
    root = _parse(body)
    if root is None or _name(root) == "html":
        return ()
    found = [_text(node) for node in root.iter() if isinstance(node.tag, str) and _is_message(node)]
    return tuple(dict.fromkeys(text for text in found if text))


def _is_message(node: Element) -> bool:
    """An ``<error>`` or ``<message>``, or a field's own element within ``<errors>``."""
    if len(node):
        return False
    parent = node.getparent()
    return _name(node) in {"error", "message"} or (parent is not None and _name(parent) == "errors")


def _parse(body: bytes) -> Element | None:
    if not body.strip() or len(body) > LARGEST_ANSWER:
        return None
    try:
        root = etree.fromstring(body, _parser())
        _refuse_dtd(root)
    except (etree.XMLSyntaxError, NotUnderstood, ValueError):
        return None
    return root


@cache
def _parser() -> etree.XMLParser:
    """Return the parser of small answers: making one costs more than reading such an answer."""
    return etree.XMLParser(
        resolve_entities=False,
        no_network=True,
        load_dtd=False,
        huge_tree=False,
        remove_comments=True,
        remove_pis=True,
    )


def _pull_parser(kind: RowKind[Any]) -> etree.XMLPullParser:
    """Return a parser that tells only of the elements that matter: telling of each costs most."""
    watched = {kind.row, kind.container, "nil_classes", "nil-classes", *_COUNTS}
    return etree.XMLPullParser(
        events=("start", "end"),
        tag=[f"{{*}}{name}" for name in sorted(watched)],
        resolve_entities=False,
        no_network=True,
        load_dtd=False,
        huge_tree=False,
        remove_comments=True,
        remove_pis=True,
    )


def _refuse_dtd(element: Element) -> None:
    if element.getroottree().docinfo.internalDTD is not None:
        raise NotUnderstood("it has a document type declaration, which is refused")


def _name(element: Element) -> str:
    """Return the local name with underscores."""
    return _plain(element.tag)


@lru_cache(maxsize=1024)
def _plain(tag: str) -> str:
    """Return a tag without its namespace, in lower case, with underscores."""
    return tag.rpartition("}")[2].replace("-", "_").lower()


def _text(element: Element) -> str | None:
    text = element.text
    if text is None or element.get("nil") in {"true", "1"}:
        return None
    return text.strip()[:LONGEST_ROW_TEXT] or None


def _fields(row: Element, depth: int = 3) -> dict[str, Any]:
    """Return a row's fields by name; a nested element becomes a dictionary of its own.

    :param depth: of the row's children within the document; a list and a wrapper stand above a row.
    """
    if depth > DEEPEST:
        raise NotUnderstood(_TOO_DEEP)
    return {
        _plain(child.tag): _fields(child, depth + 1) if len(child) else _text(child)
        for child in row
        if isinstance(child.tag, str)
    }


def _forget(element: Element) -> None:
    """Free a row that was read, and its elder siblings."""
    element.clear()
    parent = element.getparent()
    while parent is not None and element.getprevious() is not None:
        del parent[0]


def _number(text: Any) -> int | None:
    """Read a number of plain digits, short enough to be one."""
    plain = isinstance(text, str) and text.isascii() and text.isdecimal() and len(text) <= LONGEST_NUMBER
    return int(text) if plain else None


def _count(element: Element) -> int | None:
    return _number(_text(element))


def _id_if_told(text: Any) -> int | None:
    """Read an id that may be missing; one that no table could hold counts as not told."""
    number = _number(text)
    return number if number and number < 2**63 else None


def _identifier(text: Any) -> int:
    number = _id_if_told(text)
    if number is None:
        raise NotUnderstood("a row has no usable id")
    return number


def _told(fields: dict[str, Any], name: str, reader: Callable[[str], T]) -> T | None:
    """Read an optional field; what can't be read counts as not told, never as something else."""
    value = fields.get(name)
    try:
        return reader(value) if isinstance(value, str) else None
    except (ValueError, NotUnderstood):
        return None


_OFFSET: Final = re.compile(r"\s*(?P<zone>Z|UTC|GMT|[+-]\d{2}:?\d{2})$", re.IGNORECASE)


def _moment(text: str) -> datetime:
    """Read the ways a date-time is written: ISO 8601, with a space, ``UTC``, any offset, or no zone."""
    with suppress(ValueError):
        return datetime.fromisoformat(text)
    zone = _OFFSET.search(text)
    if zone is None:
        raise NotUnderstood("a date-time that can't be read")
    told = zone["zone"].upper()
    return datetime.fromisoformat(text[: zone.start()] + ("+00:00" if told in {"Z", "UTC", "GMT"} else told))


def _day(text: str) -> date:
    return date.fromisoformat(text) if len(text) == len("2026-01-31") else _moment(text).date()


def _flag(text: str) -> bool:
    return {"true": True, "1": True, "yes": True, "false": False, "0": False, "no": False}[text.lower()]


def _certificate(fields: dict[str, Any]) -> Certificate:
    user = fields.get("user")
    nested = fields.get("certification")
    certification = nested if isinstance(nested, dict) else {}
    number = fields.get("certification_id") or certification.get("id")
    return Certificate(
        id=_identifier(fields.get("id")),
        certification_id=_id_if_told(number),
        valid_from=_told(fields, "valid_from", _day),
        valid_until=_told(fields, "valid_until", _day),
        status=_told(fields, "status", str),
        created_at=_told(fields, "created_at", _moment),
        user_email=_told(user, "email", str) if isinstance(user, dict) else None,
        certification_name=_told(certification, "name", str),
    )


def _certification(fields: dict[str, Any]) -> Certification:
    told = fields.get("requires_valid_until")
    known = isinstance(told, str) and told.lower() in {"true", "1", "yes", "false", "0", "no"}
    return Certification(
        id=_identifier(fields.get("id")),
        name=_told(fields, "name", str),
        description=_told(fields, "description", str),
        requires_valid_until=_flag(str(told)) if known else None,
    )


CERTIFICATES: Final = RowKind("certificate", "certificates", _certificate)
CERTIFICATIONS: Final = RowKind("certification", "certifications", _certification)
