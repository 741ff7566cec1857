"""Each page is fast at 1,000,000 deliveries: it reads few blocks, by indexes.

Time says little on a busy machine, so no test depends on it: each statement of a page is explained, and the
blocks that it read are counted. The milliseconds of the whole page are written to
``.springest/tests/page_milliseconds.json``; docs/benchmarks.md states them for two idle cores.
"""

from __future__ import annotations

import json
import re
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest
from sqlalchemy import Connection, Engine, create_engine, event

from demo.history import fill
from springest.review.status import look
from springest_provider.ui.warehouse import warehouse as of_page
from tests.component.provider.ui.conftest import key, token_of
from tests.conftest import SCRATCH
from tests.factories import SITE

pytestmark = [pytest.mark.long, pytest.mark.timeout(3_600)]

ROWS, PER_NIGHT = 1_000_000, 2_000
LIST, STORY, DECIDE, OVERVIEW = 70_000, 200, 60_000, 220_000
"""Blocks of 8 KiB that a page may read, to find 51 rows or to sort all of one in a thousand."""
MILLISECONDS: dict[str, int] = {}
"""Of each page that was asked for: the best of three, for the slower role."""
LARGE = ("delivery", "verdict", "staged_row", "delivery_attempt", "remote_certificate")


@pytest.fixture(scope="module")
def million(postgres, migrated):
    """Name of a warehouse with a million deliveries of 500 nights."""
    postgres.drop_database("million")
    engine = create_engine(postgres.create_database("million", template=migrated))
    fill(engine, rows=ROWS, per_night=PER_NIGHT)
    engine.dispose()
    yield "million"
    postgres.drop_database("million")
    slowest_first = dict(sorted(MILLISECONDS.items(), key=lambda item: -item[1]))
    (SCRATCH / "page_milliseconds.json").write_text(json.dumps(slowest_first, indent=1), encoding="utf-8")


@pytest.fixture
def warehouse_url(postgres, million):
    """The address of that warehouse: these tests only read."""
    return postgres.url(million)


@contextmanager
def statements(engine: Engine) -> Iterator[list[tuple[str, Any]]]:
    """Record what is run on an engine."""
    found: list[tuple[str, Any]] = []

    def note(_connection, _cursor, statement, parameters, _context, _many):
        found.append((statement, parameters))

    event.listen(engine, "before_cursor_execute", note)
    try:
        yield found
    finally:
        event.remove(engine, "before_cursor_execute", note)


def blocks_read(connection: Connection, statement: str, parameters: Any) -> tuple[int, list[str]]:
    """Explain a statement: return the blocks that it read, and the large tables it read whole."""
    explain = f"EXPLAIN (ANALYZE, BUFFERS, TIMING OFF, FORMAT JSON) {statement}"
    plan = connection.exec_driver_sql(explain, parameters).scalar_one()
    plan = plan if isinstance(plan, list) else json.loads(plan)
    top = plan[0]["Plan"]
    whole, nodes = [], [top]
    while nodes:
        node = nodes.pop()
        nodes += node.get("Plans", [])
        if node["Node Type"] == "Seq Scan" and node["Actual Loops"] and node["Relation Name"] in LARGE:
            whole.append(node["Relation Name"])
    return top["Shared Hit Blocks"] + top["Shared Read Blocks"], whole


def check(client, path, most, *, body=None):
    """Ask for a page, and look at what its statements read."""

    def ask():
        started = time.perf_counter()
        response = client.post(path, data=body) if body else client.get(path)
        assert response.status_code == 200, response.text[:3_000]
        return response, round(1_000 * (time.perf_counter() - started))

    with statements(of_page.engine()) as found:
        response, _ = ask()
    name = f"{'POST ' if body else ''}{path.removeprefix('/springest/') or '/'}"
    MILLISECONDS[name] = max(MILLISECONDS.get(name, 0), min(ask()[1] for _ in range(3)))
    total = 0
    for statement, parameters in found:
        if not statement.lstrip().upper().startswith(("SELECT", "WITH", "--")) or "FOR UPDATE" in statement:
            continue
        with of_page.reading() as connection:
            read, whole = blocks_read(connection, statement, parameters)
        assert not whole, f"{path} reads all of {whole}: {statement}"
        total += read
    assert total <= most, f"{path} reads {total:,} blocks"
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
def test_deciding_reads_one_certification(page, source, number):
    """The possible decisions depend on the certificates of one certification: a fortieth of all."""
    check(page("op"), f"/springest/deliveries/{key(number)}/decide", DECIDE)


def test_a_search_by_address_reads_one_learner(page):
    """A search by e-mail address reads the deliveries of one learner."""
    client = page("op")
    token = token_of(client.get("/springest/deliveries?training=T1"))
    check(client, "/springest/deliveries", STORY, body={"token": token, "address": "zoe@example.com"})


def test_the_status_counts_the_deliveries_once(warehouse_url):
    """`bin/springest status` reads all deliveries for their number in each state, and nothing else whole."""
    engine = create_engine(warehouse_url)
    with statements(engine) as found:
        status = look(engine, SITE)
    assert sum(status.states.values()) == ROWS
    with engine.connect() as connection:
        reads = {statement: blocks_read(connection, statement, values) for statement, values in found}
    engine.dispose()
    counting = [statement for statement, (_, whole) in reads.items() if whole]
    assert [reads[statement][1] for statement in counting] == [["delivery"]]
    others = sum(read for statement, (read, _) in reads.items() if statement not in counting)
    assert others <= OVERVIEW, f"the other statements read {others:,} blocks"
