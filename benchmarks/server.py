"""A loopback server that takes certificates as fast as Python can: what is measured is its clients.

It does what a client can see of Springest's POST (a 201 with a new id, once the whole body is in) and GET (a
page of the list), checks nothing and caps nothing. Run as a process of its own, it prints its port.
"""

from __future__ import annotations

import asyncio
import re
import signal
import sys
from bisect import bisect_left
from collections.abc import Sequence
from datetime import date, timedelta
from pathlib import Path
from typing import Any, Final, cast
from urllib.parse import parse_qs, urlsplit

_LENGTH: Final = re.compile(rb"\r\ncontent-length: *(\d+)", re.IGNORECASE)
_HEAD_END: Final = b"\r\n\r\n"
_BUFFER_BYTES: Final = 1024 * 1024
FIRST_DAY: Final = date(2020, 1, 1)


def created(number: int) -> bytes:
    """Return the answer to a POST."""
    body = (
        '<?xml version="1.0" encoding="UTF-8"?>\n<response><certificate>'
        f'<id type="integer">{number}</id></certificate></response>'
    ).encode()
    return _answer(b"201 Created", body)


def page(offset: int, size: int, rows: Sequence[bytes]) -> bytes:
    """Return a page of a list."""
    body = (
        b'<?xml version="1.0" encoding="UTF-8"?>\n<response>'
        b'<meta><results type="integer">%d</results><offset type="integer">%d</offset></meta>'
        b'<certificates type="array">%b</certificates></response>'
    ) % (len(rows), offset, b"".join(rows[offset : offset + size]))
    return _answer(b"200 OK", body)


class Filters:
    """Finds the certificates that filters ask for by an index, as Springest's database does.

    :param rows: the list.
    """

    def __init__(self, rows: Sequence[bytes]) -> None:
        self._rows = rows
        in_order = sorted(
            (_field(row, b"created-at")[: len("2026-11-02")], place) for place, row in enumerate(rows)
        )
        self._days = [day for day, _ in in_order]
        self._places = [place for _, place in in_order]

    def find(self, *, created_from: str = "", certification_id: str = "") -> list[bytes]:
        """Return the rows that were stored since a day, of one certification, in the list's order."""
        since = self._places[bisect_left(self._days, created_from.encode()) :]
        found = [self._rows[place] for place in sorted(since)]
        number = certification_id.encode()
        return [row for row in found if _field(row, b"certification-id") == number] if number else found


def _field(row: bytes, name: bytes) -> bytes:
    return row.partition(b"<" + name)[2].partition(b">")[2].partition(b"<")[0]


class Numbered(Sequence[bytes]):
    """A list of so many certificates, numbered from 1, without keeping them.

    :param count: how many.
    """

    def __init__(self, count: int) -> None:
        self._numbers = range(1, count + 1)

    def __len__(self) -> int:
        return len(self._numbers)

    def __getitem__(self, place: Any) -> Any:
        numbers = self._numbers[place]
        if isinstance(numbers, range):
            return [_row(number).encode() for number in numbers]
        return _row(numbers).encode()


def listed(source: str) -> Sequence[bytes]:
    """Return the rows of the list: a number of them, or a file with one a line."""
    return Numbered(int(source)) if source.isdecimal() else Path(source).read_bytes().splitlines()


def _row(number: int) -> str:
    day = FIRST_DAY + timedelta(days=number % 1_000)
    return (
        f'<certificate><id type="integer">{number}</id>'
        f'<certification-id type="integer">{100 + number % 50}</certification-id>'
        f'<valid-from type="date">{day}</valid-from><valid-until type="date" nil="true"/>'
        f'<status>verified</status><created-at type="datetime">{day}T12:00:00Z</created-at></certificate>'
    )


def _answer(status: bytes, body: bytes) -> bytes:
    head = b"HTTP/1.1 %b\r\nContent-Type: application/xml\r\nContent-Length: %d\r\n\r\n"
    return head % (status, len(body)) + body


class Connection(asyncio.BufferedProtocol):
    """One connection; bodies are counted, not kept."""

    ids = 0
    posts = 0
    gets = 0

    def __init__(self, rows: Sequence[bytes], filters: Filters) -> None:
        self._rows = rows
        self._filters = filters
        self._buffer = bytearray(_BUFFER_BYTES)
        self._head = bytearray()
        self._missing = 0
        self._transport: asyncio.Transport | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Keep the transport."""
        self._transport = cast("asyncio.Transport", transport)

    def get_buffer(self, sizehint: int) -> bytearray:  # noqa: ARG002 - asyncio's signature
        """Return where the next bytes go."""
        return self._buffer

    def buffer_updated(self, nbytes: int) -> None:
        """Take bytes: of a body they are counted, of a head kept until it is whole."""
        view = memoryview(self._buffer)[:nbytes]
        while view:
            if self._missing:
                taken = min(self._missing, len(view))
                self._missing -= taken
                view = view[taken:]
                if not self._missing:
                    self._answer_post()
                continue
            self._head += view[: 64 * 1024]
            end = self._head.find(_HEAD_END)
            if end < 0:
                view = view[64 * 1024 :]
                continue
            used = len(view[: 64 * 1024]) - (len(self._head) - end - len(_HEAD_END))
            view = view[used:]
            head, self._head = bytes(self._head[:end]), bytearray()
            self._begin(head)

    def _begin(self, head: bytes) -> None:
        if head.startswith(b"POST"):
            length = _LENGTH.search(head)
            self._missing = int(length[1]) if length else 0
            return
        Connection.gets += 1
        asked = parse_qs(urlsplit(head.split(b" ", 2)[1].decode()).query)
        rows = self._rows
        if "created_from" in asked or "certification_id" in asked:
            filters = {name: asked[name][0] for name in ("created_from", "certification_id") if name in asked}
            rows = self._filters.find(**filters)
        self._write(page(int(asked["offset"][0]), int(asked["size"][0]), rows))

    def _answer_post(self) -> None:
        Connection.posts += 1
        Connection.ids += 1
        self._write(created(Connection.ids))

    def _write(self, answer: bytes) -> None:
        if self._transport is not None:
            self._transport.write(answer)


async def serve(rows: Sequence[bytes]) -> None:
    """Serve until SIGTERM; print the port first, and at the end what was asked for.

    A list that is only numbered is not filtered.
    """
    loop = asyncio.get_running_loop()
    ended = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, ended.set)
    filters = Filters(() if isinstance(rows, Numbered) else rows)
    server = await loop.create_server(lambda: Connection(rows, filters), "127.0.0.1", 0)
    async with server:
        sys.stdout.write(f"{server.sockets[0].getsockname()[1]}\n")
        sys.stdout.flush()
        await ended.wait()
    sys.stdout.write(f"{Connection.posts} {Connection.gets}\n")


if __name__ == "__main__":
    asyncio.run(serve(listed(sys.argv[1])))
