"""Keys and addresses disappear, in whatever form they come."""

from __future__ import annotations

import html
import json
import logging
from urllib.parse import quote, quote_plus

import pytest
from hypothesis import given
from hypothesis import strategies as st
from yarl import URL

from springest.redaction import RedactingFilter, Redactor

# Without what stands beside them in a text, so that it is plain where they end.
_SECRETS = st.text(st.characters(min_codepoint=33, max_codepoint=126), min_size=8, max_size=40)
_ENCODINGS = (
    str,
    quote,
    quote_plus,
    lambda text: quote(text, safe=""),
    lambda text: quote(quote(text, safe=""), safe=""),
    lambda text: quote(text, safe="").lower(),
    lambda text: json.dumps(text)[1:-1],
    html.escape,
)


@given(secret=_SECRETS, which=st.integers(0, len(_ENCODINGS) - 1))
def test_a_secret_is_found_in_every_encoding(secret, which):
    """As it stands in addresses, JSON, HTML, and encoded twice."""
    encoded = _ENCODINGS[which](secret)
    assert Redactor([secret]).redact(f"got {encoded} back") == "got *** back"


@given(
    secret=_SECRETS,
    which=st.integers(0, len(_ENCODINGS) - 1),
    before=st.sampled_from('<="&/:('),
    after=st.sampled_from('>"&/;)'),
)
def test_a_secret_is_found_whatever_stands_beside_it(secret, which, before, after):
    """Its end is not always clear; then some of the text next to it may be redacted too."""
    encoded = _ENCODINGS[which](secret)
    redacted = Redactor([secret]).redact(f"got {before}{encoded}{after} back")
    assert "***" in redacted
    assert secret not in redacted
    assert encoded not in redacted


@given(pieces=st.lists(st.tuples(_SECRETS, st.integers(0, len(_ENCODINGS) - 1)), min_size=2, max_size=6))
def test_a_secret_is_found_when_only_some_of_it_is_encoded(pieces):
    """Each library leaves other characters as they are."""
    secret = "".join(text for text, _ in pieces)
    encoded = "".join(_ENCODINGS[which](text) for text, which in pieces)
    assert Redactor([secret]).redact(f"got {encoded} back") == "got *** back"


@given(secret=st.text(min_size=8, max_size=40).filter(lambda text: text.isprintable()))
def test_a_secret_is_redacted_in_a_quoted_url(secret):
    """A server that quotes the requested URL quotes it as yarl encoded it."""
    asked = URL("/").update_query({"key": secret}).raw_query_string.removeprefix("key=")
    assert Redactor([secret]).redact(f"got\t{asked}\tback") == "got\t***\tback"


@pytest.mark.parametrize(
    "text",
    [
        "\\" * 20_000 + "b",
        "%40" * 10_000,
        "a." * 20_000 + "@",
        "x@" * 20_000,
        "a'" * 20_000,
        "/" * 39 + "x" * 9,
    ]
    + [character * 39 + "x" for character in "\"'/&<> %"],
)
@pytest.mark.timeout(20)
def test_no_text_is_slow_to_redact(text):
    """A server chooses the text: it must not be able to stop a worker with it."""
    hard = ["\\" * 20 + "a", "%" * 20 + "x", *(character * 40 + "y" for character in "\"'/&<> %")]
    Redactor(hard).redact(text)


@pytest.mark.parametrize("secret", [" a-long-secret", "a-long-secret\r\n", "\ta-long-secret "])
def test_a_secret_is_redacted_without_its_pasted_blanks(secret):
    """A server removes them before it echoes the key."""
    assert Redactor([secret]).redact("the key: a-long-secret.") in {"the key: ***.", "the key:***."}


def test_a_redactor_can_hide_more_for_one_request():
    """Texts of a request are hidden in messages about it; the redactor itself does not change."""
    redactor = Redactor(["a-long-secret"])
    assert redactor.hiding(["Jan Jansen"]).redact("a-long-secret: Jan%20Jansen") == "***: ***"
    assert redactor.redact("Jan Jansen") == "Jan Jansen"


@pytest.mark.parametrize(
    "address",
    [
        "zoe%2540example.com",
        "zoe%40b%C3%BCcher.example",
        "zoe" + "e" * 80 + "@example.com",
        "zoe\uff20example.com",
        "zoe@example.com",
        "zoë.de-vries+training@mail.example.co.uk",
        "zoe%40example.com",
        "zo%C3%AB%40example.com",
        "o'connor@example.com",
        "zoe/hr@example.com",
        "zoe&co@example.com",
        "'zoe'@example.com",
        '"zoe de vries"@example.com',
        "zoe@@example.com",
        "zoe@localhost",
        "zoe@[127.0.0.1]",
        "ZOE@EXAMPLE.COM",
        "zoe&#64;example.com",
    ],
)
def test_an_address_is_found(address):
    """Well-formed or not: a mistyped address is still personal."""
    redacted = Redactor().redact(f"Email {address} is invalid; see ?email={address}&size=1")
    assert "zoe" not in redacted.lower()
    assert "zoë" not in redacted
    assert "connor" not in redacted
    assert redacted.startswith("Email ")
    assert redacted.endswith("size=1")


@pytest.mark.parametrize("text", ["a @ b", "5 @ 3", "nothing here", "", "user at example.com", "@decorator"])
def test_text_that_is_no_email_stays(text):
    """A log must still be readable."""
    assert Redactor(["a-long-secret"]).redact(text) == text


def test_short_and_empty_secrets_do_not_blot_everything_out():
    """A key of one letter would be found in every word."""
    assert Redactor(["", "e"]).redact("here we are") == "here we are"


def test_a_redactor_does_not_show_its_secrets():
    """The redactor itself may be logged."""
    assert "a-long-secret" not in repr(Redactor(["a-long-secret"]))


def test_the_filter_lets_a_record_with_wrong_arguments_through(caplog):
    """Logging must not fail because of the filter."""
    logger = logging.getLogger("some.library")
    redacting = RedactingFilter(Redactor(["a-long-secret"]))
    logger.addFilter(redacting)
    try:
        logger.warning("no place for it", *["a-long-secret"], stack_info=True)
    finally:
        logger.removeFilter(redacting)
    assert "no place for it ('***',)" in caplog.text
    assert "a-long-secret" not in caplog.text


def test_the_filter_redacts_messages_arguments_and_tracebacks(caplog):
    """This includes everything that libraries log."""
    logger = logging.getLogger("some.library")
    redacting = RedactingFilter(Redactor(["a-long-secret"]))
    logger.addFilter(redacting)
    try:
        logger.warning("GET %s for %s", "/x?api_key=a-long-secret", "zoe@example.com")
        try:
            raise ValueError("a-long-secret")
        except ValueError:
            logger.exception("failed")
    finally:
        logger.removeFilter(redacting)
    assert "a-long-secret" not in caplog.text
    assert "zoe" not in caplog.text
    assert "GET /x?api_key=*** for <address>" in caplog.text
    assert "ValueError: ***" in caplog.text
