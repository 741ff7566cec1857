"""The demo's source: a small training institute's database, on PostgreSQL or SQLite."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import UTC, date, datetime
from typing import Any, Final

from sqlalchemy import (
    BigInteger,
    Column,
    Date,
    DateTime,
    Engine,
    Integer,
    MetaData,
    String,
    Table,
    func,
    insert,
    select,
)
from sqlalchemy.engine import Dialect
from sqlalchemy.types import TypeDecorator, TypeEngine

from demo.nights import Training

metadata: Final = MetaData()


class Moment(TypeDecorator[datetime]):
    """A time with its time zone, for databases with or without such a type.

    SQLite gets ISO 8601 text in UTC, which sorts correctly.
    """

    impl = DateTime(timezone=True)
    cache_ok = True

    def load_dialect_impl(self, dialect: Dialect) -> TypeEngine[Any]:
        """Text on SQLite."""
        return dialect.type_descriptor(String(32) if dialect.name == "sqlite" else DateTime(timezone=True))

    def process_bind_param(self, value: datetime | None, dialect: Dialect) -> Any:
        """Write it."""
        if value is None or dialect.name != "sqlite":
            return value
        return value.astimezone(UTC).isoformat(sep=" ", timespec="microseconds")


learner: Final = Table(
    "learner",
    metadata,
    Column("learner_id", Integer, primary_key=True, autoincrement=False),
    Column("full_name", String(200), nullable=False),
    Column("email", String(320)),
)
completed_training: Final = Table(
    "completed_training",
    metadata,
    # No primary key on training_id: the older system that exports this table sometimes repeats a row.
    Column("row_number", Integer, primary_key=True),
    Column("training_id", String(50)),
    Column("issue_no", Integer, nullable=False),
    Column("booking_id", BigInteger),
    Column("certification_id", BigInteger),
    Column("learner_id", Integer),
    Column("completed_at", Moment),
    Column("valid_from", Date),
    Column("valid_until", Date),
    Column("certificate_uri", String(1000)),
    Column("updated_at", Moment, index=True),
)


def create_schema(engine: Engine) -> None:
    """Create the tables."""
    metadata.create_all(engine)


def add(engine: Engine, trainings: Iterable[Training], *, now: datetime) -> int:
    """Add completed trainings, as the institute's system does during the day.

    :param now: their ``updated_at``.
    :returns: rows added.
    """
    rows = list(trainings)
    people = {row.learner.number: row.learner for row in rows}
    with engine.begin() as connection:
        known = set(connection.execute(select(learner.c.learner_id)).scalars())
        new = [
            {"learner_id": person.number, "full_name": person.name, "email": person.email}
            for person in people.values()
            if person.number not in known
        ]
        if new:
            connection.execute(insert(learner), new)
        connection.execute(insert(completed_training), [_row(row, now) for row in rows])
    return len(rows)


def count_completed(engine: Engine, day: date) -> int:
    """Return the source's own count of trainings completed on a day."""
    start = datetime(day.year, day.month, day.day, tzinfo=UTC)
    end = datetime.fromordinal(day.toordinal() + 1).replace(tzinfo=UTC)
    done = completed_training.c.completed_at
    with engine.connect() as connection:
        counted = connection.execute(
            select(func.count()).select_from(completed_training).where(done >= start, done < end)
        )
        return int(counted.scalar_one())


def _row(training: Training, now: datetime) -> dict[str, Any]:
    return {
        "training_id": training.training_id,
        "issue_no": 1,
        "booking_id": training.booking_id,
        "certification_id": training.certification_id,
        "learner_id": training.learner.number,
        "completed_at": training.completed_at,
        "valid_from": training.valid_from,
        "valid_until": training.valid_until,
        "certificate_uri": training.certificate_uri,
        "updated_at": now,
    }
