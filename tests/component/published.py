"""Publishes verdicts, and reads them as analysts do."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from sqlalchemy import Engine, text

from tests.factories import SITE
from tests.verdicts import PublishReport, publish


def publish_all(warehouse: Engine, **settings: Any) -> PublishReport:
    """Publish a site whose list of certifications is known to contain verified ones only."""
    site = replace(SITE, **{"catalogue_lists_verified_only": True, **settings})
    return publish(warehouse, site=site, run_id="night")


def verdict(warehouse: Engine, training_id: str = "T1") -> Any:
    """Return a training's row of the table that analysts read."""
    with warehouse.connect() as connection:
        return connection.execute(
            text("SELECT * FROM springest.certificate_reconciliation WHERE training_id = :name"),
            {"name": training_id},
        ).one()
