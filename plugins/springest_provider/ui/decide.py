"""Decisions about deliveries: one from its story, or many from a list, by the rules of the command line."""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Annotated, Final

from fastapi import APIRouter, Form, HTTPException, Request, status
from fastapi.responses import HTMLResponse
from sqlalchemy import select
from sqlalchemy.exc import SQLAlchemyError

from springest.db.schema import delivery
from springest.errors import DecisionRefused, SpringestError
from springest.review.decisions import Considered, Decided, RequestedDecision
from springest.review.rules import WAIVER_HINT
from springest.review.story import Story
from springest.source.contract import CompletedTraining
from springest.states import DecisionKind
from springest_provider import factories
from springest_provider.cli.errors import in_one_line
from springest_provider.cli.session import Session, Sources
from springest_provider.sites import load_sites
from springest_provider.ui.filters import DELIVERY_KEY, BadFilterError, parse_id
from springest_provider.ui.listing import PAGE_ROWS
from springest_provider.ui.pages import render
from springest_provider.ui.security import FormOperator, Operator, Visitor
from springest_provider.ui.sites import sites_of
from springest_provider.ui.story import DeliveryKey, find_story
from springest_provider.ui.warehouse import CONN_ID, warehouse
from springest_provider.users import recorded_name

SECONDS: Final = 60.0
"""Time limit of a form: decisions not begun by then are refused. Each may wait 10 seconds for a lock."""

_CHOSEN: Final = re.compile(rf"(?P<key>{DELIVERY_KEY.pattern}):(?P<version>[0-9]{{1,9}})")
_TOO_LATE: Final = "the warehouse was too slow to come to it: nothing was changed, choose it again"

router: Final = APIRouter()


@dataclass(frozen=True, slots=True)
class Option:
    """
    A decision and whether it may be made now.

    :param refusal: reason why not; ``None`` if it may be made.
    :param missing: evidence that a release lacks, which the person may waive.
    """

    kind: DecisionKind
    refusal: str | None
    missing: str | None = None


@dataclass(frozen=True, slots=True)
class Chosen:
    """A delivery that a form names, with the version that the person saw."""

    delivery_key: str
    version: int
    training_id: str
    site: str


@dataclass(frozen=True, slots=True)
class Outcome:
    """The result of a decision about one delivery."""

    chosen: Chosen
    decided: Decided


@router.get("/deliveries/{delivery_key}/decide")
def options(request: Request, visitor: Operator, delivery_key: DeliveryKey) -> HTMLResponse:
    """
    Show the decisions that are possible for a delivery now, and what each of them needs.

    :raises HTTPException: 404 when there is no such delivery.
    """
    found = find_story(delivery_key)
    if found is None:
        raise HTTPException(status.HTTP_404_NOT_FOUND, f"There is no delivery {delivery_key[:12]}…")
    site, story = found
    session = _session(site)
    rows, trouble = _source_rows(session, [story.training_id])
    considered = _consider(session, story, rows.get(story.delivery_key, ()))
    with warehouse.reading() as connection:
        known = sites_of(connection, site)
    return render(
        request,
        visitor,
        "decide.html",
        sites=known,
        key=delivery_key,
        story=story,
        options=_options(considered, trouble),
        candidates=considered.candidates,
    )


@router.post("/decide")
def decide(
    request: Request,
    visitor: FormOperator,
    decision: Annotated[str, Form()],
    chosen: Annotated[list[str] | None, Form()] = None,
    why: Annotated[str, Form()] = "",
    by: Annotated[str, Form()] = "",
    certificate: Annotated[str, Form()] = "",
    without_evidence: Annotated[str, Form()] = "",
) -> HTMLResponse:
    """
    Decide about the chosen deliveries, each in its own transaction, and show the results.

    :raises BadFilterError: the form names no delivery, or is invalid; nothing is changed.
    """
    kind = _kind(decision)
    named = _named(chosen or [])
    if kind is DecisionKind.CONFIRM and len(named) > 1:
        raise BadFilterError(
            "a confirmation is about one delivery: open it, and confirm it there; nothing was changed"
        )
    draft = RequestedDecision(
        "",
        kind,
        0,
        _person(visitor, by),
        why,
        _certificate(certificate) if kind is DecisionKind.CONFIRM else None,
        without_evidence=bool(without_evidence) and kind is DecisionKind.RELEASE,
    )
    with warehouse.reading() as connection:  # first: once something is decided, the answer must say so
        known = sites_of(connection, named[0].site)
    outcomes = _decide(draft, named)
    refused = sum(outcome.decided.refusal is not None for outcome in outcomes)
    return render(
        request,
        visitor,
        "decided.html",
        status_code=status.HTTP_409_CONFLICT if refused == len(outcomes) else status.HTTP_200_OK,
        sites=known,
        kind=kind,
        outcomes=outcomes,
        refused=refused,
    )


def _decide(draft: RequestedDecision, named: Sequence[Chosen]) -> list[Outcome]:
    """Decide about each; a problem of one site, source or delivery refuses only the decisions it concerns."""
    until = time.monotonic() + SECONDS
    outcomes = []
    for site in sorted({chosen.site for chosen in named}):
        of_site = [chosen for chosen in named if chosen.site == site]
        try:
            decide_one = _decider(site, draft, of_site)
        except (SpringestError, SQLAlchemyError) as error:
            outcomes += [_refused(chosen, draft, in_one_line(error)) for chosen in of_site]
            continue
        for chosen in of_site:
            late = time.monotonic() > until
            outcomes.append(_refused(chosen, draft, _TOO_LATE) if late else decide_one(chosen))
    return outcomes


def _decider(site: str, draft: RequestedDecision, of_site: Sequence[Chosen]) -> Callable[[Chosen], Outcome]:
    session = _session(site)
    rows: Mapping[str, Sequence[CompletedTraining]] = {}
    if draft.decision is DecisionKind.RELEASE:
        rows = session.rows([chosen.training_id for chosen in of_site])
    decisions = session.decisions()

    def decide_one(chosen: Chosen) -> Outcome:
        choice = replace(draft, delivery_key=chosen.delivery_key, version=chosen.version)
        [decided] = decisions.decide_each([choice], found=rows)
        return Outcome(chosen, decided)

    return decide_one


def _refused(chosen: Chosen, draft: RequestedDecision, why: str) -> Outcome:
    return Outcome(chosen, Decided(chosen.delivery_key, draft.decision, refusal=why))


def _session(site: str) -> Session:
    settings = load_sites().find(site)
    return Session(
        factories.read_site(settings.connection), Sources.of(settings), warehouse.engine(), CONN_ID
    )


def _source_rows(
    session: Session, training_ids: Sequence[str]
) -> tuple[Mapping[str, Sequence[CompletedTraining]], str | None]:
    """Return the current source rows, or why they can't be read; the rest is shown either way."""
    try:
        return session.rows(training_ids), None
    except SpringestError as error:
        return {}, str(error)


def _consider(session: Session, story: Story, rows: Sequence[CompletedTraining]) -> Considered:
    """Judge every kind of decision, in order, and last a release without evidence."""
    choice = RequestedDecision(
        story.delivery_key, DecisionKind.RELEASE, story.version, decided_by="-", reason="-"
    )
    choices = [replace(choice, decision=kind) for kind in DecisionKind]
    return session.decisions().consider(
        [*choices, replace(choice, without_evidence=True)],
        rows=rows,
        candidates=story.springest_certificate_id is None,
    )


def _options(considered: Considered, trouble: str | None) -> list[Option]:
    """
    Return the possible decisions.

    :param trouble: why the source can't be read, which a release needs.
    """
    *refusals, without_evidence = considered.refusals
    options = {kind: Option(kind, refusal) for kind, refusal in zip(DecisionKind, refusals, strict=True)}
    release = options[DecisionKind.RELEASE].refusal
    if trouble:
        options[DecisionKind.RELEASE] = Option(DecisionKind.RELEASE, trouble)
    elif release:
        missing = release.removesuffix(WAIVER_HINT) if without_evidence is None else None
        options[DecisionKind.RELEASE] = Option(DecisionKind.RELEASE, without_evidence, missing)
    return list(options.values())


def _named(chosen: Sequence[str]) -> list[Chosen]:
    """Return the deliveries that a form names as ``delivery_key:version``."""
    if not chosen:
        raise BadFilterError("choose at least one delivery; nothing was changed")
    if len(chosen) > PAGE_ROWS:
        raise BadFilterError(f"choose at most {PAGE_ROWS} deliveries at once; nothing was changed")
    versions = {}
    for value in chosen:
        named = _CHOSEN.fullmatch(value)
        if named is None:
            raise BadFilterError("a delivery's version is missing: open the list again; nothing was changed")
        versions[named["key"]] = int(named["version"])
    table = delivery.c
    statement = select(table.delivery_key, table.training_id, table.site).where(
        table.delivery_key.in_(list(versions))
    )
    with warehouse.reading() as connection:
        rows = {row.delivery_key: row for row in connection.execute(statement)}
    if len(rows) < len(versions):
        raise BadFilterError(
            "a chosen delivery is not in the ledger: open the list again; nothing was changed"
        )
    return [Chosen(key, version, rows[key].training_id, rows[key].site) for key, version in versions.items()]


def _kind(decision: str) -> DecisionKind:
    try:
        return DecisionKind(decision)
    except ValueError:
        raise BadFilterError(f"a decision is one of {', '.join(DecisionKind)}; nothing was changed") from None


def _certificate(value: str) -> int | None:
    """Return the id from the form; the rules refuse a confirmation without one."""
    text = value.strip()
    if not text:
        return None
    try:
        return parse_id(text)
    except ValueError:
        raise BadFilterError("a certificate's id is a number, such as 4711; nothing was changed") from None


def _person(visitor: Visitor, by: str) -> str:
    """Return the name to record: the user's, or the person's at a login that several people share."""
    try:
        return recorded_name(visitor.user_id, visitor.full_name, by)
    except DecisionRefused as refused:
        raise BadFilterError(f"{refused}; nothing was changed") from None
