"""Entry of ``bin/springest``: reads the command, runs it, and turns what goes wrong into one line."""

from __future__ import annotations

import logging
import os
import sys
import warnings
from collections.abc import Sequence

from springest_provider.cli.arguments import read
from springest_provider.cli.output import Exit, Output


def main(arguments: Sequence[str]) -> int:
    """
    Run one command.

    :returns: the exit code; see ``Exit``.
    """
    told = read(arguments)
    output = Output(as_json=told.json)
    level = logging.root.manager.disable
    logging.disable(logging.ERROR)  # what the terminal shows is the answer and nothing else
    # Airflow is imported only now: --help answers at once.
    from springest_provider.cli.errors import in_one_line

    try:
        return int(told.run(told, output))
    except BrokenPipeError:  # the reader of a pipe had enough
        sys.stderr.close()
        return Exit.DONE
    except KeyboardInterrupt:
        output.complain("stopped; what was reported as done is done")
        return Exit.FAILED
    except Exception as error:  # noqa: BLE001 - an operator gets one line, whatever it is
        output.complain(in_one_line(error))
        return Exit.FAILED
    finally:
        logging.disable(level)


def run() -> int:
    """Run the command line of this process; the entry point ``springest``."""
    # Connections and variables made in the UI are seen only from Airflow's server context.
    os.environ.setdefault("_AIRFLOW_PROCESS_CONTEXT", "server")
    os.environ.setdefault("AIRFLOW__LOGGING__LOGGING_LEVEL", "ERROR")
    warnings.simplefilter("ignore")
    return main(sys.argv[1:])


if __name__ == "__main__":
    raise SystemExit(run())
