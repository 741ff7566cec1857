"""Reads the deliveries that a list shows, page by page: pages are found by key, never by counting rows.

Two sources hold deliveries. *Verdicts* are what was published: what analysts read, and what is indexed for
searching. The *ledger* is as it stands now and belongs to operators: it adds a delivery's present state to
each verdict, and it is the source where a filter names few deliveries that may not be published yet.
"""

from __future__ import annotations

import base64
import json
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager
from dataclasses import replace
from datetime import UTC, datetime, time, timedelta
from typing import Any, Final

from sqlalchemy import (
    ColumnElement,
    Connection,
    FromClause,
    Select,
    and_,
    case,
    func,
    literal,
    literal_column,
    or_,
    select,
    tuple_,
    union,
)

from springest.db.schema import current_verdict, delivery, staged_row
from springest.states import State
from springest.verification import VerificationStatus
from springest_provider.ui.filters import BadFilterError, Filters, LedgerNeededError, Page, Row, Sort

PAGE_ROWS: Final = 50
MOST_OF_A_LEARNER: Final = 200
FOR_A_PERSON: Final = (State.REVIEW, State.UNKNOWN, State.VANISHED)
_VERDICT: Final = current_verdict.alias("verdict")
_LEDGER: Final = delivery.alias("delivery")
_SEEN: Final = staged_row.alias("seen")


_SORTED_BY: Final = {Sort.COMPLETED: "completed_at", Sort.SENT: "sent_at", Sort.TRAINING: "training_id"}


def list_page(connection: Connection, filters: Filters, *, with_ledger: bool, rows: int = PAGE_ROWS) -> Page:
    """
    Return one page.

    :param with_ledger: the user may read the ledger.
    :raises LedgerNeededError: the filter needs it, and the user may not read it.
    :raises BadFilterError: the cursor is not one of this list.
    """
    if filters.needs_ledger and not with_ledger:
        raise LedgerNeededError
    listing = _Listing(filters, with_ledger=with_ledger)
    found: list[Row] = []
    for statement in listing.statements():
        values = connection.execute(statement.limit(rows + 1 - len(found))).mappings()
        found += [Row(**value) for value in values]
        if len(found) > rows:
            break
    page = found[:rows]
    return Page(page, listing.cursor(page[-1]) if len(found) > rows else None)


def list_all(
    reading: Callable[[], AbstractContextManager[Connection]],
    filters: Filters,
    *,
    with_ledger: bool,
    most: int,
    rows: int = 5_000,
) -> Iterator[Sequence[Row]]:
    """
    Yield all rows of a list by pages, at most ``most``.

    :param reading: opens a transaction. Each page has its own: who reads slowly holds none open.
    """
    left, after = most, filters.after
    while left > 0:
        with reading() as connection:
            wanted = replace(filters, after=after)
            page = list_page(connection, wanted, with_ledger=with_ledger, rows=min(rows, left))
        yield page.rows
        left, after = left - len(page.rows), page.after
        if after is None:
            return


class _Listing:
    """The statements of one list."""

    def __init__(self, filters: Filters, *, with_ledger: bool) -> None:
        self._filters = filters
        self._with_ledger = with_ledger
        # Few deliveries, which may not be published yet: these are looked up in the ledger.
        self._from_ledger = with_ledger and (
            filters.needs_ledger or filters.person or filters.training is not None
        )
        self._base = _LEDGER if self._from_ledger else _VERDICT

    def statements(self) -> Iterator[Select[Any]]:
        """Yield the statements whose rows, one after the other, are the list after its cursor."""
        query = select(*self._columns()).select_from(self._source()).where(*self._conditions())
        after = _decoded(self._filters.after)
        if self._filters.run is not None:
            yield self._of_run(query, after)
            return
        sorted_by = self._base.c[_SORTED_BY[self._filters.sort]]
        key = self._base.c.delivery_key
        if after is None or after[0] is not None:
            yield self._dated(query, sorted_by, key, after)
        if sorted_by.nullable:
            undated = query.where(sorted_by.is_(None))
            if after is not None and after[0] is None:
                undated = undated.where(key > after[1])
            yield undated.order_by(key)

    def cursor(self, row: Row) -> str:
        """Return the cursor of what comes after a row."""
        if self._filters.run is not None:
            return _encoded([row.row_no, row.delivery_key])
        value = getattr(row, _SORTED_BY[self._filters.sort])
        return _encoded([value.isoformat() if isinstance(value, datetime) else value, row.delivery_key])

    def _of_run(self, query: Select[Any], after: list[Any] | None) -> Select[Any]:
        if after is not None:
            query = query.where(_SEEN.c.row_no > literal(after[0], _SEEN.c.row_no.type))
        return query.order_by(_SEEN.c.row_no)

    def _dated(
        self,
        query: Select[Any],
        sorted_by: ColumnElement[Any],
        key: ColumnElement[Any],
        after: list[Any] | None,
    ) -> Select[Any]:
        """Return rows that have a value to sort by: as an index has them, forward or backward."""
        ascending = self._filters.ascending
        if self._base.c[_SORTED_BY[self._filters.sort]].nullable:
            query = query.where(sorted_by.is_not(None))
        if after is not None:
            value = after[0] if self._filters.sort is Sort.TRAINING else _moment(after[0])
            here = tuple_(sorted_by, key)
            there = tuple_(literal(value, sorted_by.type), literal(after[1], key.type))
            query = query.where(here > there if ascending else here < there)
        return query.order_by(*(c.asc() if ascending else c.desc() for c in (sorted_by, key)))

    def _source(self) -> FromClause:
        if not self._with_ledger:
            return _VERDICT
        if not self._from_ledger:
            return _VERDICT.join(_LEDGER, _LEDGER.c.delivery_key == _VERDICT.c.delivery_key)
        ledger: FromClause = _LEDGER
        if self._filters.run is not None:
            ledger = _SEEN.join(_LEDGER, _LEDGER.c.delivery_key == _SEEN.c.delivery_key)
        return ledger.outerjoin(_VERDICT, _VERDICT.c.delivery_key == _LEDGER.c.delivery_key)

    def _columns(self) -> Iterator[ColumnElement[Any]]:
        base, live = self._base, self._with_ledger
        yield from (
            base.c[name]
            for name in ("delivery_key", "training_id", "issue_no", "certification_id", "valid_from")
        )
        yield from (base.c.valid_until, base.c.completed_at, base.c.sent_at, base.c.springest_certificate_id)
        yield from (_VERDICT.c.certification_name, _VERDICT.c.first_visible_at)
        yield (_LEDGER.c.state if live else _VERDICT.c.delivery_state).label("state")
        yield _VERDICT.c.delivery_state.label("published_state")
        yield _verdict().label("verdict")
        yield (_LEDGER.c.reason if live else _VERDICT.c.delivery_reason).label("reason")
        yield (_review_reason() if live else _VERDICT.c.review_reason).label("review_reason")
        yield _LEDGER.c.version.label("version") if live else literal_column("NULL").label("version")
        of_run = self._filters.run is not None
        yield _SEEN.c.row_no.label("row_no") if of_run else literal_column("NULL").label("row_no")

    def _conditions(self) -> Iterator[ColumnElement[bool]]:
        filters, base = self._filters, self._base
        yield base.c.site == filters.site
        for column, value in (
            (base.c.training_id, filters.training),
            (base.c.certification_id, filters.certification),
            (base.c.springest_certificate_id, filters.certificate),
            (_VERDICT.c.delivery_state, filters.state),
            (_VERDICT.c.verification_status, filters.verdict),
        ):
            if value is not None:
                yield column == value
        yield from self._of_ledger()
        if filters.reason is not None:
            yield _has_reason(filters.reason)
        if filters.day is not None:
            start = datetime.combine(filters.day, time(), UTC)
            yield base.c.completed_at >= start
            yield base.c.completed_at < start + timedelta(days=1)

    def _of_ledger(self) -> Iterator[ColumnElement[bool]]:
        filters = self._filters
        if filters.person:
            yield _needs_person(filters.site) if self._with_ledger else _VERDICT.c.needs_review
        if filters.learner_ref is not None:
            yield _LEDGER.c.learner_ref == filters.learner_ref
        if filters.run is not None:
            yield and_(_SEEN.c.site == filters.site, _SEEN.c.run_id == filters.run)


def _verdict() -> ColumnElement[Any]:
    """Return the published status as ``certificate_reconciliation`` gives it: time alone makes it expire."""
    today = func.timezone("UTC", func.now()).cast(current_verdict.c.valid_until.type)
    return case(
        (
            and_(
                _VERDICT.c.verification_status == VerificationStatus.VERIFIED, _VERDICT.c.valid_until < today
            ),
            literal(VerificationStatus.EXPIRED.value),
        ),
        else_=_VERDICT.c.verification_status,
    )


def _review_reason() -> ColumnElement[Any]:
    """Return what to look at: a verdict counts while it is about the state that the delivery is in."""
    is_current = _VERDICT.c.delivery_state == _LEDGER.c.state
    return func.coalesce(case((is_current, _VERDICT.c.review_reason)), _LEDGER.c.review_reason)


def _has_reason(reason: str) -> ColumnElement[bool]:
    return or_(
        _VERDICT.c.delivery_reason == reason,
        and_(_VERDICT.c.needs_review, _VERDICT.c.review_reason == reason),
    )


def _needs_person(site: str) -> ColumnElement[bool]:
    """Return whether a delivery needs a person now, found by the three indexes that know."""
    other, verdict = delivery.alias("other"), current_verdict.alias("published")
    by_state = select(other.c.delivery_key).where(
        other.c.site == site, other.c.indexed_state.in_([state.value for state in FOR_A_PERSON])
    )
    by_flag = select(other.c.delivery_key).where(other.c.site == site, other.c.needs_review)
    by_verdict = (
        select(verdict.c.delivery_key)
        .join(other, other.c.delivery_key == verdict.c.delivery_key)
        .where(verdict.c.site == site, verdict.c.needs_review, other.c.state == verdict.c.delivery_state)
    )
    return _LEDGER.c.delivery_key.in_(union(by_state, by_flag, by_verdict))


def _encoded(values: list[Any]) -> str:
    return base64.urlsafe_b64encode(json.dumps(values).encode()).decode().rstrip("=")


def _decoded(cursor: str | None) -> list[Any] | None:
    """Return the values of a cursor: what a list is sorted by, and the key."""
    if cursor is None:
        return None
    try:
        values = json.loads(base64.urlsafe_b64decode(cursor + "=" * (-len(cursor) % 4)))
    except ValueError:
        values = None
    if not (isinstance(values, list) and len(values) == 2 and isinstance(values[1], str)):
        raise BadFilterError("this link to a further page is broken: begin with the first page")
    return values


def _moment(value: Any) -> datetime:
    try:
        return datetime.fromisoformat(str(value))
    except ValueError:
        raise BadFilterError("this link to a further page is broken: begin with the first page") from None
