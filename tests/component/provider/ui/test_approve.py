"""Approving a run on the page that is too large to be sent without a person."""

from __future__ import annotations

import html
import re

import pytest
from sqlalchemy import text

MANY = text("""
INSERT INTO springest.delivery (delivery_key, site, training_id, issue_no, state, row_version, staged_run_id,
                                certification_id, learner_ref, valid_from)
SELECT md5(n::text) || md5('x' || n), 'default', 'many-' || n, 1, 'ready', repeat(md5(n::text), 2),
       'large night',
       1, repeat(md5(n::text), 2), '2026-11-02'
FROM generate_series(CAST(:first AS integer), CAST(:last AS integer)) AS n
""")


@pytest.fixture
def desk(page, warehouse):
    """An operator at a warehouse in which a run of 2,600 certificates waits, far more than usual."""
    with warehouse.begin() as connection:
        connection.execute(MANY, {"first": 1, "last": 2_600})
    return page("op", name="olga")


def form_of(client):
    """Return the fields of the form that approves the run."""
    shown = client.get("/springest/").text
    form = re.search(r'<form method="post" action="./approve".*?</form>', shown, re.DOTALL)
    assert form, shown
    fields = dict(re.findall(r'type="hidden" name="(\w+)" value="([^"]*)"', form[0]))
    return {name: html.unescape(value) for name, value in fields.items()} | {"why": "the yearly import"}


def approvals(warehouse):
    with warehouse.connect() as connection:
        statement = text("SELECT run_id, approved_by, approval_reason FROM springest.approved_run")
        return connection.execute(statement).all()


def test_a_run_is_approved_as_it_is_shown(desk, warehouse):
    """A person sees how large the run is, approves it once, and the ledger records who and why."""
    shown = desk.get("/springest/").text
    assert "2,600 certificates" in shown
    assert re.search(r"A run may have [0-9,]+", shown)
    form = form_of(desk)
    response = desk.post("/springest/approve", data=form)
    assert response.status_code == 200
    assert "are sent by the next run" in response.text
    assert ("large night", "olga", "the yearly import") in approvals(warehouse)
    assert "too large" not in desk.get("/springest/").text.lower()
    again = desk.post("/springest/approve", data=form)
    assert again.status_code == 409
    assert "run large night has no certificates left to approve" in again.text


def test_a_run_that_has_changed_is_not_approved(desk, warehouse):
    """An approval holds for the certificates that were shown, and for no others."""
    form = form_of(desk)
    with warehouse.begin() as connection:
        connection.execute(MANY, {"first": 3_000, "last": 3_000})
    before = approvals(warehouse)
    response = desk.post("/springest/approve", data=form)
    assert response.status_code == 409
    assert "has changed: it has 2,601 certificates now" in response.text
    assert approvals(warehouse) == before


@pytest.mark.parametrize(
    ("change", "status"),
    [
        ({"why": " "}, 409), ({"why": "asked zoe@example.com"}, 409), ({"digest": "x"}, 409),
        ({"run": "\0"}, 400), ({"site": "\0"}, 400), ({"certificates": "many"}, 400),
        ({"certificates": "9" * 5_000}, 400), ({"run": []}, 400), ({"token": "x"}, 403),
    ],
)  # fmt: skip
def test_what_can_not_be_recorded_approves_nothing(desk, warehouse, change, status):
    """A form without a reason, of another page or with a bad value approves nothing."""
    before = approvals(warehouse)
    response = desk.post("/springest/approve", data=form_of(desk) | change)
    assert response.status_code == status
    assert approvals(warehouse) == before


def test_only_an_operator_may_approve(desk, page):
    """A viewer sees no run that waits, and may approve none."""
    assert "too large" not in page("viewer").get("/springest/").text.lower()
    form = form_of(desk)
    assert page("viewer").post("/springest/approve", data=form).status_code == 403
    assert page().post("/springest/approve", data=form).status_code == 401


def test_a_shared_login_needs_a_name_to_approve(page, desk, warehouse):
    """At a login that several people share, an approval needs the person's name."""
    client = page("admin", name="Anonymous")
    form = form_of(client)
    assert client.post("/springest/approve", data=form).status_code == 409
    assert client.post("/springest/approve", data=form | {"by": "Olga"}).status_code == 200
    assert "Olga (as Anonymous)" in {row.approved_by for row in approvals(warehouse)}


@pytest.mark.parametrize("role", ["viewer", "op"])
def test_the_data_dictionary_is_reachable(page, role):
    """Every page links to the data dictionary, which describes what analysts read and nothing else."""
    client = page(role)
    assert 'href="./dictionary"' in client.get("/springest/").text
    shown = client.get("/springest/dictionary")
    assert shown.status_code == 200
    assert "The status of each certificate" in shown.text
    assert "lease_owner" not in shown.text
