"""The page as its users use it, in a browser, in a real Airflow behind a login and a prefix."""

from __future__ import annotations

import csv
import re

import pytest
from sqlalchemy import text

PAGES = ("", "deliveries", "deliveries?needs=person", "deliveries?state=invalid")


@pytest.fixture(scope="session")
def lost(site):
    """The delivery whose response was lost: its key, training and the learner's address."""
    with site.world.warehouse.connect() as connection:
        row = connection.execute(
            text("SELECT delivery_key, training_id FROM springest.delivery WHERE state = 'unknown'")
        ).one()
    statement = text(
        "SELECT email FROM completed_training JOIN learner USING (learner_id)"
        " WHERE training_id = :training_id"
    )
    with site.world.source.connect() as connection:
        email = connection.execute(statement, {"training_id": row.training_id}).scalars().first()
    return row.delivery_key, row.training_id, email


def test_an_operator_works_through_a_morning(sign_in, site, lost, tmp_path):
    """Sign in, look at the night, search by address, read the story, decide, export."""
    _, training, email = lost
    page = sign_in("olga")
    assert page.locator("h2", has_text="What became of the last nights").is_visible()
    assert page.locator(".todo a", has_text=training).count() == 1

    page.click("nav >> text=Deliveries")
    page.click("summary")
    page.fill("input[name=address]", f" {email.upper()}")
    page.click("text=Search >> visible=true >> nth=-1")
    page.locator(".list a", has_text=training).wait_for()
    assert email.lower() not in page.content().lower()
    assert email.split("@")[0].lower() not in page.url.lower()

    page.click(f".list a:has-text('{training}')")
    assert page.locator("text=the outcome is unknown").count() == 1
    page.click("a:has-text('Decide')")
    late = page.context.new_page()
    late.goto(page.url)
    page.locator("#release input[name=without_evidence]").check()
    page.fill("#release input[name=why]", "the admin does not show it")
    page.click("#release button")
    assert page.locator("text=is now ready").count() == 1
    with site.world.warehouse.connect() as connection:
        made = connection.execute(text("SELECT decided_by, decision FROM springest.delivery_decision")).all()
    assert made == [("olga", "release")]

    late.fill("#cancel input[name=why]", "decided by somebody who saw an old version")
    late.click("#cancel button")
    assert late.locator("text=Refused: nothing was changed").count() == 1
    late.close()

    page.goto(f"{site.url}/springest/deliveries?state=invalid")
    with page.expect_download() as download:
        page.click("text=Export CSV")
    path = tmp_path / "export.csv"
    download.value.save_as(path)
    with path.open(encoding="utf-8-sig", newline="") as lines:
        rows = list(csv.DictReader(lines))
    assert rows
    assert {row["state"] for row in rows} == {"invalid"}
    assert page.failures == []


def test_the_page_is_in_airflows_navigation(sign_in, site):
    """The page is shown inside Airflow's UI, and its links work there."""
    page = sign_in("olga")
    page.goto(f"{site.url}/plugin/springest")
    frame = page.frame_locator("iframe")
    frame.locator("text=What became of the last nights").wait_for()
    frame.locator("nav >> text=Needs a person").click()
    frame.locator("h1", has_text="Needs a person").wait_for()
    assert page.failures == []


def test_a_viewer_reads_and_does_not_decide(sign_in, site, lost):
    """A viewer sees verdicts, no address search, no ledger and no decision."""
    key, training, _ = lost
    page = sign_in("vera")
    page.goto(f"{site.url}/springest/deliveries?training={training}")
    assert page.locator(".list a", has_text=training).count() == 1
    assert page.locator("input[name=address], input[name=chosen]").count() == 0
    page.click(f".list a:has-text('{training}')")
    assert page.locator("a:has-text('Decide')").count() == 0
    assert page.locator("li.attempt").count() == 0
    assert page.goto(f"{site.url}/springest/deliveries/{key}/decide").status == 403


@pytest.mark.parametrize("theme", ["light", "dark"])
@pytest.mark.parametrize("width", [390, 1280])
def test_nothing_keeps_people_from_using_it(sign_in, site, lost, theme, width):
    """axe finds nothing serious in either theme, narrow or wide, and no page is wider than the screen."""
    from axe_playwright_python.sync_playwright import Axe

    page = sign_in("olga", theme=theme, width=width)
    for path in (*PAGES, f"deliveries/{lost[0]}", f"deliveries/{lost[0]}/decide"):
        page.goto(f"{site.url}/springest/{path}")
        for summary in page.locator("details:not([open]) > summary").all():
            summary.click()
        found = Axe().run(page).response["violations"]
        serious = [rule for rule in found if rule["impact"] in ("serious", "critical")]
        assert serious == [], f"{path}: {[(rule['id'], rule['nodes'][0]['html']) for rule in serious]}"
        width_of = page.evaluate("document.documentElement.scrollWidth")
        assert width_of <= width, f"{path} is {width_of} pixels wide"


def test_the_access_log_and_pages_have_no_address(site, lost):
    """No log of Airflow's API server has a learner's address, and none has the site's keys."""
    email = lost[2].lower()
    logs = "\n".join(
        path.read_text(encoding="utf-8", errors="replace")
        for path in site.world.logs.glob("airflow-api*")
        if path.is_file()
    )
    assert "/springest/deliveries" in logs
    assert email not in logs.lower()
    assert not re.search(r"api_key=\w", logs)
