"""Finds free ports instead of assuming them."""

from __future__ import annotations

import socket


def free_port() -> int:
    """Return a free port on loopback.

    Another process may use it first; a server that finds it in use tries another.
    """
    with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])
