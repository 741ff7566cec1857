"""The floor: bare lxml iterparse into COPY and one upsert. No history, no evidence, no checks."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import psycopg
from lxml import etree

from benchmarks.contenders.job import measured, read_job

_TABLES = """
CREATE TEMPORARY TABLE listed (id bigint, certification_id bigint, valid_from date, valid_until date,
                               status text, created_at timestamptz);
CREATE TABLE IF NOT EXISTS reconciled (delivery_key text PRIMARY KEY, springest_certificate_id bigint,
                                       status text, springest_status text);
"""
_UPSERT = """
INSERT INTO reconciled
SELECT delivery.delivery_key, listed.id, CASE WHEN listed.id IS NULL THEN 'awaiting' ELSE 'verified' END,
       listed.status
FROM springest.delivery
LEFT JOIN listed ON listed.id = delivery.springest_certificate_id
ON CONFLICT (delivery_key) DO UPDATE
SET springest_certificate_id = excluded.springest_certificate_id, status = excluded.status,
    springest_status = excluded.springest_status
"""
_FIELDS = ("id", "certification-id", "valid-from", "valid-until", "status", "created-at")


def listed(path: Path) -> Iterator[list[str | None]]:
    """Give the certificates of a document."""
    for _, element in etree.iterparse(str(path), tag="certificate"):
        values = {child.tag: child.text for child in element}
        yield [values.get(name) for name in _FIELDS]
        element.clear()
        while element.getprevious() is not None:
            del element.getparent()[0]


def main() -> None:
    """Reconcile."""
    job = read_job()
    with (
        measured(job.count),
        psycopg.connect(job.warehouse_url.replace("+psycopg", "")) as connection,
    ):
        connection.execute(_TABLES)
        with connection.cursor() as cursor, cursor.copy("COPY listed FROM STDIN") as copy:
            for row in listed(Path(job.documents)):
                copy.write_row(row)
        connection.execute("ANALYZE listed")
        connection.execute(_UPSERT)


if __name__ == "__main__":
    main()
