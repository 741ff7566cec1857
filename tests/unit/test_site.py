"""A site's settings, as an Airflow connection holds them."""

from __future__ import annotations

from datetime import date

import pytest

from springest.errors import ConfigurationError
from springest.site import Site, Timeouts

KEY = "canary-key"


def _site(host="https://api.example.com", extra=None, **values):
    return Site.from_connection(
        **{"name": "default", "host": host, "password": KEY, "extra": extra, **values}
    )


@pytest.mark.parametrize(
    ("host", "fields", "url"),
    [
        ("nl", {}, "https://api.springest.nl"),
        ("BE", {}, "https://api.nl.springest.be"),
        ("acme.api.go.springest.nl", {}, "https://acme.api.go.springest.nl"),
        ("https://api.example.com/", {}, "https://api.example.com"),
        ("https://api.example.com/v1/", {"port": 8443}, "https://api.example.com:8443/v1"),
        ("127.0.0.1", {"schema": "http", "port": 5000}, "http://127.0.0.1:5000"),
        ("http://localhost:5000", {}, "http://localhost:5000"),
        ("http://[::1]:5000", {}, "http://[::1]:5000"),
        ("https://API.example.com:443", {}, "https://api.example.com"),
        ("127.0.0.1", {"schema": "http", "port": 80}, "http://127.0.0.1"),
    ],
)
def test_a_host_is_a_country_a_name_or_a_url(host, fields, url):
    """https unless it is loopback."""
    assert _site(host, **fields).base_url == url


@pytest.mark.parametrize(
    ("url", "known_by"),
    [
        ("https://API.springest.nl./v1", "api.springest.nl"),
        ("https://api.springest.nl:443", "api.springest.nl"),
        ("https://api.example.com:8443", "api.example.com:8443"),
        ("http://127.0.0.1:5000", "localhost"),
        ("http://localhost", "localhost"),
        ("https://[::1]:5000", "localhost"),
    ],
)
def test_a_site_is_known_by_its_host_however_it_is_spelt(url, known_by):
    """A server on this machine is one host, whatever its port."""
    assert _site(url).identity_host == known_by
    assert Site(name="s", base_url=url, api_key=KEY, certifications_api_key="").identity_host == known_by


@pytest.mark.parametrize(
    "host",
    [
        None,
        "",
        "http://api.example.com",
        "http://127.0.0.1.example.com",
        "http://10.0.0.1",
        "ftp://api.example.com",
        "https://user:canary-key@api.example.com",
        "https://api.example.com?api_key=canary-key",
        "https://",
        "https://api.example.com:port",
        "api.example.com canary",
        "api.exam\nple.com",
        "https://api.example.com%2f@canary",
        "https://api.example.com\\canary",
    ],
)
def test_other_hosts_are_refused_without_being_quoted(host):
    """A key may stand in a wrong one."""
    with pytest.raises(ConfigurationError, match="host") as caught:
        _site(host)
    assert "canary" not in str(caught.value)


def test_defaults():
    """As the documentation says."""
    site = _site()
    assert (site.post_path, site.booking_field, site.requests_per_hour) == (
        "/certificates.xml",
        "booking_id",
        4000,
    )
    assert (site.page_size, site.accepted_types, site.timeouts) == (100, ("application/pdf",), Timeouts())
    assert (site.send_unlisted, site.exclusive_uploader, site.verified_statuses) == (
        False,
        False,
        ("verified",),
    )
    assert not site.may_send_unlisted(1)


@pytest.mark.parametrize(
    ("name", "value", "attribute", "read"),
    [
        ("post_path", "/users/certificates.xml", "post_path", "/users/certificates.xml"),
        ("booking_field", "conversion_id", "booking_field", "conversion_id"),
        ("requests_per_hour", "900", "requests_per_hour", 900),
        ("page_size", 50, "page_size", 50),
        ("timeout", 5, "timeouts", Timeouts(5, 5, 5)),
        ("timeout", "120", "timeouts", Timeouts(10, 60, 120)),
        ("timeout", {"read": 7}, "timeouts", Timeouts(read=7)),
        ("timeout", '{"connect": 1, "total": 9}', "timeouts", Timeouts(connect=1, total=9)),
        (
            "accepted_types",
            ["application/pdf", "image/png"],
            "accepted_types",
            ("application/pdf", "image/png"),
        ),
        ("accepted_types", "application/pdf, image/png", "accepted_types", ("application/pdf", "image/png")),
        ("accepted_types", " Application/PDF ", "accepted_types", ("application/pdf",)),
        ("document_checks", "whole, pages", "document_checks", ("whole", "pages")),
        ("document_checks", "false", "document_checks", ()),
        ("document_checks", False, "document_checks", ()),
        ("send_unlisted", "true", "send_unlisted", True),
        ("send_unlisted", "[1, 2]", "send_unlisted", frozenset({1, 2})),
        ("exclusive_uploader", "True", "exclusive_uploader", True),
        ("verified_statuses", '["verified", "approved"]', "verified_statuses", ("verified", "approved")),
        ("page_size", None, "page_size", 100),
        ("cutover_date", " 2026-11-01 ", "cutover_date", date(2026, 11, 1)),
        ("cutover_date", "", "cutover_date", None),
        ("post_path", "", "post_path", "/certificates.xml"),
    ],
)
def test_extras_as_json_or_as_a_forms_text(name, value, attribute, read):
    """The form of the UI gives text, AIRFLOW_CONN_… gives JSON; both say the same."""
    assert getattr(_site(extra={name: value}), attribute) == read


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("post_path", "certificates.xml"),
        ("post_path", "/x?api_key=canary"),
        ("booking_field", 'a"b'),
        ("requests_per_hour", 0),
        ("requests_per_hour", "many"),
        ("requests_per_hour", True),
        ("page_size", -1),
        ("page_size", 1.5),
        ("timeout", "soon"),
        ("timeout", {"reed": 1}),
        ("timeout", {"read": 0}),
        ("timeout", -3),
        ("timeout", "Infinity"),
        ("timeout", {"total": float("inf")}),
        ("timeout", {"connect": 11}),
        ("timeout", "[" * 100_000),
        ("accepted_types", []),
        ("accepted_types", ["application/pdf", "application/msword"]),
        ("accepted_types", "application/zip"),
        ("document_checks", "whole, everything"),
        ("document_checks", True),
        ("cutover_date", "1 November"),
        ("cutover_date", 20261101),
        ("accepted_types", [1]),
        ("send_unlisted", "perhaps"),
        ("send_unlisted", [0]),
        ("send_unlisted", ["x"]),
        ("exclusive_uploader", "maybe"),
        ("certifications_api_key", 5),
    ],
)
def test_an_extra_of_the_wrong_kind_is_named(name, value):
    """With what it must be; its value is not quoted."""
    with pytest.raises(ConfigurationError, match=name) as caught:
        _site(extra={name: value})
    assert "canary" not in str(caught.value)


def test_an_unknown_extra_is_named_with_the_nearest_known_one():
    """A setting that is spelt wrongly must not be silently without effect."""
    with pytest.raises(ConfigurationError, match="did you mean send_unlisted"):
        _site(extra={"send_unlistd": True})
    with pytest.raises(ConfigurationError, match="known are"):
        _site(extra={"zzz": 1})


def test_keys_are_out_of_sight():
    """They are not in the representation; a fingerprint distinguishes them."""
    site = _site(extra={"certifications_api_key": "canary-other"})
    assert "canary" not in repr(site)
    assert len(site.key_fingerprint) == 16
    assert set(site.secrets) == {KEY, "canary-other"}


def test_a_missing_key_names_the_remedy():
    """The password is where it belongs."""
    with pytest.raises(ConfigurationError, match="password"):
        _site(password="")


@pytest.mark.parametrize("key", ["a-key\n", " a-key", "a key", "a\tkey", "clé", "key\x00", "key\u200b"])
@pytest.mark.parametrize("field", ["password", "certifications_api_key"])
def test_a_key_with_a_blank_or_odd_character_is_refused(field, key):
    """Springest would answer 401 without a hint; the error names the field and never shows the key."""
    given = {"password": key} if field == "password" else {"extra": {field: key}}
    with pytest.raises(ConfigurationError, match=f"{field} (begins or ends|holds)") as caught:
        Site.from_connection(**{"name": "default", "host": "nl", "password": "a-good-key", **given})
    assert key not in str(caught.value)
