"""The exact bytes around a certificate's file."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date

import pytest
from hypothesis import given
from hypothesis import strategies as st
from python_multipart.multipart import parse_options_header

from springest.api.models import CertificateUpload
from springest.api.multipart import encode


@dataclass
class Memory:
    """A document in memory."""

    filename: str = "certificate.pdf"
    content_type: str = "application/pdf"
    content: bytes = b"%PDF"

    @property
    def size(self):
        return len(self.content)

    def chunks(self):
        yield self.content


def _upload(**changes):
    values = {
        "certification_id": 101,
        "email": "zoë@example.com",
        "valid_from": date(2026, 1, 31),
        "valid_until": date(2029, 1, 31),
        "booking_id": 7,
        "document": Memory(),
    }
    return CertificateUpload(**{**values, **changes})


def test_every_field_as_the_page_asks():
    """Names, order and values are Springest's; the file is raw, with its name and type."""
    body = encode(_upload(), boundary="limit")
    assert body.head.decode() + "<file>" + body.tail.decode() == (
        '--limit\r\nContent-Disposition: form-data; name="booking_id"\r\n\r\n7\r\n'
        '--limit\r\nContent-Disposition: form-data; name="certification_id"\r\n\r\n101\r\n'
        '--limit\r\nContent-Disposition: form-data; name="email"\r\n\r\nzoë@example.com\r\n'
        '--limit\r\nContent-Disposition: form-data; name="valid_from"\r\n\r\n2026-01-31\r\n'
        '--limit\r\nContent-Disposition: form-data; name="valid_until"\r\n\r\n2029-01-31\r\n'
        '--limit\r\nContent-Disposition: form-data; name="file"; filename="certificate.pdf"\r\n'
        "Content-Type: application/pdf\r\n\r\n<file>\r\n--limit--\r\n"
    )
    assert body.content_length == len(body.head) + 4 + len(body.tail)
    assert body.content_type == "multipart/form-data; boundary=limit"


def test_absent_optional_fields_are_left_out():
    """An empty value would be validated as one."""
    head = encode(_upload(valid_until=None, booking_id=None)).head
    assert b"valid_until" not in head
    assert b"booking_id" not in head


def test_a_site_may_call_the_booking_otherwise():
    """A copy of the documentation calls it conversion_id."""
    head = encode(_upload(), booking_field="conversion_id").head
    assert b'name="conversion_id"\r\n\r\n7' in head
    assert b"booking_id" not in head


@given(name=st.text(max_size=300))
def test_no_file_name_breaks_out_of_its_quotes(name):
    """Quotes, line ends and path separators of a name stay a name."""
    head = encode(_upload(document=Memory(filename=name)), boundary="limit").head
    lines = head.split(b"\r\n")
    disposition = next(line for line in lines if b'name="file"' in line)
    assert len(lines) == 25
    assert disposition.count(b'"') == 4
    _, options = parse_options_header(disposition.partition(b": ")[2])
    assert b"/" not in options[b"filename"]
    assert 0 < len(options[b"filename"].decode("latin-1")) <= 800


@pytest.mark.parametrize(
    ("name", "sent"),
    [
        ("Zoë's certificate.pdf", "Zoë's certificate.pdf"),
        ('a"b.pdf', "a_b.pdf"),
        ("x; name=email.pdf", "x_ name_email.pdf"),
        ("100%00.pdf", "100_00.pdf"),
        ("a%22; name=%22email.pdf", "a_22_ name__22email.pdf"),
        ("é" * 200 + ".pdf", "é" * 98 + ".pdf"),
        ("Zoe\u0308.pdf", "Zoë.pdf"),
        ("a." + "x" * 300, "a." + "x" * 198),
        ("../../etc/a.pdf", "a.pdf"),
        ("C:\\x\\a.pdf", "a.pdf"),
        ("a\r\nX-Evil: 1.pdf", "a__X-Evil_ 1.pdf"),
        ("", "certificate.pdf"),
    ],
)
def test_file_names(name, sent):
    """Accents stay, as UTF-8; the path is removed."""
    assert f'filename="{sent}"'.encode() in encode(_upload(document=Memory(filename=name))).head


@pytest.mark.parametrize("email", ["a@example.com\r\nX: 1", "a\n@example.com", "a\0@example.com"])
def test_a_value_with_a_control_character_is_refused(email):
    """It could become a header or a part of its own."""
    with pytest.raises(ValueError, match="control"):
        encode(_upload(email=email))


def test_boundaries_are_random():
    """No document can hold one on purpose."""
    assert encode(_upload()).content_type != encode(_upload()).content_type
