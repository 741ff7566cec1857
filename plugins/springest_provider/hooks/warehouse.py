"""Hook of the warehouse for Airflow's SQL operators."""

from __future__ import annotations

from typing import Any

from airflow.providers.postgres.hooks.postgres import PostgresHook
from sqlalchemy import NullPool

from springest.db.engines import warehouse_engine
from springest_provider.factories import warehouse_url


class WarehouseHook(PostgresHook):
    """Connect to the warehouse with the same options and session settings as the rest of the project."""

    def get_conn(self) -> Any:
        """
        Return a new connection, which the caller closes.

        :raises ConfigurationError: the connection is unusable.
        """
        pooled = warehouse_engine(warehouse_url(self.get_conn_id()), poolclass=NullPool).raw_connection()
        connection = pooled.driver_connection
        pooled.detach()
        return connection
