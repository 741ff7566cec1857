"""``make demo``: two nights of certificates in a real Airflow, and their results."""

from __future__ import annotations

import argparse
import logging
import os
import subprocess
import sys
import time
from collections.abc import Sequence
from datetime import datetime
from typing import Final

import httpx
from rich.console import Console
from rich.table import Table
from sqlalchemy import TextClause, text

from demo.airflow_home import PROJECT, RunFailed
from demo.nights import CERTIFICATIONS, Night
from demo.processes import Ended, ProcessFailed, listening, reachable_by_others
from demo.proof import NightSum, delivery_failures, night_sums, reason_failures
from demo.world import REQUESTS_PER_HOUR, AlreadyRunning, World, complete, started

FOLDER: Final = PROJECT / ".springest" / "demo"
DAGS: Final = ("springest_catalogue", "springest_deliver", "springest_reconcile", "springest_review")
_SAMPLE: Final = text("""
SELECT DISTINCT ON (verification_status, delivery_reason)
       training_id, certification_name, delivery_state, verification_status,
       COALESCE(springest_certificate_id::text, '') AS springest_id,
       COALESCE(match_method, '') AS matched_by, COALESCE(delivery_reason, '') AS reason
FROM springest.certificate_reconciliation
ORDER BY verification_status, delivery_reason, training_id
LIMIT 14
""")
_HISTORY: Final = text("""
SELECT training_id, to_char(valid_from_ts, 'HH24:MI:SS') AS "from",
       COALESCE(to_char(valid_to_ts, 'HH24:MI:SS'), 'now') AS until, delivery_state, verification_status
FROM springest.certificate_reconciliation_history
WHERE delivery_key = (SELECT delivery_key FROM springest.certificate_reconciliation_history
                      GROUP BY delivery_key HAVING bool_and(delivery_state <> 'sending')
                      ORDER BY count(*) DESC, min(training_id) LIMIT 1)
ORDER BY valid_from_ts
""")


class Demo:
    """The story, step by step.

    :param console: output for it.
    """

    def __init__(self, world: World, console: Console, begun: float) -> None:
        self._world = world
        self._console = console
        self._begun = begun

    def tell(self, step: str) -> None:
        """Print a step with its time."""
        self._console.print(f"[dim]{time.monotonic() - self._begun:5.0f} s[/dim]  {step}")

    def run(self) -> list[str]:
        """Print the result; return the differences from the expected one."""
        world = self._world
        first, second = world.nights
        self._wait_for_dags()
        self.tell("Airflow is up and has parsed the four DAGs; the scheduler begins with the catalogue")
        self._scheduled("springest_catalogue")
        self._first_night(first)
        verified = [certification for certification in CERTIFICATIONS if certification.verified_between]
        for certification in verified:
            world.sandbox.verify(certification.id)
        names = " and ".join(certification.name for certification in verified)
        self.tell(f"[bold]In the morning[/bold] an employee of Springest verifies {names}")
        run_id = self._night(second, "night-2")
        sums = night_sums(world.source, world.warehouse, world.nights, run_id=run_id)
        posts = self._posts()
        again = self._again(run_id)
        failures = [
            *(f"night {night.day}: the sum is not right" for night in sums if not night.adds_up),
            *(f"night {night.day}: some are called not sent" for night in sums if night.statuses["not_sent"]),
            *delivery_failures(world.nights, world.sandbox.certificates()),
            *reason_failures(world.warehouse, world.nights),
            *([f"running the nights again sent {again}"] if again else []),
            *(f"{address} can be reached by others" for address in reachable_by_others(listening())),
            *self._connection_failures(),
            *self._doctor_failures(),
        ]
        self._show(sums, posts, again, proven=not failures)
        return failures

    def _connection_failures(self) -> list[str]:
        """Test the connection, as the UI's button does."""
        works, message = self._world.airflow.test_connection("springest_default")
        return [] if works else [f"the Test button of springest_default: {message}"]

    def _doctor_failures(self) -> list[str]:
        """Check the installation with ``bin/springest doctor``, as a new site does first."""
        self.tell("`bin/springest doctor` checks the installation")
        command = [str(PROJECT / "bin" / "springest"), "doctor"]
        env = {"PATH": os.environ.get("PATH", os.defpath), "AIRFLOW_HOME": str(FOLDER / "airflow")}
        done = subprocess.run(command, env=env, capture_output=True, text=True, check=False)
        self._console.print(done.stdout + done.stderr, markup=False)
        return [] if done.returncode == 0 else ["`bin/springest doctor` found a problem"]

    def _wait_for_dags(self) -> None:
        until = time.monotonic() + 90
        while not set(DAGS) <= self._world.airflow.dags():
            errors = self._world.airflow.import_errors()
            if errors or time.monotonic() > until:
                raise RunFailed(f"the DAGs can't be parsed:\n{''.join(errors)}")
            time.sleep(0.3)

    def _scheduled(self, dag_id: str) -> str:
        """Unpause a DAG and wait for its scheduled run."""
        world = self._world
        world.airflow.unpause(dag_id)
        until = time.monotonic() + 60
        while not (runs := world.airflow.runs(dag_id)):
            world.supervisor.check()
            if time.monotonic() > until:
                raise RunFailed(f"the scheduler makes no run of {dag_id}")
            time.sleep(0.3)
        run_id = str(runs[0]["dag_run_id"])
        world.airflow.wait_for_run(dag_id, run_id, tick=world.supervisor.check)
        return run_id

    def _triggered(self, dag_id: str, run_id: str) -> None:
        self._world.airflow.trigger(dag_id, run_id=run_id)
        self._world.airflow.wait_for_run(dag_id, run_id, tick=self._world.supervisor.check)

    def _first_night(self, night: Night) -> None:
        world = self._world
        rows = complete(world, night)
        self.tell(
            f"[bold]Night of {night.day}[/bold]: {rows} completed trainings; the scheduled run delivers"
        )
        world.begin_site()
        self.tell(
            "   The site begins, as `bin/springest begin` does it: before that, nothing goes by schedule"
        )
        world.airflow.unpause("springest_reconcile")
        self._delivered(self._scheduled("springest_deliver"))

    def _night(self, night: Night, run_id: str) -> str:
        world = self._world
        rows = complete(world, night)
        self.tell(f"[bold]Night of {night.day}[/bold]: {rows} completed trainings; catalogue, then delivery")
        self._triggered("springest_catalogue", run_id)
        self._triggered("springest_deliver", run_id)
        self._delivered(run_id)
        return run_id

    def _again(self, run_id: str) -> int:
        """Run both nights again, and return the number of POSTs."""
        world = self._world
        before = self._posts()
        self.tell("Now the nights once more: the last one cleared, and one more run over everything")
        world.airflow.clear("springest_deliver", run_id)
        world.airflow.wait_for_run("springest_deliver", run_id, tick=world.supervisor.check)
        self._triggered("springest_deliver", "once-more")
        self._delivered("once-more")
        return self._posts() - before

    def _posts(self) -> int:
        return sum(request.method == "POST" for request in self._world.sandbox.requests())

    def _delivered(self, run_id: str) -> None:
        """Wait for the reconciliation that a delivery triggers by its asset."""
        [began] = [
            str(run["start_date"])
            for run in self._world.airflow.runs("springest_deliver")
            if run["dag_run_id"] == run_id
        ]
        until = time.monotonic() + 90
        while self._busy() or not self._reconciled(since=datetime.fromisoformat(began)):
            self._world.supervisor.check()
            if time.monotonic() > until:
                raise RunFailed("no reconciliation followed the delivery")
            time.sleep(0.3)
        self.tell(f"   Springest has {len(self._world.sandbox.certificates())} certificates; reconciled")

    def _reconciled(self, *, since: datetime) -> bool:
        """Whether the last deliveries are reconciled: an asset event announces each delivery."""
        return any(
            run["state"] == "success"
            and run["run_type"] == "asset_triggered"
            and datetime.fromisoformat(run["run_after"]) > since
            for run in self._world.airflow.runs("springest_reconcile")
        )

    def _busy(self) -> bool:
        runs = self._world.airflow.runs("springest_reconcile")
        failed = [run["dag_run_id"] for run in runs if run["state"] == "failed"]
        if failed:
            raise RunFailed(f"the reconciliation {failed[0]} failed")
        return any(run["state"] != "success" for run in runs)

    def _show(self, sums: Sequence[NightSum], posts: int, again: int, *, proven: bool) -> None:
        statuses = sorted({status for night in sums for status in night.statuses})
        nights = Table("night", "completed", *statuses, "sum", title="What became of each night's trainings")
        for night in sums:
            counts = (str(night.statuses[status]) for status in statuses)
            mark = "[green]adds up[/green]" if night.adds_up else "[red]WRONG[/red]"
            nights.add_row(str(night.day), str(night.completed), *counts, f"{night.statuses.total()} {mark}")
        self._console.print()
        self._console.print(nights)
        self._print(_SAMPLE, "springest.certificate_reconciliation, one row of each kind")
        self._print(_HISTORY, "springest.certificate_reconciliation_history of one certificate")
        self._console.print(
            f"The sandbox's own record: {posts} POSTs for {len(self._world.sandbox.certificates())} "
            f"certificates{', each once with the right bytes' if proven else ''}; "
            f"running the nights again made {again} more."
        )

    def _print(self, statement: TextClause, title: str) -> None:
        with self._world.warehouse.connect() as connection:
            rows = connection.execute(statement)
            table = Table(*rows.keys(), title=title)
            for row in rows:
                table.add_row(*(str(value or "") for value in row))
        self._console.print(table)


def main(arguments: Sequence[str]) -> int:
    """Run the demo.

    :returns: 0 if all results are as expected.
    """
    parser = argparse.ArgumentParser(prog="python -m demo", description=__doc__)
    parser.add_argument("--stay", action="store_true", help="stay up with Airflow's UI afterwards")
    options = parser.parse_args(arguments)
    logging.basicConfig(level=logging.WARNING, format="%(message)s")
    console, begun = Console(highlight=False, width=None if sys.stdout.isatty() else 150), time.monotonic()
    try:
        with started(FOLDER, tell=lambda step: _tell(console, begun, step)) as world:
            _tell(
                console,
                begun,
                f"The demo's connection sets requests_per_hour to {REQUESTS_PER_HOUR:,}, not 4,000",
            )
            failures = Demo(world, console, begun).run()
            for failure in failures:
                console.print(f"[red]{failure}[/red]")
            _next_steps(console, world, stay=options.stay)
            if options.stay:
                _stay(world)
    except (AlreadyRunning, ProcessFailed, RunFailed, httpx.HTTPError) as error:
        console.print(_in_words(error), style="red", markup=False)
        console.print(
            f"Logs are in {FOLDER.relative_to(PROJECT)}/logs and {FOLDER.relative_to(PROJECT)}/airflow/logs"
        )
        return 1
    except Ended as ended:
        console.print(f"Ended by {ended}; everything that was started has been stopped")
        return 0 if options.stay else 130
    return 1 if failures else 0


def _in_words(error: Exception) -> str:
    if isinstance(error, httpx.HTTPError):
        return f"{error.request.method} {error.request.url} failed: {str(error) or type(error).__name__}"
    return str(error)


def _tell(console: Console, begun: float, step: str) -> None:
    console.print(f"[dim]{time.monotonic() - begun:5.0f} s[/dim]  {step}")


def _stay(world: World) -> None:
    while True:
        world.supervisor.check()
        time.sleep(1)


def _next_steps(console: Console, world: World, *, stay: bool) -> None:
    if stay:
        console.print(f"\nAirflow: {world.airflow_url}   Sandbox: {world.sandbox_url}/_sandbox/certificates")
        source_url = world.source.url.render_as_string(hide_password=False)
        for name, url in (("Warehouse", world.warehouse_url), ("Source", source_url)):
            console.print(f"{name}: {url.replace('+psycopg', '')}", soft_wrap=True)
        console.print("No login: everybody is an administrator. Things to try: docs/operations.md#the-demo")
        home = (FOLDER / "airflow").relative_to(PROJECT)
        console.print(
            f"In another terminal: AIRFLOW_HOME={home} bin/springest status\nCtrl-C ends all of it."
        )
        return
    console.print(
        "\nNext: `make ui` runs this and stays up with Airflow's UI; README.md says how to point it at\n"
        f"a real Springest. Logs are in {world.logs.relative_to(PROJECT)} and .springest/demo/airflow/logs."
    )


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
