"""What the ledger knows of deliveries that were set aside, and of what a run has staged already."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime
from typing import Final, NamedTuple

from sqlalchemy import ARRAY, Connection, Text, any_, bindparam, select

from springest.db.schema import delivery, staged_row
from springest.source.contract import lies_in_every_window
from springest.states import State

REFUSED_WHOLE: Final = "training_id_unreadable"
"""With no ``updated_at``: the source refuses all of the row, and no window finds it again."""


class SetAside(NamedTuple):
    """A delivery that was set aside earlier.

    :param updated_at: when the source had last changed the row, as far as it could be read.
    :param detail: every defect of the row.
    """

    delivery_key: str
    training_id: str
    reason: str | None
    updated_at: datetime | None
    detail: str | None

    @property
    def is_found_by_moment(self) -> bool:
        """Whether the source is known to give the row in some window."""
        if self.updated_at is not None:
            return True
        return self.reason != REFUSED_WHOLE and lies_in_every_window(self.detail)


def to_recheck(
    connection: Connection, site: str, *, states: Iterable[State], after: str, limit: int
) -> list[SetAside]:
    """Return deliveries in these states, in the order of their keys.

    :param states: those that indexes know: neither accepted nor visible.
    """
    statement = (
        select(
            delivery.c.delivery_key,
            delivery.c.training_id,
            delivery.c.reason,
            delivery.c.source_updated_at,
            delivery.c.reason_detail,
        )
        .where(
            delivery.c.site == site,
            delivery.c.indexed_state.in_([state.value for state in states]),
            delivery.c.delivery_key > after,
        )
        .order_by(delivery.c.delivery_key)
        .limit(limit)
    )
    return [SetAside(*row) for row in connection.execute(statement)]


def staged_before(
    connection: Connection, site: str, run_id: str, keys: Iterable[str], *, row: int
) -> set[str]:
    """Return those of the deliveries that a row of the run's window before this one became.

    Expressions keep the planner from the primary key: without statistics, as in a first night, it would read
    all of the run's rows for each batch, in place of the few of each delivery.
    """
    statement = select(staged_row.c.delivery_key).where(
        staged_row.c.delivery_key == any_(bindparam("keys", type_=ARRAY(Text))),
        staged_row.c.site + "" == site,
        staged_row.c.run_id + "" == run_id,
        staged_row.c.row_no + 0 < row,
    )
    return set(connection.execute(statement, {"keys": sorted(set(keys))}).scalars())
