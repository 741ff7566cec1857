"""Looks for what an erased learner may have left."""

from __future__ import annotations

from demo.nights import Training
from tests.factories import PSEUDONYMS
from tests.integration.conftest import World


def ref_of(training: Training) -> str:
    """Return the reference of a training's learner."""
    return PSEUDONYMS.learner_ref(training.learner.email or "")


def everything(world: World) -> str:
    """Return all tables of the warehouse as text."""
    tables = world.rows(
        "SELECT relname FROM pg_class WHERE relnamespace = 'springest'::regnamespace AND relkind = 'r'"
    )
    return " ".join(str(world.rows(f"SELECT * FROM springest.{table}")) for (table,) in tables)  # noqa: S608
