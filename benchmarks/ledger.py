"""A ledger and the list that Springest shows of it, of any size: most is there, some is not, some is foreign.

Of a hundred deliveries, 85 have an id and are shown; 10 have one and are not shown, since nobody verified
their certification yet; 5 were answered without an id and are shown in pairs that nothing tells apart. Two of
a hundred certificates are foreign.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any

import psycopg
from sqlalchemy import create_engine, text

from springest.db.migrate import upgrade

SQL = Path(__file__).with_name("sql")
SENT_AT = datetime(2026, 11, 2, 1, tzinfo=UTC)
FIRST_DAY = date(2026, 1, 1)
CERTIFICATIONS = 50
_HEAD = b'<?xml version="1.0" encoding="UTF-8"?>\n<response><certificates type="array">\n'
_TAIL = b"\n</certificates></response>\n"
_COLUMNS = (
    "delivery_key",
    "site",
    "training_id",
    "issue_no",
    "state",
    "learner_ref",
    "certification_id",
    "valid_from",
    "completed_at",
    "row_version",
    "springest_certificate_id",
    "staged_run_id",
    "sent_at",
)


@dataclass(frozen=True, slots=True)
class Row:
    """A delivery, and whether Springest shows it.

    :param certificate_id: Springest's id.
    :param has_id: whether the ledger knows it.
    """

    number: int
    certification_id: int
    valid_from: date
    certificate_id: int
    has_id: bool
    is_shown: bool


def rows(count: int) -> Iterator[Row]:
    """Give the deliveries."""
    for number in range(count):
        kind = number % 100
        has_id = kind >= 5
        # Two neighbours without an id share certification and date: a tie.
        block = number if has_id else number - kind % 2
        is_shown = not 5 <= kind < 15
        yield Row(
            number=number,
            certification_id=(100 if is_shown else 200) + block % CERTIFICATIONS,
            valid_from=FIRST_DAY + timedelta(days=block // CERTIFICATIONS % 300),
            certificate_id=number + 1,
            has_id=has_id,
            is_shown=is_shown,
        )


def fill(url: str, count: int) -> None:
    """Write the ledger, by COPY."""
    engine = create_engine(url)
    upgrade(engine)
    with engine.begin() as connection:
        connection.execute(
            text((SQL / "list_certifications.sql").read_text(encoding="utf-8")),
            {"now": SENT_AT - timedelta(days=30), "count": CERTIFICATIONS},
        )
    engine.dispose()
    with psycopg.connect(url.replace("+psycopg", ""), autocommit=True) as connection:
        with (
            connection.cursor() as cursor,
            cursor.copy(f"COPY springest.delivery ({', '.join(_COLUMNS)}) FROM STDIN") as copy,
        ):
            for row in rows(count):
                copy.write_row(_values(row))
        connection.execute((SQL / "attempts.sql").read_text(encoding="utf-8"))
        connection.execute("VACUUM ANALYZE")


def _values(row: Row) -> tuple[Any, ...]:
    return (
        hashlib.sha256(f"{row.number}".encode()).hexdigest(),
        "default",
        f"T{row.number}",
        1,
        "accepted" if row.has_id else "accepted_no_id",
        hashlib.sha256(f"learner {row.number}".encode()).hexdigest(),
        row.certification_id,
        row.valid_from,
        SENT_AT - timedelta(days=1),
        "1" * 64,
        row.certificate_id if row.has_id else None,
        "benchmark",
        SENT_AT + timedelta(seconds=row.number),
    )


def write_list(folder: Path, count: int) -> tuple[Path, Path, int]:
    """Write the list as one document, and as a file with one certificate a line.

    :returns: both, and how many certificates are in them.
    """
    folder.mkdir(parents=True, exist_ok=True)
    document, lines = folder / f"list-{count}.xml", folder / f"list-{count}.lines"
    listed = 0
    with document.open("wb") as whole, lines.open("wb") as single:
        whole.write(_HEAD)
        for certification in _listed(count):
            whole.write(certification + b"\n")
            single.write(certification + b"\n")
            listed += 1
        whole.write(_TAIL)
    return document, lines, listed


def _listed(count: int) -> Iterator[bytes]:
    for row in rows(count):
        if row.is_shown:
            yield _element(row.certificate_id, row.certification_id, row.valid_from, row.number)
    for number in range(count // 50):
        day = FIRST_DAY + timedelta(days=number % 300)
        yield _element(count + number + 1, 100 + number % CERTIFICATIONS, day, number)


def _element(certificate_id: int, certification_id: int, valid_from: date, seconds: int) -> bytes:
    created = SENT_AT + timedelta(seconds=seconds + 1)
    return (
        f'<certificate><id type="integer">{certificate_id}</id>'
        f'<certification-id type="integer">{certification_id}</certification-id>'
        f'<valid-from type="date">{valid_from}</valid-from><valid-until type="date" nil="true"/>'
        f'<status>verified</status><created-at type="datetime">{created:%Y-%m-%dT%H:%M:%SZ}</created-at>'
        "</certificate>"
    ).encode()
