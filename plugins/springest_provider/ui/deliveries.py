"""The list of deliveries: filtered, sorted, paged, searched by e-mail address, exported as CSV."""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Callable, Iterable, Iterator
from dataclasses import replace
from datetime import UTC, date, datetime
from typing import Annotated, Any, Final, TypeVar
from urllib.parse import urlencode

from fastapi import APIRouter, Form, Request
from fastapi.responses import HTMLResponse, StreamingResponse

from springest.privacy.secret import check_secret
from springest.redaction import show_unseen
from springest.states import State
from springest.verification import VerificationStatus
from springest_provider import factories
from springest_provider.ui.filters import BadFilterError, Filters, Sort, parse_id, require_storable
from springest_provider.ui.listing import MOST_OF_A_LEARNER, list_all, list_page
from springest_provider.ui.pages import render
from springest_provider.ui.security import FormOperator, Reader
from springest_provider.ui.sites import sites
from springest_provider.ui.warehouse import warehouse

MOST_EXPORTED: Final = 1_000_000
EXPORTED: Final = (
    "training_id",
    "issue_no",
    "certification_id",
    "certification_name",
    "verdict",
    "state",
    "reason",
    "review_reason",
    "completed_at",
    "valid_from",
    "valid_until",
    "sent_at",
    "first_visible_at",
    "springest_certificate_id",
    "delivery_key",
)
_FORMULA: Final = re.compile(r"""(^|[,;|])(?=[\s"']*[=+\-@\uff1d\uff0b\uff0d\uff20])""")
"""Where a spreadsheet would begin to compute, whichever sign it takes for the separator of cells."""
_SEARCHED: Final = (
    "training", "certification", "certificate", "state", "verdict", "reason", "run", "day"
)  # fmt: skip

Value = TypeVar("Value")
router: Final = APIRouter()


@router.get("/deliveries")
def deliveries(request: Request, visitor: Reader) -> HTMLResponse:
    """Show one page of the list."""
    with warehouse.reading() as connection:
        known = sites(connection, _given(request, "site"))
        filters = _filters(request, known.name)
        page = list_page(connection, filters, with_ledger=visitor.may_decide)
    return render(
        request,
        visitor,
        "deliveries.html",
        sites=known,
        filters=filters,
        page=page,
        query=_query(request),
        is_filtered=any(_given(request, name) for name in _SEARCHED),
        next_query=_query(request, after=page.after) if page.after else None,
        sort_query=lambda name: _sort_query(request, filters, name),
        states=list(State),
        verdicts=list(VerificationStatus),
        searched=None,
        most_exported=MOST_EXPORTED,
    )


@router.post("/deliveries")
def search(
    request: Request,
    visitor: FormOperator,
    address: Annotated[str, Form()] = "",
    site: Annotated[str, Form()] = "",
) -> HTMLResponse:
    """
    Show the deliveries of the learner with an e-mail address.

    The address comes in the body and is hashed at once: it is never in a URL, in a log or on a page.
    """
    if not address.strip():
        raise BadFilterError("write the learner's e-mail address into the search field")
    pseudonyms = factories.pseudonyms()
    with warehouse.reading() as connection:
        check_secret(connection, pseudonyms)
        learner_ref = pseudonyms.learner_ref(address.strip())
        known = sites(connection, site or None)
        filters = Filters(known.name, learner_ref=learner_ref)
        page = list_page(connection, filters, with_ledger=True, rows=MOST_OF_A_LEARNER)
    return render(
        request,
        visitor,
        "deliveries.html",
        sites=known,
        filters=Filters(known.name),
        page=replace(page, after=None),
        query="",
        is_filtered=True,
        next_query=None,
        sort_query=lambda _: None,
        states=list(State),
        verdicts=list(VerificationStatus),
        searched=len(page.rows),
        has_more=page.after is not None,
    )


@router.get("/deliveries.csv")
def export(request: Request, visitor: Reader) -> StreamingResponse:
    """
    Return the whole list as CSV, without its learners, from the cursor on if there is one.

    A list with more than ``MOST_EXPORTED`` rows ends with a line that says so and how to go on.
    """
    with warehouse.reading() as connection:
        known = sites(connection, _given(request, "site"))
        filters = _filters(request, known.name)
        list_page(connection, filters, with_ledger=visitor.may_decide, rows=1)  # refused before it begins
    name = f"springest-{filters.site}-{datetime.now(UTC):%Y%m%d-%H%M}.csv"
    return StreamingResponse(
        _lines(filters, with_ledger=visitor.may_decide),
        media_type="text/csv; charset=utf-8",
        headers={"Content-Disposition": f'attachment; filename="{_file_name(name)}"'},
    )


def _lines(filters: Filters, *, with_ledger: bool) -> Iterator[str]:
    """Yield the file in pieces: one piece per line would cost more than the rows themselves."""
    yield "\ufeff" + _text([EXPORTED])  # Excel reads UTF-8 only after this mark
    after = None
    for page in list_all(warehouse.reading, filters, with_ledger=with_ledger, most=MOST_EXPORTED):
        yield _text([_cell(getattr(row, name)) for name in EXPORTED] for row in page.rows)
        after = page.after
    if after is not None:
        yield _text(
            [[f"INCOMPLETE: the list has more than {MOST_EXPORTED} rows; the rest is at &after={after}"]]
        )


def _text(lines: Iterable[Iterable[Any]]) -> str:
    buffer = io.StringIO()
    csv.writer(buffer, quoting=csv.QUOTE_ALL).writerows(lines)
    return buffer.getvalue()


def _cell(value: Any) -> Any:
    """Return a value that no spreadsheet evaluates: a text that could be a formula gets an apostrophe."""
    if isinstance(value, datetime):
        return value.astimezone(UTC).isoformat(timespec="seconds")
    if not isinstance(value, str):
        return value
    return _FORMULA.sub(r"\1'", show_unseen(value))


def _file_name(name: str) -> str:
    return "".join(sign if sign.isascii() and (sign.isalnum() or sign in "-_.") else "_" for sign in name)


def _given(request: Request, name: str) -> str | None:
    """
    Return a parameter of the query; ``None`` when it is blank or missing.

    :raises BadFilterError: it holds what no text in the warehouse can hold.
    """
    return require_storable(name, request.query_params.get(name, "").strip()) or None


def _filters(request: Request, site: str) -> Filters:
    """
    Return the filters that a request asks for.

    :raises BadFilterError: a value is invalid.
    """
    person = _given(request, "needs") == "person"
    order = _given(request, "order")
    return Filters(
        site,
        training=_given(request, "training"),
        certification=_parsed(request, "certification", parse_id, "a number"),
        certificate=_parsed(request, "certificate", parse_id, "a number"),
        state=_parsed(request, "state", State, f"one of {', '.join(State)}"),
        verdict=_parsed(request, "verdict", VerificationStatus, f"one of {', '.join(VerificationStatus)}"),
        reason=_given(request, "reason"),
        run=_given(request, "run"),
        day=_parsed(request, "day", _day, "a day such as 2026-11-02"),
        person=person,
        sort=_parsed(request, "sort", Sort, f"one of {', '.join(Sort)}") or Sort.COMPLETED,
        ascending=order == "up" if order else person,  # what has waited longest is first
        after=_given(request, "after"),
    )


def _parsed(request: Request, name: str, parse: Callable[[str], Value], expected: str) -> Value | None:
    value = _given(request, name)
    if value is None:
        return None
    try:
        return parse(value)
    except ValueError:
        shown = value if len(value) <= 50 else f"{value[:50]}…"
        raise BadFilterError(f"{name} must be {expected}, not {shown!r}") from None


def _day(value: str) -> date:
    day = date.fromisoformat(value)
    if day == date.max:  # the filter would end on the day after
        raise ValueError
    return day


def _query(request: Request, **changes: str | None) -> str:
    """Return a request's filters as a query, with changes; it begins with ``?`` unless there are none."""
    values = {
        name: _given(request, name) for name in ("site", *_SEARCHED, "needs", "sort", "order")
    } | changes
    given = {name: value for name, value in values.items() if value is not None}
    return f"?{urlencode(given)}" if given else ""


def _sort_query(request: Request, filters: Filters, name: str) -> str | None:
    """Return the query that sorts by a column, or reverses its order; a list of one run can't be sorted."""
    if filters.run is not None:
        return None
    turned = filters.sort == name and not filters.ascending
    return _query(request, sort=name, order="up" if turned else "down")
