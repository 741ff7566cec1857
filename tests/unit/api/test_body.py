"""A body that knows how much of it has left, over real sockets, with and without TLS."""

from __future__ import annotations

import asyncio
import gc
import ipaddress
import logging
import ssl
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import UTC, date, datetime

import aiohttp
import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from springest.api.body import CertificateBody
from springest.api.client import SpringestClient
from springest.api.models import CertificateUpload
from springest.api.multipart import encode
from springest.documents.opener import DocumentError
from springest.errors import ConnectFailed, DeadlinePassed, Rejected, RequestNotSent, ServerError
from springest.site import Site, Timeouts

LARGE = 64_000_000
"""More bytes than loopback sockets hold, so that they wait in this process."""
KEY = "canary!key/with(odd)+signs"


@dataclass
class Memory:
    """A document that says of its size what it likes."""

    content: bytes | None
    pieces: tuple[bytes, ...] = ()
    size: int = 0
    filename: str = "canary.pdf"
    content_type: str = "application/pdf"

    def chunks(self):
        yield from self.pieces if self.content is None else (self.content,)


class Progress(list):
    """Hooks that record their steps, and holds the body back at one of them if asked to."""

    def __init__(self, *, kept_at=None):
        super().__init__()
        self._kept_at = kept_at

    def begin(self):
        self._note("begin")

    def complete(self):
        self._note("complete")

    def _note(self, step):
        self.append(step)
        if step == self._kept_at:
            raise DeadlinePassed("kept back")


def _upload(document) -> CertificateUpload:
    return CertificateUpload(
        certification_id=101,
        email="canary@example.com",
        valid_from=date(2026, 1, 31),
        document=document,
    )


@pytest.fixture(scope="module")
def certificate(tmp_path_factory):
    """A file with a certificate for 127.0.0.1 that nobody signed, and its key."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "localhost")])
    address = x509.SubjectAlternativeName([x509.IPAddress(ipaddress.ip_address("127.0.0.1"))])
    made = (
        x509.CertificateBuilder(name, name, key.public_key(), 1)
        .not_valid_before(datetime(2020, 1, 1, tzinfo=UTC))
        .not_valid_after(datetime(2100, 1, 1, tzinfo=UTC))
        .add_extension(address, critical=False)
        .sign(key, hashes.SHA256())
    )
    path = tmp_path_factory.mktemp("tls") / "certificate.pem"
    path.write_bytes(
        made.public_bytes(serialization.Encoding.PEM)
        + key.private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.PKCS8,
            serialization.NoEncryption(),
        )
    )
    return path


@asynccontextmanager
async def _serving(handler, *, certificate=None):
    """Serve on loopback, by TLS when there is a certificate; gives the URL."""
    context = None
    if certificate is not None:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(certificate)
    writers = []

    async def connected(reader, writer):
        writers.append(writer)
        try:
            await handler(reader, writer)
        except (asyncio.IncompleteReadError, ConnectionError):
            pass
        finally:
            writer.transport.abort()

    listening = await asyncio.start_server(connected, "127.0.0.1", 0, ssl=context)
    async with listening:
        port = listening.sockets[0].getsockname()[1]
        yield f"{'https' if context else 'http'}://127.0.0.1:{port}"


async def _post(url, document, *, read=10.0, hooks=None):
    site = Site(
        name="default",
        base_url=url,
        api_key=KEY,
        certifications_api_key="",
        timeouts=Timeouts(connect=10, read=read, total=30),
    )
    async with SpringestClient(site) as client:
        return await client.post_certificate(_upload(document), hooks=hooks)


@pytest.mark.parametrize("secure", [False, True], ids=["plain", "tls"])
@pytest.mark.parametrize("streamed", [False, True], ids=["memory", "streamed"])
async def test_bytes_buffered_in_this_process_were_not_sent(certificate, secure, streamed):
    """Under TLS the bytes wait in a buffer below the one that asyncio shows; they have not left either."""
    stop = asyncio.Event()

    async def reading_nothing_more(reader, writer):
        await reader.readuntil(b"\r\n\r\n")
        writer.transport.pause_reading()
        await stop.wait()

    content = None if streamed else b"x" * LARGE
    document = Memory(content, (b"x" * (LARGE // 16),) * 16, size=LARGE)
    progress = Progress()
    body = CertificateBody(encode(_upload(document)), document, hooks=progress)
    trusting = ssl.create_default_context(cafile=certificate) if secure else False
    async with _serving(reading_nothing_more, certificate=certificate if secure else None) as url:
        async with aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=0.5)) as session:
            with pytest.raises(TimeoutError):
                await session.post(url, data=body, ssl=trusting)
        stop.set()
    assert (body.handed_over, progress) == (False, ["begin"])
    assert body.bytes_sent < LARGE


async def test_a_whole_body_goes_over_tls(certificate):
    """Each hook is called once, and all bytes are counted."""
    got = []

    async def taking(reader, writer):
        head = await reader.readuntil(b"\r\n\r\n")
        length = int(head.lower().split(b"content-length:")[1].split(b"\r\n")[0])
        got.append(await reader.readexactly(length))
        writer.write(b"HTTP/1.1 201 Created\r\nContent-Length: 0\r\n\r\n")
        await writer.drain()

    document, progress = Memory(b"y" * 3_000_000, size=3_000_000), Progress()
    body = CertificateBody(encode(_upload(document)), document, hooks=progress)
    trusting = ssl.create_default_context(cafile=certificate)
    async with (
        _serving(taking, certificate=certificate) as url,
        aiohttp.ClientSession() as session,
        session.post(url, data=body, ssl=trusting) as response,
    ):
        assert response.status == 201
    assert progress == ["begin", "complete"]
    assert (body.handed_over, body.bytes_sent) == (True, len(got[0]))


@pytest.mark.parametrize("streamed", [False, True], ids=["memory", "streamed"])
async def test_a_body_that_must_not_begin_any_more_sends_no_byte(streamed):
    """Not even the request's head: the server never hears of it."""
    got = asyncio.get_running_loop().create_future()

    async def keeping(reader, writer):
        got.set_result(await reader.read())

    document = Memory(None if streamed else b"x" * 9, (b"x" * 9,), size=9)
    async with _serving(keeping) as url:
        with pytest.raises(DeadlinePassed):
            await _post(url, document, hooks=Progress(kept_at="begin"))
        assert await asyncio.wait_for(got, 10) == b""


@pytest.mark.parametrize("streamed", [False, True], ids=["memory", "streamed"])
async def test_a_body_that_must_not_end_any_more_is_never_whole(streamed):
    """A server cannot store it without the bytes that were held back."""
    got = asyncio.get_running_loop().create_future()

    async def keeping(reader, writer):
        await reader.readuntil(b"\r\n\r\n")
        got.set_result(await reader.read())

    document = Memory(None if streamed else b"x" * 9, (b"x" * 9,), size=9)
    encoded = encode(_upload(document))
    async with _serving(keeping) as url:
        with pytest.raises(DeadlinePassed):
            await _post(url, document, hooks=Progress(kept_at="complete"))
        body = await asyncio.wait_for(got, 10)
    assert len(body) == encoded.content_length - len(encoded.tail)


async def test_an_early_response_stops_the_rest_of_the_body():
    """A response that arrives before the body has been sent keeps the rest of the body in this process.

    Whatever it says, the server cannot have stored the certificate.
    """

    async def answering(reader, writer):
        await reader.readuntil(b"\r\n\r\n")
        writer.write(b"HTTP/1.1 500 Oops\r\nContent-Length: 0\r\n\r\n")
        await writer.drain()
        await asyncio.sleep(0.2)
        while await reader.read(1_000_000):
            pass

    progress = Progress()
    async with _serving(answering) as url:
        with pytest.raises(ServerError):
            await _post(url, Memory(b"x" * LARGE, size=LARGE), hooks=progress)
        await asyncio.sleep(0.1)
    assert progress == ["begin"]


async def test_a_server_whose_certificate_nobody_signed_gets_nothing(certificate):
    """TLS is verified: the key and the person's data stay here."""
    got = []

    async def keeping(reader, writer):
        got.append(await reader.read())

    async with _serving(keeping, certificate=certificate) as url:
        with pytest.raises(ConnectFailed, match="TLS"):
            await _post(url, Memory(b"x", size=1))
    assert got == []


@pytest.mark.parametrize(
    "document",
    [
        Memory(b"x" * 500, size=10),
        Memory(None, (b"x" * 5, b"x" * 495), size=10),
        Memory(b"x", size=10),
        Memory(None, (b"x",), size=10),
    ],
    ids=["longer", "longer, streamed", "shorter", "shorter, streamed"],
)
async def test_a_document_of_another_length_never_fills_the_body_up(document):
    """Too long a document would bring as many bytes as were announced, and the server might take them."""
    got = []

    async def counting(reader, writer):
        head = await reader.readuntil(b"\r\n\r\n")
        length = int(head.lower().split(b"content-length:")[1].split(b"\r\n")[0])
        got.append(length - len(await reader.read()))

    async with _serving(counting) as url:
        with pytest.raises(DocumentError, match="length"):
            await _post(url, document)
    assert all(missing > 0 for missing in got)


@pytest.mark.parametrize("ending", ["hangs", "breaks", "is whole"])
async def test_an_early_refusal_is_that_refusal(ending):
    """The server refuses in the middle of the body: whatever follows, the request was not cancelled by us."""
    stop = asyncio.Event()
    reason = b"<errors><error>too large</error></errors>"

    async def refusing(reader, writer):
        await reader.readuntil(b"\r\n\r\n")
        length = len(reason) + (0 if ending == "is whole" else 500)
        writer.write(b"HTTP/1.1 413 Too Large\r\nContent-Length: %d\r\n\r\n" % length + reason)
        await writer.drain()
        if ending != "breaks":
            await stop.wait()

    async with _serving(refusing) as url:
        with pytest.raises(Rejected) as caught:
            await _post(url, Memory(None, (b"x" * 1_000_000,) * 64, size=64_000_000), read=1.0)
        stop.set()
    assert caught.value.status == 413
    assert caught.value.bytes_handed_over < 64_000_000


async def test_a_body_broken_off_leaves_no_trace_of_the_key(caplog):
    """Not even in asyncio's message about an error that was never retrieved."""
    caplog.set_level(logging.DEBUG)

    async def resetting(reader, writer):
        await reader.readuntil(b"\r\n\r\n")

    async with _serving(resetting) as url:
        for document in (
            Memory(b"x" * LARGE, size=LARGE),
            Memory(None, (b"x" * 1_000_000,) * 64, size=LARGE),
        ):
            with pytest.raises(RequestNotSent) as caught:
                await _post(url, document)
            assert "canary" not in str(caught.value)
            assert caught.value.__context__ is None
    del caught
    gc.collect()
    await asyncio.sleep(0)
    assert "canary" not in caplog.text
