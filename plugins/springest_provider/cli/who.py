"""``springest who``: the history of one training."""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from typing import Any

from springest.review.story import Attempt, RecordedDecision, Story, load_stories
from springest_provider.cli.output import Exit, Output
from springest_provider.cli.session import open_site


def show(options: argparse.Namespace, output: Output) -> int:
    """Show the history of a training's certificates."""
    with open_site(options, output) as session:
        stories = load_stories(session.engine, site=session.site.name, training_id=options.training_id)
    if not stories:
        output.error(missing(options.training_id, session.site.name))
        return Exit.NOTHING
    output.document(stories)
    for story in stories:
        write(story, output)
    return Exit.DONE


def missing(training_id: str, site: str) -> str:
    """Return the message for a training that is not in the ledger."""
    return f"site {site} has no delivery of training {training_id}: it was not staged yet, or has another id"


def write(story: Story, output: Output) -> None:
    """Write the history of one certificate as text."""
    output.line(f"training {story.training_id}, issue {story.issue_no}: {story.state}")
    output.facts(_facts(story))
    for attempt in story.attempts:
        output.line(
            f"  attempt {attempt.attempt_id}, {attempt.started_at:%Y-%m-%d %H:%M:%S} UTC: {_attempt(attempt)}"
        )
    for decision in story.decisions:
        when = f"{decision.decided_at:%Y-%m-%d %H:%M} UTC"
        output.line(f"  decision {decision.decision_id}, {when}: {_decision(decision)}")


def _facts(story: Story) -> Iterator[tuple[str, Any]]:
    name = f" ({story.certification_name})" if story.certification_name else ""
    yield "verdict", story.verification_status
    yield "reason", story.reason
    yield "", story.reason_detail
    yield "review", story.review_reason
    yield "certification", f"{story.certification_id}{name}" if story.certification_id else None
    yield "listed since", story.listed_since or "not listed"
    yield "valid", f"{story.valid_from} to {story.valid_until or 'no end'}" if story.valid_from else None
    yield "completed", story.completed_at
    yield "staged", f"{story.created_at:%Y-%m-%d %H:%M} UTC, last by {story.staged_run_id}"
    yield "sent", story.sent_at
    yield "Springest's id", story.springest_certificate_id
    yield "matched by", story.match_method
    yield "evidence", story.match_evidence
    yield "its status", story.springest_status
    yield "stored there", story.remote_created_at
    yield "last shown", story.last_seen_at
    yield "version", story.version


def _attempt(attempt: Attempt) -> str:
    fields = [
        attempt.outcome or "no outcome yet",
        f"HTTP {attempt.http_status}" if attempt.http_status else None,
        attempt.failure,
        f"certificate {attempt.springest_certificate_id}" if attempt.springest_certificate_id else None,
        attempt.message,
        f"by run {attempt.run_id}",
    ]
    return ", ".join(part for part in fields if part)


def _decision(made: RecordedDecision) -> str:
    certificate = f" {made.springest_certificate_id}" if made.springest_certificate_id else ""
    override = ", without evidence" if made.without_evidence else ""
    moved = f"{made.from_state} to {made.to_state}"
    return f"{made.decision}{certificate} by {made.decided_by}{override}, {moved}: {made.reason}"
