"""Airflow's plugin of this project. The entry point ``airflow.plugins`` loads it; ``plugins/`` does not."""

from __future__ import annotations

from airflow.plugins_manager import AirflowPlugin

from springest_provider import run_notes
from springest_provider.ui.views import EXTERNAL_VIEWS, FASTAPI_APPS


class SpringestPlugin(AirflowPlugin):
    """Adds the page "Springest" to Airflow's UI, and writes notes on DAG runs."""

    name = "springest"
    fastapi_apps = FASTAPI_APPS
    external_views = EXTERNAL_VIEWS
    listeners = [run_notes]  # noqa: RUF012 - as Airflow declares it
