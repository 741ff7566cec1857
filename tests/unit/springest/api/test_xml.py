"""Reading Springest's XML: strict about meaning, tolerant about shape, safe with what comes in."""

from __future__ import annotations

from contextlib import suppress
from datetime import UTC, date, datetime
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from include.springest.api.models import Certification
from include.springest.api.xml import (
    CERTIFICATES,
    CERTIFICATIONS,
    NotUnderstood,
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
def test_every_dialect_says_the_same(name, piece):
    """Dashes or underscores, wrapped or not, nested or flat, in whatever pieces it arrives."""
    page = _parse((FIXTURES / f"{name}.xml").read_bytes(), piece=piece)
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
def test_what_is_not_such_a_list_is_refused_without_being_quoted(body, why):
    """The text says why, and holds nothing of the body."""
    with pytest.raises(NotUnderstood, match=why):
        _parse(body)


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


@given(inner=_TREES, cut=st.integers(0, 40))
def test_no_body_makes_another_error_than_its_own(inner, cut):
    """Whatever a server sends, callers meet one kind of error."""
    body = f"<response>{inner}</response>".encode()
    for sent in (body, body[:-cut]):
        with suppress(NotUnderstood):
            _parse(sent)
        parse_new_id(sent)
        parse_messages(sent)


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
