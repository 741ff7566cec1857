"""Queries for deliveries that were set aside, and for rows that a run has already staged."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime
from typing import Any, Final, NamedTuple

from sqlalchemy import ARRAY, BindParameter, Connection, Text, any_, bindparam, func, literal, select

from springest.db.schema import delivery, staged_row
from springest.source.contract import lies_in_every_window
from springest.source.values import WITHOUT_TRAINING_ID
from springest.states import RECHECKED

_RECHECKED: Final[BindParameter[Any]] = bindparam(
    "states", sorted(RECHECKED), expanding=True, literal_execute=True
)
"""As literals, so that the planner knows that the partial index holds them."""
REFUSED_WHOLE: Final = "training_id_unreadable"
"""Without ``updated_at``: the source can't return anything of the row, so no window finds it again."""


class SetAside(NamedTuple):
    """A delivery that was set aside earlier.

    :param updated_at: time of the row's last change in the source, if it could be read.
    :param detail: all defects of the row.
    """

    delivery_key: str
    training_id: str
    reason: str | None
    updated_at: datetime | None
    detail: str | None

    @property
    def has_training_id(self) -> bool:
        """Whether the row has an id of its own, by which it can be looked up."""
        return not self.training_id.startswith(WITHOUT_TRAINING_ID)

    @property
    def is_found_by_moment(self) -> bool:
        """Whether the source is known to return the row in some window."""
        if self.updated_at is not None:
            return True
        return self.reason != REFUSED_WHOLE and lies_in_every_window(self.detail)


def to_recheck(connection: Connection, site: str, *, after: str, limit: int) -> list[SetAside]:
    """Return deliveries in the states ``RECHECKED``, in the order of their keys, as their index has them."""
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
            delivery.c.indexed_state.in_(_RECHECKED),
            delivery.c.delivery_key > after,
        )
        .order_by(delivery.c.delivery_key)
        .limit(limit)
    )
    return [SetAside(*row) for row in connection.execute(statement)]


def count_to_recheck(connection: Connection, site: str) -> int:
    """Return the number of deliveries in the states ``RECHECKED``."""
    statement = select(func.count()).where(delivery.c.site == site, delivery.c.indexed_state.in_(_RECHECKED))
    return int(connection.execute(statement).scalar_one())


def staged_before(
    connection: Connection, site: str, run_id: str, keys: Iterable[str], *, row: int
) -> set[str]:
    """Return those deliveries that belong to an earlier row of the run's window.

    :param row: number of the first row that is not included.

    The subquery and its expressions keep the planner to one look-up by index for each delivery: without
    statistics, as in a first night, it would read all rows of the run for each batch.
    """
    staged = (
        select(literal(value=True))
        .where(
            staged_row.c.delivery_id == delivery.c.delivery_id,
            staged_row.c.site + "" == site,
            staged_row.c.run_id + "" == run_id,
            staged_row.c.row_no + 0 < row,
        )
        .limit(1)
        .scalar_subquery()
    )
    statement = select(delivery.c.delivery_key).where(
        delivery.c.delivery_key == any_(bindparam("keys", type_=ARRAY(Text))), staged
    )
    return set(connection.execute(statement, {"keys": sorted(set(keys))}).scalars())
