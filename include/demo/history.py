"""An invented history of any size in a warehouse, for speed tests and screenshots."""

from __future__ import annotations

from pathlib import Path
from typing import Final

from sqlalchemy import Engine

_FOLDER: Final = Path(__file__).parent / "sql"


def fill(engine: Engine, *, rows: int, per_night: int, site: str = "default", analyze: bool = True) -> None:
    """
    Fill a site of which nothing is in the warehouse; sql/history.sql says what is in it then.

    :param rows: deliveries in all.
    :param per_night: deliveries that each night staged.
    :param analyze: vacuum and analyze afterwards, as autovacuum does.
    """
    statements = (_FOLDER / "history.sql").read_text(encoding="utf-8")
    for name, value in ((":rows", rows), (":per_night", per_night), (":site", site)):
        statements = statements.replace(name, str(value))
    _run(engine, statements)
    if not analyze:
        return
    with engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
        connection.exec_driver_sql("VACUUM ANALYZE")


def fill_for_screenshots(engine: Engine) -> tuple[str, str]:
    """
    Fill an empty warehouse with three weeks of an institute.

    :returns: the keys of a delivery whose story is worth a picture, and of one that waits for a decision.
    """
    fill(engine, rows=21 * 500, per_night=500)
    _run(engine, (_FOLDER / "screenshot_history.sql").read_text(encoding="utf-8"))
    with engine.connect() as connection:
        decided = (
            "SELECT delivery_key FROM springest.delivery_decision JOIN springest.delivery USING (delivery_id)"
        )
        waiting = (
            "SELECT delivery_key FROM springest.delivery WHERE state = 'unknown' ORDER BY sent_at LIMIT 1"
        )
        story, decide = (connection.exec_driver_sql(item).scalar_one() for item in (decided, waiting))
    return str(story), str(decide)


def _run(engine: Engine, statements: str) -> None:
    with engine.begin() as connection:
        connection.exec_driver_sql(statements, execution_options={"no_parameters": True})
