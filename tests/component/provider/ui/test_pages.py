"""Every page, as somebody who is not signed in, as a viewer and as an operator."""

from __future__ import annotations

import json
import os
import re
from types import SimpleNamespace
from urllib.parse import urljoin

import pytest
from sqlalchemy import Column, select, text, update

from springest.db.roles import grant_roles
from springest.db.schema import delivery, verdict
from springest_provider import lookups
from springest_provider.sites import load_sites
from springest_provider.ui import charts, overview, story
from springest_provider.ui import sites as site_list
from springest_provider.ui.filters import Filters
from springest_provider.ui.listing import _Listing
from tests.component.provider.ui.conftest import key

READ = ("/springest/", "/springest/deliveries", "/springest/deliveries.csv", "/springest/static/page.css")


@pytest.mark.parametrize("path", [*READ, f"/springest/deliveries/{key(11)}"])
def test_nobody_sees_a_page_without_signing_in(page, path):
    """Nobody sees a page without signing in."""
    response = page().get(path)
    assert response.status_code == 303
    assert response.headers["location"].startswith("/auth/login?next=%2Fspringest%2F")
    assert "T1" not in response.text
    assert page().get(path, headers={"accept": "*/*"}).status_code == 401


@pytest.mark.parametrize("path", READ)
def test_a_user_who_may_not_read_the_dag_sees_nothing(page, path):
    """A user who may not read the DAG sees nothing."""
    response = page("none").get(path)
    assert response.status_code == 403
    assert "T1" not in response.text


@pytest.mark.parametrize("role", ["viewer", "op"])
@pytest.mark.parametrize("path", READ)
def test_a_user_who_may_read_the_dag_sees_the_pages(page, path, role):
    """A user who may read the DAG sees the pages."""
    assert page(role).get(path).status_code == 200


def test_the_overview_says_how_the_nights_went(page):
    """The overview says how the nights went."""
    shown = page("viewer").get("/springest/").text
    assert "outcome unknown" in shown
    assert "Certification 2<" in shown
    assert "Queue and allowance" not in shown
    assert "Posted in the last hour" in page("op").get("/springest/").text


def test_certificates_that_wait_do_not_shorten_the_delays(warehouse):
    """Delays are those of the certificates that are shown; where none is, there is no delay yet."""
    with warehouse.begin() as connection:
        before = overview._delays(connection, {"site": "default"})[:2]
        [some, none] = (row["certification_id"] for row in before)
        shown = connection.scalars(
            select(verdict.c.delivery_id)
            .where(verdict.c.certification_id.in_((some, none)), verdict.c.first_visible_at.is_not(None))
            .order_by(verdict.c.certification_id != some)
        ).all()
        wait = update(verdict).values(verification_status="awaiting_verification", first_visible_at=None)
        connection.execute(wait.where(verdict.c.delivery_id.in_(shown[1:])))
        after = {row["certification_id"]: row for row in overview._delays(connection, {"site": "default"})}
    assert (after[some]["shown"], after[none]["shown"]) == (1, 0)
    assert after[some]["median_seconds"] == after[some]["most_seconds"] == before[0]["median_seconds"] > 0
    assert after[none]["median_seconds"] is after[none]["most_seconds"] is None


def test_nights_add_up_to_what_the_source_counted(page, warehouse):
    """Nights add up to what the source counted."""
    with warehouse.begin() as connection:
        nights = overview._nights(connection, SimpleNamespace(site="default"))
        assert [night.completed for night in nights] == [500] * 6
        assert all(night.lost == 0 for night in nights)
        waiting = next(group for group in charts.GROUPS if group.key == "waiting")
        assert nights[0].of(waiting) == 50
        connection.execute(text("DELETE FROM springest.staged_row WHERE run_id = 'night-5' AND row_no < 3"))
        assert overview._nights(connection, SimpleNamespace(site="default"))[-1].lost == 3
    assert '<td class="num bad">3</td>' in page("viewer").get("/springest/").text


def test_a_bar_of_several_runs_says_so(page, warehouse):
    """Two runs of one day may have staged the same training, which a bar then counts twice."""
    shown = page("viewer").get("/springest/").text
    assert "adds up all runs of a day" not in shown
    with warehouse.begin() as connection:
        connection.execute(
            text("UPDATE springest.staging_run SET committed_at = committed_at - interval '1 day'"
                 " WHERE run_id = 'night-5'")
        )  # fmt: skip
        nights = overview._nights(connection, SimpleNamespace(site="default"))
        assert [(night.runs, night.completed) for night in nights] == [(1, 500)] * 4 + [(2, 1_000)]
    shown = page("viewer").get("/springest/").text
    assert "adds up all runs of a day" in shown
    assert "(2 runs): 1,000 completed" in shown


def test_nights_too_large_to_count_are_not_counted(warehouse, monkeypatch):
    """Nights too large to count are not counted."""
    monkeypatch.setattr(overview, "MOST_ROWS", 1_200)
    with warehouse.connect() as connection:
        nights = overview._nights(connection, SimpleNamespace(site="default"))
    assert [night.rows is not None for night in nights] == [False] * 4 + [True] * 2


def test_an_empty_warehouse_says_how_to_begin(page, warehouse):
    """An empty warehouse says how to begin."""
    with warehouse.begin() as connection:
        connection.execute(
            text("TRUNCATE springest.publication, springest.verdict, springest.delivery CASCADE")
        )
    assert "Nothing is published yet" in page("viewer").get("/springest/").text
    assert "No delivery fits" in page("op").get("/springest/deliveries").text


def test_a_viewer_sees_nothing_of_the_ledger(page):
    """A viewer sees what analysts may read, and nothing of the ledger."""
    for number in (0, 1, 2, 10, 11):
        shown = page("viewer").get(f"/springest/deliveries/{key(number)}").text
        assert f"Training T{number}" in shown
        assert "canary of the ledger" not in shown
        assert "Attempt" not in shown.replace("Attempts and decisions are in the ledger", "")
    assert page("viewer").get("/springest/deliveries?run=night-1").status_code == 403
    assert page("viewer").get("/springest/deliveries.csv?run=night-1").status_code == 403
    assert "night-1" not in page("viewer").get("/springest/").text


def test_a_waiting_certificate_says_why_it_is_not_verified(page):
    """The page says it of those that wait, and of no others."""
    waiting, verified = (
        page("viewer").get(f"/springest/deliveries/{key(number)}").text for number in (11, 100)
    )
    assert "once an employee has verified that certification" in waiting
    assert "once an employee has verified that certification" not in verified


def test_a_viewers_list_has_the_columns_of_analysts(warehouse):
    """The columns of a viewer's list are in the view that analysts read; pages are found by number."""
    statement = next(_Listing(Filters("default"), with_ledger=False).statements())
    names = {column.name for column in statement.selected_columns if isinstance(column, Column)}
    with warehouse.connect() as connection:
        allowed = set(connection.execute(text("SELECT * FROM springest.certificate_reconciliation")).keys())
    assert {column.table.name for column in statement.selected_columns if isinstance(column, Column)} == {
        "verdict"
    }
    assert names - {"delivery_id"} <= allowed


def test_a_viewers_story_needs_the_reader_role_only(warehouse):
    """The statements of a viewer's story work with the reader's role."""
    names = grant_roles(warehouse)
    with warehouse.connect() as connection:
        connection.execute(text(f"SET ROLE {names.reader}"))
        for statement in (story._VERDICT, story._VERSIONS):
            assert connection.execute(statement, {"delivery_key": key(0)}).all()
        assert connection.execute(site_list._FRESHNESS).all()


@pytest.mark.parametrize("user", ["viewer", "op"])
def test_every_page_works_with_the_roles_of_airflows_login(page, warehouse, monkeypatch, user):
    """Writer and publisher, as docs/operations.md and docker-compose.yaml grant them."""
    names = grant_roles(warehouse)
    with warehouse.begin() as connection:
        connection.execute(text(f"CREATE ROLE of_airflow IN ROLE {names.writer}, {names.publisher}"))
    settings = json.loads(os.environ["AIRFLOW_CONN_CERTIFICATE_WAREHOUSE"])
    settings["extra"] = {**(settings.get("extra") or {}), "options": "-c role=of_airflow"}
    monkeypatch.setenv("AIRFLOW_CONN_CERTIFICATE_WAREHOUSE", json.dumps(settings))
    try:
        for path in (*READ, f"/springest/deliveries/{key(10)}", "/springest/dictionary"):
            assert page(user).get(path).status_code == 200, path
    finally:
        with warehouse.begin() as connection:
            connection.execute(text("DROP ROLE of_airflow"))


def test_an_operator_reads_the_whole_story_in_order(page):
    """An operator reads the whole story in order."""
    shown = page("op").get(f"/springest/deliveries/{key(10)}").text
    texts = ["Its source row was staged", ": Springest refused it", "422", "canary of the ledger"]
    places = [shown.index(part) for part in texts]
    assert places == sorted(places)
    shown = page("op").get(f"/springest/deliveries/{key(0)}").text
    assert "the outcome is unknown" in shown
    assert "A complete snapshot lacks it" in shown
    assert "Look for the certificate in Springest&#39;s admin" in shown


@pytest.mark.parametrize("role", ["viewer", "op"])
@pytest.mark.parametrize("unknown", ["none", "%00", "0" * 64, "%ed%a0%80"])
def test_there_is_no_delivery_of_an_unknown_key(page, role, unknown):
    """There is no delivery of an unknown key."""
    assert page(role).get(f"/springest/deliveries/{unknown}").status_code == 404
    if role == "op":
        assert page(role).get(f"/springest/deliveries/{unknown}/decide").status_code == 404


def test_a_delivery_shows_the_freshness_of_its_own_site(page, warehouse, monkeypatch, tmp_path):
    """Story and decision say how fresh the verdicts of the delivery's site are, if there are any."""
    (tmp_path / "sql").symlink_to(load_sites().sql_folder)
    (tmp_path / "sites.toml").write_text("[uk]\nshares_rows = true\n[fr]\nsource = 'fr'\n")
    monkeypatch.setenv("AIRFLOW__SPRINGEST__SITES_FILE", str(tmp_path / "sites.toml"))
    monkeypatch.setenv("AIRFLOW_CONN_SPRINGEST_UK", os.environ["AIRFLOW_CONN_SPRINGEST_DEFAULT"])
    with warehouse.begin() as connection:
        for table in (delivery, verdict):
            connection.execute(update(table).where(table.c.training_id == "T0").values(site="uk"))
    paths = [f"/springest/deliveries/{key(0)}", f"/springest/deliveries/{key(0)}/decide"]
    for path in paths:
        shown = page("op").get(path)
        assert shown.status_code == 200
        assert "Published" not in re.sub(r"Published as", "", shown.text)
    with warehouse.begin() as connection:
        connection.execute(
            text(
                "INSERT INTO springest.publication (site, run_id, computed_at, published_at)"
                " VALUES ('uk', 'night', now() - interval '3 days', now() - interval '3 days')"
            )
        )
    for path in paths:
        assert "Not fresh." in page("op").get(path).text
    assert "Not fresh." not in page("op").get(f"/springest/deliveries/{key(1)}").text


def test_text_is_escaped_and_has_no_invisible_characters(page, warehouse):
    """Text is escaped and has no invisible characters."""
    with warehouse.begin() as connection:
        connection.execute(
            text("UPDATE springest.verdict SET certification_name = '<script>a\u202eb'"),
        )
    shown = page("viewer").get("/springest/deliveries").text
    assert "<script>a" not in shown
    assert "&lt;script&gt;a\\u202eb" in shown


@pytest.mark.parametrize("path", [*READ, "/springest/deliveries?day=no", "/springest/static/none"])
def test_every_response_is_kept_safe_by_its_headers(page, path):
    """Every response is kept safe by its headers."""
    for client in (page(), page("none"), page("viewer")):
        headers = client.get(path).headers
        policy = headers["content-security-policy"]
        assert "default-src 'none'" in policy
        assert "unsafe" not in policy
        assert "http" not in policy
        assert headers["x-content-type-options"] == "nosniff"


@pytest.mark.parametrize("path", ["/springest/", "/springest/deliveries", f"/springest/deliveries/{key(0)}"])
def test_pages_need_nothing_that_the_policy_forbids(page, path):
    """Pages need nothing that the policy forbids and nothing from elsewhere."""
    shown = page("op").get(path).text
    assert not re.search(
        r"\sstyle=|\son[a-z]+=|<style|javascript:|(?:src|href|action)=.(?:https?:)?//", shown
    )
    assert not re.search(r"<script(?! src=)", shown)


def test_addresses_are_relative_so_that_a_prefix_holds(page):
    """Addresses are relative so that a prefix holds."""
    client = page("op", root_path="/etl")
    for path in ("/springest/", "/springest/deliveries", f"/springest/deliveries/{key(0)}"):
        response = client.get(f"/etl{path}")
        assert response.status_code == 200
        found = re.findall(r'(?:src|href|action)="([^"]*)"', response.text)
        assert found
        for address in found:
            assert not address.startswith("/")
            here = urljoin(f"/etl{path}", address.replace("&amp;", "&"))
            assert here == "/etl/" or here.startswith("/etl/springest/") or address.startswith("#")


def test_a_warehouse_error_says_what_to_do(page, monkeypatch):
    """An error of the warehouse is shown as a page that says what to do."""
    monkeypatch.setattr(lookups, "WAITS_SECONDS", ())
    client = page("viewer")
    monkeypatch.delenv("AIRFLOW_CONN_CERTIFICATE_WAREHOUSE")
    response = client.get("/springest/")
    assert response.status_code == 503
    assert "A setting is missing or wrong" in response.text
    assert "certificate_warehouse is not defined in Airflow" in response.text
