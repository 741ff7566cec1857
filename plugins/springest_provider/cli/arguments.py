"""The commands and their options."""

from __future__ import annotations

import argparse
import importlib
from collections.abc import Callable, Sequence
from datetime import datetime
from pathlib import Path
from typing import Final

from springest.states import DecisionKind, State
from springest_provider.cli.output import Output

CODES: Final = """exit codes:
  0  done
  1  a connection, a setting or the warehouse is missing or wrong
  2  the command line is not valid
  3  at least one decision was refused; the others were made
  4  there is no such training, or nothing matches the filter
  5  nothing was done: check the output, then add --yes"""

Run = Callable[[argparse.Namespace, Output], int]


def read(arguments: Sequence[str]) -> argparse.Namespace:
    """
    Parse a command line.

    :raises SystemExit: it is not valid (2), or help was requested (0).
    """
    return _parser().parse_args(arguments)


def _parser() -> argparse.ArgumentParser:
    parser = _new(
        argparse.ArgumentParser, prog="springest", description="Inspect and control deliveries to Springest."
    )
    commands = parser.add_subparsers(title="commands", metavar="COMMAND", required=True)
    warehouse = _warehouse()
    shared = _shared(warehouse)
    doctor = _command(commands, "doctor", "check an installation: connections, query, Airflow", shared)
    _add_source(doctor)
    doctor.set_defaults(run=_lazy("springest_provider.cli.doctor", "doctor"))
    status = _command(commands, "status", "queue, unknown outcomes, rate limit, last runs, freshness", shared)
    status.set_defaults(run=_lazy("springest_provider.cli.status", "show"))
    show_history = _command(commands, "who", "history of one training's certificates", shared)
    show_history.add_argument("training_id", metavar="TRAINING_ID")
    show_history.set_defaults(run=_lazy("springest_provider.cli.who", "show"))
    _add_plan(commands, shared)
    begin = _command(commands, "begin", "begin a site: send its trainings from a given moment on", shared)
    begin.add_argument(
        "--from",
        type=_moment,
        required=True,
        metavar="MOMENT",
        dest="begin_from",
        help="with a time zone, such as 2026-11-02T00:00:00+00:00",
    )
    _add_source(begin)
    begin.add_argument(
        "--yes", action="store_true", help="begin; without it, only show the number of trainings"
    )
    begin.set_defaults(run=_lazy("springest_provider.cli.begin", "begin"))
    _add_upkeep(commands, warehouse)
    trial = _command(commands, "end-trial", "let a new warehouse send after a trial elsewhere", shared)
    trial.add_argument(
        "--trial-warehouse", required=True, metavar="CONN_ID", help="connection of the trial's warehouse"
    )
    _add_signature(trial)
    trial.set_defaults(run=_lazy("springest_provider.cli.trial", "end"))
    review = _command(commands, "review", "list deliveries that wait for a person, and decide about them")
    _add_review(review.add_subparsers(title="commands", metavar="COMMAND", required=True), shared)
    return parser


def _add_plan(
    commands: argparse._SubParsersAction[argparse.ArgumentParser], shared: argparse.ArgumentParser
) -> None:
    plan = _command(
        commands,
        "plan",
        "dry run: what the next run would send and set aside, and how long it takes",
        shared,
    )
    plan.add_argument(
        "training_ids", nargs="*", metavar="TRAINING_ID", help="only these; by default what a run reads"
    )
    plan.add_argument("--from", type=_moment, metavar="MOMENT", dest="window_start", help="start of a window")
    plan.add_argument("--to", type=_moment, metavar="MOMENT", dest="window_end", help="its end, exclusive")
    plan.add_argument(
        "--begin-from", type=_moment, metavar="MOMENT", help="as if the site began from this moment"
    )
    plan.add_argument("--limit", type=_positive, metavar="N", help="as if the run may send at most N")
    plan.add_argument(
        "--certification", type=_positive, action="append", metavar="ID", help="only these; may be repeated"
    )
    plan.add_argument("--expected", type=_positive, metavar="N", help="as if N certificates were expected")
    plan.add_argument(
        "--until", metavar="HH:MM", help="when the run stops, in UTC; the site's deliver_until by default"
    )
    _add_source(plan)
    plan.set_defaults(run=_lazy("springest_provider.cli.plan", "plan"))


def _add_upkeep(
    commands: argparse._SubParsersAction[argparse.ArgumentParser], warehouse: argparse.ArgumentParser
) -> None:
    init = _command(commands, "init", "write the DAGs and example queries into an Airflow project")
    init.add_argument(
        "folder", type=Path, metavar="FOLDER", help="the project: the folder that has, or will have, dags/"
    )
    init.set_defaults(run=_lazy("springest_provider.cli.init", "init"), json=False)
    migrate = _command(commands, "migrate", "bring the schema of the warehouse up to date", warehouse)
    migrate.add_argument(
        "--roles",
        nargs="?",
        const="springest",
        metavar="PREFIX",
        help="create PREFIX_writer, PREFIX_publisher and PREFIX_reader, and grant each its rights",
    )
    migrate.set_defaults(run=_lazy("springest_provider.cli.migrate", "migrate"), json=False)
    erase = _command(commands, "erase", "erase a learner, or lift an erasure", warehouse)
    learner = erase.add_mutually_exclusive_group(required=True)
    learner.add_argument("--learner-ref", metavar="REF", help="the learner's reference in the warehouse")
    learner.add_argument(
        "--address-from-stdin",
        action="store_true",
        help="read the learner's e-mail address; it is not stored",
    )
    erase.add_argument(
        "--in-advance",
        action="store_true",
        help="accept an address that no learner has yet: nothing is ever sent to it",
    )
    erase.add_argument("--lift", action="store_true", help="lift the erasure: the learner has returned")
    erase.set_defaults(run=_lazy("springest_provider.cli.erase", "erase"), json=False)
    rotate = _command(commands, "rotate-secret", "re-key the warehouse for a new learner secret", warehouse)
    rotate.set_defaults(run=_lazy("springest_provider.rotate_secret", "rotate"), json=False)


def _add_review(
    commands: argparse._SubParsersAction[argparse.ArgumentParser], shared: argparse.ArgumentParser
) -> None:
    listing = _command(commands, "list", "list deliveries that wait for a person", shared)
    _add_filter(listing)
    listing.add_argument(
        "--limit", type=_positive, default=100, metavar="N", help="maximum number of rows (100)"
    )
    listing.set_defaults(run=_lazy("springest_provider.cli.review", "list_waiting"))
    show = _command(commands, "show", "show one training, and the decisions that are possible now", shared)
    show.add_argument("training_id", metavar="TRAINING_ID")
    _add_source(show)
    show.set_defaults(run=_lazy("springest_provider.cli.review", "show"))
    for kind, text in _DECISIONS.items():
        parser = _command(commands, kind.value, text, shared)
        _add_decision(parser, kind)
        parser.set_defaults(run=_lazy("springest_provider.cli.decide", "decide"), decision=kind)
    restored = _command(commands, "restored", "repair a ledger that was restored from a backup", shared)
    _add_signature(restored)
    restored.add_argument(
        "--highest", type=_positive, metavar="N",
        help="highest attempt ever made, if no Variable has it",
    )  # fmt: skip
    restored.set_defaults(run=_lazy("springest_provider.cli.restored", "repair"))


_DECISIONS: Final = {
    DecisionKind.RELEASE: "send it (again): Springest does not have it",
    DecisionKind.CONFIRM: "it is at Springest, with this id",
    DecisionKind.CANCEL: "never send it",
    DecisionKind.REOPEN: "undo an earlier decision",
}


def _add_decision(parser: argparse.ArgumentParser, kind: DecisionKind) -> None:
    parser.add_argument("training_id", metavar="TRAINING_ID", nargs="?", help="or use --file or a filter")
    if kind is DecisionKind.CONFIRM:
        parser.add_argument(
            "springest_certificate_id", metavar="ID", nargs="?", type=_positive, help="its id at Springest"
        )
    parser.add_argument(
        "--issue", type=_positive, metavar="N", help="issue number, if the training has several"
    )
    parser.add_argument(
        "--version", type=_positive, metavar="N", help="decide only if the delivery still has this version"
    )
    parser.add_argument(
        "--file",
        type=Path,
        metavar="CSV",
        help="many at once: columns training_id, issue_no, why"
        + (", springest_certificate_id" if kind is DecisionKind.CONFIRM else ""),
    )
    if kind is not DecisionKind.CONFIRM:
        _add_filter(parser)
    _add_signature(parser)
    if kind is DecisionKind.RELEASE:
        _add_source(parser)
        parser.add_argument(
            "--snapshot",
            action="store_true",
            help="read the certificates that Springest shows now, before deciding",
        )
        parser.add_argument(
            "--without-evidence",
            action="store_true",
            help="release without evidence that Springest does not have it; this is recorded",
        )


def _add_filter(parser: argparse.ArgumentParser) -> None:
    group = parser.add_argument_group(
        "filter",
        "default: deliveries that wait for a person; with a reason or a run, `list` also finds other states",
    )
    group.add_argument(
        "--state", action="append", type=State, choices=list(State), metavar="STATE", help="may be repeated"
    )
    group.add_argument("--reason", metavar="WORD", help="a reason, such as absent or response_timeout")
    group.add_argument("--run", metavar="RUN_ID", dest="of_run", help="Airflow run that staged or sent it")
    group.add_argument("--certification", type=_positive, metavar="ID")


def _add_signature(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--why", metavar="TEXT", help="a reason, required and recorded; no e-mail addresses")
    parser.add_argument("--by", metavar="LOGIN", help="your name; your login by default")
    parser.add_argument("--yes", action="store_true", help="do it; without it, several are only listed")


def _add_source(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--source", metavar="CONN_ID", help="connection of the source; the site's by default")
    parser.add_argument(
        "--sql", type=Path, metavar="FILE", help="the query of completed trainings; the site's by default"
    )


def _warehouse() -> argparse.ArgumentParser:
    warehouse = argparse.ArgumentParser(add_help=False)
    warehouse.add_argument(
        "--warehouse", default="certificate_warehouse", metavar="CONN_ID", help="connection of the warehouse"
    )
    return warehouse


def _shared(warehouse: argparse.ArgumentParser) -> argparse.ArgumentParser:
    shared = argparse.ArgumentParser(add_help=False, parents=[warehouse])
    shared.add_argument(
        "--site", default="default", metavar="NAME", help="site in include/sites.toml (default)"
    )
    shared.add_argument("--json", action="store_true", help="print JSON")
    return shared


def _command(
    commands: argparse._SubParsersAction[argparse.ArgumentParser],
    name: str,
    text: str,
    shared: argparse.ArgumentParser | None = None,
) -> argparse.ArgumentParser:
    parents = [shared] if shared else []
    return _new(
        commands.add_parser, name, help=text, description=f"{text[0].upper()}{text[1:]}.", parents=parents
    )


def _new(
    make: Callable[..., argparse.ArgumentParser], *names: str, **values: object
) -> argparse.ArgumentParser:
    plain = argparse.RawDescriptionHelpFormatter
    return make(*names, epilog=CODES, formatter_class=plain, allow_abbrev=False, **values)


def _lazy(module: str, name: str) -> Run:
    """Return a function that imports the command's module (and Airflow) only when it runs."""

    def run(options: argparse.Namespace, output: Output) -> int:
        chosen: Run = getattr(importlib.import_module(module), name)
        return chosen(options, output)

    return run


def _moment(text: str) -> datetime:
    moment = datetime.fromisoformat(text)
    if moment.tzinfo is None:
        raise argparse.ArgumentTypeError("needs a time zone, such as 2026-11-02T00:00:00+00:00")
    return moment


def _positive(text: str) -> int:
    number = int(text)
    if number < 1:
        raise ValueError
    return number
