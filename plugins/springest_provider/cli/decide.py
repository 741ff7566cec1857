"""``springest review release``, ``confirm``, ``cancel`` and ``reopen``: one, or many by file or filter."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from dataclasses import dataclass

from springest.review.decisions import Decided, RequestedDecision
from springest.review.waiting import Filter, Waiting, find
from springest.states import DecisionKind, State
from springest_provider.cli.decision_requests import DecisionRequest, read_requests
from springest_provider.cli.output import Exit, Output
from springest_provider.cli.review import filter_from, write_list
from springest_provider.cli.session import Session, login, open_site


@dataclass(frozen=True, slots=True)
class Report:
    """The result of one requested decision."""

    training_id: str
    issue_no: int | None
    decision: DecisionKind
    state: State | None
    decision_id: int | None
    refusal: str | None


def decide(options: argparse.Namespace, output: Output) -> int:
    """Decide about one training or many, each in its own transaction and with its own report."""
    unclear = _unclear(options)
    if unclear:
        output.error(unclear)
        return Exit.USAGE
    with open_site(options, output) as session:
        by = login(options)
        requests, many = _requests(session, options)
        if not requests:
            output.error("nothing matches the filter: nothing was decided")
            return Exit.NOTHING
        if many and not options.yes:
            return _only_show([request.found for request in requests if request.found], options, output)
        if getattr(options, "snapshot", False):
            taken = session.snapshot(by)
            whole = "complete" if taken.complete else "NOT complete"
            output.line(f"snapshot {taken.snapshot_id}: {taken.rows} certificates, {whole}")
        reports = _decide(session, options, requests, by, output)
    output.document(reports)
    refused = sum(report.refusal is not None for report in reports)
    if many:
        output.line(f"{len(reports) - refused} decided, {refused} refused")
    if any(request.found is None for request in requests) and len(requests) == 1:
        return Exit.NOTHING
    return Exit.REFUSED if refused else Exit.DONE


def _unclear(options: argparse.Namespace) -> str | None:
    """Return an error if it is not clear which deliveries are meant, so that no decision is a mistake."""
    filtered = hasattr(options, "state") and not filter_from(options).is_empty
    ways = sum((options.training_id is not None, options.file is not None, filtered))
    if ways != 1:
        return "name the deliveries: one TRAINING_ID, or --file, or a filter such as --reason absent"
    if options.training_id is None and (options.version or options.issue):
        return "--version and --issue need one TRAINING_ID"
    return None


def _requests(session: Session, options: argparse.Namespace) -> tuple[list[DecisionRequest], bool]:
    """Return the requested decisions with their current deliveries, and whether there may be several."""
    site = session.site.name
    if options.file is not None:
        requests = read_requests(
            options.file, why=options.why, confirm=options.decision is DecisionKind.CONFIRM
        )
    elif options.training_id is not None:
        certificate_id = getattr(options, "springest_certificate_id", None)
        requests = [DecisionRequest(options.training_id, options.issue, options.why or "", certificate_id)]
    else:
        return [
            DecisionRequest(item.training_id, item.issue_no, options.why or "", found=item)
            for item in find(session.engine, site=site, which=filter_from(options))
        ], True
    names = sorted({request.training_id for request in requests})
    found = find(session.engine, site=site, which=Filter(training_ids=names))
    return [request.among(found, version=options.version) for request in requests], options.file is not None


def _only_show(found: Sequence[Waiting], options: argparse.Namespace, output: Output) -> int:
    output.document(found)
    write_list(found, output)
    output.error(
        f"{options.decision} would apply to these {len(found)}; nothing was done. Add --yes to do it"
    )
    return Exit.UNCONFIRMED


def _decide(
    session: Session,
    options: argparse.Namespace,
    requests: Sequence[DecisionRequest],
    by: str,
    output: Output,
) -> list[Report]:
    decisions = session.decisions()
    rows = {}
    if options.decision is DecisionKind.RELEASE:
        rows = session.rows([request.training_id for request in requests])
    reports = []
    for request in requests:
        report = _report(request, options.decision, request.refusal)
        if request.found is not None:
            choice = RequestedDecision(
                request.found.delivery_key,
                options.decision,
                options.version or request.found.version,
                by,
                request.why,
                request.springest_certificate_id,
                without_evidence=getattr(options, "without_evidence", False),
            )
            [done] = decisions.decide_each([choice], found=rows)
            report = _report(request, options.decision, done.refusal, done)
        _say(report, output)
        reports.append(report)
    return reports


def _report(
    request: DecisionRequest, decision: DecisionKind, refusal: str | None, done: Decided | None = None
) -> Report:
    issue = request.found.issue_no if request.found else request.issue_no
    state, number = (done.state, done.decision_id) if done else (None, None)
    return Report(request.training_id, issue, decision, state, number, refusal)


def _say(report: Report, output: Output) -> None:
    if report.refusal is None:
        output.line(f"training {report.training_id}: {report.decision} done, its state is {report.state}")
    else:
        output.error(f"{report.decision} refused: {report.refusal}")
