"""Deciding on the page: who may, under which rules, and what a refusal says."""

from __future__ import annotations

import re
from datetime import UTC, datetime

import pytest
from sqlalchemy import text
from sqlalchemy.exc import OperationalError

from demo import source_database
from demo.people import Learner
from springest.review.decisions import Decisions
from springest_provider import lookups
from springest_provider.ui import decide as ui_decide
from springest_provider.ui import warehouse as page_warehouse
from tests.component.provider.ui.conftest import key, token_of
from tests.factories import make_training

UNKNOWN, DUPLICATE, VANISHED, HELD, ACCEPTED = 0, 1, 2, 3, 11


@pytest.fixture
def desk(page, source, warehouse):
    """An operator at a warehouse that has something of everything."""
    return Desk(page("op", name="olga"), warehouse)


class Desk:
    def __init__(self, client, warehouse):
        self.client = client
        self.warehouse = warehouse
        self.token = token_of(client.get("/springest/deliveries"))

    def decide(self, decision, *numbers, why="seen in the admin", version=None, **fields):
        chosen = [f"{key(number)}:{version or self.facts(number).version}" for number in numbers]
        body = {"token": self.token, "decision": decision, "chosen": chosen, "why": why, **fields}
        return self.client.post("/springest/decide", data=body)

    def facts(self, number):
        statement = text("SELECT * FROM springest.delivery WHERE delivery_key = :key")
        with self.warehouse.connect() as connection:
            return connection.execute(statement, {"key": key(number)}).one()

    def states(self, *numbers):
        return [self.facts(number).state for number in numbers]

    def decisions(self):
        with self.warehouse.connect() as connection:
            return connection.execute(
                text("SELECT * FROM springest.delivery_decision ORDER BY decision_id")
            ).all()


def test_only_an_operator_may_decide(page, desk):
    """Only an operator may decide."""
    path = f"/springest/deliveries/{key(UNKNOWN)}/decide"
    body = {"token": desk.token, "decision": "cancel", "chosen": f"{key(UNKNOWN)}:1", "why": "x"}
    assert page().get(path).status_code == 303
    assert page().post("/springest/decide", data=body).status_code == 401
    for role in ("viewer", "none"):
        assert page(role).get(path).status_code == 403
        assert page(role).post("/springest/decide", data=body).status_code == 403
    assert 'name="chosen"' not in page("viewer").get("/springest/deliveries").text
    assert "/decide" not in page("viewer").get(f"/springest/deliveries/{key(UNKNOWN)}").text
    assert desk.states(UNKNOWN) == ["unknown"]


def test_a_user_may_decide_as_they_may_trigger(page, desk):
    """The role that may trigger the DAG may decide."""
    path = f"/springest/deliveries/{key(UNKNOWN)}/decide"
    assert page("user").get(path).status_code == 200


def test_a_decision_is_kept_with_its_person_and_reason(desk):
    """A decision is kept with its person and reason."""
    response = desk.decide("cancel", DUPLICATE, why="one of the two is enough")
    assert response.status_code == 200
    assert "is now cancelled" in response.text
    assert desk.states(DUPLICATE) == ["cancelled"]
    [made] = desk.decisions()
    assert (made.decided_by, made.decision, made.reason) == ("olga", "cancel", "one of the two is enough")
    shown = desk.client.get(f"/springest/deliveries/{key(DUPLICATE)}").text
    assert "olga cancelled it" in shown
    assert "one of the two is enough" in shown


def test_a_decision_about_an_old_version_is_refused(desk):
    """A decision about an old version is refused."""
    assert desk.decide("cancel", DUPLICATE).status_code == 200
    response = desk.decide("reopen", DUPLICATE, version=1)
    assert response.status_code == 409
    assert "has moved since you looked" in response.text or "has changed since" in response.text
    assert desk.states(DUPLICATE) == ["cancelled"]
    assert desk.decide("reopen", DUPLICATE).status_code == 200
    assert desk.states(DUPLICATE) == ["review"]


def test_the_same_form_sent_twice_decides_once(desk):
    """The same form sent twice decides once."""
    assert desk.decide("cancel", HELD, version=1).status_code == 200
    assert desk.decide("cancel", HELD, version=1).status_code == 409
    assert len(desk.decisions()) == 1


@pytest.mark.parametrize("why", ["", "  ", "asked zoe@example.com", "x" * 1_001, "key canary/key"])
def test_a_reason_that_can_not_be_kept_is_refused(desk, why):
    """A reason that can't be kept is refused."""
    assert desk.decide("cancel", DUPLICATE, why=why).status_code == 409
    assert desk.states(DUPLICATE) == ["review"]


def test_one_refusal_among_many_stops_none_of_the_others(desk):
    """One refusal among many stops none of the others."""
    response = desk.decide("cancel", DUPLICATE, ACCEPTED, HELD, UNKNOWN)
    assert response.status_code == 200
    assert "3 decided, 1 refused" in response.text
    assert desk.states(DUPLICATE, ACCEPTED, HELD, UNKNOWN) == [
        "cancelled", "accepted", "cancelled", "cancelled",
    ]  # fmt: skip


def test_a_locked_delivery_stops_none_of_the_others(page, source, warehouse, monkeypatch):
    """A delivery that another session has locked is refused alone, and the answer says what was decided."""
    monkeypatch.setattr(page_warehouse, "TIMEOUTS", "-c statement_timeout=20s -c lock_timeout=200ms")
    desk = Desk(page("op", name="olga"), warehouse)
    with warehouse.connect() as session:
        statement = text("SELECT 1 FROM springest.delivery WHERE delivery_key = :key FOR UPDATE")
        session.execute(statement, {"key": key(HELD)})
        response = desk.decide("cancel", DUPLICATE, HELD, UNKNOWN)
    assert response.status_code == 200
    assert "2 decided, 1 refused" in response.text
    assert "another session has locked it: nothing was changed" in response.text
    assert desk.states(DUPLICATE, HELD, UNKNOWN) == ["cancelled", "held", "cancelled"]


def test_a_failure_of_the_warehouse_loses_no_decision(desk, monkeypatch):
    """If the warehouse fails in the middle, the answer still says what was decided before and after."""
    decide_one = Decisions.decide

    def fail_at_second(self, choice, **values):
        if choice.delivery_key == key(HELD):
            raise OperationalError("COMMIT", {}, Exception("the connection is closed"))
        return decide_one(self, choice, **values)

    monkeypatch.setattr(Decisions, "decide", fail_at_second)
    response = desk.decide("cancel", DUPLICATE, HELD, UNKNOWN)
    assert "2 decided, 1 refused" in response.text
    assert "look again to see whether it was decided" in response.text


def test_decisions_that_take_too_long_are_refused(desk, monkeypatch):
    """A slow warehouse does not keep a form waiting for minutes."""
    monkeypatch.setattr(ui_decide, "SECONDS", -1.0)
    response = desk.decide("cancel", DUPLICATE, UNKNOWN)
    assert response.status_code == 409
    assert response.text.count("nothing was changed, choose it again") == 2
    assert desk.states(DUPLICATE, UNKNOWN) == ["review", "unknown"]


def test_without_its_source_only_a_release_is_refused(desk, monkeypatch):
    """A problem of the source's connection refuses releases only, each with the reason."""
    monkeypatch.setattr(lookups, "WAITS_SECONDS", ())
    monkeypatch.delenv("AIRFLOW_CONN_TRAINING_SOURCE")
    shown = desk.client.get(f"/springest/deliveries/{key(UNKNOWN)}/decide").text
    assert "Not now: the connection training_source is not defined" in shown
    response = desk.decide("release", UNKNOWN, DUPLICATE)
    assert response.status_code == 409
    assert response.text.count("Refused: the connection training_source is not defined in Airflow") == 2
    assert desk.decide("cancel", UNKNOWN).status_code == 200


@pytest.mark.parametrize(
    ("listed", "refusal"),
    [
        ("[uk]\nsource = 'uk'", "the connection springest_uk is not defined"),
        ("", "there is no site &#39;uk&#39; in"),
    ],
)
def test_a_site_that_is_not_set_up_is_refused_alone(desk, monkeypatch, tmp_path, listed, refusal):
    """Its connection or its entry in the list is missing; deliveries of other sites are decided."""
    monkeypatch.setattr(lookups, "WAITS_SECONDS", ())
    (tmp_path / "sites.toml").write_text(listed)
    monkeypatch.setenv("AIRFLOW__SPRINGEST__SITES_FILE", str(tmp_path / "sites.toml"))
    with desk.warehouse.begin() as connection:
        connection.execute(
            text("UPDATE springest.delivery SET site = 'uk' WHERE delivery_key = :key"), {"key": key(HELD)}
        )
    response = desk.decide("cancel", HELD, DUPLICATE)
    assert response.status_code == 200
    assert f"Refused: {refusal}" in response.text
    assert desk.states(HELD, DUPLICATE) == ["held", "cancelled"]


def test_a_confirmation_needs_an_id_that_can_be_the_certificates(desk):
    """A confirmation needs an id that can be this certificate."""
    assert desk.decide("confirm", UNKNOWN).status_code == 409
    second = desk.decide("confirm", UNKNOWN, certificate="5000011")
    assert second.status_code == 409
    assert "T11" in second.text
    with desk.warehouse.begin() as connection:
        connection.execute(
            text(
                "INSERT INTO springest.remote_certificate (site, springest_certificate_id, certification_id,"
                " valid_from, springest_status, created_at, first_snapshot_id, first_seen_at, recorded_at)"
                " SELECT site, 77, certification_id, valid_from, 'verified', sent_at, 1,"
                " sent_at, now() FROM springest.delivery WHERE delivery_key = :key"
            ),
            {"key": key(UNKNOWN)},
        )
    shown = desk.client.get(f"/springest/deliveries/{key(UNKNOWN)}/decide").text
    assert "Springest shows 77" in shown
    assert desk.decide("confirm", UNKNOWN, certificate=" 77 ").status_code == 200
    assert desk.states(UNKNOWN) == ["visible"]
    assert desk.facts(UNKNOWN).springest_certificate_id == 77


def test_the_page_says_what_each_decision_needs(desk):
    """The page says what each decision needs."""
    shown = desk.client.get(f"/springest/deliveries/{key(UNKNOWN)}/decide").text
    assert "Not now: training T0: the source no longer has it" in shown
    assert shown.count('value="cancel"') == 1
    shown = desk.client.get(f"/springest/deliveries/{key(ACCEPTED)}/decide").text
    assert shown.count("Not now:") == 4
    assert desk.client.get("/springest/deliveries/none/decide").status_code == 404


def test_a_release_rests_on_the_source_and_on_evidence(desk, source):
    """A release rests on the source and on evidence."""
    assert desk.decide("release", UNKNOWN).status_code == 409
    learner = Learner(1, "Zoë Canary", "zoe.canary@example.com")
    training = make_training(1, training_id="T0", learner=learner, certification_id=1)
    source_database.add(source, [training], now=datetime.now(UTC))
    [row] = ui_decide._session("default").rows(["T0"])[key(UNKNOWN)]
    with desk.warehouse.begin() as connection:
        connection.execute(
            text("UPDATE springest.delivery SET row_version = :version WHERE delivery_key = :key"),
            {"version": row.row_version, "key": key(UNKNOWN)},
        )
    with desk.warehouse.begin() as connection:
        connection.execute(text("UPDATE springest.snapshot SET finished_at = now() - interval '2 hours'"))
    shown = desk.client.get(f"/springest/deliveries/{key(UNKNOWN)}/decide").text
    assert "Release it without this evidence" in shown
    assert "--without-evidence" not in shown
    assert desk.decide("release", UNKNOWN).status_code == 409
    response = desk.decide("release", UNKNOWN, without_evidence="yes")
    assert response.status_code == 200, response.text
    assert desk.states(UNKNOWN) == ["ready"]
    assert desk.decisions()[-1].without_evidence
    assert "canary" not in response.text


@pytest.mark.parametrize(
    "fields",
    [
        {"decision": "erase"},
        {"chosen": []},
        {"chosen": ["x"]},
        {"chosen": [f"{key(DUPLICATE)}:x"]},
        {"chosen": [f"{'0' * 64}:1"]},
        {"chosen": [f"{key(DUPLICATE)}:1", f"{key(UNKNOWN)}:1"], "decision": "confirm"},
        {"decision": "confirm", "certificate": "0x10"},
        {"decision": "confirm", "certificate": "1" * 5_000},
        {"chosen": ["\0:1"]},
        {"decision": []},
        {"chosen": [f"{key(number)}:1" for number in range(51)]},
    ],
)
def test_a_form_that_is_not_understood_changes_nothing(desk, fields):
    """A form that is not understood changes nothing."""
    body = {
        "token": desk.token,
        "decision": "cancel",
        "chosen": [f"{key(DUPLICATE)}:1"],
        "why": "x",
        **fields,
    }
    response = desk.client.post("/springest/decide", data=body)
    assert response.status_code == 400
    assert "nothing was changed" in response.text
    assert desk.decisions() == []


def test_a_decision_needs_the_token_of_the_page(desk, page):
    """A decision needs the token of the page."""
    body = {"decision": "cancel", "chosen": [f"{key(DUPLICATE)}:1"], "why": "x"}
    assert desk.client.post("/springest/decide", data=body).status_code == 403
    assert (
        page("op", name="other").post("/springest/decide", data={**body, "token": desk.token}).status_code
        == 403
    )
    assert desk.decisions() == []


def test_tabs_that_are_opened_at_once_may_all_decide(page, desk):
    """Both requests arrive without a cookie, and each response sets one."""
    tabs = [page("op", name="olga") for _ in range(2)]
    tokens = [token_of(tab.get("/springest/deliveries")) for tab in tabs]
    browser = page("op", name="olga")
    for tab in tabs:
        browser.cookies.update(tab.cookies)
    desk.client = browser
    for number, desk.token in zip((UNKNOWN, DUPLICATE), tokens, strict=True):
        assert desk.decide("cancel", number).status_code == 200
    assert desk.states(UNKNOWN, DUPLICATE) == ["cancelled"] * 2


def test_a_login_that_is_an_address_is_kept_without_it(page, desk):
    """A login that is an address is kept without it, and is not that of another domain."""
    for number, domain in enumerate(("example.com", "example.org")):
        user = Desk(page("op", name=f"olga@{domain}"), desk.warehouse)
        assert user.decide(("cancel", "reopen")[number], DUPLICATE).status_code == 200
    made = [made.decided_by for made in desk.decisions()]
    assert len(set(made)) == 2
    assert all(re.fullmatch(r"olga \(user [0-9a-f]{8}\)", by) for by in made)


def test_a_shared_login_needs_a_name(page, desk):
    """A shared login needs a name."""
    shared = Desk(page("admin", name="Anonymous"), desk.warehouse)
    assert shared.decide("cancel", DUPLICATE).status_code == 400
    assert shared.decide("cancel", DUPLICATE, by="Olga").status_code == 200
    assert [made.decided_by for made in desk.decisions()] == ["Olga (as Anonymous)"]
