"""Azurite, Microsoft's emulator of Azure Blob Storage, on loopback."""

from __future__ import annotations

import base64
import os
import shutil
import socket
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from demo.ports import free_port

COMMAND: Final = shutil.which("azurite-blob")
ACCOUNT: Final = "certificates"
KEY: Final = base64.b64encode(b"a key for tests only, of no use").decode()
SECONDS_TO_START: Final = 30.0


def connection_string(port: int, key: str = KEY) -> str:
    """Return the connection string of the account, also with a wrong key."""
    return (
        f"DefaultEndpointsProtocol=http;AccountName={ACCOUNT};AccountKey={key};"
        f"BlobEndpoint=http://127.0.0.1:{port}/{ACCOUNT};"
    )


@contextmanager
def azurite(folder: Path) -> Iterator[int]:
    """Run the emulator, without containers; yield its port."""
    port = free_port()
    command = [str(COMMAND), "--silent", "--skipApiVersionCheck", "--disableTelemetry"]
    command += ["--blobHost", "127.0.0.1", "--blobPort", str(port), "--location", str(folder)]
    process = subprocess.Popen(command, env={**os.environ, "AZURITE_ACCOUNTS": f"{ACCOUNT}:{KEY}"})
    try:
        _wait(port)
        yield port
    finally:
        process.terminate()
        process.wait(10)


def _wait(port: int) -> None:
    deadline = time.monotonic() + SECONDS_TO_START
    while True:
        try:
            socket.create_connection(("127.0.0.1", port), timeout=1).close()
        except OSError:
            if time.monotonic() > deadline:
                raise
            time.sleep(0.1)
        else:
            return
