"""The high-water mark: the highest attempt number, kept outside the warehouse.

A ledger that was restored from a backup, or a standby that took over too early, has lost attempts: its
``ready`` deliveries may have been sent. The number kept here includes the last POST, so a run can detect
such a ledger and send nothing.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Sequence
from typing import Protocol

from springest.errors import ConfigurationError, LedgerBehind

log = logging.getLogger(__name__)


class WatermarkStore(Protocol):
    """A place outside the warehouse that stores one number for a site. Both methods may block."""

    def read(self) -> int | None:
        """Return the number, or ``None`` if none was ever stored."""

    def write(self, attempt_id: int) -> None:
        """Store the number."""


class AttemptWatermark:
    """Compares the ledger with the high-water mark, and advances the mark; one object per run.

    :param store: where the mark of this site is stored.
    :param others: stores of the warehouse's other sites. All sites share one numbering: if one site continued
        with a restored ledger, its new numbers would hide the attempts that the others have lost.
    """

    def __init__(self, store: WatermarkStore, *, others: Sequence[WatermarkStore] = ()) -> None:
        self._store = store
        self._others = others
        self._stored = 0
        self._is_read_back = False
        self._writing: asyncio.Task[None] | None = None
        self.highest = 0

    async def verify(self, highest_in_ledger: Callable[[], Awaitable[int]]) -> None:
        """Compare the ledger with the mark before anything is sent.

        :param highest_in_ledger: returns the highest attempt in the ledger, 0 without any. It is called last:
            otherwise an attempt that a concurrent run adds meanwhile would look lost.
        :raises LedgerBehind: the ledger has lost attempts.
        """
        self._stored, highest = await asyncio.to_thread(self._read)
        in_ledger = await highest_in_ledger()
        if in_ledger < highest:
            raise LedgerBehind(in_ledger, highest)
        self.highest = in_ledger

    async def advance(self, attempt_id: int, *, known: int) -> None:
        """Raise the mark to a new attempt; return once it is stored. Concurrent calls share one write.

        :param known: ``highest`` at the time of the claim.
        :raises LedgerBehind: the ledger used a number twice, so it was restored or replaced.
        :raises ConfigurationError: the number that is read back differs from the one written.
        """
        if attempt_id <= known:
            raise LedgerBehind(attempt_id - 1, known)
        self.highest = max(self.highest, attempt_id)
        while self._stored < attempt_id:
            if self._writing is None:
                self._writing = asyncio.create_task(self._write_highest())
            await asyncio.shield(self._writing)

    async def flush(self) -> None:
        """Raise the stored mark if a concurrent run wrote a lower one; a failure is only logged."""
        try:
            await asyncio.to_thread(self._raise_to, self.highest)
        except Exception as error:  # noqa: BLE001 - whatever the store raises: the next call may succeed
            log.warning("The highest attempt was not stored outside the warehouse: %s", type(error).__name__)

    async def _write_highest(self) -> None:
        try:
            await asyncio.sleep(0)  # lets the other claims of the same statement join
            number = self.highest
            await asyncio.to_thread(self._write, number)
            self._stored = max(self._stored, number)
        finally:
            self._writing = None

    def _write(self, number: int) -> None:
        """Write the number; the first time, read it back as well.

        A concurrent run may have written another number in between. If the previous number is read, a copy
        hides the one that was written.
        """
        self._store.write(number)
        if self._is_read_back:
            return
        found = self._store.read()
        if found != number and found in (None, self._stored):
            raise ConfigurationError(
                f"{self._store} was set to {number} and is read as {found}: a copy hides the value, and "
                "nothing is sent without it. Remove the copy (in the environment of the workers or the API "
                "server, or in a secrets backend): see 'A copy of the highest attempt' in docs/operations.md"
            )
        self._is_read_back = True

    def _read(self) -> tuple[int, int]:
        """Return the mark of this site, and the highest of all sites."""
        own = self._store.read() or 0
        return own, max([own, *(store.read() or 0 for store in self._others)])

    def _raise_to(self, number: int) -> None:
        if number > (self._store.read() or 0):
            self._store.write(number)
