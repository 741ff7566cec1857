"""Opens the warehouse for the page: pooled, with short time-outs, so that no request waits for long."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

from sqlalchemy import URL, Connection, Engine

from springest.db.engines import require_own_session, warehouse_engine
from springest.db.migrate import check
from springest_provider.factories import warehouse_url

CONN_ID: Final = "certificate_warehouse"
TIMEOUTS: Final = "-c statement_timeout=20s -c lock_timeout=10s"
RECHECK_SECONDS: Final = 60.0
"""How often the schema's version is checked."""


class Warehouse:
    """Keeps one engine for the current connection; a changed connection gets a new one."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._url: URL | None = None
        self._engine: Engine | None = None
        self._checked_at = 0.0

    def engine(self) -> Engine:
        """
        Return the engine.

        :raises ConfigurationError: the connection is missing or can't be used.
        :raises SchemaOutOfDate: the schema has another version than this code needs.
        """
        url = warehouse_url(CONN_ID)
        with self._lock:
            engine = self._engine
            if engine is None or url != self._url:
                engine = self._replace(url)
            if time.monotonic() - self._checked_at > RECHECK_SECONDS:
                check(engine)
                self._checked_at = time.monotonic()
            return engine

    def _replace(self, url: URL) -> Engine:
        require_own_session(url)
        if self._engine is not None:
            self._engine.dispose()
        options = " ".join((*url.normalized_query.get("options", ()), TIMEOUTS))
        self._engine = warehouse_engine(
            url.update_query_dict({"options": options}), pool_size=4, max_overflow=8, pool_recycle=1800
        )
        self._url, self._checked_at = url, float("-inf")
        return self._engine

    @contextmanager
    def reading(self) -> Iterator[Connection]:
        """Yield a connection in a read-only transaction, in which all statements see the same data."""
        options = {"isolation_level": "REPEATABLE READ", "postgresql_readonly": True}
        with self.engine().connect().execution_options(**options) as connection:
            # A plan for the actual values: a filter by a rare value needs another index.
            connection.exec_driver_sql("SET LOCAL plan_cache_mode = force_custom_plan")
            connection.exec_driver_sql("SET LOCAL jit = off")
            yield connection


warehouse: Final = Warehouse()
