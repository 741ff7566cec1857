"""Matching a million deliveries costs a row as much as matching a hundred thousand."""

from __future__ import annotations

import time

import pytest
from sqlalchemy import Engine, text

from include.springest.reconcile.matching import match
from include.springest.reconcile.publish import publish
from include.springest.site import Site

_SNAPSHOTS = """
INSERT INTO springest.snapshot (site, run_id, started_at, finished_at, complete)
VALUES ('default', 'night', :base + interval '40 days', :base + interval '40 days 1 hour', true)
"""
# Classes of twenty, a second between two POSTs, two classes a certification and day.
_DELIVERIES = """
INSERT INTO springest.delivery
    (delivery_key, site, training_id, issue_no, state, learner_ref, certification_id, valid_from, row_version,
     staged_run_id, sent_at, springest_certificate_id)
SELECT lpad(n::text, 64, '0'), 'default', 'T' || n, 1,
       CASE WHEN :told AND n % 50 > 0 THEN 'accepted' WHEN n % 50 = 0 THEN 'unknown' ELSE 'accepted_no_id'
       END, lpad(n::text, 64, 'a'), n / 40 % 50, DATE '2026-01-01' + n / 2000 % 300, 'v', 'night',
       :base + n % 2000 * interval '1 second' + n / 2000 % 300 * interval '1 hour',
       CASE WHEN :told AND n % 50 > 0 THEN n END
FROM generate_series(1, :rows) AS n
"""
_REMOTES = """
INSERT INTO springest.remote_certificate
    (site, springest_certificate_id, certification_id, valid_from, springest_status, created_at, learner_ref,
     first_snapshot_id, first_seen_at, last_snapshot_id, last_seen_at)
SELECT 'default', n, certification_id, valid_from, 'verified', sent_at + interval '7205 seconds',
       CASE WHEN :owned THEN learner_ref END,
       snapshot_id, started_at, snapshot_id, started_at
FROM springest.delivery, springest.snapshot,
     LATERAL (SELECT substr(training_id, 2)::bigint AS n) AS numbered
WHERE n % 100 > 0
"""


def _fill(warehouse: Engine, rows: int, *, told: bool, owned: bool) -> None:
    values = {"base": "2026-01-01T00:00:00+00:00", "rows": rows, "told": told, "owned": owned}
    with warehouse.begin() as connection:
        connection.exec_driver_sql(
            "TRUNCATE springest.snapshot, springest.remote_certificate, springest.delivery,"
            " springest.publication CASCADE"
        )
        for statement in (_SNAPSHOTS, _DELIVERIES, _REMOTES):
            typed = statement.replace(":base", "CAST(:base AS timestamptz)")
            connection.execute(text(typed), values)
    with warehouse.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
        connection.exec_driver_sql("VACUUM ANALYZE")


def _times(warehouse: Engine, rows: int, *, told: bool, owned: bool) -> dict[str, float]:
    """Microseconds a row: the first matching, a quiet one, and a quiet publication."""
    _fill(warehouse, rows, told=told, owned=owned)
    site = Site("default", "https://springest.example.com", "k" * 20, "", exclusive_uploader=True)
    took = {}
    for name in ("first match", "quiet match", "first publication", "quiet publication"):
        began = time.monotonic()
        if name.endswith("match"):
            with warehouse.begin() as connection:
                print(match(connection, site))  # noqa: T201
        else:
            publish(warehouse, site=site, run_id=name)
        took[name] = (time.monotonic() - began) / rows * 1e6
        if name.startswith("first"):
            with warehouse.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
                connection.exec_driver_sql("VACUUM ANALYZE")
    return took


@pytest.mark.long
@pytest.mark.timeout(1_800)
@pytest.mark.parametrize(
    ("told", "owned"),
    [(True, False), (False, False), (False, True)],
    ids=["ids told", "nothing told", "owners told"],
)
def test_the_cost_of_a_row_does_not_grow_with_the_rows(warehouse: Engine, told: bool, owned: bool) -> None:
    few = _times(warehouse, 100_000, told=told, owned=owned)
    many = _times(warehouse, 1_000_000, told=told, owned=owned)
    for name, of_few in few.items():
        ratio = many[name] / of_few
        print(f"{name}: {of_few:.1f} µs a row of 100,000, {many[name]:.1f} of 1,000,000: {ratio:.2f}")  # noqa: T201
    assert many["quiet match"] / few["quiet match"] <= 1.3
