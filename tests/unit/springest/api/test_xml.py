"""Reading Springest's XML: strict about meaning, tolerant about shape, safe with what comes in."""

from __future__ import annotations

from datetime import UTC, date, datetime
from pathlib import Path
from xml.sax.saxutils import escape

import pytest
from hypothesis import given
from hypothesis import strategies as st

from include.springest.api.models import Certificate, Certification
from include.springest.api.values import NotUnderstood
from include.springest.api.xml import (
    CERTIFICATES,
    CERTIFICATIONS,
    PageParser,
    parse_messages,
    parse_new_id,
)

FIXTURES = Path(__file__).parents[3] / "fixtures" / "xml"
MOMENT = datetime(2026, 2, 1, 2, 4, 5, tzinfo=UTC)


def _parse(body, kind=CERTIFICATES, piece=7, **settings):
    parser = PageParser(kind, **settings)
    for start in range(0, len(body), piece):
        parser.feed(body[start : start + piece])
    return parser.close()


@pytest.mark.parametrize("name", ["rails", "underscores", "no_wrapper", "newer"])
@pytest.mark.parametrize("piece", [1, 64, 100_000])
@pytest.mark.parametrize("at_once", [0, 100_000])
def test_every_dialect_says_the_same(name, piece, at_once):
    """Dashes or underscores, wrapped or not, nested or flat, in whatever pieces it arrives and is read."""
    page = _parse((FIXTURES / f"{name}.xml").read_bytes(), piece=piece, at_once=at_once)
    first, second = page.items
    assert (first.id, first.certification_id, first.status) == (7, 101, "verified")
    assert (first.valid_from, first.valid_until) == (date(2026, 1, 31), date(2029, 1, 31))
    assert first.created_at == second.created_at == MOMENT
    assert (second.id, second.certification_id, second.valid_until, second.status) == (8, 102, None, None)
    assert page.total == (None if name == "no_wrapper" else 2)


def test_newer_sites_tell_the_owner_and_the_certifications_name():
    """They are kept, and the owner stays out of the representation."""
    first, second = _parse((FIXTURES / "newer.xml").read_bytes()).items
    assert (first.user_email, first.certification_name) == ("zoe@example.com", "Service Desk")
    assert second.user_email is None
    assert "zoe" not in repr(first)


def test_a_moment_without_a_zone_stays_without_one():
    """Guessing a zone would move it by hours."""
    [one] = _parse((FIXTURES / "no_zone.xml").read_bytes()).items
    assert one.created_at == datetime(2026, 2, 1, 2, 4, 5)  # noqa: DTZ001 - that it is naive is the point
    assert not one.created_at_has_zone


def test_certifications():
    """Whether they need a ``valid_until`` may be left untold."""
    page = _parse((FIXTURES / "certifications.xml").read_bytes(), CERTIFICATIONS)
    assert page.items == (
        Certification(101, "Service Desk", "All about it", requires_valid_until=True),
        Certification(102, "Project & Control", None, requires_valid_until=False),
        Certification(103, "First Aid", None, requires_valid_until=None),
    )


@pytest.mark.parametrize(
    "body",
    [
        b'<response><meta><results type="integer">0</results></meta><certificates type="array"/></response>',
        b'<certificates type="array"/>',
        b'<nil-classes type="array"/>',
        b"<response><meta><results>0</results></meta></response>",
    ],
)
def test_an_empty_list_is_a_list(body):
    """Rails writes it in several ways."""
    assert _parse(body).items == ()


@pytest.mark.parametrize(
    ("body", "why"),
    [
        (b"", "cut off"),
        (b"<html><body>back soon</body></html>", "root"),
        (b"<response><meta><results>3</results></meta></response>", "no list"),
        (b"<errors><error>no</error></errors>", "root"),
        (b"Service unavailable", "XML"),
        (b'{"certificates": []}', "XML"),
        ((FIXTURES / "rails.xml").read_bytes()[:-30], "cut off"),
        (b"<certificates><certificate><id>x</id></certificate></certificates>", "id"),
        (b"<certificates><certificate><id>-3</id></certificate></certificates>", "id"),
        (b"<certificates><certificate></certificate></certificates>", "id"),
        (b"<certificates><certificate><id><x>5</x></id></certificate></certificates>", "id"),
        (b"<certificates><certificate><id>" + b"5" * 5000 + b"</id></certificate></certificates>", "id"),
        (b'<!DOCTYPE r SYSTEM "http://127.0.0.1:9/x.dtd"><certificates/>', "document type"),
        (b'<!DOCTYPE r [<!ENTITY a "aaaa">]><certificates><a>&a;</a></certificates>', "document type"),
        (b"<certificates>" + b"<a>" * 40 + b"</a>" * 40 + b"</certificates>", "deeply"),
    ],
    ids=range(15),
)
@pytest.mark.parametrize("at_once", [0, 100_000])
def test_what_is_not_such_a_list_is_refused_without_being_quoted(body, why, at_once):
    """The text says why, and holds nothing of the body."""
    with pytest.raises(NotUnderstood, match=why):
        _parse(body, at_once=at_once)


def test_a_page_has_a_largest_size():
    """A server can't fill the memory."""
    body = (FIXTURES / "rails.xml").read_bytes()
    with pytest.raises(NotUnderstood, match="larger"):
        _parse(body, largest=500)


def test_what_can_not_be_read_counts_as_not_told():
    """A date that is none is not taken for another; the row's id still stands."""
    body = (
        b"<certificates><certificate><id>7</id><valid-from>31-01-2026</valid-from>"
        b"<created-at>yesterday</created-at><certification-id>many</certification-id></certificate></certificates>"
    )
    [one] = _parse(body).items
    assert (one.id, one.valid_from, one.created_at, one.certification_id) == (7, None, None, None)


_TAGS = st.sampled_from(
    [
        "response",
        "certificates",
        "certificate",
        "id",
        "user",
        "email",
        "meta",
        "results",
        "created-at",
        "nil-classes",
    ]
)
_ATTRIBUTES = st.sampled_from(["", ' nil="true"', ' type="array"', ' type="integer"'])
_WORDS = st.sampled_from(
    ["", "5", "-1", "9" * 30, "9" * 5000, "2026-01-02", "0001-01-01T00:00+23:59", "&lt;", "é"]
)
_TREES = st.recursive(
    _WORDS,
    lambda inner: st.builds(
        lambda tag, attributes, children: f"<{tag}{attributes}>{''.join(children)}</{tag}>",
        _TAGS,
        _ATTRIBUTES,
        st.lists(inner, max_size=5),
    ),
    max_leaves=20,
)


def _told(body, **settings):
    """Return the page, or that there is none."""
    try:
        return _parse(body, **settings)
    except NotUnderstood:
        return None


@given(inner=_TREES, cut=st.integers(0, 40), at_once=st.integers(0, 60))
def test_no_body_makes_another_error_than_its_own(inner, cut, at_once):
    """Whatever a server sends, callers meet one kind of error, and the same page however it is read."""
    body = f"<response>{inner}</response>".encode()
    for sent in (body, body[:-cut]):
        assert _told(sent) == _told(sent, at_once=at_once)
        parse_new_id(sent)
        parse_messages(sent)


_SPACE = st.sampled_from(["", " ", "\n\t ", "<!-- seen -->", "<?php none?>"])


def _cell(name, text, **attributes):
    told = "".join(f' {key}="{value}"' for key, value in attributes.items())
    return f"<{name}{told}>{text}</{name}>"


@st.composite
def _cells(draw, name, says):
    """Give one element, in one of the ways to write it; its text may be empty or nil, which tells nothing."""
    text, value = draw(st.sampled_from([*says.items(), ("", None)]))
    written = draw(st.sampled_from([name, name.replace("_", "-"), name.upper(), f"x:{name}"]))
    kind = draw(st.sampled_from(["plain", "CDATA", "spaces", "halves", "nil", "false", "nested"]))
    if kind == "nil":
        return _cell(written, escape(text), nil="true"), None
    if kind == "nested":
        return _cell(written, escape(text) + _cell("b", escape(text))), None
    if kind == "CDATA":
        return _cell(written, f"<![CDATA[{text}]]>"), value
    if kind == "spaces":
        return _cell(written, f"{draw(_SPACE)}{escape(text)}{draw(_SPACE)}"), value
    if kind == "halves":
        rest = "".join(f"&#{ord(one)};" for one in text[1:])
        return _cell(written, f"{escape(text[:1])}<!-- --><?php?>{rest}"), value
    return _cell(written, escape(text), nil="false", type="any"), value


_FIELDS = {
    "certification_id": _cells("certification_id", {"101": 101, "0": None, "9" * 19: None, "many": None}),
    "valid_from": _cells("valid_from", {"2026-01-31": date(2026, 1, 31), "31-01-2026": None}),
    "valid_until": _cells("valid_until", {"2029-01-31T01:00Z": date(2029, 1, 31), "2026-02-30": None}),
    "status": _cells("status", {"verified": "verified", "n&r": "n&r", "é" * 9: "é" * 9}),
    "created_at": _cells("created_at", {"2026-02-01 02:04:05 UTC": MOMENT, "yesterday": None}),
    "extra": _cells("extra", {"x": None}),
    "id_note": _cells("id_note", {"7": None}),
}


@st.composite
def _rows(draw):
    """Give a row and what it says: fields in any order, some twice, some not at all; the last one counts."""
    number = draw(st.integers(1, 2**63 - 1))
    names = draw(st.lists(st.sampled_from(sorted(_FIELDS)), max_size=9))
    cells = [(name, *draw(_FIELDS[name])) for name in names]
    values = {name: value for name, _, value in cells if name not in {"extra", "id_note"}}
    written = [one for _, one, _ in cells]
    written.insert(draw(st.integers(0, len(cells))), _cell("id", number))
    return _cell("certificate", draw(_SPACE).join(written)), Certificate(number, **values)


@given(
    rows=st.lists(_rows(), max_size=4), at_once=st.sampled_from([0, 200, 100_000]), piece=st.integers(1, 99)
)
def test_a_row_says_the_same_however_it_is_written_and_read(rows, at_once, piece):
    """Names, blanks, comments, CDATA, entities, nil, nesting, order and repetition."""
    inner = "".join(written for written, _ in rows)
    body = f'<response xmlns:x="urn:x"><certificates>{inner}</certificates></response>'.encode()
    assert _parse(body, piece=piece, at_once=at_once).items == tuple(one for _, one in rows)


def test_rows_of_a_large_page_are_freed_while_the_rest_arrives():
    """Those of the last piece are there, and no more."""
    row = b"<certificate><id>7</id></certificate>"
    parser = PageParser(CERTIFICATES, at_once=0)
    parser.feed(b"<response><certificates>")
    for _ in range(50):
        parser.feed(row * 20)
        assert len(parser._row.getparent()) <= 21
    parser.feed(b"</certificates></response>")
    assert len(parser.close().items) == 1_000


def test_rows_that_lie_apart_are_freed_as_well():
    """Each in a list of its own, and one within another, which is a part of it."""
    inner = b"<certificate><id>8</id></certificate>"
    row = b"<certificates><certificate><id>7</id>" + inner + b"</certificate></certificates>"
    parser = PageParser(CERTIFICATES, at_once=0)
    parser.feed(b"<response>")
    for _ in range(50):
        parser.feed(row)
    root = parser._row.getroottree().getroot()
    assert len(root.findall(".//id")) <= 2
    parser.feed(b"</response>")
    assert [one.id for one in parser.close().items] == [7] * 50


def test_a_long_text_is_no_date_and_takes_no_time():
    """What is not even looked at closer can't be slow: one such text took minutes."""
    body = _cell("certificate", _cell("id", 7) + _cell("created-at", f"2{' ' * 99_000}x"))
    [one] = _parse(f"<certificates>{body}</certificates>".encode(), piece=65_536).items
    assert one == Certificate(7)


@pytest.mark.parametrize(
    ("body", "found"),
    [
        (b"<certificate><id type='integer'>5</id></certificate>", 5),
        (
            b"<response><certificate><certification><id>9</id></certification><id>5</id></certificate></response>",
            5,
        ),
        (b"<response><id>5</id></response>", 5),
        (b"<hash><id type='integer'>5</id></hash>", 5),
        (b"<response><id>5</id><certificate><id>5</id></certificate></response>", 5),
        (b"<response><id>4</id><certificate><id>5</id></certificate></response>", None),
        (b"<certificate><certification-id>9</certification-id></certificate>", None),
        (b"<certificate><id nil='true'/></certificate>", None),
        (b"<certificate><id>0</id></certificate>", None),
        (b"<certificate><id>5.0</id></certificate>", None),
        (b"<certificate><id>99999999999999999999</id></certificate>", None),
        (b"", None),
        (b" ", None),
        (b"OK", None),
        (b"<html><body>5</body></html>", None),
        (b"<!DOCTYPE a [<!ENTITY b '5'>]><certificate><id>&b;</id></certificate>", None),
        (b"<response><certificates><certificate><id>5</id></certificate></certificates></response>", 5),
        (b"<certificate><id>" + b"5" * 5000 + b"</id></certificate>", None),
        (b"<certification><id>5</id></certification>", None),
        (b"<user><id>5</id></user>", None),
        (b"<error><id>5</id></error>", None),
        (b"<c:certificate xmlns:c='urn:x'><c:id>5</c:id></c:certificate>", 5),
    ],
    ids=range(22),
)
def test_the_id_in_an_answer(body, found):
    """Only an id that can't be another's is taken."""
    assert parse_new_id(body) == found


@pytest.mark.parametrize(
    ("body", "found"),
    [
        (
            b"<errors><error>Email is invalid</error><error>File is empty</error></errors>",
            ("Email is invalid", "File is empty"),
        ),
        (b"<hash><error>Invalid</error></hash>", ("Invalid",)),
        (b"<error>Invalid</error>", ("Invalid",)),
        (b"<errors><email>is invalid</email></errors>", ("is invalid",)),
        (b"<response><message>No</message><message>No</message></response>", ("No",)),
        (b"<html><body><p><error>x</error></p></body></html>", ()),
        (b"", ()),
        (b"Bad request", ()),
    ],
    ids=range(8),
)
def test_the_servers_own_reasons(body, found):
    """They are what an engineer reads; a body that is not understood tells none."""
    assert parse_messages(body) == found
