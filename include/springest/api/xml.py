"""Read Springest's XML: strict about what it means, tolerant about its shape.

Rails writes dashes in names, ``type`` attributes and ``nil="true"``; other versions write underscores or
leave the ``<response>`` wrapper out; unknown elements may come any time. None of that matters here. What
does: no DTD, no entities, no network, and caps on size and depth, since this comes from outside.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from functools import cache, lru_cache
from typing import Any, Final, Generic, TypeAlias, TypeVar, cast

from lxml import etree

from include.springest.api.models import Certificate, Certification, Page
from include.springest.api.values import (
    LONGEST_ROW_TEXT,
    NotUnderstood,
    day_of,
    flag_of,
    id_if_told,
    id_of,
    moment_of,
    number_of,
    told,
    words,
)

T = TypeVar("T")
Element: TypeAlias = etree._Element  # noqa: SLF001 - it has no public name

LARGEST_PAGE: Final = 64 * 1024 * 1024
PARSED_AT_ONCE: Final = 1024 * 1024
"""Bytes of some 3,000 rows; their tree takes about ten times as much."""
LARGEST_ANSWER: Final = 256 * 1024
DEEPEST: Final = 32
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
        self._kept = bytearray()
        self._watched = [f"{{*}}{name}" for name in sorted({*kind.lists, "nil-classes", *_COUNTS})]
        self._parser: etree.XMLPullParser | None = None
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
        if self._parser is None:
            self._kept += chunk
            if len(self._kept) <= self._at_once:
                return
            self._parser = etree.XMLPullParser(events=("start",), tag=self._watched, **_SAFELY)
            chunk, self._kept = bytes(self._kept), bytearray()
        try:
            self._parser.feed(chunk)
            self._read_begun(self._parser)
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
        if self._parser is not None:
            root = self._parser.close()
            self._read_begun(self._parser)
            return root
        root = etree.fromstring(bytes(self._kept), _parser())
        self._read(root.iter(*self._watched))
        return root

    def _read_begun(self, parser: etree.XMLPullParser) -> None:
        events = cast("Iterator[tuple[str, Element]]", parser.read_events())
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
        return number_of(_text(self._counts[name])) if name in self._counts else None

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
        return id_of(found.pop()) if len(found) == 1 else None
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
    """Return the parser of whole documents: making one costs more than reading a small answer."""
    return etree.XMLParser(**_SAFELY)


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


def _certificate(fields: dict[str, Any]) -> Certificate:
    field = fields.get
    user, nested = field("user"), field("certification")
    certification = nested if isinstance(nested, dict) else {}
    return Certificate(
        id_of(field("id")),
        id_if_told(field("certification_id") or certification.get("id")),
        told(field("valid_from"), day_of),
        told(field("valid_until"), day_of),
        words(field("status")),
        told(field("created_at"), moment_of),
        words(user.get("email")) if isinstance(user, dict) else None,
        words(certification.get("name")),
    )


def _certification(fields: dict[str, Any]) -> Certification:
    needed = fields.get("requires_valid_until")
    known = isinstance(needed, str) and needed.lower() in {"true", "1", "yes", "false", "0", "no"}
    return Certification(
        id=id_of(fields.get("id")),
        name=words(fields.get("name")),
        description=words(fields.get("description")),
        requires_valid_until=flag_of(str(needed)) if known else None,
    )


CERTIFICATES: Final = RowKind("certificate", "certificates", _certificate)
CERTIFICATIONS: Final = RowKind("certification", "certifications", _certification)
