"""Why a delivering run ends before its queue does. Each kind has a class: retry policies decide by it."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Coroutine, Mapping
from typing import Any, TypeVar

from springest.delivery.brake import SMALLEST_LIMIT
from springest.errors import SpringestError

log = logging.getLogger(__name__)
T = TypeVar("T")


def too_many_unknown(number: int) -> str:
    """Return what to say of it, and the remedy."""
    return (
        f"{number} outcomes of the last hours are unknown, as many as a night may have: look at Springest "
        "and confirm or release them (`bin/springest review list --state unknown`), then clear the task; or "
        "trigger springest_deliver: a run that a person triggers starts counting at zero"
    )


def too_large(runs: Mapping[str, int], *, usual: int) -> str:
    """Return what to say of runs that staged more than usual, and the remedy.

    :param runs: certificates that wait, by the run that staged them.
    :param usual: how many a run may have without a person.
    """
    named = ", ".join(f"{number} certificates of run {run}" for run, number in sorted(runs.items()))
    return (
        f"{named}, more than the {usual} that a run may have (five times the median of the last ones, at "
        f"least {SMALLEST_LIMIT}). If that is right, trigger springest_deliver with expected_certificates of "
        f"at least {sum(runs.values())} (it stages as well, so leave room for what was completed meanwhile), "
        "or trigger springest_review and approve it there. If not, "
        "`bin/springest review cancel --run RUN_ID --state ready`"
    )


class Halt:
    """The one switch by which a run stops claiming. It is thrown once; the first reason stays."""

    def __init__(self) -> None:
        self._event = asyncio.Event()
        self._thrown: asyncio.Future[None] | None = None
        self.why: str | None = None
        self.error: SpringestError | None = None
        self._at_once = asyncio.Event()

    @property
    def at_once(self) -> bool:
        """Whether the process is about to be killed."""
        return self._at_once.is_set()

    def __bool__(self) -> bool:
        return self._event.is_set()

    def throw(self, why: str, *, error: SpringestError | None = None, at_once: bool = False) -> None:
        """Stop claiming.

        :param error: what the run ends with; ``None`` when it ends well.
        :param at_once: the process is about to be killed: do not wait long for answers either.
        """
        if at_once:
            self._at_once.set()
        if not self:
            log.warning("Sending stops: %s", why)
            self.why, self.error = why, error
            self._event.set()
            if self._thrown is not None:
                self._thrown.set_result(None)

    async def wait(self) -> None:
        """Return once it was thrown."""
        await self._event.wait()

    async def wait_until_at_once(self) -> None:
        """Return once the process is about to be killed."""
        await self._at_once.wait()

    async def unless(self, work: Coroutine[Any, Any, T]) -> T | None:
        """Do ``work``, or give it up and return ``None`` when the switch is thrown first."""
        if self._thrown is None:
            self._thrown = asyncio.get_running_loop().create_future()
            if self:
                self._thrown.set_result(None)
        task = asyncio.ensure_future(work)
        try:
            await asyncio.wait((task, self._thrown), return_when=asyncio.FIRST_COMPLETED)
            return task.result() if task.done() else None
        finally:
            if not task.done():
                task.cancel()
                await asyncio.gather(task, return_exceptions=True)
