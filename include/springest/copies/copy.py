"""
Copy what a site has published to another warehouse: only what differs, and all of it at once.

Nothing is remembered between two copies. Each compares the copy with the warehouse, so a copy that died, ran
late or ran twice, an erased learner, a verdict that expired and a rotated secret need no rules of their own.
"""

from __future__ import annotations

import logging
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Final

from sqlalchemy import Engine

from springest.copies.published import CURRENT, HISTORY, Published, published
from springest.copies.target import Destination, Target, open_target
from springest.errors import CopyAhead, CopyFailed

log = logging.getLogger(__name__)
_KEY: Final = ("row_id", "row_hash")


@dataclass(frozen=True, slots=True)
class CopyReport:
    """
    Result of a copy.

    :param rows: versions that the copy has now.
    :param written: rows that were added or changed.
    :param removed: rows that the warehouse no longer has.
    """

    rows: int
    written: int
    removed: int


def copy_site(
    engine: Engine,
    destination: Destination,
    *,
    site: str,
    compare_values: bool = False,
    remove_extra: bool = False,
) -> CopyReport:
    """
    Make the copy equal to what the site has published.

    :param compare_values: compare every value of every row; otherwise the hashes that the copy stores.
    :param remove_extra: remove rows that the warehouse lacks, after it was restored from a backup.
    :raises CopyAhead: the copy has rows that the warehouse lacks; nothing was changed.
    :raises CopyFailed: the destination failed, or the copy still differs.
    :raises ConfigurationError: the destination is not usable.
    :raises WarehouseLocked: another copy of the site is running.
    """
    with published(engine, site) as source, open_target(destination, site) as target:
        copied_at = datetime.now(UTC)
        written, removed = _compare(source, target, compare_values=compare_values)
        if removed and not remove_extra:
            raise CopyAhead(
                f"the copy in {destination.name} has {removed:,} versions of site {site} that the warehouse "
                "lacks: the warehouse was restored from a backup, or it is another one. Nothing was copied. "
                "Once the warehouse is right, run the copy with remove_extra"
            )
        if written or removed:
            target.merge(source.differences(), source.columns)
        if target.checksum() != source.checksum:
            raise CopyFailed(
                f"the copy in {destination.name} still differs after {written:,} rows were written and "
                f"{removed:,} removed: run it with compare_values; if that fails as well, drop its table "
                "certificate_version, and all is copied again"
            )
        target.write_freshness(source.freshness, copied_at)
        target.show({view: source.views[view] for view in (HISTORY, CURRENT)})
        return CopyReport(source.checksum.rows, written, removed)


def _compare(source: Published, target: Target, *, compare_values: bool) -> tuple[int, int]:
    """Return the numbers of rows to write and to remove."""
    if compare_values:
        return source.compare_values(target.rows([*(c.name for c in source.columns), "row_hash"]))
    if target.checksum() == source.checksum:
        return 0, 0
    return source.compare_hashes(target.rows(_KEY))
