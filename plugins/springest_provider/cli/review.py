"""``springest review list`` and ``show``."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from dataclasses import asdict, replace
from typing import Any

from springest.errors import SpringestError
from springest.review.decisions import RequestedDecision
from springest.review.story import Story, load_stories
from springest.review.waiting import Filter, Waiting, find
from springest.source.contract import CompletedTraining
from springest.states import DecisionKind
from springest_provider.cli.output import Exit, Output
from springest_provider.cli.session import Session, open_site
from springest_provider.cli.who import missing, write


def list_waiting(options: argparse.Namespace, output: Output) -> int:
    """List deliveries that wait for a person."""
    # A decision by filter is limited to deliveries that wait for a person; a list is not.
    which = replace(filter_from(options), any_state=True)
    with open_site(options, output) as session:
        found = find(session.engine, site=session.site.name, which=which, limit=options.limit)
    output.document(found)
    if not found:
        output.line("nothing waits for a person" if which.is_empty else "nothing matches the filter")
        return Exit.DONE if which.is_empty else Exit.NOTHING
    write_list(found, output)
    if len(found) == options.limit:
        output.line(f"… the first {options.limit}; see --limit")
    return Exit.DONE


def filter_from(options: argparse.Namespace, training_ids: Sequence[str] | None = None) -> Filter:
    """Return the filter that the options specify."""
    return Filter(
        states=options.state or None,
        reason=options.reason,
        run_id=options.of_run,
        certification_id=options.certification,
        training_ids=training_ids,
    )


def write_list(found: Sequence[Waiting], output: Output) -> None:
    """Write a table of deliveries."""
    output.table(
        ("training", "issue", "state", "reason", "review", "certification", "valid from", "sent", "id"),
        (
            (row.training_id, row.issue_no, row.state, row.reason, row.review_reason, row.certification_id,
             row.valid_from, row.sent_at, row.springest_certificate_id)
            for row in found
        ),
    )  # fmt: skip


def show(options: argparse.Namespace, output: Output) -> int:
    """Show one training's history, and the decisions that are possible now."""
    with open_site(options, output) as session:
        stories = load_stories(session.engine, site=session.site.name, training_id=options.training_id)
        if not stories:
            output.error(missing(options.training_id, session.site.name))
            return Exit.NOTHING
        rows, trouble = _rows(session, options.training_id)
        document = []
        for story in stories:
            write(story, output)
            refusals = _refusals(session, story, rows, trouble)
            candidates = _candidates(session, story)
            if candidates:
                output.line(
                    f"  Springest shows {', '.join(map(str, candidates))}, which may be this certificate"
                )
            output.line("  decisions")
            output.facts(
                (f"  {name}", f"refused: {refusal}" if refusal else "possible")
                for name, refusal in refusals.items()
            )
            document.append({**asdict(story), "candidates": candidates, "refusals": refusals})
        output.document(document)
    return Exit.DONE


def _rows(session: Session, training_id: str) -> tuple[dict[str, list[CompletedTraining]], str | None]:
    """Return the source rows, or the error that prevented reading them; the rest is shown either way."""
    try:
        return session.rows([training_id]), None
    except SpringestError as error:
        return {}, str(error)


def _choice(story: Story, kind: DecisionKind) -> RequestedDecision:
    return RequestedDecision(story.delivery_key, kind, story.version, decided_by="-", reason="-")


def _candidates(session: Session, story: Story) -> list[int]:
    """Return the certificates shown by Springest that may be this one, if it has no id yet."""
    if story.springest_certificate_id is not None:
        return []
    decisions = session.decisions()
    return decisions.candidates(_choice(story, DecisionKind.CONFIRM))


def _refusals(
    session: Session, story: Story, rows: dict[str, list[CompletedTraining]], trouble: str | None
) -> dict[str, str | None]:
    decisions = session.decisions()
    options: dict[str, Any] = {}
    for kind in DecisionKind:
        refusal = decisions.refusal(_choice(story, kind), rows=rows.get(story.delivery_key, ()))
        options[kind.value] = trouble if trouble and kind is DecisionKind.RELEASE else refusal
    return options
