"""The sandbox's three methods over real sockets: what it takes, what it refuses, what it shows."""

from __future__ import annotations

import base64
import hashlib
import ssl
from dataclasses import replace

import httpx
import pytest
from lxml import etree

from sandbox.profiles import PROFILES, AnswerBody, Profile, Zone
from sandbox.server import SandboxServer
from sandbox.store import Certification, NewCertificate

CERTIFICATIONS = (
    Certification(1, "Service Desk", description="Level 1 & 2", requires_valid_until=True, verified=True),
    Certification(2, "Project Control", verified=True),
    Certification(3, "Facilitator"),
)
NO_TLS = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
"""Loopback has no TLS: loading certificates for every request would take most of these tests' time."""
DOCUMENT = b"%PDF-1.7\n\x00\xff raw bytes\n%%EOF\n"
FIELDS = {"certification_id": "2", "email": "zo\u00eb@example.com", "valid_from": "2026-11-02"}


@pytest.fixture(scope="module")
def running():
    """One server for all: starting and stopping takes longer than a test."""
    with SandboxServer(certifications=CERTIFICATIONS) as server:
        yield server


@pytest.fixture
def sandbox(running):
    running.state.reset()
    for certification in CERTIFICATIONS:
        running.store.add_certification(certification)
    return running


def post(server, fields=FIELDS, *, path="/certificates.xml", key=None, **request):
    request.setdefault("files", {"file": ("zo\u00eb.pdf", DOCUMENT, "application/pdf")})
    params = {"api_key": server.state.api_key if key is None else key}
    return httpx.post(server.url + path, params=params, data=fields, timeout=10, verify=NO_TLS, **request)


def get(server, path="/users/certificates.xml", **params):
    keys = {"/certifications.xml": server.state.certifications_api_key}
    params.setdefault("api_key", keys.get(path, server.state.api_key))
    return httpx.get(server.url + path, params=params, timeout=10, verify=NO_TLS)


def listed(answer, name="id"):
    return [element.text for element in etree.fromstring(answer.content).iterfind(f".//certificate/{name}")]


def messages(answer):
    return [element.text for element in etree.fromstring(answer.content).iterfind("error")]


def plant(server, count, **changes):
    base = NewCertificate(certification_id=2, email="a@example.com", valid_from="2026-11-02")
    return [server.store.store(replace(base, **changes)).id for _ in range(count)]


@pytest.mark.parametrize("path", ["/certificates.xml", "/users/certificates.xml"])
def test_a_certificate_is_taken_and_kept_as_it_was_received(sandbox, path):
    """The record holds the fields in their order and the hash of exactly the bytes that were sent."""
    answer = post(sandbox, {**FIELDS, "booking_id": "77"}, path=path)
    [kept] = sandbox.store.certificates()
    assert answer.status_code == 201
    assert etree.fromstring(answer.content).findtext("id") == str(kept.id)
    assert (kept.email, kept.booking_id, kept.file_name) == (FIELDS["email"], 77, "zo\u00eb.pdf")
    assert (kept.size, kept.sha256) == (len(DOCUMENT), hashlib.sha256(DOCUMENT).hexdigest())
    assert kept.fields == "certification_id,email,valid_from,booking_id,file"


REFUSED = {
    "no certification": ({"certification_id": None}, "Certification id can't be blank"),
    "words for a certification": ({"certification_id": "ITIL"}, "Certification id is not a number"),
    "a negative certification": ({"certification_id": "-2"}, "Certification id is not a number"),
    "a number no database holds": ({"certification_id": str(2**63)}, "Certification id is not a number"),
    "digits without end": ({"certification_id": "9" * 9000}, "Certification id is not a number"),
    "an unknown certification": ({"certification_id": "999"}, "Certification must exist"),
    "a booking in words": ({"booking_id": "x"}, "Booking id is not a number"),
    "no address": ({"email": None}, "Email can't be blank"),
    "a blank address": ({"email": "  "}, "Email can't be blank"),
    "half an address": ({"email": "ana@example"}, "Email ana@example is invalid"),
    "an address with a control character": (
        {"email": "a\x01@example.com"},
        "Email a?@example.com is invalid",
    ),
    "no first day": ({"valid_from": None}, "Valid from can't be blank"),
    "a first day that is none": ({"valid_from": "2026-02-30"}, "Valid from is not a date"),
    "a day without dashes": ({"valid_from": "20261102"}, "Valid from is not a date"),
    "a week's day": ({"valid_from": "2026-W45-1"}, "Valid from is not a date"),
    "a moment for a day": ({"valid_from": "2026-11-02T00:00:00"}, "Valid from is not a date"),
    "no last day where it is due": ({"certification_id": "1"}, "Valid until can't be blank"),
    "a blank last day where it is due": (
        {"certification_id": "1", "valid_until": ""},
        "Valid until can't be blank",
    ),
    "days reversed": ({"valid_until": "2026-11-01"}, "Valid until must be after valid from"),
}


@pytest.mark.parametrize(("changes", "message"), REFUSED.values(), ids=REFUSED)
def test_a_wrong_field_is_refused_by_name_and_nothing_is_kept(sandbox, changes, message):
    """Each rule of the form has an answer of its own."""
    fields = {name: value for name, value in {**FIELDS, **changes}.items() if value is not None}
    answer = post(sandbox, fields)
    assert (answer.status_code, messages(answer)) == (400, [message])
    assert sandbox.store.certificates() == []


WRONG_FILES = {
    "no file": ({"other": ("a.pdf", DOCUMENT)}, "File can't be blank"),
    "a field called file": ({"file": (None, "words")}, "File can't be blank"),
    "an empty file": ({"file": ("a.pdf", b"")}, "File is empty"),
    "Base64": ({"file": ("a.pdf", base64.b64encode(DOCUMENT * 999))}, "File must not be Base64"),
    "a little Base64": ({"file": ("a.pdf", base64.b64encode(DOCUMENT))}, "File must not be Base64"),
    "Base64 in lines": ({"file": ("a.pdf", base64.encodebytes(DOCUMENT * 9))}, "File must not be Base64"),
    "a data URI": ({"file": ("a.pdf", b"data:application/pdf;base64,JVBE")}, "File must not be Base64"),
    "a transfer encoding": (
        {"file": ("a.pdf", DOCUMENT, "application/pdf", {"Content-Transfer-Encoding": "base64"})},
        "File must not be Base64",
    ),
}


@pytest.mark.parametrize(("files", "message"), WRONG_FILES.values(), ids=WRONG_FILES)
def test_a_wrong_file_is_refused(sandbox, files, message):
    """Springest takes raw bytes only."""
    assert messages(post(sandbox, files=files)) == [message]
    assert sandbox.store.certificates() == []


def test_all_errors_of_a_form_are_returned_together(sandbox):
    """Somebody who corrects a form wants all of its errors."""
    answer = post(sandbox, {"email": "nobody"}, files={"file": ("a.pdf", b"")})
    assert len(messages(answer)) == 4


@pytest.mark.parametrize(
    "request_",
    [
        {"content": b"{}", "headers": {"Content-Type": "application/json"}},
        {"content": b"--b\r\nContent-Disp", "headers": {"Content-Type": "multipart/form-data; boundary=b"}},
        {"content": b"no boundary", "headers": {"Content-Type": "multipart/form-data; boundary=b"}},
        {"content": b"x", "headers": {"Content-Type": "multipart/form-data"}},
    ],
    ids=["json", "cut off", "no parts", "no boundary told"],
)
def test_a_body_that_is_no_form_is_refused(sandbox, request_):
    """Nothing but a whole multipart form is read."""
    answer = post(sandbox, None, files=None, **request_)
    assert answer.status_code == 400
    assert len(messages(answer)) == 1


def test_of_two_files_the_last_one_counts(sandbox):
    """Two parts of one name must not be hashed as one file."""
    post(sandbox, files=[("file", ("a.pdf", b"%one")), ("file", ("b.pdf", b"%two"))])
    [kept] = sandbox.store.certificates()
    assert (kept.file_name, kept.sha256) == ("b.pdf", hashlib.sha256(b"%two").hexdigest())


def test_each_method_opens_with_its_own_key_only(sandbox):
    """Certifications have a key of their own; no response contains a key."""
    state = sandbox.state
    answers = [
        post(sandbox, key=state.certifications_api_key),
        post(sandbox, key=""),
        get(sandbox, api_key="wrong"),
        get(sandbox, "/certifications.xml", api_key=state.api_key),
    ]
    assert [(response.status_code, messages(response)) for response in answers] == [
        (401, ["Invalid API key"])
    ] * 4
    assert [request.key_name for request in sandbox.store.requests()] == [
        "certifications",
        "none",
        "none",
        "certificates",
    ]


def test_certificates_are_shown_once_verified(sandbox):
    """The visibility rule, both ways: a verification may be revoked."""
    post(sandbox, {**FIELDS, "certification_id": "3"})
    assert listed(get(sandbox)) == []
    sandbox.store.verify(3)
    assert len(listed(get(sandbox))) == 1
    sandbox.store.verify(3, verified=False)
    assert listed(get(sandbox)) == []


def test_the_catalogue_lists_verified_certifications_only(sandbox):
    """Being listed is what says that a certification is verified."""
    root = etree.fromstring(get(sandbox, "/certifications.xml").content)
    assert [element.findtext("name") for element in root.iter("certification")] == [
        "Service Desk",
        "Project Control",
    ]
    assert [element.text for element in root.iter("requires-valid-until")] == ["true", "false"]
    assert [element.get("nil") for element in root.iter("description")] == [None, "true"]


def test_a_list_is_written_as_rails_does(sandbox):
    """Dashes, type attributes and nil, under response and meta."""
    post(sandbox)
    root = etree.fromstring(get(sandbox).content)
    assert (root.tag, root.findtext("meta/results"), root.findtext("meta/offset")) == ("response", "1", "0")
    assert root.find("certificates").get("type") == "array"
    row = root.find("certificates/certificate")
    names = ["id", "certification-id", "valid-from", "valid-until", "status", "created-at"]
    assert [element.tag for element in row] == names
    assert [element.get("type") for element in row] == [
        "integer",
        "integer",
        "date",
        "date",
        None,
        "datetime",
    ]
    assert row.find("valid-until").get("nil") == "true"


def test_a_page_has_at_most_a_hundred_rows(sandbox):
    """Pages follow each other without a gap. A server may return fewer rows than requested."""
    ids = [str(number) for number in plant(sandbox, 205)]
    pages = [listed(get(sandbox, size=500, offset=offset)) for offset in (0, 100, 200, 300)]
    assert [len(page) for page in pages] == [100, 100, 5, 0]
    assert [number for page in pages for number in page] == ids
    assert etree.fromstring(get(sandbox, offset=200).content).findtext("meta/results") == "205"


def test_filters_narrow_the_list(sandbox):
    """By address in any case, by certification, by the day it was stored."""
    [ana] = plant(sandbox, 1, email="Ana@example.com")
    [planted] = plant(sandbox, 1, certification_id=1)
    assert listed(get(sandbox, email="ana@EXAMPLE.com")) == [str(ana)]
    assert listed(get(sandbox, certification_id=1)) == [str(planted)]
    assert len(listed(get(sandbox, created_from="2026-01-01"))) == 2
    assert listed(get(sandbox, created_from="2999-01-01")) == []


def test_filters_may_be_ignored_or_taken_for_a_part(sandbox, monkeypatch):
    """Sites may not know the filters, or may apply only some of them."""
    plant(sandbox, 1, email="ana@example.com")
    plant(sandbox, 1, email="diana@example.com", certification_id=1)
    monkeypatch.setattr(sandbox.state, "profile", PROFILES["email_by_part"])
    assert len(listed(get(sandbox, email="ana@example.com"))) == 2
    assert len(listed(get(sandbox, email="ana@example.com", certification_id=1))) == 1
    monkeypatch.setattr(sandbox.state, "profile", PROFILES["no_filters"])
    assert len(listed(get(sandbox, email="nobody@example.com", created_from="2999-01-01"))) == 2


@pytest.mark.parametrize(
    "query",
    [
        {"size": "many"},
        {"offset": "-1"},
        {"offset": str(10**30)},
        {"certification_id": "x"},
        {"created_from": "x"},
    ],
    ids=str,
)
def test_a_parameter_that_cannot_be_read_is_refused(sandbox, query):
    """A filter that is silently ignored would show somebody else's rows."""
    answer = get(sandbox, **query)
    assert answer.status_code == 400
    assert messages(answer)[0].startswith(next(iter(query)))


def test_other_paths_and_methods_are_kept_too(sandbox):
    """The record has every request, also those that Springest has no answer to."""
    httpx.delete(f"{sandbox.url}/certificates.xml")
    httpx.get(f"{sandbox.url}/elsewhere")
    kept = [(request.method, request.path, request.answered) for request in sandbox.store.requests()]
    assert kept == [("DELETE", "/certificates.xml", 404), ("GET", "/elsewhere", 404)]


class Clock:
    """A clock that a test moves."""

    now = 1_790_000_000.0

    def __call__(self):
        return self.now


@pytest.mark.parametrize(
    ("profile", "status", "retry_after"),
    [("documented", 429, "1801"), ("cap_429_silent", 429, None), ("cap_403", 403, None)],
)
def test_the_cap_counts_gets_and_posts_of_any_sliding_hour(profile, status, retry_after):
    """Not the hour of the clock: a request leaves the count an hour after it came."""
    clock = Clock()
    options = {"requests_per_hour": 3, "clock": clock, "profile": profile}
    with SandboxServer(certifications=CERTIFICATIONS, **options) as server:
        assert [get(server).status_code, post(server).status_code] == [200, 201]
        clock.now += 1800
        assert get(server).status_code == 200
        over = post(server)
        assert (over.status_code, over.headers.get("Retry-After")) == (status, retry_after)
        assert get(server, "/certifications.xml").status_code == 200
        clock.now += 1801
        assert [get(server).status_code for _ in range(3)] == [200, 200, status]
        assert len(server.store.certificates()) == 1


def _as_expected(answer, profile, certificate_id):
    """Check the response to a POST against the profile."""
    if profile.redirects:
        return answer.status_code == 302 and answer.headers["Location"].endswith(f"/{certificate_id}")
    if profile.answer_body is AnswerBody.EMPTY:
        return answer.status_code == 201 and answer.content == b""
    found = etree.fromstring(answer.content).findtext("id")
    wanted = None if profile.answer_body is AnswerBody.NO_ID else str(certificate_id)
    return (answer.status_code, found) == (profile.created_status, wanted)


@pytest.mark.parametrize("name", PROFILES)
def test_a_profile_changes_responses_but_never_the_storage(name):
    """Under every profile a certificate is stored; only the response and the list differ."""
    profile = PROFILES[name]
    with SandboxServer(certifications=CERTIFICATIONS, profile=name) as server:
        answer = post(server)
        [kept] = server.store.certificates()
        assert kept.sha256 == hashlib.sha256(DOCUMENT).hexdigest()
        assert _as_expected(answer, profile, kept.id)
        assert post(server, {}).status_code == profile.validation_status


MOMENTS = {
    Zone.OFFSET: "2026-09-21T14:13:20+00:00",
    Zone.UTC: "2026-09-21 14:13:20 UTC",
    Zone.NONE: "2026-09-21T14:13:20",
}


@pytest.mark.parametrize("name", PROFILES)
def test_under_every_profile_the_list_has_the_profile_s_shape(name):
    """Root, names, moments, owner and order."""
    profile: Profile = PROFILES[name]
    with SandboxServer(certifications=CERTIFICATIONS, profile=name, clock=Clock()) as server:
        ids = [str(number) for number in plant(server, 2)]
        answer = get(server)
    root = etree.fromstring(answer.content)
    assert root.tag == ("response" if profile.wrapper else "certificates")
    assert listed(answer) == (ids[::-1] if profile.newest_first else ids)
    created_at = "created_at" if profile.underscores else "created-at"
    assert listed(answer, created_at) == [MOMENTS[profile.zone]] * 2
    assert listed(answer, "user/email") == ["a@example.com"] * 2 * profile.owner_shown
