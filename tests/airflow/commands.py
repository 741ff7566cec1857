"""Airflow's CLI in a process that stays, since importing Airflow costs most of a command's time."""

from __future__ import annotations

import contextlib
import json
import os
import select
import signal
import subprocess
import sys
import traceback
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Self

SECONDS = 500


class Commands:
    """A process that runs commands one after another, each in an environment of its own; a context manager.

    :param env: environment in which Airflow is imported. Logging and lineage are configured from it, once.
    :param log: file that receives the output.
    """

    def __init__(self, env: Mapping[str, str], log: Path) -> None:
        self._log = log
        self._process = subprocess.Popen(
            [sys.executable, "-m", "tests.airflow.commands", str(log)],
            env=dict(env),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            start_new_session=True,
        )

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        with self._process:
            # Airflow's own shutdown takes its time for nothing. OpenLineage starts processes, too.
            os.killpg(self._process.pid, signal.SIGKILL)

    def run(self, env: Mapping[str, str], *arguments: str) -> tuple[int, str]:
        """Run ``airflow ARGUMENTS``, or a script as ``-c SCRIPT ARGUMENTS``; return exit code and output."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        before = self._log.stat().st_size if self._log.exists() else 0
        self._process.stdin.write(json.dumps({"env": dict(env), "arguments": arguments}) + "\n")
        self._process.stdin.flush()
        ready, _, _ = select.select([self._process.stdout], [], [], SECONDS)
        code = self._process.stdout.readline() if ready else ""
        output = self._log.read_bytes()[before:].decode()
        assert code, f"no end of {arguments} within {SECONDS} s:\n{output[-4000:]}"
        return int(code), output


def _serve() -> Iterator[tuple[dict[str, str], list[str]]]:
    """Give the environment and the arguments of each command."""
    for line in sys.stdin:
        command = json.loads(line)
        yield command["env"], command["arguments"]


def _code(arguments: list[str]) -> int:
    """Run a command; return the exit code that it has in a process of its own."""
    try:
        if arguments[0] == "-c":
            script, sys.argv = arguments[1], ["-c", *arguments[2:]]
            exec(script, {"__name__": "__main__"})  # noqa: S102 - a test's own script
        else:
            from airflow.__main__ import main as airflow

            sys.argv = ["airflow", *arguments]
            airflow()
    except SystemExit as exit_:
        if isinstance(exit_.code, str):
            print(exit_.code, file=sys.stderr)  # noqa: T201 - as Python does
            return 1
        return exit_.code or 0
    except Exception:  # noqa: BLE001 - as Python does
        traceback.print_exc()
        return 1
    return 0


def _forget_secrets() -> None:
    """Forget the secrets of the last command: masking by Airflow must hide nothing from a test."""
    from airflow._shared.secrets_masker import reset_secrets_masker
    from airflow.sdk._shared.secrets_masker import reset_secrets_masker as reset_masker_of_tasks

    reset_secrets_masker()
    reset_masker_of_tasks()


def _do_not_wait_for_what_is_missing() -> None:
    """Repeat the lookup of a missing Variable without the 2 s in between."""
    from springest_provider import lookups

    lookups.WAITS_SECONDS = (0, 0)


def main(log: str) -> None:
    """Read commands from the standard input, write their exit codes to the standard output."""
    with os.fdopen(os.dup(1), "w", buffering=1) as codes, Path(log).open("ab") as output:
        for number in (1, 2):
            os.dup2(output.fileno(), number)
        _do_not_wait_for_what_is_missing()
        for env, arguments in _serve():
            os.environ.clear()
            os.environ.update(env)
            code = _code(arguments)
            _forget_secrets()
            for stream in (sys.stdout, sys.stderr):
                with contextlib.suppress(ValueError):
                    stream.flush()
            codes.write(f"{code}\n")


if __name__ == "__main__":
    main(*sys.argv[1:])
