"""The sandbox over real sockets, by a client that knows nothing of the project."""

from __future__ import annotations

import base64
import hashlib
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import httpx
import pytest
from lxml import etree

from include.sandbox.faults import Fault, Kind
from include.sandbox.profiles import PROFILES
from include.sandbox.server import SandboxServer
from include.sandbox.store import Certification, NewCertificate

PDF = b"%PDF-1.7\n" + bytes(range(256)) * 8
CERTIFICATIONS = (
    Certification(101, "Service Desk", requires_valid_until=True, verified=True),
    Certification(102, "Project Control", verified=True),
    Certification(105, "Facilitator"),
)
GOOD = {"certification_id": "102", "email": "zoe@example.com", "valid_from": "2026-01-31"}


@pytest.fixture
def sandbox():
    """The documented behaviour."""
    with SandboxServer(certifications=CERTIFICATIONS, page_max=3) as server:
        yield server


def _post(sandbox, fields=GOOD, file=("c.pdf", PDF, "application/pdf"), key=None, path="/certificates.xml"):
    return httpx.post(
        sandbox.url + path,
        params={"api_key": key or sandbox.state.api_key},
        data=fields,
        files={"file": file} if file else None,
        trust_env=False,
    )


def _get(sandbox, path="/users/certificates.xml", key=None, **query):
    return httpx.get(
        sandbox.url + path, params={"api_key": key or sandbox.state.api_key, **query}, trust_env=False
    )


def _errors(response):
    return [node.text for node in etree.fromstring(response.content).iter("error")]


@pytest.mark.parametrize("path", ["/certificates.xml", "/users/certificates.xml"])
def test_a_good_certificate_is_stored_with_its_bytes(sandbox, path):
    """It keeps what it received, by which a test can prove `once`."""
    response = _post(sandbox, path=path)
    assert response.status_code == 201
    assert etree.fromstring(response.content).findtext("id") == "1"
    [stored] = sandbox.store.certificates()
    assert (stored.email, stored.size) == ("zoe@example.com", len(PDF))
    assert stored.sha256 == hashlib.sha256(PDF).hexdigest()
    assert stored.fields == "certification_id,email,valid_from,file"
    assert [(one.method, one.key_name, one.answered) for one in sandbox.store.requests()] == [
        ("POST", "certificates", 201)
    ]


@pytest.mark.parametrize(
    ("changes", "error"),
    [
        ({"certification_id": None}, "Certification id can't be blank"),
        ({"certification_id": "x"}, "Certification id is not a number"),
        ({"certification_id": "999"}, "Certification must exist"),
        ({"certification_id": "101"}, "Valid until can't be blank"),
        ({"email": None}, "Email can't be blank"),
        ({"email": "zoe"}, "Email zoe is invalid"),
        ({"valid_from": None}, "Valid from can't be blank"),
        ({"valid_from": "31-01-2026"}, "Valid from is not a date"),
        ({"valid_until": "2025-01-01"}, "Valid until must be after valid from"),
        ({"booking_id": "x"}, "Booking id is not a number"),
    ],
)
def test_what_is_wrong_is_said(sandbox, changes, error):
    """With 400 and Rails' errors; nothing is stored."""
    fields = {name: value for name, value in {**GOOD, **changes}.items() if value is not None}
    response = _post(sandbox, fields)
    assert response.status_code == 400
    assert error in _errors(response)
    assert sandbox.store.certificates() == []


@pytest.mark.parametrize(
    ("file", "error"),
    [
        (None, "multipart"),
        (("c.pdf", b"", "application/pdf"), "File is empty"),
        (("c.pdf", base64.b64encode(PDF), "application/pdf"), "File must not be Base64"),
    ],
)
def test_the_file_must_be_raw_bytes(sandbox, file, error):
    """As the documentation says: Base64 is not allowed."""
    assert any(error in said for said in _errors(_post(sandbox, file=file)))


def test_several_errors_are_told_together(sandbox):
    """As Rails does."""
    assert len(_errors(_post(sandbox, {"certification_id": "999"}))) == 3


@pytest.mark.parametrize("path", ["/users/certificates.xml", "/certifications.xml"])
def test_each_list_has_its_own_key(sandbox, path):
    """No key, a wrong one, or that of the other list: 401."""
    right, wrong = sandbox.state.api_key, sandbox.state.certifications_api_key
    if path == "/certifications.xml":
        right, wrong = wrong, right
    assert _get(sandbox, path, key=right).status_code == 200
    assert _get(sandbox, path, key=wrong).status_code == 401
    assert _get(sandbox, path, key="none").status_code == 401


def test_only_verified_certifications_are_listed_and_show_their_certificates(sandbox):
    """Until an employee verifies one."""
    _post(sandbox)
    _post(sandbox, {**GOOD, "certification_id": "105"})

    def shown():
        tree = etree.fromstring(_get(sandbox).content)
        return [node.findtext("certification-id") for node in tree.iter("certificate")]

    def listed():
        page = _get(sandbox, "/certifications.xml", key=sandbox.state.certifications_api_key)
        return [node.findtext("id") for node in etree.fromstring(page.content).iter("certification")]

    assert (shown(), listed()) == (["102"], ["101", "102"])
    assert httpx.post(f"{sandbox.url}/_sandbox/certifications/105/verify", trust_env=False).status_code == 200
    assert (shown(), listed()) == (["102", "105"], ["101", "102", "105"])


def test_lists_are_paged_with_a_maximum_and_filtered(sandbox):
    """The server gives fewer rows than asked for, and tells the total."""
    for number in range(5):
        sandbox.store.store(NewCertificate(102, f"a{number}@example.com", "2026-01-01"))
    page = etree.fromstring(_get(sandbox, size=100, offset=1).content)
    assert [node.findtext("id") for node in page.iter("certificate")] == ["2", "3", "4"]
    assert (page.findtext("meta/results"), page.findtext("meta/offset")) == ("5", "1")
    assert etree.fromstring(_get(sandbox, email="A3@example.com").content).findtext("meta/results") == "1"
    assert etree.fromstring(_get(sandbox, certification_id="101").content).findtext("meta/results") == "0"
    assert etree.fromstring(_get(sandbox, created_from="2999-01-01").content).findtext("meta/results") == "0"


def test_the_cap_counts_a_sliding_hour_for_each_key():
    """GETs and POSTs together; an hour after the first, one more may come."""
    now = [1_000_000.0]
    with SandboxServer(certifications=CERTIFICATIONS, requests_per_hour=3, clock=lambda: now[0]) as sandbox:
        assert [_get(sandbox).status_code for _ in range(2)] == [200, 200]
        assert _post(sandbox).status_code == 201
        refused = _get(sandbox)
        assert (refused.status_code, refused.headers["Retry-After"]) == (429, "3601")
        key = sandbox.state.certifications_api_key
        assert _get(sandbox, "/certifications.xml", key=key).status_code == 200
        now[0] += 3601
        assert _get(sandbox).status_code == 200


@pytest.mark.parametrize(
    ("fault", "stored", "status"),
    [
        (Fault(Kind.CLOSE_BEFORE_BODY), 0, None),
        (Fault(Kind.CLOSE_BEFORE_STORING), 0, None),
        (Fault(Kind.CLOSE_AFTER_STORING), 1, None),
        (Fault(Kind.STORE_LATE), 0, None),
        (Fault(Kind.TRUNCATED), 1, None),
        (Fault(Kind.STATUS, status=500), 0, 500),
        (Fault(Kind.STATUS, status=429, retry_after="7"), 0, 429),
        (Fault(Kind.STATUS_AFTER_STORING, status=502), 1, 502),
        (Fault(Kind.HTML), 1, 201),
        (Fault(Kind.SLOW, seconds=0.05), 1, 201),
    ],
    ids=lambda value: value.kind if isinstance(value, Fault) else None,
)
def test_every_fault_from_the_clients_side(sandbox, fault, stored, status):
    """And only for as many requests as it was asked for."""
    sandbox.state.faults.add(fault)
    if status is None:
        with pytest.raises(httpx.TransportError):
            _post(sandbox)
    else:
        response = _post(sandbox)
        assert response.status_code == status
        assert response.headers.get("Retry-After") == fault.retry_after
    assert len(sandbox.store.certificates()) == stored
    assert sandbox.store.requests()[-1].answered == status
    assert _post(sandbox).status_code == 201


def test_stored_late_means_later(sandbox):
    """Until it is released nobody can see it."""
    sandbox.state.faults.add(Fault(Kind.STORE_LATE))
    with pytest.raises(httpx.TransportError):
        _post(sandbox)
    assert sandbox.store.certificates() == []
    assert len(httpx.post(f"{sandbox.url}/_sandbox/release", trust_env=False).json()) == 1
    assert len(sandbox.store.certificates()) == 1


def test_a_list_can_shift_while_it_is_read(sandbox):
    """Somebody else uploads between two pages."""
    sandbox.state.faults.add(Fault(Kind.SHIFT, method="GET", skip=1, count=2))
    totals = [etree.fromstring(_get(sandbox).content).findtext("meta/results") for _ in range(3)]
    assert totals == ["0", "2", "2"]


@pytest.mark.parametrize("name", PROFILES)
def test_every_profile_stores_a_good_certificate(sandbox, name):
    """Whatever it answers, and by the control API as well."""
    assert httpx.put(f"{sandbox.url}/_sandbox/profile/{name}", trust_env=False).status_code == 200
    response = _post(sandbox)
    profile = PROFILES[name]
    assert response.status_code == (302 if profile.redirects else profile.created_status)
    assert len(sandbox.store.certificates()) == 1
    assert _post(sandbox, {}).status_code == profile.validation_status
    listed = etree.fromstring(_get(sandbox).content)
    row = next(listed.iter("certificate"))
    assert (row.find("valid_from") is not None) == profile.underscores
    assert (row.find("user") is not None) == profile.owner_shown
    assert (listed.find("meta") is not None) == profile.wrapper


def test_a_file_keeps_everything_over_a_restart(tmp_path):
    """What was received stays received."""
    database = str(tmp_path / "sandbox.db")
    with SandboxServer(certifications=CERTIFICATIONS, database=database) as sandbox:
        _post(sandbox)
    with SandboxServer(database=database) as sandbox:
        assert [one.id for one in sandbox.store.certificates()] == [1]
        assert sandbox.store.certification(102) is not None


def test_as_a_process_of_its_own(tmp_path):
    """`python -m include.sandbox` says where it listens, and ends when it is told to."""
    ready, seed = tmp_path / "url", tmp_path / "seed.json"
    seed.write_text(json.dumps([{"id": 1, "name": "One", "verified": True}]))
    command = [
        sys.executable,
        "-m",
        "include.sandbox",
        "--ready-file",
        str(ready),
        "--certifications",
        str(seed),
    ]
    env = {**os.environ, "SANDBOX_API_KEY": "a", "SANDBOX_CERTIFICATIONS_API_KEY": "canary-key"}
    with subprocess.Popen(
        command,
        env=env,
        cwd=Path(__file__).parents[3],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    ) as process:
        try:
            until = time.monotonic() + 30
            while not ready.exists():
                assert process.poll() is None
                assert time.monotonic() < until
                time.sleep(0.02)
            listed = httpx.get(f"{ready.read_text()}/certifications.xml?api_key=canary-key", trust_env=False)
            assert b"One" in listed.content
        finally:
            process.send_signal(signal.SIGTERM)
            said, _ = process.communicate(timeout=10)
    assert "canary-key" not in said
