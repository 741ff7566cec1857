"""Parse Springest's XML: strict about its meaning, tolerant about its form.

Rails writes dashes in names, ``type`` attributes and ``nil="true"``; other versions write underscores or omit
the ``<response>`` wrapper; unknown elements may appear at any time. All of these are accepted. DTDs, entities
and network access are not, and bytes, elements and depth are limited, since the XML comes from outside.
"""

from __future__ import annotations

import re
import zlib
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache, lru_cache
from typing import Any, Final, Generic, TypeAlias, TypeVar

from lxml import etree

from springest.api.models import Certificate, Certification, Page
from springest.api.values import (
    MAX_ROW_TEXT,
    NotUnderstood,
    count_of,
    day_of,
    flag_of,
    free_text,
    id_if_told,
    id_of,
    moment_of,
    optional,
    words,
)

T = TypeVar("T", bound="Certificate | Certification")
Element: TypeAlias = etree._Element  # noqa: SLF001 - it has no public name

MAX_BODY_BYTES: Final = 256 * 1024
"""Limit for all responses except lists."""
MAX_DEPTH: Final = 32
_MIN_PAGE_BYTES: Final = 4 * 1024 * 1024
_MAX_PAGE_BYTES: Final = 16 * 1024 * 1024
_BYTES_PER_ROW: Final = 64 * 1024
_MIN_PAGE_ELEMENTS: Final = 200_000
_ELEMENTS_PER_ROW: Final = 200
_SPRINGEST_ROOTS: Final = frozenset({"response", "hash", "certificate", "certificates", "errors", "error"})
_WRAPPERS: Final = frozenset({"response", "hash", "nil_classes"})
_COUNTS: Final = ("results", "offset")
_ERRORS: Final = frozenset({"error", "errors"})
_PARSER_OPTIONS: Final[dict[str, Any]] = {
    "resolve_entities": False,
    "no_network": True,
    "load_dtd": False,
    "huge_tree": False,
    "remove_comments": True,
    "remove_pis": True,
}
_NIL: Final = frozenset({"true", "1"})
_TOO_DEEP: Final = "it is nested too deeply"
_IS_TOO_DEEP: Final = etree.XPath(f"boolean({'/*' * (MAX_DEPTH + 1)})")
# XML 1.0, 2.2: these characters are not allowed, neither raw nor as a character reference.
_ILLEGAL: Final = re.compile(
    rb"[\x00-\x08\x0b\x0c\x0e-\x1f]"
    rb"|&#0{0,6}(?:[0-8]|1[124-9]|2[0-9]|3[01]);|&#x0{0,6}(?:[0-8bce-f]|1[0-9a-f]);",
    re.IGNORECASE,
)
_ENCODING: Final = re.compile(rb"""^\s*<\?xml[^>]{0,100}?encoding=["']([\w.-]{1,40})["']""")


@dataclass(frozen=True, slots=True)
class RowKind(Generic[T]):
    """One kind of list.

    :param row: name of a row's element.
    :param container: name of the list's element.
    :param build: creates the value from the row's fields; may raise ``NotUnderstood``.
    """

    row: str
    container: str
    build: Callable[[dict[str, Any]], T]

    @property
    def watched(self) -> list[str]:
        """Tags of the elements that ``parse_page`` uses."""
        names = {self.row, self.container, "nil_classes", "nil-classes", *_COUNTS, *_ERRORS}
        return [f"{{*}}{name}" for name in sorted(names)]


def max_page_bytes(rows: int) -> int:
    """Return the size limit of a page, in bytes after decompression.

    :param rows: number of requested rows. A server that ignores it may send some thousand.
    """
    return min(_MAX_PAGE_BYTES, max(_MIN_PAGE_BYTES, rows * _BYTES_PER_ROW))


def parse_page(body: bytes, kind: RowKind[T], *, rows: int) -> Page[T]:
    """Return one page of a list.

    A row without a usable id is skipped and counted in ``Page.ids``. A character that XML does not allow
    affects only its field, never the list.

    :param rows: number of requested rows.
    :raises NotUnderstood: it is another list or none, truncated or too large, or none of its rows has an id.
    """
    if len(body) > max_page_bytes(rows):
        raise NotUnderstood("it is larger than a page may be")
    if body.count(b"<") > max(_MIN_PAGE_ELEMENTS, rows * _ELEMENTS_PER_ROW):
        raise NotUnderstood("it has more elements than a page may have")
    root = _parse_leniently(body)
    _require_list(root, kind)
    elements, counts, is_list = _find(root, kind)
    total, offset = (count_of(_text(counts[name])) if name in counts else None for name in _COUNTS)
    if not is_list and total != 0:
        raise NotUnderstood(f"it contains no list of {kind.container}")
    items, ids = [], []
    for element in elements:
        try:
            item = kind.build(_fields(element))
        except NotUnderstood:
            ids.append(-1 - zlib.crc32(etree.tostring(element, with_tail=False)))
        else:
            items.append(item)
            ids.append(item.id)
    if ids and not items:
        raise NotUnderstood("none of its rows has a usable id")
    return Page(tuple(items), total, offset, tuple(ids))


def _parse_leniently(body: bytes) -> Element:
    """Parse a list; if it contains illegal characters, replace them with question marks."""
    try:
        return etree.fromstring(body, _parser())
    except etree.XMLSyntaxError:
        cleaned = _ILLEGAL.sub(b"?", body)
        declared = _ENCODING.match(body)
        if declared is None or declared[1].lower() in {b"utf-8", b"utf8"}:
            cleaned = cleaned.decode("utf-8", "replace").encode()
        if cleaned == body:
            raise NotUnderstood("it is truncated or not XML") from None
    try:
        return etree.fromstring(cleaned, _parser())
    except etree.XMLSyntaxError:
        raise NotUnderstood("it is truncated or not XML") from None


def _require_list(root: Element, kind: RowKind[T]) -> None:
    _refuse_dtd(root)
    if _name(root) not in _WRAPPERS | {kind.container}:
        raise NotUnderstood(f"its root is not a list of {kind.container}")
    if _IS_TOO_DEEP(root):
        raise NotUnderstood(_TOO_DEEP)


def _find(root: Element, kind: RowKind[T]) -> tuple[list[Element], dict[str, Element], bool]:
    """Return the rows of a list, its counts, and whether there is a list.

    :raises NotUnderstood: the server names an error beside or instead of the list.
    """
    rows: list[Element] = []
    counts: dict[str, Element] = {}
    is_list = False
    around: Element | None = None
    for element in root.iter(*kind.watched):
        parent = element.getparent()
        if rows and parent is not around and rows[-1] in element.iterancestors():
            continue  # a part of that row
        name = _name(element)
        if name in _ERRORS:
            if _is_error(element):
                raise NotUnderstood("it names an error")
            continue
        if name in _COUNTS:
            if parent is not None and _name(parent) == "meta":
                counts[name] = element
            continue
        is_list = True
        if name == kind.row:
            rows.append(element)
            around = parent
    return rows, counts, is_list


def parse_document(body: bytes) -> Element | None:
    """Return the root of a response other than a list; ``None`` unless it is Springest's XML."""
    if not body.strip() or len(body) > MAX_BODY_BYTES:
        return None
    try:
        root = etree.fromstring(body, _parser())
        _refuse_dtd(root)
    except (etree.XMLSyntaxError, NotUnderstood, ValueError):
        return None
    return root if _name(root) in _SPRINGEST_ROOTS else None


def find_new_id(root: Element) -> int | None:
    """Return the id of the new certificate; ``None`` if the document has none, or several."""
    holders = [node for node in root.iter("{*}*") if _name(node) == "certificate"]
    if _name(root) in {"response", "hash"}:
        holders.append(root)
    found = {
        None if len(child) else _text(child)
        for holder in holders
        for child in holder
        if isinstance(child.tag, str) and _name(child) == "id"
    }
    return id_if_told(found.pop()) if len(found) == 1 else None


def find_messages(root: Element) -> tuple[str, ...]:
    """Return the server's messages: each ``<error>``, ``<message>`` and field in ``<errors>``."""
    nodes = (node for node in root.iter() if isinstance(node.tag, str))
    found = [_text(node) for node in nodes if _is_message(node)]
    return tuple(dict.fromkeys(text for text in found if text))


def names_error(root: Element) -> bool:
    """Return whether there is an ``<error>``, with or without text, or a non-empty ``<errors>``."""
    return any(_is_error(node) for node in root.iter() if isinstance(node.tag, str))


def _is_error(node: Element) -> bool:
    name = _name(node)
    return name == "error" or (name == "errors" and (len(node) > 0 or _text(node) is not None))


def _is_message(node: Element) -> bool:
    if len(node):
        return False
    parent = node.getparent()
    return _name(node) in {"error", "message"} or (parent is not None and _name(parent) == "errors")


@cache
def _parser() -> etree.XMLParser:
    """Return the shared parser: creating one costs more than parsing a small response."""
    return etree.XMLParser(**_PARSER_OPTIONS)


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
    return text.strip()[:MAX_ROW_TEXT] or None


def _fields(row: Element, depth: int = 3) -> dict[str, Any]:
    """Return a row's fields by name; a nested element becomes a nested dictionary.

    :param depth: depth of the row's children in the document; a list and a wrapper are above a row.
    """
    if depth > MAX_DEPTH:
        raise NotUnderstood(_TOO_DEEP)
    fields: dict[str, Any] = {}
    for child in row:
        text = child.text
        if text is not None:
            text = None if child.get("nil") in _NIL else text.strip()
        fields[_plain(child.tag)] = _fields(child, depth + 1) if len(child) else text
    return fields


def _certificate(fields: dict[str, Any]) -> Certificate:
    field = fields.get
    user, nested = field("user"), field("certification")
    certification = nested if isinstance(nested, dict) else {}
    return Certificate(
        id_of(field("id")),
        id_if_told(field("certification_id") or certification.get("id")),
        optional(field("valid_from"), day_of),
        optional(field("valid_until"), day_of),
        free_text(field("status")),
        optional(field("created_at"), moment_of),
        words(user.get("email")) if isinstance(user, dict) else None,
        free_text(certification.get("name")),
    )


def _certification(fields: dict[str, Any]) -> Certification:
    needed = fields.get("requires_valid_until")
    known = isinstance(needed, str) and needed.lower() in {"true", "1", "yes", "false", "0", "no"}
    return Certification(
        id=id_of(fields.get("id")),
        name=free_text(fields.get("name")),
        description=free_text(fields.get("description")),
        requires_valid_until=flag_of(str(needed)) if known else None,
    )


CERTIFICATES: Final = RowKind("certificate", "certificates", _certificate)
CERTIFICATIONS: Final = RowKind("certification", "certifications", _certification)
