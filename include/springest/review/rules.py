"""Whether a person's decision about a delivery may stand, as pure functions.

Nothing here reads a clock or a database: the facts come in, and what the decision rests on, or a refusal that
says what to do instead, goes out. A release needs evidence that Springest lacks the certificate; a
confirmation needs a certificate that can be it and that nobody else stands for.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from typing import Any, Final

from springest.errors import DecisionRefused, IllegalTransition
from springest.identity import FORGOTTEN_OWNER
from springest.source.contract import CompletedTraining
from springest.staging.decide import Known, changed_fields
from springest.states import POSSIBLY_TAKEN, DecisionKind, Event, State, next_state
from springest.verification import MatchMethod

DUPLICATE: Final = "duplicate"
AFTER_SENDING: Final = ("changed_after_sending", "withdrawn_after_sending")
"""What is still to be looked at once a certificate is confirmed: the source says otherwise than Springest."""


@dataclass(frozen=True, slots=True)
class ReleaseRules:
    """What counts as evidence that Springest lacks a certificate.

    :param fresh: how long ago the newest complete snapshot may have ended.
    :param settled: how long after its POST a certificate may still be stored; later snapshots can lack it.
    :param listed_is_verified: whether every certification that the site lists is known to be verified.
    """

    fresh: timedelta = timedelta(hours=1)
    settled: timedelta = timedelta(minutes=15)
    listed_is_verified: bool = False


@dataclass(frozen=True, slots=True)
class Facts:
    """What is known of a delivery at the moment of a decision.

    :param possibly_taken_at: the last moment at which a POST of it may have been on its way, if ever.
    :param snapshot_id: newest complete snapshot of the site.
    :param listed_since: since when its certification has been listed; ``None``: it is not.
    :param certification_is_shown: whether that snapshot shows a certificate of its certification.
    :param shown_posted_at: when the last of these was posted, at the earliest.
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
    def possibly_taken(self) -> bool:
        """Whether Springest may ever have got it."""
        return self.possibly_taken_at is not None or self.known.state in POSSIBLY_TAKEN


@dataclass(frozen=True, slots=True)
class Shown:
    """The certificate that a person says it is.

    :param is_known: whether Springest has ever shown it; the fields hold what it showed last.
    :param claimed_by: another training whose delivery stands for it.
    :param answered_for: another training in answer to whose POST Springest told this id.
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
class Judgement:
    """A decision that stands.

    :param evidence: what it rests on, to be kept.
    """

    event: Event
    evidence: Mapping[str, Any]


def allowed(facts: Facts, event: Event) -> State:
    """Return the state that a decision leads to.

    :raises DecisionRefused: people can't decide so in the delivery's state.
    """
    known = facts.known
    try:
        return next_state(known.state, event)
    except IllegalTransition:
        hint = _INSTEAD.get(known.state, "nothing of it waits for such a decision")
        raise DecisionRefused(f"training {known.training_id} is {known.state}: {hint}") from None


_INSTEAD: Final = {
    State.SENDING: "a worker is sending it right now; decide once it has said how that went",
    State.READY: "it is in the queue already; it may be confirmed or cancelled",
    State.INVALID: "mend the row or its document, and it is sent by itself; it may be confirmed or cancelled",
    State.HELD: "it is sent once what its reason names is done; it may be confirmed or cancelled",
    State.REJECTED: "mend what Springest said, and it is sent by itself; it may be confirmed or cancelled",
    State.ACCEPTED: "Springest took it and told its id; only a confirmation by a person can be reopened",
    State.VISIBLE: "Springest shows it; only a confirmation by a person can be reopened",
    State.WITHDRAWN: "the source took it back; should the row come back, it is checked again",
    State.CANCELLED: "a person cancelled it; reopen it first",
}


def judge_release(
    facts: Facts,
    *,
    rows: Sequence[CompletedTraining],
    candidates: Sequence[int],
    rules: ReleaseRules,
    without_evidence: bool,
) -> Judgement:
    """Judge whether a certificate may be sent (again).

    :param rows: the different rows that the source has for it now.
    :param candidates: certificates that Springest shows and that could be it.
    :param without_evidence: the person accepts that evidence is missing; nothing else is overridden by it.
    :raises DecisionRefused: it could be there, the row has changed, or evidence is missing.
    """
    name = f"training {facts.known.training_id}"
    row = _unchanged(facts, rows, name)
    if candidates:
        raise DecisionRefused(
            f"{name}: Springest shows {_numbers(candidates)}, which could be it and which no other delivery "
            "stands for: look at it in Springest's admin, then confirm it by its id, or cancel"
        )
    missing = _missing_evidence(facts, rules)
    if missing and not without_evidence:
        raise DecisionRefused(
            f"{name}: {'; '.join(missing.values())}. To release it all the same, say so explicitly "
            "(--without-evidence): it is kept that you did"
        )
    evidence = {
        "row": row,
        "snapshot_id": facts.snapshot_id,
        "listed_since": _text(facts.listed_since),
        "possibly_taken": facts.possibly_taken,
    }
    return Judgement(Event.RELEASED, {**_before(facts), **evidence, "missing": sorted(missing)})


def _unchanged(facts: Facts, rows: Sequence[CompletedTraining], name: str) -> str:
    if not rows:
        raise DecisionRefused(f"{name}: the source no longer has it, so there is nothing to send: cancel it")
    if len(rows) > 1:
        raise DecisionRefused(f"{name}: the source has two rows of it that differ: keep one")
    if rows[0].row_version == facts.known.row_version:
        return "unchanged"
    fields = changed_fields(facts.known, rows[0])
    if fields:
        raise DecisionRefused(
            f"{name}: the source row is another one since it was staged ({', '.join(fields)}): put it back, "
            "or cancel this certificate and issue the new one under an issue_no of its own"
        )
    return "touched, but nothing of what is sent has changed"


def _missing_evidence(facts: Facts, rules: ReleaseRules) -> dict[str, str]:
    """Return what a release still needs, by a fixed word."""
    reconcile = "trigger springest_reconcile first"
    started, finished, sent = facts.snapshot_started_at, facts.snapshot_finished_at, facts.possibly_taken_at
    missing = {}
    if started is None or finished is None:
        missing["snapshot"] = f"there is no complete snapshot of what Springest shows: {reconcile}"
    elif finished < facts.now - rules.fresh:
        minutes = int(rules.fresh.total_seconds() // 60)
        missing["fresh_snapshot"] = (
            f"the newest complete snapshot ({facts.snapshot_id}) ended at {_text(finished)}, more than "
            f"{minutes} minutes ago: {reconcile}"
        )
    elif sent is not None and started < sent + rules.settled:
        missing["later_snapshot"] = (
            f"the newest complete snapshot ({facts.snapshot_id}) began at {_text(started)}, too early to "
            f"lack what was sent at {_text(sent)}: from {_text(sent + rules.settled)} on, {reconcile}"
        )
    if facts.possibly_taken and not _absence_counts(facts, rules):
        missing["verified_certification"] = (
            f"Springest shows no certificate of certification {facts.known.certification_id} that was posted "
            "later: the certification may not be verified yet, and until then its certificates are not "
            "shown. Look in Springest's admin"
        )
    return missing


def _absence_counts(facts: Facts, rules: ReleaseRules) -> bool:
    """Tell whether the newest complete snapshot would show the certificate if Springest had it.

    A certification is verified as a whole. That it is listed is no evidence unless the site's list is known
    to hold verified ones only: Springest's page describes the list both ways.
    """
    started, listed, shown = facts.snapshot_started_at, facts.listed_since, facts.shown_posted_at
    if shown is not None and facts.possibly_taken_at is not None and shown > facts.possibly_taken_at:
        return True
    return rules.listed_is_verified and listed is not None and (started is None or listed < started)


def judge_confirmation(
    facts: Facts, certificate_id: int, shown: Shown, *, rules: ReleaseRules | None = None
) -> Judgement:
    """Judge whether a delivery may be said to be that certificate.

    :raises DecisionRefused: it can't be that one, or Springest should show it and does not.
    """
    name, known = f"training {facts.known.training_id}", facts.known
    other = shown.claimed_by or shown.answered_for
    if other is not None:
        raise DecisionRefused(f"{name}: certificate {certificate_id} is that of training {other}")
    if known.certification_id is None or known.valid_from is None:
        raise DecisionRefused(f"{name} lacks its certification or valid_from: mend the source row first")
    evidence = {**_before(facts), "snapshot_id": facts.snapshot_id, "last_seen_at": _text(shown.last_seen_at)}
    if shown.is_known:
        _agrees(name, known, certificate_id, shown)
        if facts.snapshot_started_at and (shown.last_seen_at or facts.now) < facts.snapshot_started_at:
            raise DecisionRefused(
                f"{name}: Springest last showed certificate {certificate_id} at {_text(shown.last_seen_at)}, "
                f"and the complete snapshot {facts.snapshot_id} lacks it: ask Springest what became of it"
            )
        evidence["owner_agrees"] = shown.learner_ref not in (None, FORGOTTEN_OWNER)
        return Judgement(Event.CONFIRMED, evidence)
    listed_is_verified = (rules or ReleaseRules()).listed_is_verified
    if facts.certification_is_shown or (listed_is_verified and facts.listed_since is not None):
        raise DecisionRefused(
            f"{name}: Springest has not shown certificate {certificate_id}, and it should, since "
            f"certification {known.certification_id} is verified: check the number, or trigger "
            "springest_reconcile first if it is new"
        )
    return Judgement(Event.CONFIRMED_UNSEEN, evidence)


def _agrees(name: str, known: Known, certificate_id: int, shown: Shown) -> None:
    differs = [
        field
        for field, ours, theirs in (
            ("certification_id", known.certification_id, shown.certification_id),
            ("valid_from", known.valid_from, shown.valid_from),
            ("learner", known.learner_ref or FORGOTTEN_OWNER, shown.learner_ref),
        )
        if theirs is not None and theirs != ours
    ]
    if shown.valid_until != known.valid_until:
        differs.append("valid_until")
    if differs:
        raise DecisionRefused(
            f"{name}: certificate {certificate_id} is another one, it differs in {', '.join(differs)}"
        )


def judge_cancellation(facts: Facts) -> Judgement:
    """Judge whether a delivery may be given up: wherever the state allows it."""
    return Judgement(Event.DROPPED, _before(facts))


def judge_reopening(facts: Facts) -> Judgement:
    """Judge whether an earlier decision may be taken back.

    :raises DecisionRefused: what is to be reopened does not rest on a person.
    """
    if facts.known.state is not State.CANCELLED and facts.match_method != MatchMethod.PERSON:
        allowed(facts, Event.RELEASED)  # says what the state allows instead
        raise DecisionRefused(f"training {facts.known.training_id}: no person has decided about it")
    return Judgement(Event.REOPENED, _before(facts))


def review_after(facts: Facts, decision: DecisionKind) -> str | None:
    """Return what a person should still look at after a decision."""
    reason = facts.known.review_reason
    if decision is DecisionKind.REOPEN:
        return "reopened"
    if decision is DecisionKind.CONFIRM and reason and reason.startswith(AFTER_SENDING):
        return reason
    return None


def _before(facts: Facts) -> dict[str, Any]:
    """Return what a decision overwrites."""
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
