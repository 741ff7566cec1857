"""Lists: each filter finds exactly its rows, pages have every row once, and no cell is a formula."""

from __future__ import annotations

import base64
import csv
import io
import json
import re
from contextlib import nullcontext
from datetime import UTC, datetime, timedelta
from urllib.parse import quote

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sqlalchemy import text

from springest.identity import Pseudonyms
from springest.privacy.secret import keep_to_secret
from springest.states import State
from springest.verification import VerificationStatus
from springest_provider.ui import deliveries
from springest_provider.ui.filters import Filters, LedgerNeededError, Row, Sort
from springest_provider.ui.listing import MOST_OF_A_LEARNER, list_all
from tests.component.provider.ui.conftest import SECRET, key, token_of

ROWS = 3_000


@pytest.fixture
def connection(warehouse):
    with warehouse.connect() as connection:
        yield connection


def found(connection, *, with_ledger, rows=7_000, **filters) -> list[Row]:
    pages = list_all(
        lambda: nullcontext(connection),
        Filters("default", **filters),
        with_ledger=with_ledger,
        most=10_000,
        rows=rows,
    )
    return [row for page in pages for row in page.rows]


def numbers(rows) -> set[int]:
    return {int(row.training_id[1:]) for row in rows}


@pytest.mark.parametrize("with_ledger", [False, True])
@pytest.mark.parametrize(
    ("filters", "expected"),
    [
        ({}, lambda number: True),
        ({"training": "T17"}, lambda number: number == 17),
        ({"training": "none"}, lambda number: False),
        ({"certification": 5}, lambda number: number % 40 == 4),
        ({"certificate": 5_000_011}, lambda number: number == 11),
        ({"state": State.HELD}, lambda number: 3 <= number % 1000 < 7),
        ({"state": State.ACCEPTED}, lambda number: 11 <= number % 1000 < 61),
        ({"verdict": VerificationStatus.UNKNOWN}, lambda number: number % 1000 == 0),
        ({"reason": "email_missing"}, lambda number: 7 <= number % 1000 < 10),
        ({"reason": "duplicate"}, lambda number: number % 1000 == 1),
        ({"reason": "outcome_unknown"}, lambda number: number % 1000 == 0),
        ({"person": True}, lambda number: number % 1000 < 3),
        ({"person": True, "certification": 1}, lambda number: number % 1000 == 0),
        ({"state": State.INVALID, "certification": 8}, lambda number: number % 1000 == 7),
    ],
)
def test_a_filter_finds_exactly_its_rows(connection, filters, expected, with_ledger):
    """A filter finds exactly its rows."""
    rows = found(connection, with_ledger=with_ledger, **filters)
    assert numbers(rows) == set(filter(expected, range(ROWS)))
    assert len(rows) == len(numbers(rows))


def test_a_day_is_the_day_of_completion_in_utc(connection):
    """A day is the day of completion in UTC."""
    day = (datetime.now(UTC) - timedelta(days=1)).date()
    rows = found(connection, with_ledger=False, day=day)
    assert rows
    assert {row.completed_at.astimezone(UTC).date() for row in rows} == {day}
    every = found(connection, with_ledger=False)
    assert len(rows) == sum(row.completed_at.astimezone(UTC).date() == day for row in every)


def test_a_run_has_its_rows_in_the_order_of_the_source(connection):
    """A run has its rows in the order of the source."""
    rows = found(connection, with_ledger=True, run="night-3", rows=7)
    assert [row.training_id for row in rows] == [f"T{number}" for number in range(1_500, 2_000)]
    with pytest.raises(LedgerNeededError):
        found(connection, with_ledger=False, run="night-3")


@pytest.mark.parametrize("with_ledger", [False, True])
@pytest.mark.parametrize("ascending", [False, True])
@pytest.mark.parametrize("sort", list(Sort))
def test_pages_have_every_row_once_and_in_order(connection, sort, ascending, with_ledger):
    """Pages have every row once and in order."""
    connection.execute(  # equal values, and rows without one, are where paging by key goes wrong
        text("UPDATE springest.verdict SET completed_at = date_trunc('day', completed_at)")
    )
    connection.execute(text("UPDATE springest.verdict SET completed_at = NULL WHERE training_id LIKE '%7'"))
    rows = found(connection, with_ledger=with_ledger, sort=sort, ascending=ascending, rows=83)
    assert len(rows) == len(numbers(rows)) == ROWS
    name = {Sort.COMPLETED: "completed_at", Sort.SENT: "sent_at", Sort.TRAINING: "training_id"}[sort]
    values = [getattr(row, name) for row in rows]
    dated = [value for value in values if value is not None]
    assert values[: len(dated)] == dated
    if sort is not Sort.TRAINING:  # the database has an order of its own for texts
        assert dated == sorted(dated, reverse=not ascending)


def test_an_operator_sees_present_and_published_states(connection):
    """An operator sees states as they are and as they were published."""
    connection.execute(text("UPDATE springest.delivery SET state = 'cancelled' WHERE training_id = 'T1'"))
    [row] = found(connection, with_ledger=True, training="T1")
    assert (row.state, row.published_state) == ("cancelled", "review")
    assert 1 not in numbers(found(connection, with_ledger=True, person=True))
    assert 1 in numbers(found(connection, with_ledger=False, person=True))


def test_an_operator_finds_what_is_not_published_yet(connection):
    """An operator finds what is not published yet."""
    connection.execute(text("DELETE FROM springest.verdict WHERE training_id IN ('T0', 'T1')"))
    assert numbers(found(connection, with_ledger=True, training="T1")) == {1}
    assert {0, 1} < numbers(found(connection, with_ledger=True, person=True))
    assert {0, 1} < numbers(found(connection, with_ledger=True, run="night-0"))


def test_a_verified_certificate_expires_without_a_publication(connection):
    """A verified certificate expires without a publication."""
    connection.execute(
        text("UPDATE springest.verdict SET valid_until = '2020-01-01' WHERE training_id = 'T99'")
    )
    assert [row.verdict for row in found(connection, with_ledger=False, training="T99")] == ["expired"]


@pytest.mark.parametrize("with_ledger", [False, True])
def test_a_verdict_is_filtered_as_it_is_shown(connection, with_ledger):
    """A certificate that time has expired is found as expired, and no longer as verified."""
    statement = text("UPDATE springest.verdict SET valid_until = :until WHERE training_id = :training")
    for training, until in (("T99", "2020-01-01"), ("T100", "2020-01-01"), ("T101", "2999-01-01")):
        connection.execute(statement, {"training": training, "until": until})
    connection.execute(
        text("UPDATE springest.verdict SET verification_status = 'expired' WHERE training_id = 'T102'")
    )
    every = found(connection, with_ledger=with_ledger)
    for verdict in VerificationStatus:
        rows = found(connection, with_ledger=with_ledger, verdict=verdict)
        assert numbers(rows) == numbers(row for row in every if row.verdict == verdict)
    assert numbers(found(connection, with_ledger=with_ledger, verdict=VerificationStatus.EXPIRED)) == {
        99, 100, 102,
    }  # fmt: skip


def test_an_operators_filters_are_about_the_present(connection):
    """State and reason filter the values that the list shows: the present ones for an operator."""
    connection.execute(
        text(
            "UPDATE springest.delivery SET state = 'cancelled', reason = 'cancelled_by_person'"
            " WHERE training_id IN ('T1', 'T3', 'T11')"
        )
    )
    connection.execute(
        text(
            "UPDATE springest.delivery SET needs_review = true, review_reason = 'withdrawn_after_sending'"
            " WHERE training_id = 'T99'"
        )
    )
    every = found(connection, with_ledger=True)
    for state in State:
        rows = found(connection, with_ledger=True, state=state)
        assert numbers(rows) == numbers(row for row in every if row.state == state)
    reasons = {value for row in every for value in (row.reason, row.review_reason) if value}
    assert {"cancelled_by_person", "withdrawn_after_sending", "email_missing", "duplicate"} < reasons
    for reason in reasons:
        rows = found(connection, with_ledger=True, reason=reason)
        assert numbers(rows) == numbers(row for row in every if reason in (row.reason, row.review_reason))
    assert numbers(found(connection, with_ledger=False, state=State.CANCELLED)) == set()
    assert {1, 3} < numbers(found(connection, with_ledger=False, state=State.HELD)) | numbers(
        found(connection, with_ledger=False, state=State.REVIEW)
    )


def cursor(values):
    raw = values if isinstance(values, bytes) else json.dumps(values).encode()
    return base64.urlsafe_b64encode(raw).decode().rstrip("=")


NOON = "2026-01-01T12:00:00+00:00"


@pytest.mark.parametrize("path", ["deliveries", "deliveries.csv"])
@pytest.mark.parametrize(
    "query",
    ["certification=x", "certification=-1", "certification=99999999999999999999", "state=gone", "verdict=x",
     "day=2026-13-01", "day=9999-12-31", "sort=x", "after=x", "after=W10", "after=WzEsMl0", "site=other",
     "certificate=0", f"certificate={'1' * 5_000}", "certificate=\u0661", "training=%00", "run=a%00b",
     "reason=%00", "site=%00",
     f"after={cursor(b'[' * 40_000)}", f"after={cursor([5, key(1)])}", f"after={cursor([[NOON], key(1)])}",
     f"after={cursor([NOON, chr(0xd800)])}", f"after={cursor([NOON, 'x'])}", f"after={cursor([NOON])}",
     f"after={cursor(['2026-01-01', key(1)])}", f"after={cursor({'a': 1, 'b': 2})}",
     *(f"sort=training&after={cursor([value, key(1)])}" for value in (None, 5, {}, chr(0xd800), chr(0))),
     *(f"run=night-1&after={cursor([value, key(1)])}" for value in (None, "1", True, 2**80, -1))],
)  # fmt: skip
def test_a_bad_filter_is_named_and_nothing_else_happens(page, query, path):
    """A bad filter is named and nothing else happens."""
    response = page("op").get(f"/springest/{path}?{query}")
    assert response.status_code == 400
    assert "This does not work" in response.text
    assert len(response.text) < 10_000


NAMES = ("site", "training", "certificate", "certification", "state", "verdict", "reason", "run", "day",
         "needs", "sort", "order", "after")  # fmt: skip
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text() | st.datetimes().map(str) | st.just(NOON),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=2),
    max_leaves=4,
)
CURSORS = st.tuples(JSON, JSON | st.just(key(1))).map(list).map(cursor)


def test_no_query_is_an_error_of_the_server(page):
    """The response to any query is a list, or an error that names the problem."""
    client = page("op")

    @settings(max_examples=150, suppress_health_check=list(HealthCheck))
    @given(
        st.dictionaries(
            st.sampled_from(NAMES),
            st.text(max_size=30) | CURSORS | st.sampled_from([*State, *Sort, "default", "person", "night-1"]),
            max_size=4,
        )
    )
    def ask(query):
        pairs = (f"{name}={quote(value.encode('utf-8', 'surrogatepass'))}" for name, value in query.items())
        assert client.get(f"/springest/deliveries?{'&'.join(pairs)}").status_code in {200, 400}

    ask()


def test_pages_are_walked_by_their_links(page):
    """The links between pages lead to every row once."""
    url = "/springest/deliveries?verdict=awaiting_verification&sort=sent&order=up"
    client, seen = page("viewer"), []
    while url:
        shown = client.get(url).text
        seen += re.findall(r">(T\d+)</a>", shown)
        following = re.search(r'href="([^"]+)">Next page', shown)
        url = f"/springest/{following[1].removeprefix('./')}".replace("&amp;", "&") if following else None
    assert len(seen) == len(set(seen)) == 150


def test_an_export_has_every_row_and_no_formula(page, warehouse):
    """An export has every row and no formula."""
    with warehouse.begin() as connection:
        connection.execute(
            text("UPDATE springest.verdict SET certification_name = :name WHERE issue_no = 1"),
            {"name": '=HYPERLINK("http://example.com")'},
        )
        connection.execute(
            text("UPDATE springest.verdict SET training_id = ' -2+3' WHERE training_id = 'T5'")
        )
    response = page("viewer").get("/springest/deliveries.csv")
    assert response.headers["content-disposition"].startswith('attachment; filename="springest-default-')
    rows = list(csv.DictReader(io.StringIO(response.text.removeprefix("\ufeff"))))
    assert len(rows) == ROWS
    assert {row["certification_name"] for row in rows} == {'\'=HYPERLINK("http://example.com")'}
    assert "' -2+3" in {row["training_id"] for row in rows}
    held = page("viewer").get("/springest/deliveries.csv?state=held").text
    assert held.count("\r\n") == 13


@pytest.mark.parametrize("separator", [",", ";", "|"])
def test_no_spreadsheet_finds_a_formula_in_an_export(separator):
    """Whichever sign a spreadsheet takes for the separator, no cell of it begins with a formula."""
    names = ["=1+1", " -2+3", "Course;=1+1", 'A, "=1+1"', "a|@SUM(1)", "x;'+1", "\t=1", "a\n=1", "Tr;-1;=2"]
    text_of = deliveries._text([[deliveries._cell("T1"), deliveries._cell(name)] for name in names])
    assert text_of.startswith('"T1","')
    for row in csv.reader(io.StringIO(text_of), delimiter=separator):
        for cell in row:
            assert not cell.lstrip(' "').startswith(("=", "+", "-", "@")), row


def test_an_export_says_where_it_stops(page, monkeypatch):
    """A list that is too long for one file ends with a line that says how to go on."""
    monkeypatch.setattr(deliveries, "MOST_EXPORTED", 1_200)
    client, query, seen = page("viewer"), "sort=training", []
    for _ in range(3):
        rows = list(csv.reader(io.StringIO(client.get(f"/springest/deliveries.csv?{query}").text)))[1:]
        seen += [row[0] for row in rows if len(row) > 1]
        if len(rows[-1]) > 1:
            break
        following = re.fullmatch(r"INCOMPLETE: .* &after=(\S+)", rows[-1][0])
        query = f"sort=training&after={following[1]}"
    assert len(seen) == len(set(seen)) == ROWS


def test_an_e_mail_address_is_searched_without_a_trace(page, warehouse, caplog):
    """An e-mail address is searched without being shown, logged or put into a URL."""
    ref = Pseudonyms(SECRET).learner_ref("zoe.canary@example.com")
    with warehouse.begin() as connection:
        connection.execute(
            text("UPDATE springest.delivery SET learner_ref = :ref WHERE training_id IN ('T8', 'T9')"),
            {"ref": ref},
        )
    client = page("op")
    token = token_of(client.get("/springest/deliveries"))
    response = client.post(
        "/springest/deliveries", data={"token": token, "address": " Zoe.Canary@EXAMPLE.com "}
    )
    assert response.status_code == 200
    assert set(re.findall(r">(T\d+)</a>", response.text)) == {"T8", "T9"}
    assert "canary" not in response.text.lower()
    assert ref not in response.text
    assert "location" not in response.headers
    assert "canary" not in caplog.text.lower()
    nobody = client.post("/springest/deliveries", data={"token": token, "address": "none@example.com"})
    assert "No delivery of a learner with this address" in nobody.text
    assert client.post("/springest/deliveries", data={"token": token, "address": " "}).status_code == 400


def test_a_search_refuses_a_secret_that_finds_nobody(page, warehouse, monkeypatch):
    """With another learner secret than the warehouse's, a search says so instead of finding nothing."""
    with warehouse.begin() as connection:
        keep_to_secret(connection, Pseudonyms(SECRET))
    client = page("op")
    body = {"token": token_of(client.get("/springest/deliveries")), "address": "zoe@example.com"}
    assert client.post("/springest/deliveries", data=body).status_code == 200
    wrong = "Zx81-another-good-secret-0123-qwPLm-77-vbn"
    for value in (wrong, json.dumps([SECRET, wrong])):
        monkeypatch.setenv("AIRFLOW_VAR_SPRINGEST_LEARNER_SECRET", value)
        response = client.post("/springest/deliveries", data=body)
        assert response.status_code == 503
        assert "A setting is missing or wrong" in response.text
        assert "springest_learner_secret" in response.text


def test_a_search_that_shows_not_all_says_so(page, warehouse):
    """A learner with more deliveries than one page holds is named as such."""
    ref = Pseudonyms(SECRET).learner_ref("zoe@example.com")
    with warehouse.begin() as connection:
        connection.execute(
            text("UPDATE springest.delivery SET learner_ref = :ref WHERE certification_id IN (1, 2, 3)"),
            {"ref": ref},
        )
    client = page("op")
    body = {"token": token_of(client.get("/springest/deliveries")), "address": "zoe@example.com"}
    shown = client.post("/springest/deliveries", data=body).text
    assert len(re.findall(r">T\d+</a>", shown)) == MOST_OF_A_LEARNER
    assert "there are more" in shown


def test_only_an_operator_may_search_by_address(page):
    """Only an operator may search by address."""
    token = token_of(page("op").get("/springest/deliveries"))
    body = {"token": token, "address": "zoe.canary@example.com"}
    assert page("viewer").post("/springest/deliveries", data=body).status_code == 403
    assert page().post("/springest/deliveries", data=body).status_code == 401
    assert "e-mail address" not in page("viewer").get("/springest/deliveries").text


def test_a_form_needs_the_token_of_its_user(page):
    """A form needs the token of its user, and must come from the page."""
    client = page("op")
    body = {"token": token_of(client.get("/springest/deliveries")), "address": "zoe@example.com"}
    assert client.post("/springest/deliveries", data=body).status_code == 200
    for bad in ({"token": ""}, {"token": "x"}, {"token": body["token"][:-2]}):
        assert client.post("/springest/deliveries", data={**body, **bad}).status_code == 403
    assert page("op", name="other").post("/springest/deliveries", data=body).status_code == 403
    assert page("op").post("/springest/deliveries", data=body).status_code == 403, "another browser"
    second = token_of(client.get("/springest/deliveries"))
    for token in (body["token"], second):
        assert client.post("/springest/deliveries", data={**body, "token": token}).status_code == 200
    elsewhere = {"sec-fetch-site": "cross-site"}
    assert client.post("/springest/deliveries", data=body, headers=elsewhere).status_code == 403
