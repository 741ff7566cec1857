"""``springest review release``, ``confirm``, ``cancel`` and ``reopen``: one, or many by file or filter."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from dataclasses import dataclass

from springest.review.decisions import Choice, Decided
from springest.review.waiting import Filter, Waiting, find
from springest.states import DecisionKind, State
from springest_provider.cli.output import Exit, Output
from springest_provider.cli.review import chosen, write_list
from springest_provider.cli.session import Session, login, opened
from springest_provider.cli.wishes import Wish, read_wishes


@dataclass(frozen=True, slots=True)
class Report:
    """The result of one requested decision."""

    training_id: str
    issue_no: int | None
    decision: DecisionKind
    state: State | None
    decision_id: int | None
    refusal: str | None


def decide(told: argparse.Namespace, output: Output) -> int:
    """Decide about one training or many, each in its own transaction and with its own report."""
    unclear = _unclear(told)
    if unclear:
        output.complain(unclear)
        return Exit.USAGE
    with opened(told, output) as session:
        by = login(told)
        wishes, many = _wishes(session, told)
        if not wishes:
            output.complain("nothing matches the filter: nothing was decided")
            return Exit.NOTHING
        if many and not told.yes:
            return _only_show([wish.found for wish in wishes if wish.found], told, output)
        if getattr(told, "snapshot", False):
            taken = session.snapshot(by)
            whole = "complete" if taken.complete else "NOT complete"
            output.line(f"snapshot {taken.snapshot_id}: {taken.rows} certificates, {whole}")
        reports = _decide(session, told, wishes, by, output)
    output.document(reports)
    refused = sum(report.refusal is not None for report in reports)
    if many:
        output.line(f"{len(reports) - refused} decided, {refused} refused")
    if any(wish.found is None for wish in wishes) and len(wishes) == 1:
        return Exit.NOTHING
    return Exit.REFUSED if refused else Exit.DONE


def _unclear(told: argparse.Namespace) -> str | None:
    """Return an error if it is not clear which deliveries are meant, so that no decision is a mistake."""
    filtered = hasattr(told, "state") and not chosen(told).is_empty
    ways = sum((told.training_id is not None, told.file is not None, filtered))
    if ways != 1:
        return "name the deliveries: one TRAINING_ID, or --file, or a filter such as --reason absent"
    if told.training_id is None and (told.version or told.issue):
        return "--version and --issue need one TRAINING_ID"
    return None


def _wishes(session: Session, told: argparse.Namespace) -> tuple[list[Wish], bool]:
    """Return the requested decisions with their current deliveries, and whether there may be several."""
    site = session.site.name
    if told.file is not None:
        wishes = read_wishes(told.file, why=told.why, confirm=told.decision is DecisionKind.CONFIRM)
    elif told.training_id is not None:
        certificate_id = getattr(told, "springest_certificate_id", None)
        wishes = [Wish(told.training_id, told.issue, told.why or "", certificate_id)]
    else:
        return [
            Wish(one.training_id, one.issue_no, told.why or "", found=one)
            for one in find(session.engine, site=site, which=chosen(told))
        ], True
    names = sorted({wish.training_id for wish in wishes})
    found = find(session.engine, site=site, which=Filter(training_ids=names))
    return [wish.among(found, version=told.version) for wish in wishes], told.file is not None


def _only_show(found: Sequence[Waiting], told: argparse.Namespace, output: Output) -> int:
    output.document(found)
    write_list(found, output)
    output.complain(
        f"{told.decision} would apply to these {len(found)}; nothing was done. Add --yes to do it"
    )
    return Exit.UNCONFIRMED


def _decide(
    session: Session, told: argparse.Namespace, wishes: Sequence[Wish], by: str, output: Output
) -> list[Report]:
    decisions = session.decisions()
    rows = {}
    if told.decision is DecisionKind.RELEASE:
        rows = session.rows(told, [wish.training_id for wish in wishes])
    reports = []
    for wish in wishes:
        report = _report(wish, told.decision, wish.refusal)
        if wish.found is not None:
            choice = Choice(
                wish.found.delivery_key,
                told.decision,
                told.version or wish.found.version,
                by,
                wish.why,
                wish.springest_certificate_id,
                without_evidence=getattr(told, "without_evidence", False),
            )
            [done] = decisions.decide_each([choice], found=rows)
            report = _report(wish, told.decision, done.refusal, done)
        _say(report, output)
        reports.append(report)
    return reports


def _report(wish: Wish, decision: DecisionKind, refusal: str | None, done: Decided | None = None) -> Report:
    issue = wish.found.issue_no if wish.found else wish.issue_no
    state, number = (done.state, done.decision_id) if done else (None, None)
    return Report(wish.training_id, issue, decision, state, number, refusal)


def _say(report: Report, output: Output) -> None:
    if report.refusal is None:
        output.line(f"training {report.training_id}: {report.decision} done, its state is {report.state}")
    else:
        output.complain(f"{report.decision} refused: {report.refusal}")
