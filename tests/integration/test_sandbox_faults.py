"""Every fault of the sandbox as its client sees it, and what is stored meanwhile."""

from __future__ import annotations

import http.client
import socket
import ssl
import struct
import time
from contextlib import closing
from urllib.parse import urlsplit

import httpx
import pytest
from lxml import etree

from sandbox.faults import Fault, FaultBody, Kind, email_hash
from sandbox.server import SandboxServer
from sandbox.store import Certification, NewCertificate

NO_TLS = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
"""Loopback has no TLS: loading certificates for every request would take most of these tests' time."""
FIELDS = {"certification_id": "2", "email": "ana+test@example.com", "valid_from": "2026-11-02"}


class Clock:
    """A clock that a test moves."""

    now = 1_790_000_000.0

    def __call__(self):
        return self.now


CERTIFICATIONS = (
    Certification(2, "Project Control", verified=True),
    Certification(3, "Other", verified=True),
)


@pytest.fixture(scope="module")
def clock():
    return Clock()


@pytest.fixture(scope="module")
def running(clock):
    """One server for all: starting and stopping takes longer than a test."""
    with SandboxServer(certifications=CERTIFICATIONS, clock=clock) as server:
        yield server


@pytest.fixture
def sandbox(running, clock):
    clock.now = Clock.now
    running.state.reset()
    return running


@pytest.fixture
def leaving():
    """A server of its own for requests that outlast their test."""
    with SandboxServer(certifications=CERTIFICATIONS) as server:
        yield server


def post(server, *, size=100, timeout=10.0, **changes):
    files = {"file": ("a.pdf", b"%PDF" * size, "application/pdf")}
    url, params = f"{server.url}/certificates.xml", {"api_key": server.state.api_key}
    return httpx.post(
        url, params=params, data={**FIELDS, **changes}, files=files, timeout=timeout, verify=NO_TLS
    )


def get(server, *, timeout=10.0, path="/users/certificates.xml", **params):
    key = server.state.certifications_api_key if "certifications" in path else server.state.api_key
    return httpx.get(server.url + path, params={"api_key": key, **params}, timeout=timeout, verify=NO_TLS)


def statuses(server, count):
    return [post(server).status_code for _ in range(count)]


def stored(server):
    return len(server.store.certificates())


@pytest.mark.parametrize("reset", [False, True], ids=["ended", "reset"])
@pytest.mark.parametrize(
    ("kind", "kept"),
    [
        (Kind.CLOSE_BEFORE_BODY, 0),
        (Kind.CLOSE_MIDWAY, 0),
        (Kind.CLOSE_BEFORE_STORING, 0),
        (Kind.CLOSE_AFTER_STORING, 1),
        (Kind.STORE_LATE, 0),
    ],
)
def test_a_lost_response_closes_the_connection_once(sandbox, kind, kept, reset):
    """The client sees no status, the record says that none was returned and what arrived in full; the next
    request succeeds.
    """
    sandbox.state.faults.add(Fault(kind, reset=reset))
    with pytest.raises((httpx.RemoteProtocolError, httpx.ReadError, httpx.WriteError)):
        post(sandbox)
    assert stored(sandbox) == kept
    [noted] = sandbox.store.requests()
    assert noted.answered is None
    assert post(sandbox).status_code == 201
    came_in_full = kind in {Kind.CLOSE_BEFORE_STORING, Kind.CLOSE_AFTER_STORING, Kind.STORE_LATE}
    assert noted.sha256 == (sandbox.store.certificates()[-1].sha256 if came_in_full else None)


def test_a_connection_closed_midway_has_read_a_part_of_the_body(sandbox):
    """A large body can't have been handed over: the client is still writing."""
    sandbox.state.faults.add(Fault(Kind.CLOSE_MIDWAY))
    wire = http.client.HTTPConnection(urlsplit(sandbox.url).netloc, timeout=10)
    with closing(wire), pytest.raises((ConnectionResetError, BrokenPipeError)):
        wire.request("POST", f"/certificates.xml?api_key={sandbox.state.api_key}", body=bytes(40_000_000))
    assert stored(sandbox) == 0


@pytest.mark.parametrize(("reset", "seen"), [(False, b""), (True, ConnectionResetError)])
def test_a_fault_ends_or_resets_the_connection(sandbox, reset, seen):
    """Clients handle an end and a reset by different paths."""
    sandbox.state.faults.add(Fault(Kind.CLOSE_BEFORE_STORING, method="GET", reset=reset))
    address = urlsplit(sandbox.url)
    with socket.create_connection((address.hostname, address.port), timeout=10) as wire:
        head = f"GET /users/certificates.xml?api_key={sandbox.state.api_key} HTTP/1.1\r\nHost: x\r\n\r\n"
        wire.sendall(head.encode())
        if reset:
            with pytest.raises(seen):
                wire.recv(1)
        else:
            assert wire.recv(1) == seen


@pytest.mark.parametrize("kind", [Kind.STORE_LATE, Kind.STATUS_THEN_STORED])
def test_a_late_certificate_appears_in_time(sandbox, clock, kind):
    """No response, or a failing one, and the certificate is there some time later all the same."""
    sandbox.state.faults.add(Fault(kind, seconds=90, status=504))
    if kind is Kind.STATUS_THEN_STORED:
        assert post(sandbox).status_code == 504
    else:
        with pytest.raises(httpx.RemoteProtocolError):
            post(sandbox)
    clock.now += 89
    assert (stored(sandbox), get(sandbox).text.count("<certificate>")) == (0, 0)
    clock.now += 600
    assert get(sandbox).text.count("<certificate>") == 1
    [kept] = sandbox.store.certificates()
    assert kept.created_at == "2026-09-21T14:14:50+00:00"


def test_a_held_certificate_is_stored_when_released(sandbox, clock):
    """The test decides when."""
    sandbox.state.faults.add(Fault(Kind.STATUS_THEN_STORED))
    post(sandbox)
    clock.now += 10**6
    assert stored(sandbox) == 0
    assert [certificate.email for certificate in sandbox.store.release()] == [FIELDS["email"]]
    assert stored(sandbox) == 1


@pytest.mark.parametrize("status", [400, 401, 403, 404, 409, 413, 422, 429, 500, 502, 503, 504])
@pytest.mark.parametrize(("kind", "kept"), [(Kind.STATUS, 0), (Kind.STATUS_AFTER_STORING, 1)])
def test_any_status_is_answered_before_or_after_storing(sandbox, kind, kept, status):
    """A status says nothing about what the server did."""
    sandbox.state.faults.add(Fault(kind, status=status))
    assert post(sandbox).status_code == status
    assert stored(sandbox) == kept


@pytest.mark.parametrize("method", ["GET", "POST"])
@pytest.mark.parametrize(
    ("body", "begins"),
    [
        (FaultBody.XML, b"<?xml"),
        (FaultBody.HTML, b"<!DOCTYPE html>"),
        (FaultBody.EMPTY, b""),
        (FaultBody.GARBAGE, b"\0"),
    ],
)
def test_a_failing_response_has_the_faults_body(sandbox, method, body, begins):
    """Proxies return web pages, crashed servers nothing, broken ones garbage."""
    sandbox.state.faults.add(Fault(Kind.STATUS, method=method, status=502, body=body))
    answer = post(sandbox) if method == "POST" else get(sandbox)
    assert answer.status_code == 502
    assert answer.content.startswith(begins)
    assert bool(answer.content) == bool(begins)


@pytest.mark.parametrize("retry_after", [None, "120", "Wed, 21 Oct 2026 07:28:00 GMT"])
@pytest.mark.parametrize("status", [429, 503])
def test_retry_after_has_the_requested_form(sandbox, status, retry_after):
    """In seconds, as a date, or not at all."""
    sandbox.state.faults.add(Fault(Kind.STATUS, status=status, retry_after=retry_after))
    answer = post(sandbox)
    assert (answer.status_code, answer.headers.get("Retry-After")) == (status, retry_after)


@pytest.mark.parametrize(("kind", "kept"), [(Kind.SLOW_TO_READ, 0), (Kind.SLOW, 1)])
def test_a_slow_server_times_out_before_or_after_storing(leaving, kind, kept):
    """The client sees the same time-out, the server is in another state."""
    leaving.state.faults.add(Fault(kind, seconds=30.0))
    with pytest.raises(httpx.ReadTimeout):
        post(leaving, timeout=0.5)
    assert stored(leaving) == kept


def test_a_trickled_answer_comes_whole_and_late(sandbox):
    """Every single read is in time, the whole is not."""
    sandbox.state.faults.add(Fault(Kind.TRICKLED, seconds=0.4))
    begun = time.monotonic()
    answer = post(sandbox, timeout=0.3)
    assert time.monotonic() - begun > 0.3
    assert etree.fromstring(answer.content).findtext("id") == str(sandbox.store.certificates()[0].id)


def test_a_truncated_answer_holds_less_than_its_head_promised(sandbox):
    """The client recognises it by the length."""
    sandbox.state.faults.add(Fault(Kind.TRUNCATED, method="GET"))
    with pytest.raises(httpx.RemoteProtocolError, match="peer closed connection"):
        get(sandbox)
    assert [request.answered for request in sandbox.store.requests()] == [None]


def test_a_response_cut_short_is_found_only_by_its_xml(sandbox):
    """The length is right and the end is clean."""
    sandbox.state.faults.add(Fault(Kind.CUT_SHORT, method="GET"))
    answer = get(sandbox)
    assert int(answer.headers["Content-Length"]) == len(answer.content)
    with pytest.raises(etree.XMLSyntaxError):
        etree.fromstring(answer.content)


def test_a_web_page_comes_instead_of_xml(sandbox):
    """With the status of a success."""
    sandbox.state.faults.add(Fault(Kind.HTML, method="GET"))
    answer = get(sandbox)
    assert (answer.status_code, answer.headers["Content-Type"]) == (200, "text/html; charset=utf-8")
    assert "<html>" in answer.text


@pytest.mark.parametrize("method", ["GET", "POST"])
def test_a_careless_error_contains_the_email_and_the_key(sandbox, method):
    """A client must not log them: this proves that a client redacts."""
    sandbox.state.faults.add(Fault(Kind.ECHO, method=method, status=400))
    answer = post(sandbox) if method == "POST" else get(sandbox, email=FIELDS["email"])
    assert answer.status_code == 400
    [message] = etree.fromstring(answer.content).iterfind("error")
    assert FIELDS["email"] in message.text
    assert f"api_key={sandbox.state.api_key}" in message.text


def rows(answer):
    return [int(element.text) for element in etree.fromstring(answer.content).iterfind(".//certificate/id")]


@pytest.mark.parametrize(
    ("kind", "second"),
    [
        (Kind.SHIFT, lambda ids: ids[2:4]),
        (Kind.SHIFT_FRONT, lambda ids: ids[0:2]),
        (Kind.REMOVE, lambda ids: ids[4:6]),
    ],
)
def test_a_list_shifts_while_it_is_read(sandbox, kind, second):
    """The second page repeats rows, or leaves rows out, that the first page did not show."""
    new = NewCertificate(certification_id=2, email="a@example.com", valid_from="2026-11-02")
    ids = [sandbox.store.store(new).id for _ in range(6)]
    sandbox.state.faults.add(Fault(kind, method="GET", skip=1, count=2))
    assert rows(get(sandbox, size=2)) == ids[:2]
    assert rows(get(sandbox, size=2, offset=2)) == second(ids)


def test_the_removed_rows_are_the_first_that_the_list_shows(sandbox):
    """Rows of certifications that nobody verified are not in the list, and stay."""
    sandbox.store.add_certification(Certification(9, "Not verified"))
    hidden = NewCertificate(certification_id=9, email="a@example.com", valid_from="2026-11-02")
    kept = sandbox.store.store(hidden).id
    post(sandbox)
    sandbox.state.faults.add(Fault(Kind.REMOVE, method="GET"))
    assert rows(get(sandbox)) == []
    assert [certificate.id for certificate in sandbox.store.certificates()] == [kept]


@pytest.mark.parametrize(("path", "total"), [("/users/certificates.xml", "7"), ("/certifications.xml", "9")])
def test_a_wrong_total_is_returned(sandbox, path, total):
    """The list ends before the total is reached."""
    sandbox.state.faults.add(Fault(Kind.WRONG_TOTAL, method="GET", count=7))
    assert etree.fromstring(get(sandbox, path=path).content).findtext("meta/results") == total


def test_a_fault_skips_and_ends_as_asked(sandbox):
    """The third and the fourth of five fail."""
    sandbox.state.faults.add(Fault(Kind.STATUS, skip=2, times=2))
    assert statuses(sandbox, 5) == [201, 201, 500, 500, 201]
    assert sandbox.state.faults.waiting() == []


def test_faults_count_requests_beside_each_other(sandbox):
    """One that lasts does not keep another from counting; the older one happens first."""
    sandbox.state.faults.add(Fault(Kind.STATUS, status=500, times=1))
    sandbox.state.faults.add(Fault(Kind.STATUS, status=502, skip=1, times=1))
    assert statuses(sandbox, 3) == [500, 502, 201]


def test_a_fault_befalls_one_path_certification_or_learner(sandbox):
    """Everything else goes well."""
    faults = sandbox.state.faults
    faults.add(Fault(Kind.STATUS, status=500, certification_id=3))
    faults.add(Fault(Kind.STATUS, status=502, email_sha256=email_hash("Bo@example.com")))
    faults.add(Fault(Kind.STATUS, status=503, method="GET", path="/certifications.xml"))
    faults.add(Fault(Kind.STATUS, status=504, method="GET", certification_id=3))
    assert post(sandbox).status_code == 201
    assert post(sandbox, email="bo@example.com").status_code == 502
    assert post(sandbox, certification_id="3").status_code == 500
    assert get(sandbox).status_code == 200
    assert get(sandbox, path="/certifications.xml").status_code == 503
    assert get(sandbox, certification_id=3).status_code == 504


def test_a_fault_before_the_form_cannot_look_into_the_form():
    """Such a fault is refused with an error, instead of never happening."""
    with pytest.raises(ValueError, match="before the form is read"):
        Fault(Kind.CLOSE_BEFORE_BODY, certification_id=3)


def test_chance_is_repeatable(sandbox):
    """The same seed fails the same requests, about as many as asked."""
    drawn = []
    for _ in range(2):
        sandbox.state.faults.clear()
        sandbox.state.faults.add(Fault(Kind.STATUS, times=None, probability=0.5, seed=7))
        drawn.append(statuses(sandbox, 30))
    assert drawn[0] == drawn[1]
    assert 5 < drawn[0].count(500) < 25


def test_a_client_that_goes_away_leaves_nothing(sandbox):
    """Half a certificate is none, and the record says that it was not answered."""
    address = urlsplit(sandbox.url)
    head = (
        f"POST /certificates.xml?api_key={sandbox.state.api_key} HTTP/1.1\r\nHost: x\r\n"
        "Content-Type: multipart/form-data; boundary=b\r\nContent-Length: 9999\r\n\r\n--b\r\n"
    )
    with socket.create_connection((address.hostname, address.port), timeout=10) as wire:
        wire.sendall(head.encode())
        wire.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    until = time.monotonic() + 10
    while not sandbox.store.requests():
        assert time.monotonic() < until
    assert [(request.answered, request.sha256) for request in sandbox.store.requests()] == [(None, None)]
    assert stored(sandbox) == 0
