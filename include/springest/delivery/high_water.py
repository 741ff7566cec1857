"""The highest attempt that was ever made, kept outside the warehouse.

A ledger that is restored from a backup, or a standby that took over before it had everything, has
forgotten attempts: its ``ready`` deliveries may have been sent. What is kept here is as new as the last POST,
and a run that notices such a ledger sends nothing.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Sequence
from typing import Protocol

from springest.errors import ConfigurationError, LedgerBehind

log = logging.getLogger(__name__)


class Keeper(Protocol):
    """A place outside the warehouse that keeps one number for a site."""

    def read(self) -> int | None:
        """Return the number, or ``None`` when none was ever kept."""

    def write(self, attempt_id: int) -> None:
        """Keep the number."""


class HighWater:
    """Compares the ledger with what is kept outside, and keeps that up to date; one a run.

    :param keeper: where it is kept; it may block.
    :param others: where it is kept for the warehouse's other sites. Attempts of all are numbered together: if
        one site went on with a restored ledger, its new numbers would hide what the others have lost.
    """

    def __init__(self, keeper: Keeper, *, others: Sequence[Keeper] = ()) -> None:
        self._keeper = keeper
        self._others = others
        self._kept = 0
        self._is_read_back = False
        self._keeping: asyncio.Task[None] | None = None
        self.highest = 0

    async def check(self, highest_in_ledger: Callable[[], Awaitable[int]]) -> None:
        """Compare before anything is sent.

        :param highest_in_ledger: asks for the ledger's highest attempt, 0 without any; last, so that what
            a run beside this one adds meanwhile does not look forgotten.
        :raises LedgerBehind: the ledger has forgotten attempts.
        """
        self._kept, kept = await asyncio.to_thread(self._read)
        in_ledger = await highest_in_ledger()
        if in_ledger < kept:
            raise LedgerBehind(in_ledger, kept)
        self.highest = in_ledger

    async def note(self, attempt_id: int, *, asked_after: int) -> None:
        """Note a new attempt before its first byte leaves; return once it is kept.

        Those that wait meanwhile are kept together.

        :param asked_after: ``highest`` when the claim was asked for.
        :raises LedgerBehind: the ledger gave a number a second time: it is not the one it was.
        :raises ConfigurationError: what is written is not what is read.
        """
        if attempt_id <= asked_after:
            raise LedgerBehind(attempt_id - 1, asked_after)
        self.highest = max(self.highest, attempt_id)
        while self._kept < attempt_id:
            if self._keeping is None:
                self._keeping = asyncio.create_task(self._keep())
            await asyncio.shield(self._keeping)

    async def _keep(self) -> None:
        try:
            await asyncio.sleep(0)  # for what was claimed in the same statement
            number = self.highest
            await asyncio.to_thread(self._write, number)
            self._kept = max(self._kept, number)
        finally:
            self._keeping = None

    async def keep(self) -> None:
        """Raise the stored value if a concurrent run wrote a lower one; a failure is only logged."""
        try:
            await asyncio.to_thread(self._raise_to, self.highest)
        except Exception as error:  # noqa: BLE001 - whatever keeps it: the next time may work
            log.warning("The highest attempt was not kept outside the warehouse: %s", type(error).__name__)

    def _write(self, number: int) -> None:
        """Write the number; the first time, make sure that it is what is read.

        A run beside this one may have written another number meanwhile; what was there before is read only
        where something hides what is written.
        """
        self._keeper.write(number)
        if not self._is_read_back:
            found = self._keeper.read()
            if found != number and found in (None, self._kept):
                raise ConfigurationError(
                    f"{self._keeper} was set to {number} and is read as {found}: something hides what is "
                    "written, and nothing is sent without it. Remove the copy that is read before it (in the "
                    "environment of the workers or the API server, or in a secrets backend): see "
                    "'A copy of the highest attempt' in docs/operations.md"
                )
            self._is_read_back = True

    def _read(self) -> tuple[int, int]:
        """Return what is kept for this site, and the highest of all sites."""
        own = self._keeper.read() or 0
        return own, max([own, *(other.read() or 0 for other in self._others)])

    def _raise_to(self, number: int) -> None:
        if number > (self._keeper.read() or 0):
            self._keeper.write(number)
