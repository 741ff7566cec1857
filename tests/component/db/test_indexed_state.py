"""Indexes know every state but the two that most deliveries end in: becoming visible touches none of them."""

from __future__ import annotations

from typing import Any

import pytest
from sqlalchemy import Connection, Engine, insert, text

from springest.db.schema import delivery, released_run, remote_certificate
from springest.delivery import repository as sending
from springest.matching.matching import match
from springest.site import Site
from springest.states import RECHECKED, State

SITE = Site.from_connection(name="default", host="http://127.0.0.1:1", password="a-key-for-tests", extra={})
MANY = 2_000
UNINDEXED = {State.ACCEPTED, State.VISIBLE}


def ledger_row(number: int, state: State, **values: Any) -> dict[str, Any]:
    return {
        "delivery_key": f"{number:064}",
        "site": "default",
        "training_id": f"T{number}",
        "issue_no": 1,
        "state": state.value,
        "row_version": "1" * 64,
        "staged_run_id": "night",
        "springest_certificate_id": number if state in UNINDEXED else None,
        "lease_owner": "worker" if state is State.SENDING else None,
        **values,
    }


def plan(connection: Connection, statement: Any, **values: Any) -> str:
    explained = connection.execute(text(f"EXPLAIN {statement}"), values).scalars()
    return "\n".join(explained)


@pytest.mark.parametrize("state", State)
def test_indexed_state_omits_accepted_and_visible(warehouse: Engine, state: State) -> None:
    """The indexed state is the state, unless that is `accepted` or `visible`."""
    with warehouse.begin() as connection:
        connection.execute(insert(delivery).values(ledger_row(1, state)))
        known = connection.execute(text("SELECT indexed_state FROM springest.delivery")).scalar_one()
    assert known == (None if state in UNINDEXED else state)


def test_no_lookup_by_indexed_state_wants_the_omitted_ones() -> None:
    """No statement looks up `accepted` or `visible` by the indexed state."""
    assert not RECHECKED & UNINDEXED


def test_making_certificates_visible_updates_no_index(warehouse: Engine) -> None:
    """When a certification is verified, its certificates become visible in heap-only updates.

    This holds in a new ledger, whose pages have only the free space of the fill factor.
    """
    shown = {
        "site": "default",
        "first_snapshot_id": 1,
        "last_snapshot_id": 1,
        "first_seen_at": "2026-11-02Z",
        "last_seen_at": "2026-11-02Z",
    }
    with warehouse.begin() as connection:
        connection.execute(insert(delivery), [ledger_row(number, State.ACCEPTED) for number in range(MANY)])
        connection.execute(
            insert(remote_certificate),
            [{**shown, "springest_certificate_id": number} for number in range(MANY)],
        )
    with warehouse.begin() as connection:
        assert match(connection, SITE).proven == MANY
        counted = connection.execute(
            text(
                "SELECT pg_stat_get_xact_tuples_updated(oid) AS moved,"
                " pg_stat_get_xact_tuples_hot_updated(oid) AS hot"
                " FROM pg_class WHERE oid = 'springest.delivery'::regclass"
            )
        ).one()
    assert (counted.moved, counted.hot) == (MANY, MANY)


def test_a_short_queue_in_a_long_ledger_is_read_by_its_indexes(warehouse: Engine) -> None:
    """The run's own part and the others', each in the order of its index; nor are leases sought in all."""
    with warehouse.begin() as connection:
        connection.execute(
            insert(delivery),
            [ledger_row(number, State.VISIBLE, match_method="springest_id") for number in range(MANY)],
        )
        connection.execute(
            insert(delivery),
            [ledger_row(MANY + number, State.READY, staged_run_id=f"r{number % 2}") for number in range(50)],
        )
        connection.execute(
            insert(released_run), [{"site": "default", "run_id": f"r{number}"} for number in range(MANY)]
        )
        connection.execute(text("ANALYZE springest.delivery, springest.released_run"))
        asked = {
            "site": "default",
            "after_later": False,
            "after_created_at": None,
            "after_key": "",
            "limit": 100,
        }
        queue = plan(connection, sending._QUEUE, run_id="r0", **asked)
        swept = plan(connection, sending._SWEEP, site="default")
    assert "delivery_queue_idx" in queue
    assert "delivery_queue_of_run_idx" in queue
    assert "Seq Scan" not in queue
    assert "released_run_pkey" in queue
    assert "delivery_indexed_state_idx" in swept
