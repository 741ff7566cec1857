"""One delivery: its story in order, from the source row to the certificate that Springest shows."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Annotated, Any, Final

from fastapi import APIRouter, Depends, HTTPException, Request
from fastapi.responses import HTMLResponse
from sqlalchemy import Connection, RowMapping

from springest.review.story import Attempt, RecordedDecision, Story, load_stories
from springest_provider.ui.filters import DELIVERY_KEY
from springest_provider.ui.pages import render, words
from springest_provider.ui.queries import read_query
from springest_provider.ui.security import Reader
from springest_provider.ui.sites import sites_of
from springest_provider.ui.warehouse import warehouse

_VERDICT: Final = read_query("verdict")
_VERSIONS: Final = read_query("versions")
_STAGED: Final = read_query("staged")
_IDENTITY: Final = read_query("identity")
_LACKED: Final = read_query("lacked")
_OUTCOMES: Final = {
    "accepted_with_id": "Springest accepted it",
    "accepted_without_id": "Springest accepted it and returned no id",
    "refused": "Springest refused it",
    "not_stored": "Springest cannot have stored it",
    "outcome_unknown": "the outcome is unknown",
    None: "no outcome yet",
}
_DECIDED: Final = {
    "release": "released it to be sent",
    "confirm": "confirmed that it is certificate",
    "cancel": "cancelled it",
    "reopen": "reopened it",
}


router: Final = APIRouter()


@dataclass(frozen=True, slots=True)
class Step:
    """
    Something that happened to a delivery.

    :param kind: ``staged``, ``attempt``, ``decision``, ``shown``, ``lacked`` or ``verdict``.
    :param facts: names and values to show below the title; values that are ``None`` are left out.
    """

    at: datetime
    kind: str
    title: str
    tone: str = "calm"
    facts: tuple[tuple[str, Any], ...] = ()


def _known_form(delivery_key: str) -> str:
    """
    Return the key in a URL.

    :raises HTTPException: 404 if it can't be a delivery's key.
    """
    if not DELIVERY_KEY.fullmatch(delivery_key):
        raise HTTPException(404, "There is no such delivery")
    return delivery_key


DeliveryKey = Annotated[str, Depends(_known_form)]


@router.get("/deliveries/{delivery_key}")
def delivery(request: Request, visitor: Reader, delivery_key: DeliveryKey) -> HTMLResponse:
    """
    Show one delivery's story.

    :raises HTTPException: 404 when there is no such delivery, or none that the user may see.
    """
    with warehouse.reading() as connection:
        key = {"delivery_key": delivery_key}
        verdict = connection.execute(_VERDICT, key).mappings().one_or_none()
        steps = list(_versions(connection, key))
        found = find_story(delivery_key) if visitor.may_decide else None
        if found is not None:
            site = found[0]
            steps += _of_ledger(connection, *found)
        elif verdict is not None:
            site = verdict["site"]
        else:
            raise HTTPException(404, f"There is no published delivery {delivery_key[:12]}…")
        known = sites_of(connection, site)
    return render(
        request,
        visitor,
        "story.html",
        sites=known,
        key=delivery_key,
        verdict=verdict,
        story=found[1] if found else None,
        steps=sorted(steps, key=lambda step: step.at),
    )


def find_story(delivery_key: str) -> tuple[str, Story] | None:
    """Return the site of one delivery and its history in the ledger, if there is one."""
    engine = warehouse.engine()
    with engine.connect() as connection:
        found = connection.execute(_IDENTITY, {"delivery_key": delivery_key}).one_or_none()
    if found is None:
        return None
    stories = load_stories(engine, site=found.site, training_id=found.training_id)
    return next(((found.site, story) for story in stories if story.delivery_key == delivery_key), None)


def _versions(connection: Connection, key: Mapping[str, str]) -> Iterator[Step]:
    for row in connection.execute(_VERSIONS, key).mappings():
        yield Step(
            row["valid_from_ts"],
            "verdict",
            f"Published as {words(row['verification_status'])}",
            row["verification_status"],
            (
                ("state", words(row["delivery_state"])),
                ("reason", row["delivery_reason"]),
                ("to look at", row["review_reason"]),
                ("matched by", row["match_method"]),
                ("Springest's status", row["springest_status"]),
            ),
        )


def _of_ledger(connection: Connection, site: str, story: Story) -> Iterator[Step]:
    key = {"delivery_key": story.delivery_key}
    yield from _staged(connection.execute(_STAGED, key).mappings().all(), story)
    yield from map(_attempt, story.attempts)
    yield from map(_decision, story.decisions)
    if story.first_seen_at is not None:
        status = ("Springest's status", story.springest_status)
        yield Step(story.first_seen_at, "shown", "A snapshot first showed it", "verified", (status,))
    since = story.last_seen_at or story.sent_at
    if since is None:
        return
    lacked = connection.execute(_LACKED, {"site": site, "since": since}).one()
    if story.last_seen_at is not None and story.last_seen_at != story.first_seen_at:
        yield Step(story.last_seen_at, "shown", "A snapshot last showed it", "verified")
    if lacked.snapshots:
        yield Step(
            lacked.first_at,
            "lacked",
            f"{lacked.snapshots} complete snapshots lack it"
            if lacked.snapshots > 1
            else "A complete snapshot lacks it",
            "unknown",
            (("last of them", lacked.last_at),),
        )


def _staged(rows: Sequence[RowMapping], story: Story) -> Iterator[Step]:
    if not rows:
        run = ("run", story.staged_run_id)
        yield Step(story.created_at, "staged", "Its source row was staged", facts=(run,))
    for index, row in enumerate(sorted(rows, key=lambda item: item["committed_at"])):
        title = "Its source row was staged" if index == 0 else "Its source row was read again"
        yield Step(row["committed_at"], "staged", title, facts=(("run", row["run_id"]),))


def _attempt(attempt: Attempt) -> Step:
    tones = {"accepted_with_id": "verified", "accepted_without_id": "accepted", "outcome_unknown": "unknown"}
    return Step(
        attempt.started_at,
        "attempt",
        f"Attempt {attempt.attempt_id}: {_OUTCOMES.get(attempt.outcome, words(attempt.outcome))}",
        tones.get(attempt.outcome or "", "held"),
        (
            ("HTTP status", attempt.http_status),
            ("failure", attempt.failure),
            ("bytes handed over", attempt.bytes_handed_over),
            ("certificate", attempt.springest_certificate_id),
            ("message", attempt.message),
            ("finished", attempt.finished_at),
            ("run", attempt.run_id),
        ),
    )


def _decision(made: RecordedDecision) -> Step:
    number = f" {made.springest_certificate_id}" if made.springest_certificate_id else ""
    return Step(
        made.decided_at,
        "decision",
        f"{made.decided_by} {_DECIDED.get(made.decision, made.decision)}{number}",
        "accepted",
        (
            ("why", made.reason),
            ("moved", f"{words(made.from_state)} → {words(made.to_state)}"),
            ("without evidence", "yes" if made.without_evidence else None),
            ("rests on", json.dumps(dict(made.evidence), ensure_ascii=False, sort_keys=True)),
        ),
    )
