"""``make chaos``: rounds of chaos against a real Airflow, repeatable by their seed."""

from __future__ import annotations

import argparse
import json
import secrets
import shutil
import signal
import sys
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict
from types import FrameType

from rich.console import Console

from demo.airflow_home import PROJECT
from demo.processes import Ended

from .ledger import Ledger
from .plan import Plan, draw
from .rounds import RoundReport, Rounds
from .world import World, started

FOLDER = PROJECT / ".springest" / "chaos"
SECONDS_TO_START = 240
SECONDS_A_ROUND = 120
SECONDS_TO_END = 60
MOST_PRINTED = 20


class TimeOver(KeyboardInterrupt):
    """All rounds together took longer than they may; not an error that anything on the way would handle."""


def parse(arguments: Sequence[str]) -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(prog="python -m tests.chaos", description=__doc__)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--seed", type=int, default=secrets.randbelow(1_000_000))
    parser.add_argument("--first", type=int, default=0, help="number of the first round")
    options = parser.parse_args(arguments)
    if not 1 <= options.rounds <= 500:
        parser.error("--rounds must be from 1 to 500")
    return options


def main(arguments: Sequence[str]) -> int:
    """Play the rounds.

    :returns: 0 when everything added up.
    """
    options = parse(arguments)
    console = Console(highlight=False, width=None if sys.stdout.isatty() else 150)
    game = Game(console, seed=options.seed, first=options.first, rounds=options.rounds)
    code = 1
    try:
        with deadline(SECONDS_TO_START + SECONDS_A_ROUND * options.rounds + SECONDS_TO_END):
            code = game.play()
    except TimeOver as over:
        console.print(f"[red]{over}[/red]")
    except Ended as ended:
        console.print(f"Ended by {ended}; everything that was started has been stopped")
        code = 130
    finally:
        game.say_how_to_run_again(failed=code != 0)
    return code


@contextmanager
def deadline(seconds: int) -> Iterator[None]:
    """Break off whatever runs in this process after some seconds."""

    def over(number: int, frame: FrameType | None) -> None:
        raise TimeOver(f"the rounds are not through after {seconds} s")

    before = signal.signal(signal.SIGALRM, over)
    signal.alarm(seconds)
    try:
        yield
    finally:
        signal.alarm(0)
        signal.signal(signal.SIGALRM, before)


class Game:
    """All rounds of one call, and what is told about them.

    :param first: number of the first round: a plan belongs to a seed and a number.
    """

    def __init__(self, console: Console, *, seed: int, first: int, rounds: int) -> None:
        self._console = console
        self._seed = seed
        self._plans = [draw(seed, number) for number in range(first, first + rounds)]
        self._folder = FOLDER / f"{seed}-{first}"
        self._begun = time.monotonic()
        self._now = first

    def play(self) -> int:
        """Play them; stop at the first that does not add up."""
        self._say(f"seed {self._seed}, {len(self._plans)} rounds from round {self._now}")
        with started(self._folder, tell=self._say) as world:
            rounds = Rounds(world)
            try:
                rounds.begin()
                failures = self._rounds(rounds) or rounds.finish()
            except Exception:  # noqa: BLE001 - whatever broke it, the evidence is kept
                self._console.print_exception(max_frames=4)
                failures = ["the round broke off"]
            self._tell_figures(world, rounds)
            for failure in failures[:MOST_PRINTED]:
                self._console.print(f"[red]{failure}[/red]", soft_wrap=True)
            if len(failures) > MOST_PRINTED:
                self._console.print(f"[red]… and {len(failures) - MOST_PRINTED} more[/red]")
            if failures:
                self._keep_evidence(world)
        if not failures:
            shutil.rmtree(self._folder, ignore_errors=True)
        return 1 if failures else 0

    def say_how_to_run_again(self, *, failed: bool) -> None:
        """Tell the seed, and what to type to see the same again."""
        if failed:
            self._console.print(
                f"[red]Not passed.[/red] Kept: {self._folder.relative_to(PROJECT)}. Again: "
                f"make chaos SEED={self._seed} FIRST={self._now} ROUNDS=1",
                soft_wrap=True,
            )
        self._console.print(f"seed {self._seed}")

    def _rounds(self, rounds: Rounds) -> Sequence[str]:
        for plan in self._plans:
            self._now = plan.number
            report = rounds.play(plan)
            self._print_round(plan, report)
            if report.failures:
                return report.failures
        return ()

    def _print_round(self, plan: Plan, report: RoundReport) -> None:
        kinds = Counter(fault.kind.value for fault in plan.faults[:-1])
        mark = "[red]WRONG[/red]" if report.failures else "adds up"
        self._say(
            f"round {plan.number}: {plan.fresh} trainings, {plan.older} more by a backfill; "
            f"{', '.join(report.struck)}; server: {', '.join(kinds)}; {report.seconds:.0f} s, {mark}"
        )

    def _tell_figures(self, world: World, rounds: Rounds) -> None:
        figures, evidence = rounds.figures, Ledger(world).evidence()
        states = Counter(delivery.state for delivery in evidence.deliveries)
        outcomes = Counter(attempt.outcome or "open" for attempt in evidence.attempts)
        self._say(f"{figures.rounds} rounds; strikes {_counts(figures.hits)}")
        if figures.misses:
            self._say(f"strikes that found nothing to hit: {_counts(figures.misses)}")
        self._say(f"server: {_counts(figures.faults)}; {figures.backfills} backfills")
        self._say(
            f"{evidence.source_count} trainings, {len(evidence.posts)} POSTs, {len(evidence.attempts)} "
            f"attempts ({_counts(outcomes)}); {len(evidence.stored)} certificates stored, "
            f"{world.sandbox.summary().duplicates} doubled; deliveries: {_counts(states)}; "
            f"{figures.runs_to_settle} runs after the chaos; components that ended by themselves: "
            f"{world.components.ended_by_themselves}"
        )

    def _keep_evidence(self, world: World) -> None:
        evidence = json.dumps(asdict(Ledger(world).evidence()), indent=1, default=str)
        (self._folder / "evidence.json").write_text(evidence, encoding="utf-8")

    def _say(self, text: str) -> None:
        self._console.print(f"[dim]{time.monotonic() - self._begun:5.0f} s[/dim]  {text}", soft_wrap=True)


def _counts(counted: Counter[str]) -> str:
    return ", ".join(f"{name} {number}" for name, number in sorted(counted.items())) or "none"


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
