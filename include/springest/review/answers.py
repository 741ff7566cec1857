"""A person's answers, and their results.

Each answer applies to the version that the person saw, under the rules of ``bin/springest review``. Each is
applied separately: if one is refused, or the warehouse fails, the others are still applied, and it is asked
again with the reason.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from sqlalchemy import Engine
from sqlalchemy.exc import SQLAlchemyError

from springest.errors import DecisionRefused, SpringestError
from springest.redaction import Redactor
from springest.review.approvals import SeenRun, approve_run
from springest.review.decisions import Decisions, RequestedDecision, refusal_of
from springest.source.contract import CompletedTraining
from springest.states import DecisionKind

WAIT: Final = "wait"
APPROVE: Final = "approve"
APPROVED: Final = "approved"
WITHOUT_EVIDENCE: Final = "release without evidence"
_CONFIRM: Final = re.compile(r"confirm\s+#?([1-9][0-9]{0,17})")
_LONGEST: Final = 40
"""Characters of an answer that a refusal repeats."""

FindRows = Callable[[Sequence[str]], Mapping[str, Sequence[CompletedTraining]]]
"""Returns the source's rows of these deliveries, by delivery key; it may raise."""


@dataclass(frozen=True, slots=True)
class Answer:
    """A person's answer for one delivery."""

    decision: DecisionKind
    springest_certificate_id: int | None = None
    without_evidence: bool = False

    def choice(
        self, delivery_key: str, version: int, *, by: str = "-", reason: str = "-"
    ) -> RequestedDecision:
        """Return it as a decision about the version of a delivery that the person saw."""
        return RequestedDecision(
            delivery_key,
            self.decision,
            version,
            decided_by=by,
            reason=reason,
            springest_certificate_id=self.springest_certificate_id,
            without_evidence=self.without_evidence,
        )


@dataclass(frozen=True, slots=True)
class Field:
    """An answered field.

    :param subject: delivery key or run.
    :param label: its name for people.
    :param given: the answer: any JSON.
    """

    subject: str
    label: str
    given: object

    def refused(self, why: str) -> Applied:
        """Return the result of an answer that was not applied."""
        return Applied(self.subject, self.label, _shown(self.given), refusal=why)

    def became(self, state: str) -> Applied:
        """Return the result of an answer that was applied."""
        return Applied(self.subject, self.label, _shown(self.given), became=state)


@dataclass(frozen=True, slots=True)
class DeliveryField(Field):
    """An answer about a delivery.

    :param version: version that the person saw.
    """

    version: int


@dataclass(frozen=True, slots=True)
class RunField(Field):
    """An answer about a run.

    :param seen: the run as the person saw it.
    """

    seen: SeenRun


@dataclass(frozen=True, slots=True)
class Applied:
    """The result of one answer.

    :param subject: delivery key or run.
    :param label: its name for people.
    :param became: the delivery's state, or ``approved``; ``None`` when the answer was not applied.
    :param refusal: why not.
    """

    subject: str
    label: str
    answer: str
    became: str | None = None
    refusal: str | None = None


def read_answer(given: object) -> Answer | None:
    """Parse a person's answer; ``None`` means wait.

    :param given: any JSON.
    :raises DecisionRefused: it is not understood.
    """
    words = _words(given)
    if words is None:
        return None
    if words == WITHOUT_EVIDENCE:
        return Answer(DecisionKind.RELEASE, without_evidence=True)
    if (found := _CONFIRM.fullmatch(words)) is not None:
        return Answer(DecisionKind.CONFIRM, int(found[1]))
    if words in {DecisionKind.RELEASE, DecisionKind.CANCEL, DecisionKind.REOPEN}:
        return Answer(DecisionKind(words))
    raise DecisionRefused(
        f"{_shown(given)!r} is not understood: answer wait, confirm with its id (confirm 4711), release, "
        f"{WITHOUT_EVIDENCE}, cancel or reopen"
    )


def read_approval(given: object) -> str | None:
    """Parse a person's answer about a run; ``None`` means wait.

    :param given: any JSON.
    :raises DecisionRefused: it is not understood.
    """
    words = _words(given)
    if words is None:
        return None
    if words == APPROVE:
        return APPROVE
    raise DecisionRefused(f"{_shown(given)!r} is not understood: answer {WAIT} or {APPROVE}")


def apply_answers(
    decisions: Decisions,
    fields: Iterable[DeliveryField],
    *,
    by: str,
    reason: str,
    find_rows: FindRows,
) -> Iterator[Applied]:
    """Decide about each delivery in a transaction of its own.

    Releases come last: only they need the source, and if it can't be read, the others are already decided.

    :param by: login of the person.
    :param reason: the person's reason.
    """
    releases: dict[str, tuple[DeliveryField, RequestedDecision]] = {}
    for field in fields:
        try:
            answer = read_answer(field.given)
        except DecisionRefused as refused:
            yield field.refused(str(refused))
            continue
        if answer is None:
            continue
        choice = answer.choice(field.subject, field.version, by=by, reason=reason)
        if answer.decision is DecisionKind.RELEASE:
            releases[field.subject] = field, choice
        else:
            yield _decide(decisions, field, choice, {})
    yield from _release(decisions, releases, find_rows)


def _release(
    decisions: Decisions, releases: Mapping[str, tuple[DeliveryField, RequestedDecision]], find_rows: FindRows
) -> Iterator[Applied]:
    try:
        rows = find_rows([*releases]) if releases else {}
    except (SpringestError, SQLAlchemyError) as error:
        cause = str(error) if isinstance(error, SpringestError) else type(error).__name__
        why = f"a release needs its row, and the source can't be read now: {cause}. Answer again once it can"
        yield from (field.refused(why) for field, _ in releases.values())
        return
    for field, choice in releases.values():
        yield _decide(decisions, field, choice, rows)


def _decide(
    decisions: Decisions,
    field: DeliveryField,
    choice: RequestedDecision,
    rows: Mapping[str, Sequence[CompletedTraining]],
) -> Applied:
    [decided] = decisions.decide_each([choice], found=rows)
    return field.refused(str(decided.refusal)) if decided.state is None else field.became(decided.state)


def apply_approvals(
    engine: Engine, fields: Iterable[RunField], *, site: str, by: str, reason: str, redactor: Redactor
) -> Iterator[Applied]:
    """Approve each run in a transaction of its own."""
    for field in fields:
        try:
            if read_approval(field.given) is None:
                continue
            approve_run(
                engine, site=site, run_id=field.subject, seen=field.seen, by=by, reason=reason,
                redactor=redactor,
            )  # fmt: skip
            yield field.became(APPROVED)
        except (SpringestError, SQLAlchemyError) as error:
            yield field.refused(refusal_of(error))


def refuse(fields: Iterable[Field], why: str) -> Iterator[Applied]:
    """Refuse every answer other than wait, for a reason that concerns all of them."""
    for field in fields:
        try:
            if _words(field.given) is not None:
                yield field.refused(why)
        except DecisionRefused as refused:
            yield field.refused(str(refused))


def _words(given: object) -> str | None:
    """Return the words of an answer; ``None`` means wait."""
    if given is None:
        return None
    if not isinstance(given, str):
        raise DecisionRefused(f"{_shown(given)} is not a text: answer in words, such as {WAIT}")
    words = " ".join(given.lower().split())
    return None if words in {"", WAIT} else words


def _shown(given: object) -> str:
    text = " ".join(str(given).split())
    return text if len(text) <= _LONGEST else f"{text[:_LONGEST]}…"
