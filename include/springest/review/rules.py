"""The rules of people's decisions about deliveries, as pure functions.

Nothing here reads a clock or a database. Each function takes the facts and returns the evidence for the
decision, or raises a refusal that names the remedy. A release needs evidence that Springest does not have the
certificate. A confirmation needs a certificate that can be this one and that no other delivery has.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from typing import Any, Final

from springest.errors import DecisionRefused, IllegalTransition
from springest.identity import ERASED_OWNER
from springest.source.contract import IN_SEVERAL_SOURCES, CompletedTraining
from springest.staging.decide import Known, changed_fields
from springest.states import POSSIBLY_STORED, DecisionKind, Event, State, next_state
from springest.verification import MatchMethod

WAIVER_HINT: Final = ". To release it anyway, add --without-evidence, which is recorded"
"""How a refusal for missing evidence ends; the page has a box to tick instead."""
DUPLICATE: Final = "duplicate"
AFTER_SENDING: Final = ("changed_after_sending", "withdrawn_after_sending", IN_SEVERAL_SOURCES)
"""Review reasons that survive a confirmation: source and Springest still disagree."""


@dataclass(frozen=True, slots=True)
class ReleaseRules:
    """Evidence that Springest does not have a certificate.

    :param fresh: maximum age of the newest complete snapshot.
    :param settled: time after a POST within which the certificate may still be stored; a snapshot is evidence
        only if it began later.
    :param listed_is_verified: whether every certification that the site lists is known to be verified.
    """

    fresh: timedelta = timedelta(hours=1)
    settled: timedelta = timedelta(minutes=15)
    listed_is_verified: bool = False


@dataclass(frozen=True, slots=True)
class Facts:
    """The facts about a delivery at the time of a decision.

    :param possibly_taken_at: the latest time at which a POST of it may have been in flight, if ever.
    :param snapshot_id: newest complete snapshot of the site.
    :param listed_since: start of its certification's listing; ``None``: not listed.
    :param certification_is_shown: whether that snapshot shows a certificate of its certification.
    :param shown_posted_at: earliest possible time at which the last of these was posted.
    """

    known: Known
    site: str
    now: datetime
    updated_at: datetime
    springest_certificate_id: int | None = None
    match_method: str | None = None
    sent_at: datetime | None = None
    lease_until: datetime | None = None
    possibly_taken_at: datetime | None = None
    snapshot_id: int | None = None
    snapshot_started_at: datetime | None = None
    snapshot_finished_at: datetime | None = None
    listed_since: datetime | None = None
    certification_is_shown: bool = False
    shown_posted_at: datetime | None = None

    @property
    def possibly_stored(self) -> bool:
        """Whether Springest may have stored it."""
        return self.possibly_taken_at is not None or self.known.state in POSSIBLY_STORED


@dataclass(frozen=True, slots=True)
class Shown:
    """The certificate that a person named.

    :param is_known: whether Springest has ever shown it; the fields are those it showed last.
    :param claimed_by: another training whose delivery has this id.
    :param answered_for: another training whose POST got this id in the response.
    """

    is_known: bool
    certification_id: int | None = None
    valid_from: date | None = None
    valid_until: date | None = None
    learner_ref: str | None = None
    last_seen_at: datetime | None = None
    claimed_by: str | None = None
    answered_for: str | None = None


@dataclass(frozen=True, slots=True)
class AllowedDecision:
    """A decision that the rules allow.

    :param evidence: the facts behind it, to be recorded.
    """

    event: Event
    evidence: Mapping[str, Any]


def allowed(facts: Facts, event: Event) -> State:
    """Return the state that a decision leads to.

    :raises DecisionRefused: the delivery's state does not allow this decision.
    """
    known = facts.known
    try:
        return next_state(known.state, event)
    except IllegalTransition:
        hint = _INSTEAD.get(known.state, "its state does not allow this decision")
        raise DecisionRefused(f"training {known.training_id} is {known.state}: {hint}") from None


_INSTEAD: Final = {
    State.SENDING: "a worker is sending it right now; decide once its outcome is recorded",
    State.READY: "it is already in the queue; you can confirm or cancel it",
    State.INVALID: "fix the row or its document, and it is sent automatically; you can confirm or cancel it",
    State.HELD: "it is sent once its reason no longer applies; you can confirm or cancel it",
    State.REJECTED: "fix what Springest reported, and it is sent automatically; you can confirm or cancel it",
    State.ACCEPTED: "Springest stored it and returned its id; only a person's confirmation can be reopened",
    State.VISIBLE: "Springest shows it; only a person's confirmation can be reopened",
    State.WITHDRAWN: "the source removed it; if the row returns, it is checked again",
    State.CANCELLED: "a person cancelled it; reopen it first",
}


def judge_release(
    facts: Facts,
    *,
    rows: Sequence[CompletedTraining],
    candidates: Sequence[int],
    rules: ReleaseRules,
    without_evidence: bool,
) -> AllowedDecision:
    """Check whether a certificate may be sent (again).

    :param rows: the distinct rows that the source has for it now.
    :param candidates: certificates that Springest shows and that may be this one.
    :param without_evidence: the person waives missing evidence, and nothing else.
    :raises DecisionRefused: it may be at Springest, the row has changed, or evidence is missing.
    """
    name = f"training {facts.known.training_id}"
    row = _unchanged(facts, rows, name)
    if candidates:
        raise DecisionRefused(
            f"{name}: Springest shows {_numbers(candidates)}, which may be this one and belongs to no other "
            "delivery: look at it in Springest's admin, then confirm it by its id, or cancel"
        )
    missing = _missing_evidence(facts, rules)
    if missing and not without_evidence:
        raise DecisionRefused(f"{name}: {'; '.join(missing.values())}{WAIVER_HINT}")
    evidence = {
        "row": row,
        "snapshot_id": facts.snapshot_id,
        "listed_since": _text(facts.listed_since),
        "possibly_stored": facts.possibly_stored,
    }
    return AllowedDecision(Event.RELEASED, {**_before(facts), **evidence, "missing": sorted(missing)})


def _unchanged(facts: Facts, rows: Sequence[CompletedTraining], name: str) -> str:
    if not rows:
        raise DecisionRefused(f"{name}: the source no longer has it, so there is nothing to send: cancel it")
    if len(rows) > 1:
        raise DecisionRefused(f"{name}: the source has two different rows for it: keep one")
    if rows[0].row_version == facts.known.row_version:
        return "unchanged"
    fields = changed_fields(facts.known, rows[0])
    if fields:
        raise DecisionRefused(
            f"{name}: the source row has changed since it was staged ({', '.join(fields)}): restore it, or "
            "cancel this certificate and issue the new one with another issue_no"
        )
    return "touched, but no field that is sent has changed"


def _missing_evidence(facts: Facts, rules: ReleaseRules) -> dict[str, str]:
    """Return the conditions that a release does not meet, by a fixed word."""
    reconcile = "trigger springest_reconcile first"
    started, finished, sent = facts.snapshot_started_at, facts.snapshot_finished_at, facts.possibly_taken_at
    missing = {}
    if started is None or finished is None:
        missing["snapshot"] = f"there is no complete snapshot yet: {reconcile}"
    elif finished < facts.now - rules.fresh:
        minutes = int(rules.fresh.total_seconds() // 60)
        missing["fresh_snapshot"] = (
            f"the newest complete snapshot ({facts.snapshot_id}) ended at {_text(finished)}, more than "
            f"{minutes} minutes ago: {reconcile}"
        )
    elif sent is not None and started < sent + rules.settled:
        missing["later_snapshot"] = (
            f"the newest complete snapshot ({facts.snapshot_id}) began at {_text(started)}, too soon after "
            f"the attempt of {_text(sent)}: from {_text(sent + rules.settled)} on, {reconcile}"
        )
    if facts.possibly_stored and not _absence_counts(facts, rules):
        missing["verified_certification"] = (
            f"Springest shows no certificate of certification {facts.known.certification_id} that was posted "
            "later, so the certification may not be verified yet, and its certificates are not shown before "
            "that. Look in Springest's admin"
        )
    return missing


def _absence_counts(facts: Facts, rules: ReleaseRules) -> bool:
    """Return whether the newest complete snapshot would show the certificate if Springest had it.

    A certification is verified as a whole. Being listed is no evidence unless the site's list is known to
    contain verified certifications only: Springest's page describes the list both ways.
    """
    started, listed, shown = facts.snapshot_started_at, facts.listed_since, facts.shown_posted_at
    if shown is not None and facts.possibly_taken_at is not None and shown > facts.possibly_taken_at:
        return True
    return rules.listed_is_verified and listed is not None and (started is None or listed < started)


def judge_confirmation(
    facts: Facts, certificate_id: int, shown: Shown, *, rules: ReleaseRules | None = None
) -> AllowedDecision:
    """Check whether a delivery can be this certificate.

    :raises DecisionRefused: it can't be, or Springest should show the certificate and does not.
    """
    name, known = f"training {facts.known.training_id}", facts.known
    holder = shown.claimed_by or shown.answered_for
    if holder is not None:
        raise DecisionRefused(f"{name}: certificate {certificate_id} belongs to training {holder}")
    if known.certification_id is None or known.valid_from is None:
        raise DecisionRefused(f"{name} lacks its certification or valid_from: correct the source row first")
    evidence = {**_before(facts), "snapshot_id": facts.snapshot_id, "last_seen_at": _text(shown.last_seen_at)}
    if shown.is_known:
        _agrees(name, known, certificate_id, shown)
        if facts.snapshot_started_at and (shown.last_seen_at or facts.now) < facts.snapshot_started_at:
            raise DecisionRefused(
                f"{name}: Springest last showed certificate {certificate_id} at {_text(shown.last_seen_at)}, "
                f"and the complete snapshot {facts.snapshot_id} does not have it: ask Springest about it"
            )
        evidence["owner_agrees"] = shown.learner_ref not in (None, ERASED_OWNER)
        return AllowedDecision(Event.CONFIRMED, evidence)
    listed_is_verified = (rules or ReleaseRules()).listed_is_verified
    if facts.certification_is_shown or (listed_is_verified and facts.listed_since is not None):
        raise DecisionRefused(
            f"{name}: Springest has not shown certificate {certificate_id}, and it should, since "
            f"certification {known.certification_id} is verified: check the id, or trigger "
            "springest_reconcile first if it is new"
        )
    return AllowedDecision(Event.CONFIRMED_UNSEEN, evidence)


def _agrees(name: str, known: Known, certificate_id: int, shown: Shown) -> None:
    differs = [
        field
        for field, ours, shown_value in (
            ("certification_id", known.certification_id, shown.certification_id),
            ("valid_from", known.valid_from, shown.valid_from),
            ("learner", known.learner_ref or ERASED_OWNER, shown.learner_ref),
        )
        if shown_value is not None and shown_value != ours
    ]
    if shown.valid_until != known.valid_until:
        differs.append("valid_until")
    if differs:
        raise DecisionRefused(
            f"{name}: certificate {certificate_id} is a different one: it differs in {', '.join(differs)}"
        )


def judge_cancellation(facts: Facts) -> AllowedDecision:
    """Check whether a delivery may be cancelled: wherever the state allows it."""
    return AllowedDecision(Event.DROPPED, _before(facts))


def judge_reopening(facts: Facts) -> AllowedDecision:
    """Check whether an earlier decision may be undone.

    :raises DecisionRefused: the delivery's state is not the result of a person's decision.
    """
    if facts.known.state is not State.CANCELLED and facts.match_method != MatchMethod.PERSON:
        allowed(facts, Event.RELEASED)  # its refusal says what the state allows instead
        raise DecisionRefused(f"training {facts.known.training_id}: no person has decided about it")
    return AllowedDecision(Event.REOPENED, _before(facts))


def review_after(facts: Facts, decision: DecisionKind) -> str | None:
    """Return the reason for a review that remains after a decision."""
    reason = facts.known.review_reason
    if decision is DecisionKind.REOPEN:
        return "reopened"
    if decision is DecisionKind.CONFIRM and reason and reason.startswith(AFTER_SENDING):
        return reason
    return None


def _before(facts: Facts) -> dict[str, Any]:
    """Return the values that a decision overwrites."""
    return {
        "reason": facts.known.reason,
        "springest_certificate_id": facts.springest_certificate_id,
        "match_method": facts.match_method,
        "sent_at": _text(facts.sent_at),
    }


def _numbers(candidates: Sequence[int]) -> str:
    named = ", ".join(map(str, candidates[:5]))
    more = f" and {len(candidates) - 5} more" if len(candidates) > 5 else ""
    return f"certificate{'s' if len(candidates) > 1 else ''} {named}{more}"


def _text(moment: datetime | None) -> str | None:
    return moment.astimezone(UTC).strftime("%Y-%m-%d %H:%M UTC") if moment else None
