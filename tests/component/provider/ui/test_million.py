"""Each page is fast at 1,000,000 deliveries: it reads few rows, by indexes.

Time says little on a busy machine. So each statement of a page is explained, and the rows that it read are
counted: 300 ms on two cores are enough for the numbers below.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest
from sqlalchemy import create_engine, event

from demo.history import fill
from springest_provider.ui.warehouse import warehouse as of_page
from tests.component.provider.ui.conftest import key, token_of

pytestmark = [pytest.mark.long, pytest.mark.timeout(3_600)]

ROWS, PER_NIGHT = 1_000_000, 2_000
LIST, STORY, DECIDE, OVERVIEW = 60_000, 1_000, 250_000, 220_000
"""Rows that a page may read: to find 51 of one in a thousand, or all of one in forty to sort them."""
LARGE = ("delivery", "verdict", "run_training", "delivery_attempt", "remote_certificate")


@pytest.fixture(scope="module")
def million(postgres, migrated):
    """Name of a warehouse with a million deliveries of 500 nights."""
    postgres.drop_database("million")
    engine = create_engine(postgres.create_database("million", template=migrated))
    fill(engine, rows=ROWS, per_night=PER_NIGHT)
    engine.dispose()
    yield "million"
    postgres.drop_database("million")


@pytest.fixture
def warehouse_url(postgres, million):
    """The address of that warehouse: these tests only read."""
    return postgres.url(million)


@contextmanager
def statements() -> Iterator[list[tuple[str, Any]]]:
    """Record what is run on the page's engine."""
    found: list[tuple[str, Any]] = []
    engine = of_page.engine()

    def note(_connection, _cursor, statement, parameters, _context, _many):
        found.append((statement, parameters))

    event.listen(engine, "before_cursor_execute", note)
    try:
        yield found
    finally:
        event.remove(engine, "before_cursor_execute", note)


def rows_read(statement: str, parameters: Any) -> tuple[int, list[str]]:
    """Explain a statement: return the rows that its scans read, and the large tables it read whole."""
    explain = f"EXPLAIN (ANALYZE, TIMING OFF, FORMAT JSON) {statement}"
    with of_page.reading() as connection:
        plan = connection.exec_driver_sql(explain, parameters).scalar_one()
    plan = plan if isinstance(plan, list) else json.loads(plan)
    read, whole, nodes = 0, [], [plan[0]["Plan"]]
    while nodes:
        node = nodes.pop()
        nodes += node.get("Plans", [])
        if "Scan" in node["Node Type"] and "Relation Name" in node:
            removed = node.get("Rows Removed by Filter", 0) + node.get("Rows Removed by Index Recheck", 0)
            read += round((node["Actual Rows"] + removed) * node["Actual Loops"])
            if node["Node Type"] == "Seq Scan" and node["Relation Name"] in LARGE:
                whole.append(node["Relation Name"])
    return read, whole


def check(client, path, most, *, body=None):
    """Ask for a page, and look at what its statements read."""
    with statements() as found:
        response = client.post(path, data=body) if body else client.get(path)
    assert response.status_code == 200, response.text[:3_000]
    total = 0
    for statement, parameters in found:
        if not statement.lstrip().upper().startswith(("SELECT", "WITH", "--")) or "FOR UPDATE" in statement:
            continue
        read, whole = rows_read(statement, parameters)
        assert not whole, f"{path} reads all of {whole}: {statement}"
        total += read
    assert total <= most, f"{path} reads {total:,} rows"
    return response.text


@pytest.mark.parametrize("role", ["viewer", "op"])
def test_the_overview_reads_a_few_nights(page, role):
    """The overview reads the last nights, and the certificates sent last."""
    assert "What became of the last nights" in check(page(role), "/springest/", OVERVIEW)


@pytest.mark.parametrize("role", ["viewer", "op"])
@pytest.mark.parametrize(
    "query",
    [
        "", "sort=sent", "sort=training&order=up", "sort=completed&order=up", "needs=person",
        "training=T500000", "certificate=5500011", "certification=5", "day=2026-01-01",
        "state=visible", "state=accepted", "state=held", "state=ready", "state=vanished", "state=sending",
        "verdict=verified", "verdict=unknown", "verdict=awaiting_verification", "verdict=missing",
        "reason=email_missing", "reason=duplicate", "reason=none", "state=held&certification=5",
    ],
)  # fmt: skip
def test_a_list_reads_few_rows(page, role, query):
    """A list reads little more than its page, or than a rare filter finds."""
    check(page(role), f"/springest/deliveries?{query}", LIST)


@pytest.mark.parametrize("query", ["run=night-250", "run=night-250&state=held", "run=none"])
def test_a_list_of_a_run_reads_that_run(page, query):
    """A list of a run reads the rows of that run, in its order."""
    check(page("op"), f"/springest/deliveries?{query}", 3 * PER_NIGHT + 100)


@pytest.mark.parametrize("query", ["sort=completed", "sort=sent&order=up", "sort=training"])
def test_a_page_far_down_a_list_is_as_cheap_as_the_first(page, query):
    """Further pages are found by key: none of the rows before them is read again."""
    client, path = page("viewer"), f"/springest/deliveries?{query}"
    for _ in range(5):
        shown = check(client, path, LIST)
        following = re.search(r'href="([^"]+)">Next page', shown)
        path = f"/springest/{following[1].removeprefix('./')}".replace("&amp;", "&")


@pytest.mark.parametrize("number", [500_000, 500_001, 500_002, 500_003, 500_011, 500_100])
def test_a_story_reads_one_delivery(page, number):
    """A story reads the rows of its delivery."""
    check(page("viewer"), f"/springest/deliveries/{key(number)}", STORY)
    check(page("op"), f"/springest/deliveries/{key(number)}", STORY)


@pytest.mark.parametrize("number", [500_000, 500_001, 500_002, 500_100])
def test_deciding_reads_one_certification(page, number):
    """What may be decided rests on the certificates of one certification: a fortieth of them."""
    check(page("op"), f"/springest/deliveries/{key(number)}/decide", DECIDE)


def test_a_search_by_address_reads_one_learner(page):
    """A search by e-mail address reads the deliveries of one learner."""
    client = page("op")
    token = token_of(client.get("/springest/deliveries?training=T1"))
    check(client, "/springest/deliveries", LIST, body={"token": token, "address": "zoe@example.com"})
