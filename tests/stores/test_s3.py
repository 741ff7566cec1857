"""Documents in S3, against a server on loopback that fails as Amazon's does."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

from demo.pdf import make_pdf
from springest.documents.opener import MEGABYTE, DocumentStoreUnreachable
from springest.errors import DocumentError, DocumentsUnreachable, DocumentUnreachable
from tests.integration.conftest import World
from tests.stores.conftest import store_under

ROOT = "s3://aws@bucket/certificates"
KEYS = [
    "a b.pdf",
    "Zoë.pdf",
    "Zoe\N{COMBINING DIAERESIS}.pdf",
    "日本.pdf",
    "a+b.pdf",
    "50%.pdf",
    "a%20b.pdf",
    "a#1.pdf",
    "C#/a.pdf",
    "a?b.pdf",
    "a?b=1&c=2.pdf",
    "a@b:c.pdf",
    "*.pdf",
    "[a].pdf",
    "~a'\"b.pdf",
    " a.pdf",
    "a.pdf ",
    "2026/01/a.pdf",
]


def _put(s3, key: str, content: bytes) -> None:
    s3.client.put_object(Bucket="bucket", Key=f"certificates/{key}", Body=content)


@pytest.mark.parametrize("key", KEYS)
def test_a_key_is_taken_literally(s3, key):
    """Also beside an object whose key is what a URL parser would make of it."""
    content = make_pdf("wanted")
    for beside in {"a", "a b.pdf", "a%20b.pdf", "a+b.pdf", "50", "C", "Zoë.pdf"} - {key}:
        _put(s3, beside, make_pdf("beside"))
    _put(s3, key, content)
    with store_under(ROOT).open(f"s3://bucket/certificates/{key}") as document:
        assert b"".join(document.chunks()) == content
        assert document.filename == key.rpartition("/")[2]


@pytest.mark.parametrize("key", ["a.pdf?versionId=1", "a.pdf#", "a.pdf?"])
def test_a_key_that_the_library_reads_differently_is_refused(s3, key):
    """Otherwise another object than the checked one would be sent."""
    _put(s3, "a.pdf", make_pdf())
    with pytest.raises(DocumentError, match="rename the document"):
        store_under(ROOT).open(f"s3://bucket/certificates/{key}")
    assert [method for method, _ in s3.requests if method != "PUT"] == []


def test_a_document_costs_two_requests(s3):
    """One for its size, one for its content."""
    _put(s3, "a.pdf", make_pdf())
    store = store_under(ROOT)
    s3.requests.clear()
    store.probe("s3://bucket/certificates/a.pdf")
    assert [method for method, _ in s3.requests] == ["HEAD", "GET"]


def test_a_missing_object_is_one_rows_fault(s3):
    """The bucket is there, so the document is missing."""
    with pytest.raises(DocumentError) as caught:
        store_under(ROOT).probe("s3://bucket/certificates/none.pdf")
    assert caught.value.reason == "document_missing"


def test_a_missing_bucket_is_the_stores_fault(s3):
    """A mistyped root, not a missing document."""
    with pytest.raises(DocumentUnreachable, match="bucket buckte does not exist") as caught:
        store_under("s3://aws@buckte").probe("s3://buckte/a.pdf")
    assert caught.value.whole_store


@pytest.mark.parametrize(
    ("code", "status", "remedy"),
    [
        ("ExpiredToken", 400, "renew those in its connection"),
        ("InvalidAccessKeyId", 403, "renew those in its connection"),
        ("SignatureDoesNotMatch", 403, "renew those in its connection"),
        ("RequestTimeTooSkewed", 403, "set the clock by NTP"),
        ("AuthorizationHeaderMalformed", 400, "in another region"),
    ],
)
def test_refused_credentials_are_the_stores_fault(s3, code, status, remedy):
    """Amazon answers the first request, a HEAD, without a code: another request finds it."""
    _put(s3, "a.pdf", make_pdf())
    s3.fail(code, status)
    with pytest.raises(DocumentUnreachable, match=remedy) as caught:
        store_under(ROOT).probe("s3://bucket/certificates/a.pdf")
    assert (caught.value.whole_store, caught.value.kind) == (True, code)


def test_no_connection_is_the_stores_fault(s3, connect):
    """Nothing listens at the endpoint."""
    connect("aws", conn_type="aws", login="k", password="s", extra={"endpoint_url": "http://127.0.0.1:9"})
    with pytest.raises(DocumentUnreachable, match="correct the endpoint") as caught:
        store_under(ROOT).probe("s3://bucket/certificates/a.pdf")
    assert caught.value.whole_store


@pytest.mark.parametrize(
    ("code", "reason"), [("AccessDenied", "grant it"), ("InvalidObjectState", "restore it")]
)
def test_a_refused_object_may_be_one_rows_fault(s3, code, reason):
    """One object may have rules of its own; several in a row stop the run."""
    _put(s3, "a.pdf", make_pdf())
    s3.fail(code, 403)
    with pytest.raises(DocumentUnreachable, match=reason) as caught:
        store_under(ROOT).probe("s3://bucket/certificates/a.pdf")
    assert not caught.value.whole_store


def test_throttling_is_waited_for(s3):
    """The library repeats a request that S3 asks to slow down."""
    _put(s3, "a.pdf", make_pdf())
    s3.fail("SlowDown", 503, times=2)
    store_under(ROOT).probe("s3://bucket/certificates/a.pdf")
    s3.fail("SlowDown", 503)
    with pytest.raises(DocumentUnreachable) as caught:
        store_under(ROOT).probe("s3://bucket/certificates/a.pdf")
    assert not caught.value.whole_store


def test_an_object_that_is_replaced_is_not_sent(s3):
    """Neither before it was hashed, nor after."""
    uri, large = "s3://bucket/certificates/a.pdf", 5 * MEGABYTE
    _put(s3, "a.pdf", make_pdf("one", size=large))
    with store_under(ROOT).open(uri) as document:
        _put(s3, "a.pdf", make_pdf("two", size=large))
        with pytest.raises(DocumentError) as caught:
            list(document.chunks())
    assert caught.value.reason == "document_changed"

    def replace(method: str) -> None:
        if method == "GET":
            s3.before = None
            _put(s3, "a.pdf", make_pdf("three"))

    s3.before = replace
    with pytest.raises(DocumentError) as caught:
        store_under(ROOT).probe(uri)
    assert caught.value.reason == "document_changed"


def test_a_document_that_is_too_large_is_not_fetched(s3):
    """Its size is known before its content."""
    _put(s3, "a.pdf", make_pdf(size=2 * MEGABYTE))
    s3.requests.clear()
    with pytest.raises(DocumentError, match="2 MB, more than the 1 MB allowed"):
        store_under(ROOT, largest=MEGABYTE).probe("s3://bucket/certificates/a.pdf")
    assert [method for method, _ in s3.requests] == ["HEAD"]


READ = """
import resource

from tests.stores.conftest import store_under

def peak():
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024

store = store_under("s3://aws@bucket/certificates")
store.probe("s3://bucket/certificates/small.pdf")
before = peak()
with store.open("s3://bucket/certificates/large.pdf") as document:
    assert sum(len(chunk) for chunk in document.chunks()) == document.size > 200 * 1024 ** 2
print(peak() - before)
"""


def test_a_document_of_200_mb_needs_little_memory(s3):
    """It is hashed, opened and sent in pieces."""
    _put(s3, "small.pdf", make_pdf())
    _put(s3, "large.pdf", make_pdf(filling=os.urandom(201 * MEGABYTE)))
    done = subprocess.run([sys.executable, "-c", READ], check=True, capture_output=True, text=True)
    assert int(done.stdout.splitlines()[-1]) < 60


@pytest.fixture
def night(s3, world, monkeypatch):
    """Twenty trainings with documents in S3."""
    monkeypatch.setattr(World, "documents", property(lambda world: store_under(ROOT)))
    for number in range(20):
        _put(s3, f"{number} ë.pdf", make_pdf(str(number)))
    uris = (f"s3://bucket/certificates/{number} ë.pdf" for number in range(20))
    world.complete(*(world.training(certificate_uri=uri) for uri in uris))
    world.catalogue()
    return world


def test_a_night_from_s3(s3, night):
    """Nineteen certificates are sent, one has no document."""
    s3.client.delete_object(Bucket="bucket", Key="certificates/7 ë.pdf")
    night.stage()
    night.deliver()
    assert night.posts == 19
    assert sorted(night.states().values())[0][0] == "accepted"
    assert [reason for state, reason in night.states().values() if state == "invalid"] == ["document_missing"]


def test_credentials_that_expire_set_nothing_aside(s3, night):
    """Neither while staging, nor while sending."""
    s3.fail("ExpiredToken", 400)
    with pytest.raises(DocumentStoreUnreachable, match="ExpiredToken"):
        night.stage()
    assert night.states() == {}
    s3.fault = None
    night.stage()
    s3.fail("ExpiredToken", 400)
    with pytest.raises(DocumentsUnreachable, match="ExpiredToken"):
        night.deliver()
    assert {state for state, _ in night.states().values()} == {"ready"}
    s3.fault = None
    night.deliver("again")
    assert night.posts == 20
