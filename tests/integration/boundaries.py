"""Kills a child process at its Nth boundary: a statement, a commit, the connection, a piece of a body."""

from __future__ import annotations

import multiprocessing
import os
import signal
from collections.abc import Callable
from contextlib import suppress
from typing import Any

import aiohttp
from sqlalchemy.engine.default import DefaultDialect

from springest.api import client as api
from springest.api.body import CertificateBody
from springest.api.client import SpringestClient
from springest.delivery.attempt_watermark import AttemptWatermark


class Boundaries:
    """Counts boundaries, and kills the process at the chosen one."""

    def __init__(self, last: int, crossed: Any) -> None:
        self._last, self._crossed = last, crossed

    def cross(self) -> None:
        self._crossed.value += 1
        if self._crossed.value == self._last:
            os.kill(os.getpid(), signal.SIGKILL)

    def around(self, owner: Any, *names: str) -> None:
        """Make a boundary before and after a function."""
        for name in names:
            setattr(owner, name, self._crossing(getattr(owner, name)))

    def around_coroutine(self, owner: Any, *names: str) -> None:
        """Make a boundary before and after a coroutine function."""
        for name in names:
            setattr(owner, name, self._awaiting(getattr(owner, name)))

    def _crossing(self, inner: Callable[..., Any]) -> Callable[..., Any]:
        def crossing(*args: Any, **kwargs: Any) -> Any:
            self.cross()
            result = inner(*args, **kwargs)
            self.cross()
            return result

        return crossing

    def _awaiting(self, inner: Callable[..., Any]) -> Callable[..., Any]:
        async def crossing(*args: Any, **kwargs: Any) -> Any:
            self.cross()
            result = await inner(*args, **kwargs)
            self.cross()
            return result

        return crossing


def _in_child(world, last, crossed, work):
    """Do ``work`` in the child process, until the chosen boundary."""
    world.warehouse.dispose(close=False)
    world.source.dispose(close=False)
    boundaries = Boundaries(last, crossed)
    boundaries.around(DefaultDialect, "do_execute", "do_executemany", "do_commit")
    boundaries.around_coroutine(aiohttp.TCPConnector, "connect")
    boundaries.around_coroutine(SpringestClient, "post_certificate", "read_page")
    boundaries.around_coroutine(CertificateBody, "_send")
    boundaries.around_coroutine(AttemptWatermark, "advance")
    boundaries.around_coroutine(api, "_read")
    with suppress(Exception):
        work()
    os._exit(0)


def cross(world, last, work):
    """Do ``work`` in a child process that dies at the chosen boundary; return how many it crossed."""
    context = multiprocessing.get_context("fork")
    crossed = context.RawValue("i", 0)
    child = context.Process(target=_in_child, args=(world, last, crossed, work))
    child.start()
    child.join(60)
    assert child.exitcode == (-signal.SIGKILL if crossed.value == last else 0)
    return crossed.value
