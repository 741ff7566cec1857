"""Entry point of ``bin/springest``: parse the command line, run the command, print an error as one line."""

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
    options = read(arguments)
    output = Output(as_json=options.json)
    level = logging.root.manager.disable
    logging.disable(logging.ERROR)  # the terminal shows the result and nothing else
    # Airflow is imported only now, so that --help is fast.
    from springest_provider.cli.errors import in_one_line

    try:
        return int(options.run(options, output))
    except BrokenPipeError:  # the reader closed the pipe
        sys.stderr.close()
        return Exit.DONE
    except KeyboardInterrupt:
        output.error("interrupted; changes reported as done are committed")
        return Exit.FAILED
    except Exception as error:  # noqa: BLE001 - operators always get one line
        output.error(in_one_line(error))
        return Exit.FAILED
    finally:
        logging.disable(level)


def run() -> int:
    """Run this process's command line; the entry point ``springest``."""
    # Connections and variables created in the UI are visible only in Airflow's server context.
    os.environ.setdefault("_AIRFLOW_PROCESS_CONTEXT", "server")
    os.environ.setdefault("AIRFLOW__LOGGING__LOGGING_LEVEL", "ERROR")
    warnings.simplefilter("ignore")
    return main(sys.argv[1:])


if __name__ == "__main__":
    raise SystemExit(run())
