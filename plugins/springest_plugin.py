"""Airflow's plugin of this project; the code is in the package ``springest_provider``."""

from __future__ import annotations

from airflow.plugins_manager import AirflowPlugin

from springest_provider import run_notes


class SpringestPlugin(AirflowPlugin):
    """Lists the project under Admin, Plugins, and writes notes on DAG runs."""

    name = "springest"
    listeners = [run_notes]  # noqa: RUF012 - as Airflow declares it
