"""Rotate the learner secret: re-key all values in the warehouse that were made with the former one.

Each stored value is replaced by its HMAC under the new secret, in one transaction. This needs only the
secrets, so learners who are gone from the source, owners whom only Springest names, and tombstones are
re-keyed as well. See docs/adr/0024-rotation-wraps-what-is-there.md.
"""

from __future__ import annotations

import secrets
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Final

from psycopg import Connection as DriverConnection
from sqlalchemy import Column, Connection, Engine, Table, column, or_, select, table, text, union, update

from springest.db.lock_holders import holders
from springest.db.schema import learner_secret, metadata, publication
from springest.errors import SecretInUse
from springest.identity import Pseudonyms
from springest.privacy.erasure import ERASURE_ALONE, PUBLISH_LOCK
from springest.privacy.secret import TRY_TO_ROTATE, keep_to_secret, secrets_in_force

KEYED_COLUMNS: Final = frozenset({"learner_ref", "row_version", "document_ref", "tombstone"})
"""Columns of all tables whose values are made with the secret."""
BATCH_ROWS: Final = 50_000
_REKEYED: Final = table("rekeyed", column("former"), column("current"), schema="pg_temp")


@dataclass(frozen=True, slots=True)
class RotationReport:
    """The result of a rotation.

    :param rows: number of rows with a re-keyed value, by table; empty if there was nothing to do.
    """

    rows: Mapping[str, int]


def rotate_secret(engine: Engine, pseudonyms: Pseudonyms) -> RotationReport:
    """Re-key the warehouse from the secret it was filled with to the newest one, in one transaction.

    Repeating it changes nothing. A warehouse without a secret records this one. It requires the owner of the
    tables.

    :param pseudonyms: contains the new secret and all former ones.
    :raises SecretInUse: a run uses the secret.
    :raises ConfigurationError: the warehouse was filled with another secret than these, or under another
        address rule.
    """
    with engine.begin() as connection:
        if not connection.execute(TRY_TO_ROTATE).scalar_one():
            held = "; ".join(line for line in holders(connection) if "springest.secret" in line)
            raise SecretInUse(
                f"a run is using the learner secret ({held or 'it has just ended'}): pause the DAGs, wait "
                "until their runs have ended and run this again; nothing was changed"
            )
        connection.execute(ERASURE_ALONE)
        known = connection.execute(select(learner_secret)).one_or_none()
        made_with = known and secrets_in_force(known.verifier, known.salt, pseudonyms)
        if not made_with or made_with == len(pseudonyms.secrets):
            keep_to_secret(connection, pseudonyms)
            return RotationReport({})
        _lock_tables(connection)
        _load_rekeyed(connection, pseudonyms, made_with=made_with)
        rows = {item.name: _rekey(connection, item, columns) for item, columns in _keyed_tables()}
        salt = secrets.token_bytes(16)
        connection.execute(update(learner_secret).values(salt=salt.hex(), verifier=pseudonyms.verifier(salt)))
        keep_to_secret(connection, pseudonyms)  # the address rule is compared as well
        return RotationReport(rows)


def _keyed_tables() -> Iterator[tuple[Table, list[Column[Any]]]]:
    for item in metadata.sorted_tables:
        if columns := [column for column in item.columns if column.name in KEYED_COLUMNS]:
            yield item, columns


def _lock_tables(connection: Connection) -> None:
    """Block all writers; publishing first, which locks deliveries only later."""
    for site in connection.execute(
        select(publication.c.site).distinct().order_by(publication.c.site)
    ).scalars():
        connection.execute(PUBLISH_LOCK, {"site": site})
    names = ", ".join(item.fullname for item, _ in _keyed_tables())
    connection.execute(text(f"LOCK TABLE {names} IN EXCLUSIVE MODE"))


def _load_rekeyed(connection: Connection, pseudonyms: Pseudonyms, *, made_with: int) -> None:
    """Fill a temporary table with each value and its replacement.

    Values are re-keyed here, not by the server, whose logs may contain the parameters of a statement.
    """
    connection.exec_driver_sql(
        "CREATE TEMPORARY TABLE rekeyed (former text NOT NULL, current text NOT NULL) ON COMMIT DROP"
    )
    driver: DriverConnection[Any] | None = connection.connection.driver_connection
    assert driver is not None  # noqa: S101 - the transaction is open
    values = union(
        *(
            select(item.label("value")).where(item.is_not(None))
            for _, columns in _keyed_tables()
            for item in columns
        )
    )
    streaming = {"stream_results": True, "max_row_buffer": BATCH_ROWS}
    with connection.execute(values, execution_options=streaming) as result:
        for batch in result.scalars().partitions(BATCH_ROWS):
            with driver.cursor() as cursor, cursor.copy("COPY pg_temp.rekeyed FROM STDIN") as copy:
                for value in batch:
                    copy.write_row((value, pseudonyms.rekeyed(value, made_with=made_with)))
    connection.exec_driver_sql("ALTER TABLE pg_temp.rekeyed ADD PRIMARY KEY (former)")
    connection.exec_driver_sql("ANALYZE pg_temp.rekeyed")


def _rekey(connection: Connection, item: Table, columns: list[Column[Any]]) -> int:
    current = {
        column.name: select(_REKEYED.c.current).where(_REKEYED.c.former == column).scalar_subquery()
        for column in columns
    }
    with_value = or_(*(column.is_not(None) for column in columns))
    return connection.execute(update(item).where(with_value).values(current)).rowcount
