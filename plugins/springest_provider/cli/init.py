"""``bin/springest init``: write the DAGs and the queries into an Airflow project."""

from __future__ import annotations

import argparse

from springest_provider.cli.output import Exit, Output
from springest_provider.project_files import write_project


def init(options: argparse.Namespace, output: Output) -> int:
    """Write the files that are missing, and show what became of each."""
    results = list(write_project(options.folder))
    for file, result in results:
        output.line(f"{result:<9} {file}")
    if any(result == "kept" for _, result in results):
        output.line(
            "kept: your file differs from this version's; to replace it, delete it and run this again"
        )
    return Exit.DONE
