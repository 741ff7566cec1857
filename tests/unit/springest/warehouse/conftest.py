"""An empty database for the tests of the migrations."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from sqlalchemy import Engine, create_engine


@pytest.fixture
def empty(database: str) -> Iterator[Engine]:
    """An engine of a database in which nothing was ever migrated."""
    engine = create_engine(database)
    yield engine
    engine.dispose()
