"""People's decisions about deliveries: release, confirm, cancel, reopen.

Each decision is one transaction: it locks the delivery, compares its version with the one that the person
saw, checks the rules, changes the state, and records the decision with its evidence. If the delivery has
changed meanwhile, nothing is written. Decisions wait for the site's staging lock, so that staging never
checks a duplicate that is being released.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final

from sqlalchemy import Connection, Engine, text
from sqlalchemy.exc import SQLAlchemyError

from springest.db.statements import load_sql
from springest.errors import DecisionRefused, SpringestError, WarehouseLocked
from springest.redaction import Redactor
from springest.review.audit_text import clean, clean_login
from springest.review.rules import (
    DUPLICATE,
    AllowedDecision,
    Facts,
    ReleaseRules,
    Shown,
    allowed,
    judge_cancellation,
    judge_confirmation,
    judge_release,
    judge_reopening,
    review_after,
)
from springest.snapshot.clock_skew import LATER_BY_HOURS, WIDE_HOURS
from springest.source.contract import CompletedTraining
from springest.staging.repository import load_known, lock_staging
from springest.states import DecisionKind, Event, State
from springest.verification import MatchMethod

NEWEST: Final = 1_000
"""Certificates of a certification among which the last one that was posted is looked for."""
_FACTS: Final = text(load_sql("review/decision_facts", shown_posts=load_sql("snapshot/shown_posts")))
_CANDIDATES: Final = text(load_sql("review/release_candidates"))
_CERTIFICATE: Final = text(load_sql("review/confirmed_certificate"))
_WRITE: Final = text(load_sql("review/write_decision"))


@dataclass(frozen=True, slots=True)
class RequestedDecision:
    """A decision that a person requests.

    :param version: version of the delivery that the person saw.
    :param decided_by: login of the person.
    :param reason: the person's reason.
    :param springest_certificate_id: for a confirmation, the certificate's id.
    :param without_evidence: release although evidence is missing.
    """

    delivery_key: str
    decision: DecisionKind
    version: int
    decided_by: str
    reason: str
    springest_certificate_id: int | None = None
    without_evidence: bool = False


@dataclass(frozen=True, slots=True)
class Considered:
    """The decisions about a delivery that were judged without being made.

    :param refusals: reason why each would be refused now, or ``None``.
    :param candidates: certificates shown by Springest that may be this one.
    """

    refusals: Sequence[str | None]
    candidates: Sequence[int]


@dataclass(frozen=True, slots=True)
class Decided:
    """The result of a requested decision.

    :param state: the delivery's new state; ``None`` if the decision was refused.
    :param refusal: reason of a refusal.
    """

    delivery_key: str
    decision: DecisionKind
    state: State | None = None
    decision_id: int | None = None
    decided_at: datetime | None = None
    refusal: str | None = None


class Decisions:
    """Makes people's decisions about one site's deliveries.

    :param engine: engine of the warehouse.
    :param redactor: knows the site's keys, which a reason must not contain.
    """

    def __init__(
        self,
        engine: Engine,
        *,
        site: str,
        rules: ReleaseRules | None = None,
        redactor: Redactor | None = None,
    ) -> None:
        self._engine = engine
        self._site = site
        self._rules = rules or ReleaseRules()
        self._redactor = redactor

    def decide_each(
        self,
        choices: Iterable[RequestedDecision],
        *,
        found: Mapping[str, Sequence[CompletedTraining]] | None = None,
    ) -> Iterator[Decided]:
        """Decide about several, each in its own transaction; a refusal or failure does not stop the others.

        :param found: current source rows by delivery; a release needs them.
        """
        rows = found or {}
        for choice in choices:
            try:
                decided = self.decide(choice, rows=rows.get(choice.delivery_key, ()))
            except (SpringestError, SQLAlchemyError) as error:
                decided = Decided(choice.delivery_key, choice.decision, refusal=refusal_of(error))
            yield decided

    def refusal(self, choice: RequestedDecision, *, rows: Sequence[CompletedTraining] = ()) -> str | None:
        """Return the reason why a decision would be refused now, or ``None``, without changing anything.

        For a confirmation without an id, only the state is checked.
        """
        return self.consider([choice], rows=rows).refusals[0]

    def consider(
        self,
        choices: Sequence[RequestedDecision],
        *,
        rows: Sequence[CompletedTraining] = (),
        candidates: bool = False,
    ) -> Considered:
        """Judge several decisions about one version of one delivery, without changing anything.

        Its facts are read once: they rest on all certificates of its certification.

        :param choices: at least one.
        :param candidates: find the certificates that may be this one, whether or not a decision needs them.
        """
        with self._engine.connect() as connection:
            try:
                facts = self._facts(connection, choices[0], lock=False)
            except DecisionRefused as refused:
                return Considered([str(refused)] * len(choices), [])
            found = _Candidates(connection, facts)
            refusals = [self._consider(connection, facts, choice, rows, found) for choice in choices]
            return Considered(refusals, found() if candidates else [])

    def _consider(
        self,
        connection: Connection,
        facts: Facts,
        choice: RequestedDecision,
        rows: Sequence[CompletedTraining],
        candidates: _Candidates,
    ) -> str | None:
        try:
            if choice.decision is DecisionKind.CONFIRM and choice.springest_certificate_id is None:
                allowed(facts, Event.CONFIRMED)
            else:
                allowed(facts, self._judge(connection, facts, choice, rows, candidates).event)
        except DecisionRefused as refused:
            return str(refused)
        return None

    def candidates(self, choice: RequestedDecision) -> list[int]:
        """Return the certificates shown by Springest that may be this one, without changing anything.

        :raises DecisionRefused: the delivery has changed.
        """
        with self._engine.connect() as connection:
            return _Candidates(connection, self._facts(connection, choice, lock=False))()

    def decide(self, choice: RequestedDecision, *, rows: Sequence[CompletedTraining] = ()) -> Decided:
        """Decide about one delivery.

        :param rows: the distinct rows that the source has for it now; a release needs one.
        :raises DecisionRefused: the decision is refused; nothing was changed.
        """
        by = clean_login(choice.decided_by, self._redactor)
        reason = clean(choice.reason, "the reason", self._redactor)
        with self._engine.begin() as connection:
            lock_staging(connection, self._site)
            facts = self._facts(connection, choice, lock=True)
            judgement = self._judge(connection, facts, choice, rows, _Candidates(connection, facts))
            state = allowed(facts, judgement.event)
            values = _values(facts, choice, judgement, state, by=by, reason=reason)
            written = connection.execute(_WRITE, values).one()
        return Decided(
            choice.delivery_key, choice.decision, state, int(written.decision_id), written.decided_at
        )

    def _facts(self, connection: Connection, choice: RequestedDecision, *, lock: bool) -> Facts:
        known = load_known(connection, [choice.delivery_key], lock=lock).get(choice.delivery_key)
        if known is None:
            raise DecisionRefused(f"the ledger has no delivery {choice.delivery_key[:12]}")
        values = {"delivery_key": choice.delivery_key, "later_by_hours": LATER_BY_HOURS, "newest": NEWEST}
        row = connection.execute(_FACTS, values).mappings().one()
        facts = Facts(known=known, **row)
        if facts.site != self._site:
            raise DecisionRefused(
                f"training {known.training_id} belongs to site {facts.site}, not {self._site}"
            )
        if known.version != choice.version:
            raise DecisionRefused(
                f"training {known.training_id} has changed since you looked: it has been {known.state}"
                f"{f' ({known.reason})' if known.reason else ''} since "
                f"{facts.updated_at:%Y-%m-%d %H:%M} UTC; nothing was changed, look again"
            )
        return facts

    def _judge(
        self,
        connection: Connection,
        facts: Facts,
        choice: RequestedDecision,
        rows: Sequence[CompletedTraining],
        candidates: _Candidates,
    ) -> AllowedDecision:
        if choice.decision is DecisionKind.RELEASE:
            allowed(facts, Event.RELEASED)
            return judge_release(
                facts,
                rows=rows,
                candidates=candidates(),
                rules=self._rules,
                without_evidence=choice.without_evidence,
            )
        if choice.decision is DecisionKind.CONFIRM:
            allowed(facts, Event.CONFIRMED)
            if choice.springest_certificate_id is None or choice.springest_certificate_id < 1:
                raise DecisionRefused("a confirmation needs the certificate's id at Springest, such as 4711")
            shown = _certificate(connection, facts, choice.springest_certificate_id)
            return judge_confirmation(facts, choice.springest_certificate_id, shown, rules=self._rules)
        if choice.decision is DecisionKind.CANCEL:
            return judge_cancellation(facts)
        return judge_reopening(facts)


def refusal_of(error: SpringestError | SQLAlchemyError) -> str:
    """Return why a decision was not made, without addresses and keys."""
    if isinstance(error, WarehouseLocked):
        held = f" ({'; '.join(error.holders)})" if error.holders else ""
        return f"another session has locked it{held}: nothing was changed, try again in a minute"
    if isinstance(error, SpringestError):
        return str(error)
    # The connection may have broken during the commit.
    return f"the warehouse failed ({type(error).__name__}): look again to see whether it was decided"


class _Candidates:
    """Finds the certificates shown by Springest that may be a delivery's own, once, when they are needed."""

    def __init__(self, connection: Connection, facts: Facts) -> None:
        self._connection = connection
        self._facts = facts
        self._found: list[int] | None = None

    def __call__(self) -> list[int]:
        if self._found is None:
            values = {
                "delivery_key": self._facts.known.delivery_key,
                "possibly_stored": self._facts.possibly_stored,
                "clock_hours": WIDE_HOURS,
            }
            self._found = [int(row[0]) for row in self._connection.execute(_CANDIDATES, values)]
        return self._found


def _certificate(connection: Connection, facts: Facts, certificate_id: int) -> Shown:
    values = {"delivery_key": facts.known.delivery_key, "springest_certificate_id": certificate_id}
    return Shown(**connection.execute(_CERTIFICATE, values).mappings().one())


def _values(
    facts: Facts, choice: RequestedDecision, judgement: AllowedDecision, state: State, *, by: str, reason: str
) -> dict[str, Any]:
    """Return the values to write: the decision, and the delivery after it."""
    decision, known = choice.decision, facts.known
    by_person = facts.match_method == MatchMethod.PERSON
    keeps_id = decision is DecisionKind.CANCEL or (decision is DecisionKind.REOPEN and not by_person)
    confirmed = decision is DecisionKind.CONFIRM
    review_reason = review_after(facts, decision)
    state_reason, state_detail = _why(choice, state)
    return {
        "delivery_key": known.delivery_key,
        "version": known.version,
        "from_state": known.state.value,
        "to_state": state.value,
        "state_reason": state_reason,
        "state_detail": state_detail,
        "certificate_id_after": choice.springest_certificate_id
        if confirmed
        else (facts.springest_certificate_id if keeps_id else None),
        "match_method_after": MatchMethod.PERSON.value
        if confirmed
        else (facts.match_method if keeps_id else None),
        "duplicate_released": known.duplicate_released
        or (decision is DecisionKind.RELEASE and known.reason == DUPLICATE),
        "needs_review": review_reason is not None,
        "review_reason": review_reason,
        "decided_by": by,
        "decision": decision.value,
        "reason": reason,
        "springest_certificate_id": choice.springest_certificate_id if confirmed else None,
        "without_evidence": bool(judgement.evidence.get("missing")),
        "evidence": json.dumps(judgement.evidence),
    }


def _why(choice: RequestedDecision, state: State) -> tuple[str | None, str | None]:
    """Return reason and detail without the person's name or words, since analysts read these columns."""
    if state is State.VISIBLE:
        return None, None
    word, explanation = {
        DecisionKind.RELEASE: ("released", "released to be sent"),
        DecisionKind.CONFIRM: (
            "confirmed_by_person",
            "confirmed to be at Springest, which does not show it yet,",
        ),
        DecisionKind.CANCEL: ("cancelled_by_person", "cancelled"),
        DecisionKind.REOPEN: ("reopened", "reopened"),
    }[choice.decision]
    return word, f"{explanation} by a person: see `bin/springest review show` for name and reason"
