"""What a person is asked in the morning, and what is done with the answers.

Each delivery that needs a decision comes with its evidence, the answers that would be accepted now and a
suggestion; each run that the volume check refused comes with its numbers. An answer is judged by the same
rules as ``bin/springest review``, about the version that the person saw.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Final

from sqlalchemy import Engine, text

from springest.db.statements import load_sql
from springest.errors import DecisionRefused
from springest.redaction import Redactor
from springest.review.approvals import LargeRun, approve_run, large_runs
from springest.review.decisions import Choice, Decisions
from springest.review.rules import DUPLICATE
from springest.review.run_report import LOOK, REMEDIES
from springest.review.waiting import Filter, Waiting, find
from springest.source.contract import CompletedTraining
from springest.states import DecisionKind, State

WAIT: Final = "wait"
APPROVE: Final = "approve"
WITHOUT_EVIDENCE: Final = "release without evidence"
MOST: Final = 25
"""Deliveries of one morning; the others follow once these are decided."""
_ADVICE: Final = text(load_sql("review/agenda_advice"))
_CONFIRM: Final = re.compile(r"confirm\s+#?([1-9][0-9]{0,17})")
_MAY_BE_RELEASED: Final = frozenset({State.UNKNOWN, State.REVIEW})
_ASK_SPRINGEST_FIRST: Final = frozenset({"missing", "vanished"})


@dataclass(frozen=True, slots=True)
class Answer:
    """What a person chose for one delivery."""

    decision: DecisionKind
    springest_certificate_id: int | None = None
    without_evidence: bool = False


@dataclass(frozen=True, slots=True)
class Item:
    """A delivery that needs a decision.

    :param answers: what would be accepted now, without ``wait``; a confirmation may name another id as well.
    :param suggestion: one of them, or ``wait``.
    :param advice: what to look at first.
    :param evidence: what is known, or ``None``.
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
    """Everything that a person is asked.

    :param more: deliveries that need a decision as well and are not among ``items``.
    """

    runs: tuple[LargeRun, ...]
    items: tuple[Item, ...]
    more: int

    def __bool__(self) -> bool:
        return bool(self.runs or self.items)


@dataclass(frozen=True, slots=True)
class Applied:
    """The result of one answer.

    :param subject: delivery key or run.
    :param label: how a person names it.
    :param became: the delivery's state, or ``approved``; ``None`` when the answer was refused.
    """

    subject: str
    label: str
    answer: str
    became: str | None = None
    refusal: str | None = None


def needing_decisions(engine: Engine, *, site: str) -> list[Waiting]:
    """Return the deliveries about which a person can decide now, those that were sent first in front.

    Deliveries that only the source or Springest can change are not among them: nobody could answer.
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
    """Return what to ask.

    :param waiting: as of ``needing_decisions``.
    :param rows: what the source has now, by delivery; a release needs it.
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
        return decisions.refusal(_choice(waiting.delivery_key, waiting.version, answer), rows=rows)

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
            _choice(waiting.delivery_key, waiting.version, Answer(DecisionKind.CONFIRM))
        )
    except DecisionRefused:  # it has moved since it was found
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


def read_answer(given: str) -> Answer | None:
    """Return what a person answered; ``None`` is to wait.

    :raises DecisionRefused: it is not understood.
    """
    words = " ".join(given.lower().split())
    if words in {"", WAIT}:
        return None
    if words == WITHOUT_EVIDENCE:
        return Answer(DecisionKind.RELEASE, without_evidence=True)
    if (found := _CONFIRM.fullmatch(words)) is not None:
        return Answer(DecisionKind.CONFIRM, int(found[1]))
    if words in {DecisionKind.RELEASE, DecisionKind.CANCEL, DecisionKind.REOPEN}:
        return Answer(DecisionKind(words))
    raise DecisionRefused(
        f"{words[:40]!r} is not understood: answer wait, confirm with Springest's number (confirm 4711), "
        f"release, {WITHOUT_EVIDENCE}, cancel or reopen"
    )


def apply_answers(
    decisions: Decisions,
    answers: Mapping[tuple[str, int], str],
    labels: Mapping[str, str],
    *,
    by: str,
    reason: str,
    rows: Mapping[str, Sequence[CompletedTraining]],
) -> Iterator[Applied]:
    """Decide about each delivery in a transaction of its own; a refusal stops none of the others.

    :param answers: what was answered, by delivery and the version that the person saw.
    :param labels: how a person names each delivery.
    :param by: login of the person.
    :param reason: why, in the person's words.
    """
    for (key, version), given in answers.items():
        applied = Applied(key, labels[key], given)
        try:
            answer = read_answer(given)
            if answer is None:
                continue
            choice = replace(_choice(key, version, answer), decided_by=by, reason=reason)
            decided = decisions.decide(choice, rows=rows.get(key, ()))
            yield replace(applied, became=str(decided.state))
        except DecisionRefused as refused:
            yield replace(applied, refusal=str(refused))


def apply_approvals(
    engine: Engine, approvals: Mapping[str, int], *, site: str, by: str, reason: str, redactor: Redactor
) -> Iterator[Applied]:
    """Approve runs.

    :param approvals: the number of certificates that was agreed to, by run.
    """
    for run_id, certificates in approvals.items():
        applied = Applied(run_id, f"run {run_id}", APPROVE)
        try:
            approve_run(
                engine, site=site, run_id=run_id, certificates=certificates, by=by, reason=reason,
                redactor=redactor,
            )  # fmt: skip
            yield replace(applied, became="approved")
        except DecisionRefused as refused:
            yield replace(applied, refusal=str(refused))


def _choice(key: str, version: int, answer: Answer) -> Choice:
    return Choice(
        key,
        answer.decision,
        version,
        decided_by="-",
        reason="-",
        springest_certificate_id=answer.springest_certificate_id,
        without_evidence=answer.without_evidence,
    )
