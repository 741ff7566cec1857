"""Indexes know every state but the two that most deliveries end in: becoming visible touches none of them."""

from __future__ import annotations

from typing import Any

import pytest
from sqlalchemy import Connection, Engine, event, select, text

from springest.db.schema import approved_run, delivery, remote_certificate, staged_row
from springest.delivery import repository as sending
from springest.matching.matching import match
from springest.staging.set_aside import staged_before, to_recheck
from springest.states import RECHECKED, State
from tests.factories import MOMENT, SITE, add_rows, delivery_row

MANY = 2_000
UNINDEXED = {State.ACCEPTED, State.VISIBLE}


def ledger_row(number: int, state: State, **values: Any) -> dict[str, Any]:
    known = {"springest_certificate_id": number} if state in UNINDEXED else {}
    return delivery_row(state.value, f"T{number}", **known, **values)


def plan(connection: Connection, statement: Any, **values: Any) -> str:
    explained = connection.execute(text(f"EXPLAIN {statement}"), values).scalars()
    return "\n".join(explained)


@pytest.mark.parametrize("state", State)
def test_indexed_state_omits_accepted_and_visible(warehouse: Engine, state: State) -> None:
    """The indexed state is the state, unless that is `accepted` or `visible`."""
    add_rows(warehouse, delivery, ledger_row(1, state))
    with warehouse.connect() as connection:
        known = connection.execute(text("SELECT indexed_state FROM springest.delivery")).scalar_one()
    assert known == (None if state in UNINDEXED else state)


def test_no_lookup_by_indexed_state_wants_the_omitted_ones() -> None:
    """No statement looks up `accepted` or `visible` by the indexed state."""
    assert not RECHECKED & UNINDEXED


def test_making_certificates_visible_updates_no_index(warehouse: Engine) -> None:
    """When a certification is verified, its certificates become visible in heap-only updates.

    This holds in a new ledger, whose pages have only the free space of the fill factor.
    """
    seen = {"first_snapshot_id": 1, "first_seen_at": MOMENT, "recorded_at": MOMENT}
    add_rows(warehouse, delivery, *(ledger_row(number, State.ACCEPTED) for number in range(MANY)))
    add_rows(
        warehouse,
        remote_certificate,
        *({"site": "default", "springest_certificate_id": number, **seen} for number in range(MANY)),
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
    add_rows(warehouse, delivery, *(ledger_row(number, State.VISIBLE) for number in range(MANY)))
    add_rows(
        warehouse,
        delivery,
        *(ledger_row(MANY + number, State.READY, staged_run_id=f"r{number % 2}") for number in range(50)),
    )
    add_rows(
        warehouse, approved_run, *({"site": "default", "run_id": f"r{number}"} for number in range(MANY))
    )
    with warehouse.begin() as connection:
        connection.execute(text("ANALYZE springest.delivery, springest.approved_run"))
        asked = {
            "site": "default",
            "after_later": False,
            "after_created_at": None,
            "after_key": "",
            "certification_ids": None,
            "limit": 100,
        }
        queue = plan(connection, sending._QUEUE, run_id="r0", **asked)
        swept = plan(connection, sending._SWEEP, site="default")
    assert "delivery_queue_idx" in queue
    assert "delivery_queue_of_run_idx" in queue
    assert "Seq Scan" not in queue
    assert "approved_run_pkey" in queue
    assert "delivery_indexed_state_idx" in swept


def test_rows_that_were_set_aside_are_read_page_by_page(warehouse: Engine) -> None:
    """A page is read in the order of an index, and not by sorting all rows that are set aside."""
    add_rows(warehouse, delivery, *(ledger_row(number, State.HELD) for number in range(MANY)))
    asked: list[tuple[str, Any]] = []
    with warehouse.connect() as connection:
        connection.execute(text("ANALYZE springest.delivery"))
        event.listen(warehouse, "before_cursor_execute", lambda *call: asked.append(call[2:4]))
        page = to_recheck(connection, "default", after="", limit=10)
        [(statement, values)] = asked
        explained = connection.exec_driver_sql(f"EXPLAIN {statement}", values).scalars().all()
    assert len(page) == 10
    assert "delivery_recheck_idx" in "\n".join(explained)
    assert "Sort" not in "\n".join(explained)


def test_rows_staged_before_are_found_by_index(warehouse: Engine) -> None:
    """A batch in a first night reads only the rows of its own deliveries, however long the run is."""
    add_rows(warehouse, delivery, *(ledger_row(number, State.HELD) for number in range(MANY)))
    with warehouse.connect() as connection:
        found = connection.execute(select(delivery.c.delivery_id, delivery.c.delivery_key)).all()
    staged = [
        {"site": "default", "run_id": "r", "row_no": number, "delivery_id": delivery_id}
        for number, (delivery_id, _) in enumerate(found, start=1)
    ]
    add_rows(warehouse, staged_row, *staged)
    batch = [key for _, key in found[:20]]
    with warehouse.begin() as connection:
        reads = text(
            "SELECT seq_tup_read, idx_tup_fetch FROM pg_stat_xact_user_tables"
            " WHERE relid = 'springest.staged_row'::regclass"
        )
        before = connection.execute(reads).one()
        earlier = staged_before(connection, "default", "r", batch, row=11)
        after = connection.execute(reads).one()
    assert earlier == set(batch[:10])
    assert after.seq_tup_read == before.seq_tup_read
    assert after.idx_tup_fetch - before.idx_tup_fetch == len(batch)
