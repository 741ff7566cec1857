"""Reads the deliveries that a list shows, page by page: pages are found by key, never by counting rows.

Two sources hold deliveries. *Verdicts* are published, read by analysts and indexed for searching. The
*ledger* is current and belongs to operators: it adds a delivery's present state to each verdict. It is also
the source for filters with an index there: state, reason, training, run, learner, and *Needs a person*. Such
deliveries may not be published yet. A filter applies to the value that the list shows.
"""

from __future__ import annotations

import base64
import json
from collections.abc import Callable, Iterator
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

from springest.db.schema import current_verdict, delivery, needs_person, staged_row
from springest.states import State
from springest.verification import VerificationStatus
from springest_provider.ui.filters import (
    BadFilterError,
    Filters,
    LedgerNeededError,
    Page,
    Row,
    Sort,
    require_storable,
)

PAGE_ROWS: Final = 50
MOST_OF_A_LEARNER: Final = 200
_UNINDEXED: Final = (State.ACCEPTED, State.VISIBLE)
"""States that no index of the ledger holds; see docs/adr/0014."""
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
) -> Iterator[Page]:
    """
    Yield all rows of a list by pages, at most ``most``; if there are more, the last page has a cursor.

    :param reading: opens a transaction. Each page has its own, so a slow client holds none open.
    """
    left, after = most, filters.after
    while left > 0:
        with reading() as connection:
            wanted = replace(filters, after=after)
            page = list_page(connection, wanted, with_ledger=with_ledger, rows=min(rows, left))
        yield page
        left, after = left - len(page.rows), page.after
        if after is None:
            return


class _Listing:
    """The statements of one list."""

    def __init__(self, filters: Filters, *, with_ledger: bool) -> None:
        self._filters = filters
        self._with_ledger = with_ledger
        self._from_ledger = with_ledger and (
            filters.needs_ledger
            or filters.person
            or filters.training is not None
            or filters.reason is not None
            or filters.state not in (None, *_UNINDEXED)
        )
        self._base = _LEDGER if self._from_ledger else _VERDICT

    def statements(self) -> Iterator[Select[Any]]:
        """Yield the statements whose rows, in this order, are the list after its cursor."""
        query = select(*self._columns()).select_from(self._source()).where(*self._conditions())
        after = self._after()
        if self._filters.run is not None:
            yield self._of_run(query, after)
            return
        sorted_by = self._base.c[_SORTED_BY[self._filters.sort]]
        key = self._base.c.delivery_id
        if after is None or after[0] is not None:
            yield self._dated(query, sorted_by, key, after)
        if sorted_by.nullable:
            undated = query.where(sorted_by.is_(None))
            if after is not None and after[0] is None:
                undated = undated.where(key > after[1])
            yield undated.order_by(key)

    def cursor(self, row: Row) -> str:
        """Return the cursor for the rows after this one."""
        if self._filters.run is not None:
            return _encoded([row.row_no, row.delivery_id])
        value = getattr(row, _SORTED_BY[self._filters.sort])
        return _encoded([value.isoformat() if isinstance(value, datetime) else value, row.delivery_id])

    def _after(self) -> tuple[Any, int] | None:
        """
        Return the values of the cursor: the value that the list is sorted by, and the key.

        :raises BadFilterError: it is not a cursor of this list.
        """
        filters = self._filters
        if filters.after is None:
            return None
        parse = _row_no if filters.run is not None else _text if filters.sort is Sort.TRAINING else _moment
        try:
            value, key = json.loads(base64.urlsafe_b64decode(filters.after + "=" * (-len(filters.after) % 4)))
            return parse(value), _delivery_id(key)
        except (ValueError, TypeError, RecursionError):
            raise BadFilterError("this link to a further page is broken: begin with the first page") from None

    def _of_run(self, query: Select[Any], after: tuple[Any, int] | None) -> Select[Any]:
        if after is not None:
            query = query.where(_SEEN.c.row_no > literal(after[0], _SEEN.c.row_no.type))
        return query.order_by(_SEEN.c.row_no)

    def _dated(
        self,
        query: Select[Any],
        sorted_by: ColumnElement[Any],
        key: ColumnElement[Any],
        after: tuple[Any, int] | None,
    ) -> Select[Any]:
        """Return the rows that have a value to sort by, in the order of an index, forward or backward."""
        ascending = self._filters.ascending
        if self._base.c[_SORTED_BY[self._filters.sort]].nullable:
            query = query.where(sorted_by.is_not(None))
        if after is not None:
            here = tuple_(sorted_by, key)
            there = tuple_(literal(after[0], sorted_by.type), literal(after[1], key.type))
            query = query.where(here > there if ascending else here < there)
        return query.order_by(*(c.asc() if ascending else c.desc() for c in (sorted_by, key)))

    def _source(self) -> FromClause:
        if not self._with_ledger:
            return _VERDICT
        if not self._from_ledger:
            return _VERDICT.join(_LEDGER, _LEDGER.c.delivery_id == _VERDICT.c.delivery_id)
        ledger: FromClause = _LEDGER
        if self._filters.run is not None:
            ledger = _SEEN.join(_LEDGER, _LEDGER.c.delivery_id == _SEEN.c.delivery_id)
        return ledger.outerjoin(_VERDICT, _VERDICT.c.delivery_id == _LEDGER.c.delivery_id)

    def _columns(self) -> Iterator[ColumnElement[Any]]:
        base, live = self._base, self._with_ledger
        yield from (
            base.c[name]
            for name in (
                "delivery_id",
                "delivery_key",
                "training_id",
                "issue_no",
                "certification_id",
                "valid_from",
            )
        )
        yield from (base.c.valid_until, base.c.completed_at, base.c.sent_at, base.c.springest_certificate_id)
        yield from (_VERDICT.c.certification_name, _VERDICT.c.first_visible_at)
        yield (_LEDGER.c.state if live else _VERDICT.c.delivery_state).label("state")
        yield _VERDICT.c.delivery_state.label("published_state")
        yield _VERDICT.c.live_status.label("verdict")
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
            (self._state_column(), filters.state),
        ):
            if value is not None:
                yield column == value
        if filters.verdict is not None:
            yield _has_verdict(filters.verdict)
        yield from self._of_ledger()
        if filters.reason is not None:
            yield _has_reason_now(filters) if self._with_ledger else _has_reason(filters.reason)
        if filters.day is not None:
            start = datetime.combine(filters.day, time(), UTC)
            yield base.c.completed_at >= start
            yield base.c.completed_at < start + timedelta(days=1)

    def _state_column(self) -> ColumnElement[Any]:
        if not self._with_ledger:
            return _VERDICT.c.delivery_state
        return _LEDGER.c.state if self._filters.state in _UNINDEXED else _LEDGER.c.indexed_state

    def _of_ledger(self) -> Iterator[ColumnElement[bool]]:
        filters = self._filters
        if filters.person:
            yield _needs_person(filters.site) if self._with_ledger else _VERDICT.c.needs_review
        if filters.learner_ref is not None:
            yield _LEDGER.c.learner_ref == filters.learner_ref
        if filters.run is not None:
            yield and_(_SEEN.c.site == filters.site, _SEEN.c.run_id == filters.run)


def _has_verdict(verdict: VerificationStatus) -> ColumnElement[bool]:
    """Return whether ``live_status`` is the given one, in a form that indexes can answer."""
    status, until = _VERDICT.c.verification_status, _VERDICT.c.valid_until
    if verdict is VerificationStatus.EXPIRED:
        return or_(status == verdict, and_(status == VerificationStatus.VERIFIED, until < _today()))
    if verdict is VerificationStatus.VERIFIED:
        return and_(status == verdict, or_(until.is_(None), until >= _today()))
    return status == verdict


def _today() -> ColumnElement[Any]:
    return func.timezone("UTC", func.now()).cast(current_verdict.c.valid_until.type)


def _review_reason() -> ColumnElement[Any]:
    """Return the reason for a review; that of a verdict counts while the delivery is still in its state."""
    is_current = _VERDICT.c.delivery_state == _LEDGER.c.state
    return func.coalesce(case((is_current, _VERDICT.c.review_reason)), _LEDGER.c.review_reason)


def _has_reason(reason: str) -> ColumnElement[bool]:
    return or_(
        _VERDICT.c.delivery_reason == reason,
        and_(_VERDICT.c.needs_review, _VERDICT.c.review_reason == reason),
    )


def _has_reason_now(filters: Filters) -> ColumnElement[bool]:
    """Return whether a delivery has a reason now, or a person should look at it for that reason."""
    candidate, verdict = delivery.alias("candidate"), current_verdict.alias("published")
    site, reason = filters.site, filters.reason
    by_reason = select(candidate.c.delivery_id).where(candidate.c.site == site, candidate.c.reason == reason)
    by_flag = select(candidate.c.delivery_id).where(
        candidate.c.site == site, candidate.c.needs_review, candidate.c.review_reason == reason
    )
    by_verdict = select(verdict.c.delivery_id).where(
        verdict.c.site == site, verdict.c.needs_review, verdict.c.review_reason == reason
    )
    return and_(
        _LEDGER.c.delivery_id.in_(union(by_reason, by_flag, by_verdict)),
        or_(_LEDGER.c.reason == reason, _review_reason() == reason),
    )


def _needs_person(site: str) -> ColumnElement[bool]:
    """Return whether a delivery waits for a person now."""
    return _LEDGER.c.delivery_id.in_(select(needs_person.c.delivery_id).where(needs_person.c.site == site))


def _encoded(values: list[Any]) -> str:
    return base64.urlsafe_b64encode(json.dumps(values).encode()).decode().rstrip("=")


def _delivery_id(value: Any) -> int:
    return _whole(value, below=2**63)


def _row_no(value: Any) -> int:
    return _whole(value, below=2**31)


def _whole(value: Any, *, below: int) -> int:
    if type(value) is not int or not 0 <= value < below:
        raise ValueError
    return value


def _text(value: Any) -> str:
    if not isinstance(value, str):
        raise TypeError
    return require_storable("the link to a further page", value)


def _moment(value: Any) -> datetime | None:
    moment = datetime.fromisoformat(value) if value is not None else None
    if moment is not None and moment.tzinfo is None:
        raise ValueError
    return moment
