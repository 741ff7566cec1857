"""Run the DAG of mapped operators in this process, as `airflow dags test` does."""

from __future__ import annotations

from airflow.cli.cli_parser import get_parser

from benchmarks.contenders.job import measured, read_job


def main() -> None:
    """Run it once."""
    job = read_job()
    arguments = get_parser().parse_args(["dags", "test", "mapped_operators"])
    with measured(job.count):
        arguments.func(arguments)


if __name__ == "__main__":
    main()
