"""The floor: aiohttp with bodies that are already bytes in memory. No file is read, nothing is recorded."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator

import aiohttp

from benchmarks.contenders.job import Job, fields, measured, read_job

BOUNDARY = "benchmark-boundary"
HEADERS = {"Content-Type": f"multipart/form-data; boundary={BOUNDARY}"}


def bodies(job: Job) -> list[bytes]:
    """Return one prepared body for each document; they are posted in turn."""
    made = []
    for number, path in enumerate(dict.fromkeys(job.paths())):
        lines = [
            f'--{BOUNDARY}\r\nContent-Disposition: form-data; name="{name}"\r\n\r\n{value}\r\n'
            for name, value in fields(number).items()
        ]
        lines.append(
            f'--{BOUNDARY}\r\nContent-Disposition: form-data; name="file"; filename="{path.name}"\r\n'
            "Content-Type: application/pdf\r\n\r\n"
        )
        made.append("".join(lines).encode() + path.read_bytes() + f"\r\n--{BOUNDARY}--\r\n".encode())
    return made


async def post_all(job: Job, prepared: list[bytes]) -> None:
    """Post all of them, so many at once."""
    waiting = iter(range(job.count))
    async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=job.at_once)) as session:

        async def work(numbers: Iterator[int]) -> None:
            for number in numbers:
                body = prepared[number % len(prepared)]
                async with session.post(job.url, data=body, headers=HEADERS) as answer:
                    await answer.read()
                    answer.raise_for_status()

        await asyncio.gather(*(work(waiting) for _ in range(job.at_once)))


def main() -> None:
    """Post all of them."""
    job = read_job()
    prepared = bodies(job)
    with measured(job.count):
        asyncio.run(post_all(job, prepared))


if __name__ == "__main__":
    main()
