"""A server that closes idle connections, some milliseconds away: which POSTs meet one that is closing?

Their bytes leave before the news of its end has come, so nobody can know what became of them: an ``unknown``
for nothing. See docs/adr/0003-idle-connections-and-post.md for the figures.
"""

from __future__ import annotations

import asyncio
import random
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import date
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from demo.pdf import make_pdf
from sandbox.server import SandboxServer
from sandbox.store import Certification
from springest.api import client as api
from springest.api.client import SpringestClient
from springest.api.models import CertificateUpload
from springest.documents.opener import DocumentStore
from springest.errors import ResponseLost, TransportError
from springest.site import Site

ONE_WAY = 0.025
"""Seconds between here and the server."""
SEED = 7
REPORT = Path(__file__).parents[2] / ".springest" / "tests" / "idle_connections.txt"


@asynccontextmanager
async def far_away(url: str) -> AsyncIterator[str]:
    """Put a distance between client and server: bytes and ends of connections take their time."""
    there = urlsplit(url)
    ends: list[asyncio.StreamWriter] = []
    loop = asyncio.get_running_loop()
    pumps: set[asyncio.Task[None]] = set()

    async def pump(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while data := await reader.read(65_536):
                loop.call_later(ONE_WAY, writer.write, data)
        except OSError:
            pass
        loop.call_later(ONE_WAY, writer.close)

    async def connected(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        onwards = await asyncio.open_connection(there.hostname, there.port)
        ends.extend((writer, onwards[1]))
        for pumping in (pump(reader, onwards[1]), pump(onwards[0], writer)):
            pumps.add(task := asyncio.create_task(pumping))
            task.add_done_callback(pumps.discard)

    server = await asyncio.start_server(connected, "127.0.0.1", 0)
    try:
        yield f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
    finally:
        server.close()
        for pump_task in list(pumps):
            pump_task.cancel()
        await asyncio.gather(*pumps, return_exceptions=True)
        for end in ends:
            end.close()
        await asyncio.gather(*(end.wait_closed() for end in ends), return_exceptions=True)


async def _post_steadily(
    site: Site, documents: DocumentStore, path: Path, *, pace: float, posts: int, chance: random.Random
) -> Counter[str]:
    """Post one after the other, each about as long after the last as the server lets a connection be idle."""
    became: Counter[str] = Counter()
    async with SpringestClient(site, max_connections=1) as client:
        for number in range(posts):
            with documents.open(str(path)) as document:
                upload = CertificateUpload(
                    certification_id=102,
                    email=f"ana.{chance.getrandbits(40)}.{number}@example.com",
                    valid_from=date(2026, 11, 2),
                    document=document,
                )
                try:
                    await client.post_certificate(upload)
                    became["answered"] += 1
                except TransportError as error:
                    became["unknown" if isinstance(error, ResponseLost) else "not taken"] += 1
            # The server's clock starts when its answer leaves, one way before it is here.
            await asyncio.sleep(max(0.0, pace - ONE_WAY + chance.uniform(-3 * ONE_WAY, ONE_WAY)))
    return became


async def measure(folder: Path, *, idle_seconds: float, posts: int, beside: int) -> Counter[str]:
    """Let several clients post at the pace at which the server closes idle connections."""
    path = folder / "one.pdf"
    path.write_bytes(make_pdf())
    documents = DocumentStore.under([str(folder)])
    certifications = [Certification(102, "Project Control", verified=True)]
    chance = random.Random(SEED)  # noqa: S311 - repeatable, not secret
    with SandboxServer(certifications=certifications, idle_seconds=idle_seconds) as sandbox:
        async with far_away(sandbox.url) as url:
            site = Site(
                name="default",
                base_url=url,
                api_key=sandbox.state.api_key,
                certifications_api_key=sandbox.state.certifications_api_key,
            )
            results = await asyncio.gather(
                *(
                    _post_steadily(site, documents, path, pace=idle_seconds, posts=posts, chance=chance)
                    for _ in range(beside)
                )
            )
    return sum(results, Counter())


async def test_a_server_that_closes_idle_connections_makes_no_unknown(tmp_path):
    """As the client is set: what was idle for longer than a moment is not used again."""
    became = await measure(tmp_path, idle_seconds=0.3, posts=8, beside=6)
    assert became == {"answered": 48}


async def test_reusing_idle_connections_would_make_unknowns(tmp_path, monkeypatch):
    """The same with a connection kept for two seconds: what the test above guards against does happen."""
    monkeypatch.setattr(api, "IDLE_SECONDS", 2.0)
    became = await measure(tmp_path, idle_seconds=0.3, posts=8, beside=6)
    assert became["unknown"] > 0


@pytest.mark.long
@pytest.mark.timeout(1200)
async def test_how_many_unknowns_each_choice_makes(tmp_path, monkeypatch):
    """The figures of the ADR, written to a file under ``.springest/tests``."""
    lines = []
    for choice, seconds in (("idle for 2 s", 2.0), ("idle for 0.1 s", 0.1), ("never", 0.0)):
        monkeypatch.setattr(api, "IDLE_SECONDS", seconds)
        for idle in (0.2, 0.5, 1.0, 2.0, 5.0):
            became = await measure(tmp_path, idle_seconds=idle, posts=12, beside=20)
            lines.append(f"reused when {choice}, closed after {idle:g} s: {dict(became)}")
            REPORT.write_text("\n".join(lines) + "\n", encoding="utf-8")
            assert seconds == 2.0 or became["unknown"] == 0
