"""The client over real sockets: requests, responses, and the outcome if the connection breaks."""

from __future__ import annotations

import asyncio
import gzip
import hashlib
import logging
import traceback
from collections.abc import Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import date
from xml.sax.saxutils import escape

import pytest

from springest.api.client import SpringestClient
from springest.api.models import CertificateUpload
from springest.documents.opener import DocumentError
from springest.errors import (
    ApiError,
    ConnectFailed,
    Forbidden,
    InvalidResponse,
    NotFound,
    Redirected,
    Rejected,
    RequestNotSent,
    ResponseLost,
    ResponseTimeout,
    ServerError,
    Throttled,
    Unauthorized,
    UnexpectedStatus,
)
from springest.site import Site, Timeouts

KEY = "canary key/with+odd=signs&more"
ADDRESS = "canary.zoë@example.com"
CREATED = b"<certificate><id type='integer'>5</id></certificate>"
Handler = Callable[["Call"], Awaitable[None]]


@dataclass
class Call:
    """One connection that the server got."""

    reader: asyncio.StreamReader
    writer: asyncio.StreamWriter
    head: bytes = b""
    body: bytes = b""

    async def read_head(self) -> None:
        self.head = await self.reader.readuntil(b"\r\n\r\n")

    async def read_all(self) -> None:
        await self.read_head()
        lengths = [line for line in self.head.split(b"\r\n") if line.lower().startswith(b"content-length:")]
        self.body = await self.reader.readexactly(int(lengths[0].split(b":")[1])) if lengths else b""

    async def answer(self, status: str, body: bytes = b"", *headers: str, length: int | None = None) -> None:
        lines = [f"HTTP/1.1 {status}", f"Content-Length: {len(body) if length is None else length}", *headers]
        self.writer.write("\r\n".join(lines).encode() + b"\r\n\r\n" + body)
        await self.writer.drain()


@dataclass
class Server:
    """A server that does as the test says, connection by connection."""

    url: str
    calls: list[Call] = field(default_factory=list)


@asynccontextmanager
async def serving(handler: Handler):
    """Serve on loopback."""
    server = Server("")

    async def connected(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        call = Call(reader, writer)
        server.calls.append(call)
        try:
            await handler(call)
        except (asyncio.IncompleteReadError, ConnectionError):
            pass
        finally:
            writer.close()

    listening = await asyncio.start_server(connected, "127.0.0.1", 0, limit=2**24)
    async with listening:
        server.url = f"http://127.0.0.1:{listening.sockets[0].getsockname()[1]}"
        yield server


def _site(url: str, **changes) -> Site:
    values = {
        "name": "default",
        "base_url": url,
        "api_key": KEY,
        "certifications_api_key": "canary-other-key",
        "timeouts": Timeouts(connect=10, read=10, total=30),
    }
    return Site(**{**values, **changes})


@dataclass
class Memory:
    """A document in memory, or one that streams."""

    content: bytes | None = b"%PDF-1.7 hello"
    pieces: tuple[bytes, ...] = ()
    filename: str = "zoë.pdf"
    content_type: str = "application/pdf"
    spoiled: bool = False

    @property
    def size(self) -> int:
        return len(self.content) if self.content is not None else sum(map(len, self.pieces))

    def chunks(self):
        if self.content is not None:
            yield self.content
            return
        for number, piece in enumerate(self.pieces):
            if self.spoiled and number == len(self.pieces) - 1:
                raise DocumentError("document_changed", "it changed")
            yield piece


def _upload(document=None) -> CertificateUpload:
    return CertificateUpload(
        certification_id=101, email=ADDRESS, valid_from=date(2026, 1, 31), document=document or Memory()
    )


async def _post(url: str, document=None, **changes):
    async with SpringestClient(_site(url, **changes)) as client:
        return await client.post_certificate(_upload(document))


async def test_a_post_on_the_wire():
    """The key in the query, the fields, the raw file, and nothing that the HTTP library adds by itself."""

    async def handler(call: Call) -> None:
        await call.read_all()
        await call.answer("201 Created", CREATED)

    async with serving(handler) as server:
        answer = await _post(server.url)
    [call] = server.calls
    first, *headers = call.head.decode().rstrip().split("\r\n")
    assert first.startswith("POST /certificates.xml?api_key=canary")
    names = {line.partition(":")[0].lower() for line in headers}
    assert names == {"host", "user-agent", "accept", "accept-encoding", "content-type", "content-length"}
    assert "User-Agent: airflow-provider-springest/0.1.0" in headers
    assert b"\r\n\r\n%PDF-1.7 hello\r\n--" in call.body
    assert b'filename="zo\xc3\xab.pdf"' in call.body
    assert (answer.status, answer.certificate_id, answer.bytes_sent) == (201, 5, len(call.body))


async def test_a_large_document_streams_with_its_exact_bytes():
    """Its length is sent first, its bytes in pieces."""
    pieces = tuple(bytes([number]) * 200_000 for number in range(40))

    async def handler(call: Call) -> None:
        await call.read_all()
        await call.answer("201 Created", CREATED)

    async with serving(handler) as server:
        await _post(server.url, Memory(None, pieces))
    sent = server.calls[0].body
    start = sent.index(b"application/pdf\r\n\r\n") + len(b"application/pdf\r\n\r\n")
    assert (
        hashlib.sha256(sent[start : start + 8_000_000]).digest() == hashlib.sha256(b"".join(pieces)).digest()
    )


@pytest.mark.parametrize(
    ("status", "headers", "body", "error"),
    [
        ("400 Bad Request", (), b"<errors><error>File is empty</error></errors>", Rejected),
        ("413 Too Large", (), b"", Rejected),
        ("415 Unsupported", (), b"<errors><error>no</error></errors>", Rejected),
        ("422 Unprocessable", (), b"<errors><error>no</error></errors>", Rejected),
        ("400 Bad Request", (), b"<html>no</html>", UnexpectedStatus),
        ("401 Unauthorized", (), b"", Unauthorized),
        ("403 Forbidden", (), b"", Forbidden),
        ("403 Forbidden", (), b"<errors><error>no</error></errors>", Forbidden),
        ("403 Forbidden", (), b"<html>blocked by the firewall</html>", UnexpectedStatus),
        ("403 Forbidden", ("Retry-After: 7",), b"<html>too many</html>", Throttled),
        ("413 Too Large", (), b"<html>nginx</html>", Rejected),
        ("401 Unauthorized", (), b"<html>sign in</html>", Unauthorized),
        ("422 Unprocessable", (), b'{"error": "no"}', UnexpectedStatus),
        (
            "400 Bad Request",
            ("Content-Type: text/html",),
            b"<errors><error>no</error></errors>",
            UnexpectedStatus,
        ),
        ("404 Not Found", (), b"<html/>", NotFound),
        ("409 Conflict", (), b"<errors><error>no</error></errors>", UnexpectedStatus),
        ("429 Too Many", ("Retry-After: 7",), b"", Throttled),
        ("503 Unavailable", ("Retry-After: 7",), b"", Throttled),
        ("503 Unavailable", (), b"", ServerError),
        ("500 Error", (), b"<html/>", ServerError),
        ("302 Found", ("Location: /elsewhere",), b"", Redirected),
        ("304 Not Modified", (), b"", Redirected),
    ],
)
async def test_every_status_has_its_error(status, headers, body, error):
    """The class is what retry rules and the outcome table decide by."""

    async def handler(call: Call) -> None:
        await call.read_all()
        await call.answer(status, body, *headers)

    async with serving(handler) as server:
        with pytest.raises(error) as caught:
            await _post(server.url)
    assert type(caught.value) is error
    assert caught.value.status == int(status[:3])
    assert len(server.calls) == 1


@pytest.mark.parametrize(
    ("header", "seconds"),
    [
        ("7", 7),
        ("Wed, 21 Oct 2015 07:28:00 GMT", 0),
        ("soon", None),
        ("9" * 400, float("inf")),
        ("Wed, 21 Oct 20150000000000000000 07:28:00 GMT", None),
        ("Wed, 99 Oct 2015 07:28:00 GMT", None),
        ("-7", None),
    ],
)
async def test_retry_after_is_seconds_or_a_date(header, seconds):
    """RFC 9110 allows both; any other value is ignored."""

    async def handler(call: Call) -> None:
        await call.read_all()
        await call.answer("429 Too Many", b"", f"Retry-After: {header}")

    async with serving(handler) as server:
        with pytest.raises(Throttled) as caught:
            await _post(server.url)
    assert caught.value.retry_after == seconds


@pytest.mark.parametrize(
    ("status", "body", "is_rate_limit"),
    [
        ("429 Too Many", b"", True),
        ("429 Too Many", b"<html>slow down</html>", True),
        ("503 Unavailable", b"", True),
        ("503 Unavailable", b"<errors><error>slow down</error></errors>", True),
        ("503 Unavailable", b"<html>maintenance</html>", False),
        ("503 Unavailable", b'{"error": "upstream"}', False),
        ("403 Forbidden", b"", False),
        ("403 Forbidden", b"<errors><error>slow down</error></errors>", False),
    ],
)
async def test_a_firewall_or_a_maintenance_page_is_no_rate_limit(status, body, is_rate_limit):
    """All of them wait for `Retry-After`; what they say about storing differs."""

    async def handler(call: Call) -> None:
        await call.read_all()
        await call.answer(status, body, "Retry-After: 7")

    async with serving(handler) as server:
        with pytest.raises(Throttled) as caught:
            await _post(server.url)
    assert (caught.value.is_rate_limit, caught.value.retry_after) == (is_rate_limit, 7)


async def test_a_body_that_was_broken_off_is_known_not_to_be_taken():
    """The server reads a little and resets the connection."""

    async def handler(call: Call) -> None:
        await call.read_head()
        call.writer.transport.abort()

    async with serving(handler) as server:
        with pytest.raises(RequestNotSent) as caught:
            await _post(server.url, Memory(None, tuple(b"x" * 1_000_000 for _ in range(30))))
    assert 0 < caught.value.bytes_handed_over < 30_000_000


async def test_a_document_that_changes_is_never_completed():
    """Its own error comes through, and the server sees a body that does not end."""

    async def handler(call: Call) -> None:
        await call.read_all()
        await call.answer("201 Created", CREATED)

    async with serving(handler) as server:
        with pytest.raises(DocumentError, match="changed"):
            await _post(server.url, Memory(None, (b"x" * 100_000,) * 3, spoiled=True))
        await asyncio.sleep(0)
    assert server.calls[0].body == b""


async def test_a_timeout_differs_from_a_broken_response():
    """Both are unknown; an engineer sees which it was."""
    quiet = asyncio.Event()

    async def silent(call: Call) -> None:
        await call.read_all()
        await quiet.wait()

    async with serving(silent) as server:
        with pytest.raises(ResponseTimeout):
            await _post(server.url, timeouts=Timeouts(read=0.3))
        quiet.set()

    async def closing(call: Call) -> None:
        await call.read_all()

    async with serving(closing) as server:
        with pytest.raises(ResponseLost):
            await _post(server.url)


async def test_a_2xx_with_a_truncated_body_is_unknown():
    """The rest of the body might not have been Springest's."""

    async def handler(call: Call) -> None:
        await call.read_all()
        await call.answer("201 Created", CREATED, length=500)

    async with serving(handler) as server:
        with pytest.raises(ResponseLost):
            await _post(server.url)


PAGE = b"<html><body><h1>Sign in</h1></body></html>"


@pytest.mark.parametrize(
    ("status", "body", "certificate_id"),
    [
        ("201 Created", CREATED, 5),
        ("200 OK", CREATED, 5),
        ("201 Created", b"", None),
        ("201 Created", b"<certificate><status>new</status></certificate>", None),
        ("200 OK", b"<response/>", None),
        ("201 Created", b"<response><message>Thanks</message><id>5</id></response>", 5),
        ("201 Created", b"<response><errors type='array'/><id>5</id></response>", 5),
    ],
)
async def test_a_certificate_is_stored_only_if_the_body_says_so(status, body, certificate_id):
    """XML of Springest's that names no error; or nothing at all after a 201, which is enough."""

    async def handler(call: Call) -> None:
        await call.read_all()
        await call.answer(status, body)

    async with serving(handler) as server:
        assert (await _post(server.url)).certificate_id == certificate_id


@pytest.mark.parametrize(
    ("status", "body", "headers"),
    [
        ("200 OK", PAGE, ("Content-Type: text/html",)),
        ("201 Created", PAGE, ()),
        ("200 OK", b'<html xmlns="http://www.w3.org/1999/xhtml"><body/></html>', ()),
        ("200 OK", b'{"id": 5}', ("Content-Type: application/json",)),
        ("201 Created", b'{"id": 5}', ()),
        ("200 OK", CREATED, ("Content-Type: text/html; charset=utf-8",)),
        ("200 OK", b"", ()),
        ("200 OK", b" \n", ()),
        ("201 Created", CREATED[:-4], ()),
        ("201 Created", b"<errors><error>Email is invalid</error></errors>", ()),
        ("200 OK", b"<certificate><id>5</id><errors><file>is empty</file></errors></certificate>", ()),
        ("200 OK", b"<response><error/></response>", ()),
        ("200 OK", b"<response><message>We will be back soon</message></response>", ()),
        ("200 OK", b"<maintenance/>", ()),
        ("200 OK", b"<!DOCTYPE certificate><certificate><id>5</id></certificate>", ()),
        ("202 Accepted", CREATED, ()),
        ("204 No Content", b"", ()),
        ("206 Partial Content", CREATED, ()),
        ("200 OK", b"<certificate>" + b"<a/>" * 80_000 + b"</certificate>", ()),
    ],
    ids=range(19),
)
async def test_any_other_2xx_is_unknown(status, body, headers):
    """A web page, JSON, errors, a truncated body: the outcome is unknown."""

    async def handler(call: Call) -> None:
        await call.read_all()
        await call.answer(status, body, *headers)

    async with serving(handler) as server:
        with pytest.raises(InvalidResponse) as caught:
            await _post(server.url)
    assert caught.value.status == int(status[:3])
    assert caught.value.bytes_handed_over > 0


async def test_an_answer_before_the_body_ended_is_read():
    """A server that refuses early need not take the rest."""

    async def handler(call: Call) -> None:
        await call.read_head()
        await call.answer("413 Too Large", b"<errors><error>too large</error></errors>", "Connection: close")
        while await call.reader.read(2**20):
            pass

    async with serving(handler) as server:
        with pytest.raises((Rejected, RequestNotSent)):
            await _post(server.url, Memory(None, tuple(b"x" * 1_000_000 for _ in range(20))))


async def test_nobody_listens():
    """Nothing was sent."""
    async with serving(lambda call: call.read_head()) as server:
        url = server.url
    with pytest.raises(ConnectFailed):
        await _post(url)


async def test_a_post_is_not_repeated_on_a_connection_that_went_stale():
    """The server closes the kept-alive connection without a response: one POST, and an unknown outcome."""

    async def handler(call: Call) -> None:
        await call.read_all()
        await call.answer("201 Created", CREATED)
        await call.read_all()

    async with serving(handler) as server, SpringestClient(_site(server.url)) as client:
        await client.post_certificate(_upload())
        with pytest.raises(ResponseLost):
            await client.post_certificate(_upload())
    assert len(server.calls) == 1


@pytest.mark.parametrize(
    ("status", "body", "error"),
    [
        ("200 OK", b"<html>back soon</html>", InvalidResponse),
        ("200 OK", b"<certificates><certificate><id>1</id>", InvalidResponse),
        ("401 Unauthorized", b"", Unauthorized),
        ("500 Error", b"", ServerError),
    ],
)
async def test_a_list_that_can_not_be_read_is_an_error(status, body, error):
    """Half a list never counts as a whole one."""

    async def handler(call: Call) -> None:
        await call.read_all()
        await call.answer(status, body)

    async with serving(handler) as server, SpringestClient(_site(server.url)) as client:
        with pytest.raises(error):
            [page async for page in client.certificates()]


async def test_a_page_that_is_unpacked_to_a_bomb_is_refused():
    """64 kB become 63 MB: reading stops at the cap, and the error is the client's own."""
    bomb = gzip.compress(b"<certificates>" + b"<a/>" * 16_000_000 + b"</certificates>")

    async def handler(call: Call) -> None:
        await call.read_all()
        await call.answer("200 OK", bomb, "Content-Encoding: gzip")

    async with serving(handler) as server, SpringestClient(_site(server.url)) as client:
        with pytest.raises(InvalidResponse, match="larger"):
            [page async for page in client.certificates()]


async def test_a_row_without_an_id_makes_the_list_incomplete(caplog):
    """One row of twenty has no id: the others are read, the log names it, and nothing can be called
    missing.
    """
    row = b"<certificate><id>%s</id></certificate>"
    rows = b"".join(row % (b"x" if number == 7 else b"%d" % number) for number in range(1, 21))

    async def handler(call: Call) -> None:
        await call.read_all()
        await call.answer("200 OK", b"<response><meta><results>20</results></meta>" + rows + b"</response>")

    async with serving(handler) as server, SpringestClient(_site(server.url)) as client:
        pages = client.certificates()
        found = [item.id async for page in pages for item in page.items]
    assert found == [number for number in range(1, 21) if number != 7]
    assert (pages.evidence.unreadable, pages.evidence.complete, pages.evidence.reached_end) == (
        1,
        False,
        False,
    )
    assert len(server.calls) == 1
    assert "row 7 has no usable id" in caplog.text


@pytest.mark.parametrize(
    "words",
    [
        "{address} already has {name}",
        "{local} already has {stem}",
        "o&#39;hara&#x26;zo&#235;@example.com: {stem}.PDF",
        "o%27hara%26zo%C3%AB%40example.com",
        "o\\u0027hara\\u0026zo\\u00eb\\u0040example.com",
    ],
)
async def test_a_refusal_shows_neither_the_learner_nor_the_document(words):
    """In whole or in part, plain or escaped: analysts read these texts."""
    address, name = "o'hara&zoë@example.com", "Canary O'Hara.pdf"
    text = words.format(address=address, local=address[:10], name=name, stem=name[:-4])
    body = f"<errors><error>{escape(text)}</error></errors>".encode()

    async def handler(call: Call) -> None:
        await call.read_all()
        await call.answer("422 Unprocessable", body)

    async with serving(handler) as server, SpringestClient(_site(server.url)) as client:
        upload = CertificateUpload(
            certification_id=101, email=address, valid_from=date(2026, 1, 31), document=Memory(filename=name)
        )
        with pytest.raises(Rejected) as caught:
            await client.post_certificate(upload)
    shown = str(caught.value).lower()
    for private in ("hara", "zo", "canary", "example.com"):
        assert private not in shown


async def test_filters_and_paging_are_asked_for():
    """Newer sites support them; certifications have a key of their own."""

    async def handler(call: Call) -> None:
        await call.read_all()
        await call.answer("200 OK", b"<response><meta><results>0</results></meta></response>")

    async with serving(handler) as server, SpringestClient(_site(server.url, page_size=7)) as client:
        wanted = client.certificates(
            email="a+b@example.com", certification_id=3, created_from=date(2026, 1, 2)
        )
        assert [page async for page in wanted] == []
        assert [page async for page in client.certifications()] == []
    first, second = (call.head.split(b" ")[1].decode() for call in server.calls)
    assert first.startswith("/users/certificates.xml?")
    for part in (
        "email=a%2Bb@example.com",
        "certification_id=3",
        "created_from=2026-01-02",
        "size=7",
        "offset=0",
    ):
        assert part in first
    assert second.startswith("/certifications.xml?")
    assert "canary-other-key" in second


async def test_the_gate_is_awaited_before_each_get():
    """The place of the rate limit for reads."""
    passed = []

    async def gate(method: str) -> None:
        passed.append(method)

    async def handler(call: Call) -> None:
        await call.read_all()
        await call.answer("200 OK", b"<response><meta><results>0</results></meta></response>")

    async with serving(handler) as server, SpringestClient(_site(server.url), gate=gate) as client:
        [page async for page in client.certificates()]
    assert passed == ["GET"]


async def test_no_key_and_no_address_in_any_error_or_log(caplog):
    """Not in its text, its chain, its representation, nor in any library's log at DEBUG."""
    caplog.set_level(logging.DEBUG)
    quoted = f"<errors><error>Email {ADDRESS} with key {KEY} is no good</error></errors>".encode()

    async def quoting(call: Call) -> None:
        await call.read_all()
        await call.answer("422 Unprocessable", quoted.replace(b"&more", b"&amp;more"))

    async def closing(call: Call) -> None:
        await call.read_all()

    async def redirecting(call: Call) -> None:
        await call.read_all()
        await call.answer("302 Found", b"", f"Location: /x?api_key=canary&email={ADDRESS}".replace("ë", "e"))

    texts = []
    for handler in (quoting, closing, redirecting):
        async with serving(handler) as server:
            with pytest.raises(ApiError) as caught:
                await _post(server.url)
            texts.append("".join(traceback.format_exception(caught.value)) + repr(caught.value))
            assert caught.value.__context__ is None
            assert caught.value.__cause__ is None
    with pytest.raises(ConnectFailed) as caught:
        await _post("http://127.0.0.1:9")
    texts.append("".join(traceback.format_exception(caught.value)))
    assert "is no good" in texts[0]
    for text in (*texts, caplog.text, repr(_site("http://127.0.0.1:9")), repr(_upload())):
        assert "canary" not in text
