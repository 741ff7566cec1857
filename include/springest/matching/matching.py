"""Match deliveries with the certificates that Springest shows: first by proof, then by inference.

*Proof* moves a delivery to another state: the id in Springest's response, or the owner if the site names it.
Absence moves one too, if it is conclusive. *Inferred* and ambiguous matches move nothing: they are kept in
``springest.delivery_match``, computed again each time from current data, and written only if they differ.
"""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from itertools import groupby
from operator import itemgetter
from typing import Any, Final

from sqlalchemy import Connection, text

from springest.db.statements import load_sql
from springest.matching.evidence import to_match_row
from springest.matching.inference import CANDIDATES_NAMED, Finding, Kind, Post, Shown, pair
from springest.matching.together import together
from springest.site import Site
from springest.snapshot.clock_skew import (
    LATER_BY_HOURS,
    STORED_BY_HOURS,
    WIDE_HOURS,
    Clock,
    HourOfSamples,
)
from springest.states import Event, sources_of

log = logging.getLogger(__name__)

_TABLES: Final = load_sql("matching/matching_tables")
_MARK_VISIBLE: Final = text(load_sql("matching/mark_visible"))
_ANALYZE_STATES: Final = text("ANALYZE springest.delivery (site, state, indexed_state, match_method)")
_SHOWN_OTHERWISE: Final = text(load_sql("matching/shown_otherwise"))
_WATCHED_SINCE: Final = text(load_sql("matching/watched_since"))
_FILL_SIDES: Final = text(load_sql("matching/fill_sides"))
_MATCH_OWNERS: Final = text(load_sql("matching/match_owners"))
_SHOWN_TWICE: Final = text(load_sql("matching/shown_twice"))
_REVIEW_ABSENT: Final = text(load_sql("matching/settle_absent", shown_posts=load_sql("snapshot/shown_posts")))
_FIND_RELEASED: Final = text(load_sql("matching/find_released"))
_HOLD_RELEASED: Final = text(load_sql("matching/hold_released"))
_REVIEW_OLD_UNKNOWNS: Final = text(load_sql("matching/review_old_doubts"))
_CLOCK_SAMPLES: Final = text(load_sql("matching/clock_samples"))
_FILL_BLOCKS: Final = text(load_sql("matching/fill_blocks"))
_BLOCKS: Final = text(load_sql("matching/blocks"))
_TAKE_BACK_ABSENCE: Final = text(load_sql("matching/take_back_absence"))
_MERGE: Final = text(load_sql("matching/merge_matches"))
_COPY: Final = (
    "COPY pg_temp.matching_found (delivery_id, verification_status, match_method, springest_certificate_id, "
    "candidates, candidate_count, evidence, review_reason) FROM STDIN"
)
_COPY_KEPT: Final = "COPY pg_temp.matching_kept (delivery_id) FROM STDIN"
SNAPSHOTS_APART_HOURS: Final = 24
"""Minimum time between two complete snapshots, for a certificate that both lack to count as gone."""
UNKNOWN_FOR_LONG_DAYS: Final = 14
MANY_MOVED: Final = 1_000
"""If so many deliveries become visible at once, the planner's statistics are collected again."""
BUFFERED_ROWS: Final = 5_000
"""Rows read or written at a time."""


@dataclass(frozen=True, slots=True)
class MatchReport:
    """The result of a matching.

    :param proven: deliveries that became visible, by id or by owner.
    :param absent: deliveries that Springest was found to lack.
    :param unproven: deliveries with a match without proof, by kind.
    :param changed: rows of ``delivery_match`` that were written or removed.
    """

    proven: int
    absent: int
    unproven: dict[str, int]
    changed: int


def match(connection: Connection, site: Site) -> MatchReport:
    """Match one site's deliveries, in the caller's transaction and under the caller's lock."""
    named = {"site": site.name}
    seen = [state.value for state in sources_of(Event.SEEN)]
    by_id = connection.execute(_MARK_VISIBLE, {**named, "states": seen}).rowcount
    if by_id >= MANY_MOVED:
        # Otherwise the next statements are planned for hardly any. A role that does not own the table only
        # gets a warning.
        connection.execute(_ANALYZE_STATES)
    connection.execute(_SHOWN_OTHERWISE, named)
    since = _watched_since(connection, site.name)
    _fill_tables(connection, site.name, since)
    by_owner = connection.execute(_MATCH_OWNERS, {**named, "clock_hours": WIDE_HOURS}).scalar_one()
    absent = _review_absent(connection, site, watched=since is not None)
    unproven = _write_inferences(connection, site)
    written, taken_back = connection.execute(_MERGE, named).one()
    connection.execute(_TAKE_BACK_ABSENCE, named)
    return MatchReport(by_id + by_owner, absent, dict(unproven), written + taken_back)


def _watched_since(connection: Connection, site: str) -> datetime | None:
    """Return the time since which an absence counts; ``None`` if there are not enough snapshots yet."""
    since: datetime | None = connection.execute(
        _WATCHED_SINCE, {"site": site, "apart_hours": SNAPSHOTS_APART_HOURS}
    ).scalar_one()
    return since


def _fill_tables(connection: Connection, site: str, since: datetime | None) -> None:
    """Fill the temporary tables with the open deliveries and the certificates that belong to none."""
    connection.exec_driver_sql(_TABLES)
    connection.execute(_FILL_SIDES, {"site": site, "since": since})
    # The planner has no statistics of a new temporary table.
    connection.exec_driver_sql("ANALYZE pg_temp.matching_node, pg_temp.matching_row")


def _review_absent(connection: Connection, site: Site, *, watched: bool) -> int:
    """Mark for review: certificates that Springest lacks, candidates since a release, and old unknowns.

    :param watched: whether two complete snapshots are far enough apart for an absence to count.
    :returns: number of absent certificates.
    """
    values = {
        "site": site.name,
        "apart_hours": SNAPSHOTS_APART_HOURS,
        "stored_by_hours": STORED_BY_HOURS,
        "later_by_hours": LATER_BY_HOURS,
        "lists_verified_only": site.catalogue_lists_verified_only,
    }
    lacked = connection.execute(_REVIEW_ABSENT, values).all() if watched else []
    _review_released(connection, site.name)
    connection.execute(_REVIEW_OLD_UNKNOWNS, {"site": site.name, "days": UNKNOWN_FOR_LONG_DAYS})
    for reason, number in sorted(Counter(reason for _, reason in lacked).items()):
        log.warning("%d certificates are %s at Springest: see certificate_reconciliation", number, reason)
    return len(lacked)


def _review_released(connection: Connection, site: str) -> None:
    """Send released deliveries back to review if Springest now shows a candidate."""
    if connection.execute(_FIND_RELEASED, {"site": site}).rowcount:
        connection.exec_driver_sql("ANALYZE pg_temp.matching_released")
        connection.execute(_HOLD_RELEASED, {"site": site, "clock_hours": WIDE_HOURS})


def _write_inferences(connection: Connection, site: Site) -> Counter[str]:
    """Write the matches without proof; return their number by kind."""
    twice = connection.execute(
        _SHOWN_TWICE,
        {
            "site": site.name,
            "clock_hours": WIDE_HOURS,
            "stored_by_hours": STORED_BY_HOURS,
            "most": CANDIDATES_NAMED,
        },
    ).rowcount
    counted = Counter({"shown_twice": twice} if twice else {})
    changed, unchanged = _CopyBuffer(connection, _COPY), _CopyBuffer(connection, _COPY_KEPT)
    for finding, digest in _findings(connection, site):
        counted[finding.kind.value] += 1
        row = to_match_row(finding, exclusive=site.exclusive_uploader)
        if row.digest == digest:
            unchanged.put((row.delivery_id,))
        else:
            changed.put(row)
    changed.flush()
    unchanged.flush()
    connection.exec_driver_sql("ANALYZE pg_temp.matching_found, pg_temp.matching_kept")
    if counted[Kind.LEFT_OVER]:
        log.warning(
            "Springest shows more certificates than were sent, which concerns %d deliveries: somebody else "
            "uploads, although exclusive_uploader is set",
            counted[Kind.LEFT_OVER],
        )
    return counted


def _findings(connection: Connection, site: Site) -> Iterator[tuple[Finding, str]]:
    """Yield the findings, with the digest of the stored ones."""
    if not connection.execute(_FILL_BLOCKS).rowcount:
        return
    connection.exec_driver_sql("ANALYZE pg_temp.matching_block")
    clock = Clock(HourOfSamples(*row) for row in connection.execute(_CLOCK_SAMPLES, {"site": site.name}))
    verified = [word.lower() for word in site.verified_statuses]
    rows = connection.execute(
        _BLOCKS, {"verified_statuses": verified}, execution_options={"yield_per": BUFFERED_ROWS}
    )
    for _, block in groupby(rows, key=itemgetter(0)):
        posts: list[Post] = []
        shown: list[Shown] = []
        digests: dict[int, str] = {}
        for _, is_shown, number, learner, moment, seen_by, first, second, digest in block:
            if is_shown:
                shown.append(Shown(number, moment, learner, seen_by, first, second))
            else:
                posts.append(Post(number, moment, learner, first, second))
                if digest is not None:
                    digests[number] = digest
        for finding in together(pair(posts, shown, clock=clock, exclusive=site.exclusive_uploader)):
            yield finding, digests[finding.post.delivery_id]


class _CopyBuffer:
    """Copies rows into a temporary table, ``BUFFERED_ROWS`` at a time."""

    def __init__(self, connection: Connection, statement: str) -> None:
        self._driver: Any = connection.connection.driver_connection
        self._statement = statement
        self._rows: list[tuple[Any, ...]] = []

    def put(self, row: tuple[Any, ...]) -> None:
        """Add a row."""
        self._rows.append(row)
        if len(self._rows) >= BUFFERED_ROWS:
            self.flush()

    def flush(self) -> None:
        """Write the buffered rows."""
        with self._driver.cursor() as cursor, cursor.copy(self._statement) as copy:
            for row in self._rows:
                copy.write_row(row)
        self._rows.clear()
