"""The invented history behind the pictures of the page."""

from __future__ import annotations

from sqlalchemy import Engine, text

from demo.history import fill_for_screenshots


def test_the_history_of_the_pictures_fits_the_schema(warehouse: Engine) -> None:
    """It fills a warehouse, and names a delivery with a story and one that waits for a decision."""
    story, decide = fill_for_screenshots(warehouse)
    statement = text("SELECT state FROM springest.delivery WHERE delivery_key = :key")
    with warehouse.connect() as connection:
        states = [connection.execute(statement, {"key": key}).scalar_one() for key in (story, decide)]
    assert states == ["visible", "unknown"]
