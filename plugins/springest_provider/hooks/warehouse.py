"""Hook of the warehouse, for Airflow's own SQL operators."""

from __future__ import annotations

from typing import Any

from airflow.providers.postgres.hooks.postgres import PostgresHook
from sqlalchemy import NullPool

from springest.db.engines import warehouse_engine
from springest_provider.parts import warehouse_url


class WarehouseHook(PostgresHook):
    """Connect to the warehouse as the rest of the project does: same options, same session settings."""

    def get_conn(self) -> Any:
        """
        Return a new connection, to be closed by the caller.

        :raises ConfigurationError: the connection can't be used as it is set.
        """
        pooled = warehouse_engine(warehouse_url(self.get_conn_id()), poolclass=NullPool).raw_connection()
        connection = pooled.driver_connection
        pooled.detach()
        return connection
