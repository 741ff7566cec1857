"""``python -m sandbox``: a fake Springest server on loopback, for development."""

from __future__ import annotations

import argparse
import json
import logging
import os
import secrets
import sys
import time
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

from sandbox.profiles import PROFILES
from sandbox.server import listening_socket, make_server
from sandbox.state import SandboxState
from sandbox.store import Certification, Store


def parse(arguments: Sequence[str]) -> argparse.Namespace:
    """Parse the command line; keys come from the environment, which process lists do not show."""
    parser = argparse.ArgumentParser(prog="python -m sandbox", description=__doc__)
    parser.add_argument("--port", type=int, default=0, help="port on loopback; 0 takes a free one")
    parser.add_argument("--ready-file", type=Path, help="file to write the address to once it listens")
    parser.add_argument("--database", default=":memory:", help="SQLite file that keeps what it received")
    parser.add_argument("--profile", choices=PROFILES, default="documented", help="how it behaves")
    parser.add_argument("--requests-per-hour", type=int, default=4000, help="cap for each key; 0 is none")
    parser.add_argument("--page-max", type=int, default=100, help="rows of a page at most")
    parser.add_argument("--certifications", type=Path, help="JSON list of certifications to begin with")
    parser.add_argument("--keep-files", type=Path, help="folder that gets every file, named by its sha256")
    parser.add_argument("--verbose", action="store_true", help="log every request, without its query")
    parser.epilog = (
        "SANDBOX_API_KEY and SANDBOX_CERTIFICATIONS_API_KEY hold the keys, or these names followed by _FILE "
        "name files that do; without them they are made."
    )
    return parser.parse_args(arguments)


def main(arguments: Sequence[str]) -> None:
    """Run the sandbox until it is stopped."""
    options = parse(arguments)
    # A process that waits for this file must not read an earlier sandbox's address.
    if options.ready_file:
        options.ready_file.unlink(missing_ok=True)
    if options.keep_files:
        options.keep_files.mkdir(parents=True, exist_ok=True)
    logging.basicConfig(level=logging.INFO if options.verbose else logging.WARNING, format="%(message)s")
    store = Store(options.database, clock=time.time)
    api_key, other_key = _given("SANDBOX_API_KEY"), _given("SANDBOX_CERTIFICATIONS_API_KEY")
    state = SandboxState(
        store=store,
        api_key=api_key or secrets.token_hex(16),
        certifications_api_key=other_key or secrets.token_hex(16),
        profile=PROFILES[options.profile],
        requests_per_hour=options.requests_per_hour or None,
        page_max=options.page_max,
        keep_files=options.keep_files,
    )
    if options.certifications:
        _add_missing(store, options.certifications)
    listener = listening_socket(options.port)
    url = f"http://127.0.0.1:{listener.getsockname()[1]}"
    sys.stdout.write(f"Springest sandbox at {url}, control at {url}/_sandbox\n")
    if not api_key:
        sys.stdout.write(f"API key for certificates: {state.api_key}\n")
    if not other_key:
        sys.stdout.write(f"API key for certifications: {state.certifications_api_key}\n")
    sys.stdout.flush()
    if options.ready_file:
        _write_whole(options.ready_file, url)
    try:
        with suppress(KeyboardInterrupt):
            make_server(state).run(sockets=[listener])
    finally:
        store.close()


def _given(name: str) -> str | None:
    """Return a key from the environment, or from the file that the environment names."""
    file = os.environ.get(f"{name}_FILE")
    return Path(file).read_text(encoding="utf-8").strip() if file else os.environ.get(name)


def _add_missing(store: Store, path: Path) -> None:
    """Add the certifications of a file; those that exist since before a restart are not changed."""
    for values in json.loads(path.read_text(encoding="utf-8")):
        if store.certification(values["id"]) is None:
            store.add_certification(Certification(**values))


def _write_whole(path: Path, text: str) -> None:
    """Write a file atomically."""
    partial = path.with_suffix(".partial")
    partial.write_text(text, encoding="utf-8")
    partial.replace(path)


if __name__ == "__main__":
    main(sys.argv[1:])
