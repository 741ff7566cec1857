"""The sandbox's control API, its records, and its life as a process."""

from __future__ import annotations

import gc
import hashlib
import os
import signal
import sqlite3
import subprocess
import sys
import time
from contextlib import closing
from pathlib import Path

import httpx
import pytest

from sandbox.cap import peak
from sandbox.client import SandboxClient
from sandbox.faults import Fault, FaultBody, Kind
from sandbox.profiles import PROFILES, Profile, Zone
from sandbox.server import SandboxServer
from sandbox.store import Certification, NewCertificate

PROJECT = Path(__file__).parents[2]
LISTED = Certification(2, "Project Control", verified=True)
PLANTED = NewCertificate(certification_id=2, email="ana@example.com", valid_from="2026-11-02", sha256="x")


@pytest.fixture(scope="module")
def running():
    """One server for all: starting and stopping takes longer than a test."""
    with SandboxServer() as server:
        yield server


@pytest.fixture
def sandbox(running):
    running.state.reset()
    running.state.profile = Profile()
    running.state.requests_per_hour = None
    for certification in running.store.certifications():
        running.store.remove_certification(certification.id)
    running.store.add_certification(LISTED)
    return running


@pytest.fixture
def client(sandbox):
    with SandboxClient(sandbox.url) as client:
        yield client


def post(url, key, *, document=b"%PDF"):
    fields = {"certification_id": "2", "email": "ana@example.com", "valid_from": "2026-11-02"}
    files = {"file": ("a.pdf", document, "application/pdf")}
    return httpx.post(f"{url}/certificates.xml", params={"api_key": key}, data=fields, files=files)


def get(url, key, **params):
    return httpx.get(f"{url}/users/certificates.xml", params={"api_key": key, **params})


def test_an_employee_s_work_is_done_by_the_client(sandbox, client):
    """Certifications are made, verified, taken back and replaced."""
    client.add_certification(Certification(5, "Facilitator"))
    client.verify(5)
    assert sandbox.store.certification(5).verified
    client.verify(5, verified=False)
    assert client.certifications() == [LISTED, Certification(5, "Facilitator")]
    client.replace_certifications([Certification(7, "Other")])
    assert client.certifications() == [Certification(7, "Other")]


def test_certificates_are_planted_listed_by_pages_and_removed(client):
    """Somebody uploads by hand, and somebody at Springest takes away."""
    ids = [client.plant(PLANTED).id for _ in range(3)]
    assert [certificate.id for certificate in client.certificates(size=2, offset=1)] == ids[1:]
    client.remove_certificate(ids[0])
    assert [certificate.id for certificate in client.certificates()] == ids[1:]


def test_faults_and_profiles_come_by_the_client(sandbox, client):
    """The request that was made is sent over the network."""
    fault = Fault(Kind.STATUS, method="GET", status=502, body=FaultBody.EMPTY, times=None)
    client.add_fault(fault)
    assert client.faults() == [fault]
    assert get(sandbox.url, sandbox.state.api_key).status_code == 502
    client.clear_faults()
    assert get(sandbox.url, sandbox.state.api_key).status_code == 200
    client.set_profile("owner_shown")
    assert sandbox.state.profile == PROFILES["owner_shown"]
    client.set_profile(Profile(zone=Zone.NONE, underscores=True))
    assert sandbox.state.profile == Profile(zone=Zone.NONE, underscores=True)


def test_a_client_releases_a_late_certificate(sandbox, client):
    """A test in another process says when."""
    client.add_fault(Fault(Kind.STATUS_THEN_STORED, status=500))
    post(sandbox.url, sandbox.state.api_key)
    assert client.certificates() == []
    assert client.release() == client.certificates() != []


def test_a_reset_drops_requests_and_keeps_the_admin(sandbox, client):
    """Ids continue: the next certificate is not taken for an earlier one."""
    first = client.plant(PLANTED).id
    sandbox.state.requests_per_hour = 1
    get(sandbox.url, sandbox.state.api_key)
    client.add_fault(Fault(Kind.STATUS, method="GET"))
    client.reset()
    assert (client.certificates(), client.requests(), client.faults()) == ([], [], [])
    assert get(sandbox.url, sandbox.state.api_key).status_code == 200
    assert client.certifications() == [LISTED]
    assert client.plant(PLANTED).id == first + 1


@pytest.mark.parametrize(
    ("method", "path", "body", "status"),
    [
        ("POST", "/certifications/999/verify", None, 404),
        ("DELETE", "/certificates/999", None, 404),
        ("PUT", "/profile/unheard_of", None, 404),
        ("POST", "/certifications", {"id": 1}, 422),
        ("POST", "/certifications", {"id": 1, "name": "A", "colour": "red"}, 422),
        ("POST", "/certificates", {"certification_id": "many"}, 422),
        ("POST", "/faults", {"kind": "earthquake"}, 422),
        ("POST", "/faults", {"kind": "close_before_body", "certification_id": 1}, 422),
        ("PUT", "/profile", {"zone": "mars"}, 422),
        ("GET", "/certificates?offset=-1", None, 422),
    ],
)
def test_a_mistaken_order_is_refused(sandbox, method, path, body, status):
    """A test that misspells something must not pass by accident."""
    answer = httpx.request(method, f"{sandbox.url}/_sandbox{path}", json=body)
    assert answer.status_code == status
    assert answer.json()["detail"]


def test_the_summary_counts_doubles_and_responses(sandbox, client):
    """The same learner, certification, first day and bytes twice are one too many; other bytes are not."""
    key = sandbox.state.api_key
    for document in (b"%one", b"%one", b"%two"):
        post(sandbox.url, key, document=document)
    get(sandbox.url, "wrong")
    client.add_fault(Fault(Kind.CLOSE_AFTER_STORING))
    with pytest.raises(httpx.RemoteProtocolError):
        post(sandbox.url, key, document=b"%three")
    summary = client.summary()
    assert (summary.certificates, summary.duplicates) == (4, 1)
    assert (summary.posts, summary.gets) == (4, 1)
    assert summary.answers == {"201": 3, "401": 1, "none": 1}
    assert summary.peak_hour == {"certificates": 4, "none": 1}


@pytest.mark.parametrize(
    ("moments", "most"),
    [([], 0), ([5.0], 1), ([0.0, 3599.9], 2), ([0.0, 3600.0], 1), ([0.0, 1.0, 3600.5, 3600.6, 3600.7], 4)],
)
def test_the_peak_is_that_of_any_sliding_hour(moments, most):
    """A request an hour ago is no longer counted, as in the cap."""
    assert peak(moments) == most


def test_a_restart_keeps_everything_received(tmp_path):
    """A database file keeps certificates, requests and certifications; ids continue."""
    file = str(tmp_path / "sandbox.db")
    with SandboxServer(database=file, certifications=[LISTED]) as first:
        post(first.url, first.state.api_key)
        [before] = first.store.certificates()
    with SandboxServer(database=file) as second:
        assert second.store.certificates() == [before]
        assert [request.answered for request in second.store.requests()] == [201]
        post(second.url, second.state.api_key)
        assert [certificate.id for certificate in second.store.certificates()] == [before.id, before.id + 1]


def test_a_file_of_an_older_sandbox_is_opened_all_the_same(tmp_path):
    """It did not note documents; what comes from now on is noted with its own."""
    file, document = str(tmp_path / "sandbox.db"), b"%PDF\0" + os.urandom(1_000)
    with SandboxServer(database=file, certifications=[LISTED]) as first:
        post(first.url, first.state.api_key)
    with closing(sqlite3.connect(file)) as older:
        older.execute("ALTER TABLE request DROP COLUMN sha256")
        older.commit()
    with SandboxServer(database=file) as second:
        post(second.url, second.state.api_key, document=document)
        noted = [request.sha256 for request in second.store.requests()]
    assert noted == [None, hashlib.sha256(document).hexdigest()]


def test_files_are_kept_when_asked(tmp_path):
    """Each under its own sha256, byte by byte."""
    document = b"%PDF\0" + os.urandom(300_000)
    with SandboxServer(certifications=[LISTED], keep_files=tmp_path) as server:
        assert post(server.url, server.state.api_key, document=document).status_code == 201
    [kept] = tmp_path.iterdir()
    assert kept.name == hashlib.sha256(document).hexdigest()
    assert kept.read_bytes() == document


def test_it_stops_at_once_with_connections_open():
    """Neither an idle connection nor a request that sleeps holds it up."""
    server = SandboxServer(certifications=[LISTED])
    with server, httpx.Client() as client:
        client.get(f"{server.url}/_sandbox/summary")
        server.state.faults.add(Fault(Kind.SLOW, method="GET", seconds=60))
        asked = {"url": f"{server.url}/users/certificates.xml", "params": {"api_key": server.state.api_key}}
        with pytest.raises(httpx.ReadTimeout):
            client.get(**asked, timeout=0.2)
        begun = time.monotonic()
        server.__exit__(None, None, None)
        assert time.monotonic() - begun < 20
    gc.collect()
    with pytest.raises(httpx.ConnectError):
        httpx.get(server.url)


def start(folder, *options):
    """Start the sandbox as a process, and wait until it has said where it listens."""
    ready = folder / "ready"
    ready.write_text("http://127.0.0.1:9", encoding="utf-8")
    (folder / "certifications.json").write_text(
        '[{"id": 2, "name": "A", "verified": true}]', encoding="utf-8"
    )
    command = [sys.executable, "-m", "sandbox", "--ready-file", str(ready), "--verbose"]
    command += ["--database", str(folder / "db"), "--certifications", str(folder / "certifications.json")]
    env = {**os.environ, "PYTHONPATH": str(PROJECT)}
    env |= {"SANDBOX_API_KEY": "canary-key", "SANDBOX_CERTIFICATIONS_API_KEY": "canary-other"}
    process = subprocess.Popen(
        [*command, *options], env=env, cwd=folder, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    )
    assert process.stdout.readline().startswith("Springest sandbox at http://127.0.0.1:")
    until = time.monotonic() + 30
    while not ready.exists():
        assert process.poll() is None
        assert time.monotonic() < until
    return process, ready.read_text(encoding="utf-8")


@pytest.mark.parametrize("end", [signal.SIGTERM, signal.SIGINT])
def test_the_command_starts_prints_its_url_and_ends(tmp_path, end):
    """Its output lists every request and neither key nor e-mail address; everything it received outlives
    it.
    """
    process, url = start(tmp_path)
    try:
        assert post(url, "canary-key").status_code == 201
        assert get(url, "canary-key", email="ana@example.com").status_code == 200
        begun = time.monotonic()
        process.send_signal(end)
        output, _ = process.communicate(timeout=30)
    finally:
        process.kill()
        process.communicate()
    assert time.monotonic() - begun < 20
    assert "POST /certificates.xml: 201" in output
    assert not any(secret in output for secret in ("canary", "ana@", "ana%40", "Traceback"))
    again, url = start(tmp_path)
    try:
        with SandboxClient(url) as client:
            assert [certificate.email for certificate in client.certificates()] == ["ana@example.com"]
    finally:
        again.kill()
        again.communicate()


def test_the_command_prints_the_keys_that_it_made(tmp_path):
    """And no key that it was given."""
    env = {**os.environ, "PYTHONPATH": str(PROJECT), "SANDBOX_API_KEY": "canary-key"}
    command = [sys.executable, "-m", "sandbox"]
    with subprocess.Popen(command, env=env, cwd=tmp_path, stdout=subprocess.PIPE, text=True) as process:
        url, key = (process.stdout.readline().split()[-1] for _ in range(2))
        try:
            listed = httpx.get(f"{url.removesuffix('/_sandbox')}/certifications.xml", params={"api_key": key})
        finally:
            process.kill()
    assert (listed.status_code, key != "canary-key") == (200, True)


def test_the_command_has_help():
    """Its help names every option."""
    command = [sys.executable, "-m", "sandbox", "--help"]
    done = subprocess.run(command, cwd=PROJECT, capture_output=True, text=True, check=True, timeout=60)
    for option in ("--port", "--ready-file", "--database", "--profile", "--keep-files", "SANDBOX_API_KEY"):
        assert option in done.stdout
