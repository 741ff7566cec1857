"""Airflow's plugin of this project; the code is in the package ``springest_provider``."""

from __future__ import annotations

from airflow.plugins_manager import AirflowPlugin


class SpringestPlugin(AirflowPlugin):
    """Makes the project show up under Admin, Plugins."""

    name = "springest"
