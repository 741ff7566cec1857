"""The questions of the morning's review.

Each delivery that needs a decision is listed with its evidence, the answers that would be accepted now and a
suggestion, each run that the volume check refused with its size. ``answers.py`` applies the answers.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Final

from sqlalchemy import Engine, text

from springest.db.statements import load_sql
from springest.errors import DecisionRefused
from springest.review.answers import WAIT, WITHOUT_EVIDENCE, Answer
from springest.review.approvals import LargeRun, large_runs
from springest.review.decisions import Decisions
from springest.review.rules import DUPLICATE
from springest.review.run_report import LOOK, REMEDIES
from springest.review.waiting import Filter, Waiting, find
from springest.source.contract import CompletedTraining
from springest.states import DecisionKind, State

MOST: Final = 25
"""Deliveries of one morning; the others follow once these are decided."""
_ADVICE: Final = text(load_sql("review/agenda_advice"))
_MAY_BE_RELEASED: Final = frozenset({State.UNKNOWN, State.REVIEW})
_ASK_SPRINGEST_FIRST: Final = frozenset({"missing", "vanished"})


@dataclass(frozen=True, slots=True)
class Item:
    """A delivery that needs a decision.

    :param answers: answers that would be accepted now, besides ``wait``; a confirmation may have another id.
    :param suggestion: one of them, or ``wait``.
    :param advice: the first thing to look at.
    :param evidence: known evidence, or ``None``.
    :param missing: evidence that a release still lacks, or ``None``.
    """

    waiting: Waiting
    answers: tuple[str, ...]
    suggestion: str
    advice: str
    evidence: str | None
    missing: str | None
    since: datetime


@dataclass(frozen=True, slots=True)
class Agenda:
    """All questions of one review.

    :param more: number of further deliveries that need a decision.
    """

    runs: tuple[LargeRun, ...]
    items: tuple[Item, ...]
    more: int

    def __bool__(self) -> bool:
        return bool(self.runs or self.items)


def needing_decisions(engine: Engine, *, site: str) -> list[Waiting]:
    """Return the deliveries about which a person can decide now, in the order in which they were sent.

    Deliveries that only the source or Springest can change are not included.
    """
    decidable = {State.UNKNOWN, State.REVIEW, State.VANISHED, State.ACCEPTED_NO_ID}
    return [item for item in find(engine, site=site, which=Filter()) if item.state in decidable]


def make_agenda(
    engine: Engine,
    decisions: Decisions,
    waiting: Sequence[Waiting],
    *,
    site: str,
    rows: Mapping[str, Sequence[CompletedTraining]],
    most: int = MOST,
) -> Agenda:
    """Return the questions to ask.

    :param waiting: result of ``needing_decisions``.
    :param rows: current source rows, by delivery key; a release needs them.
    """
    shown = waiting[:most]
    with engine.connect() as connection:
        values = {"site": site, "keys": [certificate.delivery_key for certificate in shown]}
        advice = {row.delivery_key: row for row in connection.execute(_ADVICE, values)}
    items = []
    for certificate in shown:
        known = advice.get(certificate.delivery_key)
        item = _item(decisions, certificate, rows.get(certificate.delivery_key, ()))
        if known is not None:
            item = replace(
                item, advice=known.what_to_do, since=known.waits_since or item.since,
                evidence=known.match_evidence or item.evidence,
            )  # fmt: skip
        items.append(item)
    return Agenda(tuple(large_runs(engine, site=site)), tuple(items), len(waiting) - len(shown))


def _item(decisions: Decisions, waiting: Waiting, rows: Sequence[CompletedTraining]) -> Item:
    def refusal(answer: Answer) -> str | None:
        return decisions.refusal(answer.choice(waiting.delivery_key, waiting.version), rows=rows)

    candidates = _candidates(decisions, waiting)
    confirmable = [
        candidate for candidate in candidates if refusal(Answer(DecisionKind.CONFIRM, candidate)) is None
    ]
    missing = refusal(Answer(DecisionKind.RELEASE))
    may_release = refusal(Answer(DecisionKind.RELEASE, without_evidence=True)) is None
    answers = [f"confirm {number}" for number in confirmable]
    if may_release:
        answers += ["release", WITHOUT_EVIDENCE]
    answers += [
        kind.value for kind in (DecisionKind.CANCEL, DecisionKind.REOPEN) if refusal(Answer(kind)) is None
    ]
    return Item(
        waiting,
        tuple(answers),
        _suggestion(waiting, candidates, confirmable, has_evidence=missing is None),
        REMEDIES.get(waiting.state, LOOK),
        waiting.reason_detail,
        missing,
        waiting.sent_at or waiting.updated_at,
    )


def _candidates(decisions: Decisions, waiting: Waiting) -> Sequence[int]:
    if waiting.springest_certificate_id is not None:
        return []
    try:
        return decisions.candidates(
            Answer(DecisionKind.CONFIRM).choice(waiting.delivery_key, waiting.version)
        )
    except DecisionRefused:  # it has changed since it was found
        return []


def _suggestion(
    waiting: Waiting, candidates: Sequence[int], confirmable: Sequence[int], *, has_evidence: bool
) -> str:
    """Suggest what the evidence alone supports; if only Springest can resolve it, suggest waiting."""
    reasons = {waiting.reason, waiting.review_reason}
    if DUPLICATE in reasons:
        return DecisionKind.CANCEL.value
    if candidates:
        return f"confirm {candidates[0]}" if list(candidates) == list(confirmable[:1]) else WAIT
    if has_evidence and waiting.state in _MAY_BE_RELEASED and not reasons & _ASK_SPRINGEST_FIRST:
        return DecisionKind.RELEASE.value
    return WAIT
