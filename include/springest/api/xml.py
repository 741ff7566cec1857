"""Read Springest's XML: strict about what it means, tolerant about its shape.

Rails writes dashes in names, ``type`` attributes and ``nil="true"``; other versions write underscores or
leave the ``<response>`` wrapper out; unknown elements may come any time. None of that matters here. What
does: no DTD, no entities, no network, and caps on size and depth, since this comes from outside.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from datetime import date, datetime
from functools import lru_cache
from typing import Any, Final, Generic, TypeAlias, TypeVar, cast

from lxml import etree

from include.springest.api.models import Certificate, Certification, Page

T = TypeVar("T")
Element: TypeAlias = etree._Element  # noqa: SLF001 - it has no public name

LARGEST_PAGE: Final = 64 * 1024 * 1024
PARSED_AT_ONCE: Final = 1024 * 1024
LARGEST_ANSWER: Final = 256 * 1024
DEEPEST: Final = 32
LONGEST_ROW_TEXT: Final = 100_000
LONGEST_NUMBER: Final = 19
"""Digits of the largest number that a bigint holds."""
LONGEST_MOMENT: Final = 64
_ANSWERS: Final = frozenset({"response", "hash"})
_WRAPPERS: Final = _ANSWERS | {"nil_classes"}
_COUNTS: Final = frozenset({"results", "offset"})
_SAFELY: Final[dict[str, Any]] = {
    "resolve_entities": False,
    "no_network": True,
    "load_dtd": False,
    "huge_tree": False,
    "remove_comments": True,
    "remove_pis": True,
}
_NIL: Final = frozenset({"true", "1"})
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
    """Parses one page; memory grows with the page's rows, never with the list.

    A page of a usual size is kept and parsed at once: to be told of rows meanwhile costs lxml twice as much.
    Of a larger one, rows are read and freed while the rest arrives.

    :param kind: what the rows are.
    :param largest: bytes that a page may have.
    :param at_once: bytes that are kept.
    """

    def __init__(
        self, kind: RowKind[T], *, largest: int = LARGEST_PAGE, at_once: int = PARSED_AT_ONCE
    ) -> None:
        self._kind = kind
        self._left = largest
        self._at_once = at_once
        self._kept: bytearray | None = bytearray()
        self._watched = [f"{{*}}{name}" for name in sorted({*kind.lists, "nil-classes", *_COUNTS})]
        self._parser = etree.XMLPullParser(events=("start",), tag=self._watched, **_SAFELY)
        self._row: Element | None = None
        self._around: Element | None = None
        self._counts: dict[str, Element] = {}
        self._items: list[T] = []
        self._listed = False

    def feed(self, chunk: bytes) -> None:
        """Take a piece of the body.

        :raises NotUnderstood: it is not such a list.
        """
        self._left -= len(chunk)
        if self._left < 0:
            raise NotUnderstood("it is larger than a page may be")
        if self._kept is not None:
            self._kept += chunk
            if len(self._kept) <= self._at_once:
                return
            chunk, self._kept = bytes(self._kept), None
        try:
            self._parser.feed(chunk)
            self._read_begun()
        except etree.XMLSyntaxError:
            raise NotUnderstood("it is not well-formed XML") from None

    def close(self) -> Page[T]:
        """Return the page once the whole body was fed.

        :raises NotUnderstood: it is cut off, or not such a list.
        """
        try:
            root = self._read_rest()
        except etree.XMLSyntaxError:
            raise NotUnderstood("it is cut off or not XML") from None
        if self._row is not None:
            self._items.append(self._kind.build(_fields(self._row)))
            _forget(self._row)
        self._refuse_another(root)
        total, offset = (self._count(name) for name in ("results", "offset"))
        if not self._listed and total != 0:
            raise NotUnderstood(f"it holds no list of {self._kind.container}")
        return Page(tuple(self._items), total, offset)

    def _read_rest(self) -> Element:
        """Read what was not parsed yet; return the document's root."""
        if self._kept is None:
            root = self._parser.close()
            self._read_begun()
            return root
        root = etree.fromstring(bytes(self._kept), etree.XMLParser(**_SAFELY))
        self._read(root.iter(*self._watched))
        return root

    def _read_begun(self) -> None:
        events = cast("Iterator[tuple[str, Element]]", self._parser.read_events())
        self._read(element for _, element in events)

    def _read(self, elements: Iterable[Element]) -> None:
        """Read the next of the elements that are watched for, in their order.

        They have begun, and may not have ended yet: a row has once another begins that is not within it.
        """
        row_name, build, take = self._kind.row, self._kind.build, self._items.append
        row, around = self._row, self._around
        for element in elements:
            parent = element.getparent()
            if row is not None:
                if parent is not around and row in element.iterancestors():
                    continue
                take(build(_fields(row)))
                if parent is not around:
                    _forget(row)
                row = None
            name = _plain(element.tag)
            if not self._listed or name != row_name:
                self._look_at(element, name, parent)
            if name == row_name:
                row, around = element, parent
        self._row, self._around = row, around
        if row is not None:
            _forget_before(row)

    def _look_at(self, element: Element, name: str, parent: Element | None) -> None:
        """Note what an element says of the document."""
        if not self._listed:
            _refuse_dtd(element)
            self._listed = name in self._kind.lists
        if name in _COUNTS and parent is not None and _name(parent) == "meta":
            self._counts[name] = element

    def _count(self, name: str) -> int | None:
        return _number(_text(self._counts[name])) if name in self._counts else None

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
        root = etree.fromstring(body, etree.XMLParser(**_SAFELY))
        _refuse_dtd(root)
    except (etree.XMLSyntaxError, NotUnderstood, ValueError):
        return None
    return root


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
    if text is None or element.get("nil") in _NIL:
        return None
    return text.strip()[:LONGEST_ROW_TEXT] or None


def _fields(row: Element, depth: int = 3) -> dict[str, Any]:
    """Return a row's fields by name; a nested element becomes a dictionary of its own.

    :param depth: of the row's children within the document; a list and a wrapper stand above a row.
    """
    if depth > DEEPEST:
        raise NotUnderstood(_TOO_DEEP)
    fields: dict[str, Any] = {}
    for child in row:
        text = child.text
        if text is not None:
            text = None if child.get("nil") in _NIL else text.strip()
        fields[_plain(child.tag)] = _fields(child, depth + 1) if len(child) else text
    return fields


def _forget(element: Element) -> None:
    """Free what is in an element, and its elder siblings."""
    element.clear()
    _forget_before(element)


def _forget_before(element: Element) -> None:
    """Free an element's elder siblings."""
    parent = element.getparent()
    if parent is not None:
        del parent[: parent.index(element)]


def _number(text: Any) -> int | None:
    """Read a number of plain digits, short enough to be one."""
    plain = isinstance(text, str) and len(text) <= LONGEST_NUMBER and text.isascii() and text.isdecimal()
    return int(text) if plain else None


def _id_if_told(text: Any) -> int | None:
    """Read an id that may be missing; one that no table could hold counts as not told."""
    number = _number(text)
    return number if number and number < 2**63 else None


def _identifier(text: Any) -> int:
    number = _id_if_told(text)
    if number is None:
        raise NotUnderstood("a row has no usable id")
    return number


def _told(value: Any, reader: Callable[[str], T]) -> T | None:
    """Read an optional field; what can't be read counts as not told, never as something else."""
    if not isinstance(value, str):
        return None
    try:
        return reader(value)
    except ValueError:
        return None


def _words(value: Any) -> str | None:
    return value[:LONGEST_ROW_TEXT] or None if isinstance(value, str) else None


_OFFSET: Final = re.compile(r"\s*(?P<zone>Z|UTC|GMT|[+-]\d{2}:?\d{2})$", re.IGNORECASE)


def _moment(text: str) -> datetime:
    """Read the ways a date-time is written: ISO 8601, with a space, ``UTC``, any offset, or no zone."""
    try:
        return datetime.fromisoformat(text)
    except ValueError:
        zone = _OFFSET.search(text) if len(text) <= LONGEST_MOMENT else None
    if zone is None:
        raise NotUnderstood("a date-time that can't be read")
    told = zone["zone"].upper()
    return datetime.fromisoformat(text[: zone.start()] + ("+00:00" if told in {"Z", "UTC", "GMT"} else told))


def _day(text: str) -> date:
    return date.fromisoformat(text) if len(text) == len("2026-01-31") else _moment(text).date()


def _flag(text: str) -> bool:
    return {"true": True, "1": True, "yes": True, "false": False, "0": False, "no": False}[text.lower()]


def _certificate(fields: dict[str, Any]) -> Certificate:
    told = fields.get
    user, nested = told("user"), told("certification")
    certification = nested if isinstance(nested, dict) else {}
    return Certificate(
        _identifier(told("id")),
        _id_if_told(told("certification_id") or certification.get("id")),
        _told(told("valid_from"), _day),
        _told(told("valid_until"), _day),
        _words(told("status")),
        _told(told("created_at"), _moment),
        _words(user.get("email")) if isinstance(user, dict) else None,
        _words(certification.get("name")),
    )


def _certification(fields: dict[str, Any]) -> Certification:
    told = fields.get("requires_valid_until")
    known = isinstance(told, str) and told.lower() in {"true", "1", "yes", "false", "0", "no"}
    return Certification(
        id=_identifier(fields.get("id")),
        name=_words(fields.get("name")),
        description=_words(fields.get("description")),
        requires_valid_until=_flag(str(told)) if known else None,
    )


CERTIFICATES: Final = RowKind("certificate", "certificates", _certificate)
CERTIFICATIONS: Final = RowKind("certification", "certifications", _certification)
