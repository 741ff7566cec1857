"""Reading Springest's XML: strict about meaning, tolerant about shape, safe with what comes in."""

from __future__ import annotations

from contextlib import suppress
from datetime import UTC, date, datetime
from pathlib import Path
from xml.sax.saxutils import escape

import pytest
from hypothesis import given
from hypothesis import strategies as st

from springest.api.models import Certificate, Certification
from springest.api.values import NotUnderstood
from springest.api.xml import (
    CERTIFICATES,
    CERTIFICATIONS,
    find_messages,
    find_new_id,
    max_page_bytes,
    names_error,
    parse_document,
    parse_page,
)

FIXTURES = Path(__file__).parents[2] / "fixtures" / "xml"
MOMENT = datetime(2026, 2, 1, 2, 4, 5, tzinfo=UTC)


def _parse(body, kind=CERTIFICATES, rows=100):
    return parse_page(body, kind, rows=rows)


@pytest.mark.parametrize("name", ["rails", "underscores", "no_wrapper", "newer"])
def test_every_dialect_reads_the_same(name):
    """Dashes or underscores, wrapped or not, nested or flat."""
    page = _parse((FIXTURES / f"{name}.xml").read_bytes())
    first, second = page.items
    assert (first.id, first.certification_id, first.status) == (7, 101, "verified")
    assert (first.valid_from, first.valid_until) == (date(2026, 1, 31), date(2029, 1, 31))
    assert first.created_at == second.created_at == MOMENT
    assert (second.id, second.certification_id, second.valid_until, second.status) == (8, 102, None, None)
    assert page.total == (None if name == "no_wrapper" else 2)


def test_owner_and_certification_name_of_newer_sites():
    """They are kept, and the owner stays out of the representation."""
    first, second = _parse((FIXTURES / "newer.xml").read_bytes()).items
    assert (first.user_email, first.certification_name) == ("zoe@example.com", "Service Desk")
    assert second.user_email is None
    assert "zoe" not in repr(first)


def test_a_moment_without_a_zone_stays_without_one():
    """Guessing a zone would move it by hours."""
    [row] = _parse((FIXTURES / "no_zone.xml").read_bytes()).items
    assert row.created_at == datetime(2026, 2, 1, 2, 4, 5)  # noqa: DTZ001 - that it is naive is the point
    assert not row.created_at_has_zone


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
        (b"", "truncated"),
        (b"<html><body>back soon</body></html>", "root"),
        (b"<response><meta><results>3</results></meta></response>", "no list"),
        (b"<errors><error>no</error></errors>", "root"),
        (b"Service unavailable", "XML"),
        (b'{"certificates": []}', "XML"),
        ((FIXTURES / "rails.xml").read_bytes()[:-30], "truncated"),
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
def test_another_body_is_refused_without_being_quoted(body, why):
    """The error names the reason and contains nothing of the body."""
    with pytest.raises(NotUnderstood, match=why):
        _parse(body)


def test_a_page_has_a_largest_size():
    """A server can't fill the memory."""
    body = b"<certificates>" + b" " * max_page_bytes(100) + b"</certificates>"
    with pytest.raises(NotUnderstood, match="larger"):
        _parse(body)


def test_a_page_has_a_largest_number_of_elements():
    """Four megabytes of empty elements would take gigabytes as a tree."""
    body = b"<certificates>" + b"<a/>" * 300_000 + b"</certificates>"
    with pytest.raises(NotUnderstood, match="elements"):
        _parse(body)
    assert _parse(body, rows=2_000).items == ()


@pytest.mark.parametrize("spoiled", [b"\x01", b"&#x1;", b"&#0;", b"&#x000B;", b"\xff", b"\xc3("])
def test_a_character_that_xml_forbids_costs_only_its_field(spoiled):
    """One bad row among three: its text is repaired, the list stays whole, the others are untouched."""
    row = b"<certificate><id>%d</id><status>%s</status></certificate>"
    body = b"".join((row % (1, b"verified"), row % (2, b"veri" + spoiled), row % (3, b"verified")))
    page = _parse(b"<certificates>" + body + b"</certificates>")
    assert [(row.id, row.status) for row in page.items if row.id != 2] == [(1, "verified"), (3, "verified")]
    assert page.items[1].id == 2
    assert page.items[1].status.startswith("veri")
    assert page.ids == (1, 2, 3)


@pytest.mark.parametrize(
    "poison",
    [
        b"<id>x</id>",
        b"",
        b"<id>4\x017</id>",
        b"<id>47<b/>11</id>",
        b"<id>0</id>",
        b"<id>" + b"9" * 19 + b"</id>",
    ],
    ids=range(6),
)
def test_a_row_without_a_usable_id_is_left_out_alone(poison):
    """It has a number below zero in the order of rows, the same one each time it is read."""
    row = b"<certificate><id>%d</id></certificate>"
    good = [row % number for number in range(1, 20)]
    body = b"".join((*good[:7], b"<certificate>" + poison + b"</certificate>", *good[7:]))
    page = _parse(b"<response><certificates>" + body + b"</certificates></response>")
    assert [row.id for row in page.items] == list(range(1, 20))
    assert len(page.ids) == 20
    assert page.ids[7] < 0
    assert page.ids == _parse(b"<certificates>" + body + b"</certificates>").ids


@pytest.mark.parametrize(
    "body",
    [
        b"<response><meta><results>0</results></meta><errors><error>no</error></errors></response>",
        b"<response><error/><certificates/></response>",
        b"<certificates><errors>no</errors></certificates>",
    ],
)
def test_a_list_beside_an_error_is_no_empty_list(body):
    """Nothing of it may be called missing."""
    with pytest.raises(NotUnderstood, match="error"):
        _parse(body)


def test_a_total_too_large_for_a_column_is_ignored():
    """The list is not complete then."""
    page = _parse(b"<response><meta><results>2147483648</results></meta><certificates/></response>")
    assert page.total is None


@pytest.mark.parametrize("edge", ["0001-01-01T00:00:00+14:00", "9999-12-31T23:59:59-05:00", "0001-06-01"])
def test_a_moment_at_the_edge_of_time_is_ignored(edge):
    """In another zone it may lie in no year at all."""
    body = (
        f"<certificates><certificate><id>7</id><created-at>{edge}</created-at></certificate></certificates>"
    )
    [row] = _parse(body.encode()).items
    assert row.created_at is None


def test_free_text_of_springest_is_redacted_and_cut():
    """Analysts read a status, a name and a description; an owner's address is compared and stored nowhere."""
    body = """<certificates><certificate><id>7</id><status>held for o'hara@example.com</status>
        <certification><name>ask zoe&#64;example.com</name></certification>
        <user><email>zoe@example.com</email></user></certificate></certificates>"""
    [row] = _parse(body.encode()).items
    assert (row.status, row.certification_name) == ("held for <address>", "ask <address>")
    assert row.user_email == "zoe@example.com"
    [row] = _parse(
        "<certificates><certificate><id>7</id><status>\u202eok\u009b</status></certificate></certificates>".encode()
    ).items
    assert row.status == "\\u202eok\\u009b"
    text = "x" * 5_000
    listed = f"<certifications><certification><id>1</id><name>a@b.example</name><description>{text}"
    [certification] = _parse(
        f"{listed}</description></certification></certifications>".encode(), CERTIFICATIONS
    ).items
    assert certification.name == "<address>"
    assert len(certification.description) == 2_000


def test_an_unreadable_field_counts_as_missing():
    """An invalid date is not taken for another; the row's id still counts."""
    body = (
        b"<certificates><certificate><id>7</id><valid-from>31-01-2026</valid-from>"
        b"<created-at>yesterday</created-at><certification-id>many</certification-id></certificate></certificates>"
    )
    [row] = _parse(body).items
    assert (row.id, row.valid_from, row.created_at, row.certification_id) == (7, None, None, None)


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


@given(inner=_TREES, cut=st.integers(0, 40), poison=st.binary(max_size=3))
def test_no_body_makes_another_error_than_its_own(inner, cut, poison):
    """Callers get one class of error for any body."""
    body = f"<response>{inner}</response>".encode()
    for sent in (body, body[:-cut], body[:cut] + poison + body[cut:]):
        with suppress(NotUnderstood):
            _parse(sent)
        if (root := parse_document(sent)) is not None:
            find_new_id(root)
            find_messages(root)
            names_error(root)


_SPACE = st.sampled_from(["", " ", "\n\t ", "<!-- seen -->", "<?php none?>"])


def _cell(name, text, **attributes):
    attribute_text = "".join(f' {key}="{value}"' for key, value in attributes.items())
    return f"<{name}{attribute_text}>{text}</{name}>"


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
        rest = "".join(f"&#{ord(character)};" for character in text[1:])
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
    written = [row for _, row, _ in cells]
    written.insert(draw(st.integers(0, len(cells))), _cell("id", number))
    return _cell("certificate", draw(_SPACE).join(written)), Certificate(number, **values)


@given(rows=st.lists(_rows(), max_size=4))
def test_a_row_reads_the_same_in_every_notation(rows):
    """Names, blanks, comments, CDATA, entities, nil, nesting, order and repetition."""
    inner = "".join(written for written, _ in rows)
    body = f'<response xmlns:x="urn:x"><certificates>{inner}</certificates></response>'.encode()
    assert _parse(body).items == tuple(row for _, row in rows)


def test_rows_may_lie_apart():
    """Each in a list of its own, and one within another, which is a part of it."""
    inner = b"<certificate><id>8</id></certificate>"
    row = b"<certificates><certificate><id>7</id>" + inner + b"</certificate></certificates>"
    assert [certificate.id for certificate in _parse(b"<response>" + row * 50 + b"</response>").items] == [
        7
    ] * 50


def test_a_long_text_is_no_date_and_takes_no_time():
    """A text that is rejected early can't be slow: one such text took minutes."""
    body = _cell("certificate", _cell("id", 7) + _cell("created-at", f"2{' ' * 99_000}x"))
    [row] = _parse(f"<certificates>{body}</certificates>".encode()).items
    assert row == Certificate(7)


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
        (b"<certificate><id>47<b/>11</id></certificate>", None),
        (b"<c:certificate xmlns:c='urn:x'><c:id>5</c:id></c:certificate>", 5),
    ],
    ids=range(23),
)
def test_the_id_in_an_answer(body, found):
    """Only an id that can't be another's is taken."""
    root = parse_document(body)
    assert (None if root is None else find_new_id(root)) == found


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
    """Engineers read them; a body that can't be parsed has none."""
    root = parse_document(body)
    assert (() if root is None else find_messages(root)) == found
