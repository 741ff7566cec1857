"""A world on a virtual clock, for all nights of a test."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from pathlib import Path

import pytest
from psycopg import waiting
from sqlalchemy import create_engine

from demo.postgres import EmbeddedPostgres
from springest.delivery import document_opener, run
from tests.simulation.clock import InlineExecutor, VirtualClock, one_after_the_other
from tests.simulation.night import World


@pytest.fixture
def world(
    postgres: EmbeddedPostgres, warehouse_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[World]:
    # The driver gives way to others after some real time: a seed's night would depend on the machine.
    monkeypatch.setattr(waiting, "MAX_BUSY_TIME", float("inf"))
    one_after_the_other(monkeypatch, waiting, "wait_async", "wait_conn_async")
    monkeypatch.setattr(document_opener, "ThreadPoolExecutor", InlineExecutor)
    # Progress is not needed here, and each log line costs a statement.
    monkeypatch.setattr(run, "PROGRESS_SECONDS", 1_800.0)
    logging.getLogger("springest").setLevel(logging.CRITICAL)
    clock = VirtualClock(postgres.data_dir / f"{warehouse_url.rpartition('/')[2]}.clock")
    engine = create_engine(warehouse_url)
    clock.rule(engine)
    engine.dispose()
    world = World(warehouse_url, clock, tmp_path)
    yield world
    world.close()
    clock.close()
    logging.getLogger("springest").setLevel(logging.NOTSET)
